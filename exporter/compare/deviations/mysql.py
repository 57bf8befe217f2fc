"""What differs from mysqld_exporter 0.19 on purpose."""

from __future__ import annotations

from exporter.compare.deviations import Deviation
from exporter.gates import REPLICA, mariadb, mysql

_TESTS = "tests/contract/test_mysql.py::"
_CONTRACT = _TESTS + "test_everything_of_theirs_is_here_with_the_same_value"


def _not_yet(source: str, *metrics: str) -> Deviation:
    return Deviation(
        metrics=metrics,
        aspects=("missing",),
        theirs="there, if its collector is switched on",
        ours="not there",
        why="this version goes no further",
        source=f"collector/{source}",
        test=_CONTRACT,
        # None of them is kept once the metrics are there.
        provoked=False,
    )


DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        metrics=("mysql_global_status_*", "mysql_slave_status_*"),
        aspects=("type",),
        theirs="untyped",
        ours="counters and gauges",
        why="tools that know a counter show its rate",
        source="collector/global_status.go, slave_status.go: sent as UntypedValue",
        test=_TESTS + "test_counters_are_counters",
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
        test=_TESTS + "test_replication_has_both_names",
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
    _not_yet("info_schema_tables.go", "mysql_info_schema_table_*"),
    _not_yet(
        "perf_schema_replication_applier_status_by_worker.go",
        "mysql_perf_schema_last_applied_*",
        "mysql_perf_schema_applying_*",
    ),
    _not_yet("sys_user_summary.go", "mysql_sys_*"),
)
