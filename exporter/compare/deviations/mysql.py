"""What differs from mysqld_exporter 0.19 on purpose."""

from __future__ import annotations

from exporter.compare.deviations import Deviation
from exporter.gates import REPLICA, mysql

_CONTRACT = "tests/contract/test_mysql.py::test_everything_of_theirs_is_here_with_the_same_value"

DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        metrics=("mysql_info_schema_innodb_metrics_*",),
        aspects=("missing",),
        theirs="with its collector, which is off unless asked for, every counter that is enabled",
        ours="the same with `mysql_innodb_metrics`, off unless asked for; deadlocks always",
        why="two hundred series that few people read",
        source="collector/info_schema_innodb_metrics.go: whatever is enabled",
        test=_CONTRACT,
    ),
    Deviation(
        metrics=(
            "mysql_info_schema_innodb_cmpmem_pages_used_total",
            "mysql_info_schema_innodb_cmpmem_pages_free_total",
        ),
        aspects=("type",),
        theirs="a counter",
        ours="a gauge",
        why="pages in use go up and down",
        source="collector/info_schema_innodb_cmpmem.go: sent as CounterValue",
        test=_CONTRACT,
    ),
    Deviation(
        metrics=("mysql_info_schema_innodb_cmpmem_relocation_time_seconds_total",),
        aspects=("value",),
        theirs="a thousand times too many",
        ours="seconds",
        why="the server tells microseconds",
        source="collector/info_schema_innodb_cmpmem.go: divides by 1000",
        test=_CONTRACT,
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_global_status_*", "mysql_slave_status_*"),
        aspects=("type",),
        theirs="untyped",
        ours="counters and gauges",
        why="tools that know a counter show its rate",
        source="collector/global_status.go, slave_status.go: sent as UntypedValue",
        test=_CONTRACT,
    ),
    Deviation(
        metrics=("mysql_slave_status_*",),
        aspects=("missing",),
        theirs="every column that is a number",
        ours="those that dashboards show",
        why="[metrics.md](metrics.md) lists ours",
        source="collector/slave_status.go: whatever is a number",
        test=_CONTRACT,
        when=REPLICA,
    ),
    Deviation(
        metrics=("mysql_slave_status_*",),
        aspects=("more",),
        theirs="named after the columns: `..._master_...` or `..._source_...`, depending on the server",
        ours="on MySQL 8.4 and newer both",
        why="rules written for either go on working",
        source="collector/slave_status.go: the names are those of the columns",
        test=_CONTRACT,
        when=REPLICA & mysql(8, 4),
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_global_status_threads_*",),
        aspects=("value",),
        theirs="with the session that it opens for each scrape",
        ours="without it, once it is closed",
        why="the number is of another moment",
        source="collector/exporter.go: every scrape opens connections",
        test=_CONTRACT,
    ),
    Deviation(
        metrics=("mysql_exporter_*",),
        aspects=("missing", "more", "value"),
        theirs="its own collectors and scrapes",
        ours="those of ours, by our collectors' names",
        why="each exporter tells of its own work",
        source="collector/exporter.go",
        test=_CONTRACT,
    ),
    Deviation(
        metrics=("go_*", "promhttp_*", "mysqld_exporter_*", "process_*"),
        aspects=("missing", "more", "value", "type", "label"),
        theirs="its process, a Go program",
        ours="ours, a Python program: process_*, python_gc_* and database_exporter_* on /metrics",
        why="each exporter tells of its own process",
        source="client_golang's collectors",
        test="tests/contract/test_postgres.py::test_our_own_work_is_told_in_their_words",
    ),
)
