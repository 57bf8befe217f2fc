"""What differs from mysqld_exporter 0.19 on purpose."""

from __future__ import annotations

from exporter.compare.deviations import Deviation, within
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
        when=REPLICA & (mysql(8) | mariadb(11, 6)),
    ),
    Deviation(
        metrics=("mysql_info_schema_innodb_metrics_cpu_cpu_*time_*_total",),
        aspects=("value",),
        theirs="the CPU time of the second before, in percent of one CPU and of all",
        ours="the same, a moment earlier and later",
        why="the server sets it anew all the time, and it goes up and down",
        source="collector/info_schema_innodb_metrics.go: a counter, as the server calls it",
        test=_CONTRACT,
        # All CPUs together.
        holds=within(6400),
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_perf_schema_events_waits_*total",),
        aspects=("value",),
        theirs="before or after another session has ended",
        ours="the same, a moment earlier and later",
        why="the server counts idle sessions twice as long as they live, and once when they have ended",
        source="collector/perf_schema_events_waits.go: a counter, as all waits",
        test=_TESTS + "test_idle_sessions_count_twice_until_they_end",
        labels={"event_name": "idle"},
        # What a session of an exporter does and waits in its short life.
        holds=within(100),
        provoked=False,
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
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_info_schema_processlist_processes_by_host",),
        aspects=("missing", "value", "more"),
        theirs="receivers of replication under the host `connecting host`",
        ours="under `unknown`, as all threads of replication",
        why="performance_schema.processlist, which takes no lock that new connections wait for, knows no host of them",
        source="collector/info_schema_processlist.go: information_schema.processlist",
        test=_TESTS + "test_sessions_are_those_of_the_server",
        when=REPLICA & mysql(8, 0, 22),
    ),
    Deviation(
        metrics=(
            "mysql_info_schema_processlist_*",
            "mysql_info_schema_*_statistics_concurrent_connections",
            "mysql_sys_current_connections",
        ),
        aspects=("missing", "value", "more"),
        theirs="our sessions, and not always those of its own",
        ours="its sessions, if it has any, without the one that asks",
        why="each is there for the other, and neither counts itself",
        source="collector/info_schema_processlist.go: WHERE ID != connection_id(), on one of two connections; it opens"
        " them for each scrape",
        test=_TESTS + "test_sessions_are_those_of_the_server",
    ),
    Deviation(
        metrics=(
            "mysql_perf_schema_memory_events_used_bytes",
            "mysql_global_status_memory_used",
            "mysql_sys_current_memory*",
        ),
        aspects=("missing", "value", "more"),
        theirs="with what its own sessions and statements take at that moment",
        ours="with what ours take",
        why="the number is of another moment",
        source="collector/exporter.go: every scrape opens connections and looks at every table",
        test=_TESTS + "test_memory_is_that_of_the_server",
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_info_schema_innodb_cmpmem_pages_*_total",),
        aspects=("type",),
        theirs="counter",
        ours="gauge",
        why="pages are freed and used again",
        source="collector/info_schema_innodb_cmpmem.go: sent as CounterValue",
        test=_TESTS + "test_counters_are_counters",
    ),
    Deviation(
        metrics=("mysql_info_schema_client_statistics_*", "mysql_info_schema_user_statistics_*"),
        aspects=("type",),
        theirs="untyped where it does not know the column",
        ours="counter",
        why="they are counters, as their neighbours are",
        source="collector/info_schema_clientstats.go, info_schema_userstats.go: a column that is not in the list is"
        " sent as UntypedValue",
        test=_TESTS + "test_counters_are_counters",
        when=mariadb(),
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
        metrics=("mysql_sys_unique_hosts_total",),
        aspects=("type",),
        theirs="counter",
        ours="gauge",
        why="hosts are forgotten, too",
        source="collector/sys_user_summary.go: sent as CounterValue",
        test=_TESTS + "test_counters_are_counters",
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
    Deviation(
        metrics=("mysql_perf_schema_events_statements_*",),
        aspects=("missing",),
        theirs="the 250 statements with the most time ever, with their text as a label; none whose schema is NULL, 0"
        " where MariaDB has no such column, and quantiles called 95, 99 and 999",
        ours="totals of all statements: `db_statements_total`, `db_statement_seconds_total`,"
        " `db_statement_duration_seconds`",
        why="this version has no series of single statements",
        source="collector/perf_schema_events_statements.go: NOT IN is NULL for a NULL schema, every column is sent"
        " whether it was read or not, and the keys of the summary are no quantiles",
        test=_TESTS + "test_statements_without_a_schema_count",
        provoked=False,
    ),
    _not_yet("heartbeat.go", "mysql_heartbeat_*_timestamp_seconds"),
    _not_yet("slave_hosts.go", "mysql_heartbeat_mysql_slave_hosts_info"),
    _not_yet(
        "info_schema_tables.go",
        "mysql_info_schema_table_version",
        "mysql_info_schema_table_rows",
        "mysql_info_schema_table_size",
    ),
    _not_yet(
        "perf_schema_replication_applier_status_by_worker.go",
        "mysql_perf_schema_last_applied_*",
        "mysql_perf_schema_applying_*",
    ),
)
