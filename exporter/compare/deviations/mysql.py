"""What differs from mysqld_exporter 0.19 on purpose."""

from __future__ import annotations

import math
from collections.abc import Callable

from exporter.collectors.mysql.all_variables import TEXTS
from exporter.compare.deviations import Deviation, within
from exporter.compare.pages import Page
from exporter.gates import REPLICA, mariadb, mysql
from exporter.subjects.statements.lexer import KEPT

_TESTS = "tests/contract/test_mysql.py::"
_DIGESTS = "tests/servers/test_statement_digests.py::"
_CONTRACT = _TESTS + "test_everything_of_theirs_is_here_with_the_same_value"


# Ours has three at most, theirs one, and from 0.20 on two; they come and go.
_OWN_SESSIONS = within(4)
# What statements do that an exporter sends.
_OWN_STATES = (
    "unknown|executing|init|starting|opening_tables|opening_system_tables|closing_tables|statistics|preparing|optimizing"
    "|filling_schema_table|sending_data|sending_to_client|creating_sort_index|creating_tmp_table|removing_tmp_table"
    "|sorting_result|checking_permissions|system_lock|query_end|end|freeing_items|cleaning_up|reset_for_next_command"
    "|waiting_for_tablespace_metadata_lock"
)


# How the texts begin that are shown whole.
_TEXTS_KEPT = [
    f"{before}{word.upper()} *"
    for before in ("", "( ", "EXECUTE ", "PREPARE ", "DEALLOCATE ")
    for word in sorted(KEPT - {"merge"})
]


def _cached_sizes(_: Page, ours: Page) -> bool:
    """Whether a session of the server sees sizes that it remembers."""
    return ours.value("mysql_global_variables_information_schema_stats_expiry") != 0


def _negative(metric: str) -> Callable[[Page, Page], bool]:
    return lambda theirs, _: (theirs.value(metric) or 0) < 0


def _has_ipv6_clients(_: Page, ours: Page) -> bool:
    hosts = ours.metrics.get("mysql_info_schema_processlist_processes_by_host", {})
    return any(":" in host for labels in hosts for name, host in labels if name == "client_host")


def _pages_apart(theirs: float, ours: float) -> bool:
    """Whether two amounts differ by whole pages, the smallest of which are compressed, and by 4 MiB at most."""
    return abs(theirs - ours) <= 2**22 and (theirs - ours) % 1024 == 0


def _zones_apart(theirs: float, ours: float) -> bool:
    """Whether two moments are one in two time zones."""
    rest = abs(theirs - ours) % 900
    return 0 < abs(theirs - ours) <= 14 * 3600 + 1 and min(rest, 900 - rest) < 1


DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        metrics=("mysql_global_status_*", "mysql_slave_status_*"),
        aspects=("type",),
        theirs="untyped, but for `commands`, `handlers`, `connection_errors`, `buffer_pool_*`, `innodb_row_ops`,"
        " `performance_schema_lost` and MariaDB's `gtid_*`",
        ours="counters and gauges",
        why="tools that know a counter show its rate",
        source="collector/global_status.go, slave_status.go: sent as UntypedValue",
        test=_TESTS + "test_counters_are_counters",
        kinds=("untyped", "counter|gauge"),
    ),
    Deviation(
        metrics=("mysql_info_schema_innodb_metrics_cpu_cpu_*time_*_total",),
        aspects=("value",),
        theirs="the CPU time of the second before, in percent of one CPU and of all",
        ours="the same, a moment earlier and later",
        why="the server sets it anew all the time, and it goes up and down",
        source="collector/info_schema_innodb_metrics.go: TYPE says counter, so it is sent as CounterValue",
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
        metrics=("mysql_perf_schema_events_statements_*",),
        aspects=("missing", "more"),
        theirs="the texts of all statements, with names and whatever the server takes for one",
        ours="of what does not read or change rows the first words",
        why="a password without quotes, or with double ones under ANSI_QUOTES, is a name to the server",
        source="collector/perf_schema_events_statements.go: LEFT(DIGEST_TEXT, limit)",
        test=_TESTS + "test_texts_of_what_does_not_read_or_change_rows_are_cut",
        # Nor what has no text, as the sums.
        labels={"digest_text": f"!{'|'.join(('', *_TEXTS_KEPT))}"},
        partly=True,
    ),
    Deviation(
        metrics=("mysql_slave_status_*",),
        # What theirs has no name for is no difference to what it shows.
        aspects=(),
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
        source="collector/instance.go: newInstance opens a pool for each scrape, of one connection",
        test=_CONTRACT,
        holds=_OWN_SESSIONS,
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
        labels={"client_host": "connecting host|unknown"},
        # Receivers, one for each channel.
        holds=within(256),
        partly=True,
    ),
    Deviation(
        metrics=("mysql_info_schema_processlist_threads",),
        aspects=("missing", "value", "more"),
        theirs="our sessions, and none of its own; from 0.20 on the other one of two",
        ours="its sessions, if it has any, without the one that asks",
        why="each is there for the other, and neither counts itself",
        source="collector/info_schema_processlist.go: WHERE ID != connection_id(), on the one connection of a scrape",
        test=_TESTS + "test_sessions_are_those_of_the_server",
        labels={"command": "sleep|query|execute|prepare|connect", "state": _OWN_STATES},
        holds=_OWN_SESSIONS,
        partly=True,
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_info_schema_processlist_seconds",),
        aspects=("missing", "value", "more"),
        theirs="with the time that our sessions have been idle or at work",
        ours="with that of its own, if it has any",
        why="each is there for the other, and neither counts itself",
        source="collector/info_schema_processlist.go: SUM(time) of all but its own",
        test=_TESTS + "test_sessions_are_those_of_the_server",
        labels={"command": "sleep|query|execute|prepare|connect", "state": _OWN_STATES},
        # Three sessions that are idle between two scrapes, five minutes apart.
        holds=within(900),
        partly=True,
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_info_schema_processlist_processes_by_host",),
        aspects=("missing", "value", "more"),
        theirs="IPv6 addresses up to their first colon, and `unknown` for `::1`",
        ours="the whole address",
        why="clients of a network would be one",
        source="collector/info_schema_processlist.go: SUBSTRING_INDEX(host, ':', 1)",
        test="tests/servers/test_mysql_tables.py::test_clients_with_an_ipv6_address",
        labels={"client_host": "*:*|unknown|" + "|".join("[0-9a-f]" * digits for digits in (1, 2, 3, 4))},
        where=_has_ipv6_clients,
        partly=True,
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_info_schema_processlist_processes_by_*",),
        aspects=("missing", "value", "more"),
        theirs="our sessions, and none of its own; from 0.20 on the other one of two",
        ours="its sessions, if it has any, without the one that asks",
        why="each is there for the other, and neither counts itself",
        source="collector/info_schema_processlist.go: WHERE ID != connection_id(), on the one connection of a scrape",
        test=_TESTS + "test_sessions_are_those_of_the_server",
        holds=_OWN_SESSIONS,
        partly=True,
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_info_schema_*_statistics_concurrent_connections", "mysql_sys_current_connections"),
        aspects=("value",),
        theirs="with its own session, which it opens for each scrape",
        ours="with ours",
        why="the number is of another moment",
        source="collector/instance.go: newInstance opens a pool for each scrape, of one connection",
        test=_TESTS + "test_sessions_are_those_of_the_server",
        holds=_OWN_SESSIONS,
        provoked=False,
    ),
    Deviation(
        metrics=(
            "mysql_global_status_memory_used",
            "mysql_sys_current_memory_bytes",
        ),
        aspects=("value",),
        theirs="with what its own session and statements take at that moment",
        ours="with what ours take",
        why="the number is of another moment",
        source="collector/instance.go: every scrape opens a session, in which all collectors look at every table",
        test=_TESTS + "test_memory_is_that_of_the_server",
        # A session's buffers.
        holds=within(2**25),
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_perf_schema_memory_events_used_bytes",),
        aspects=("value",),
        theirs="with what its own session and statements take at that moment",
        ours="with what ours take",
        why="the number is of another moment",
        source="collector/instance.go: every scrape opens a session, in which all collectors look at every table",
        test=_TESTS + "test_memory_is_that_of_the_server",
        # What performance_schema takes it never gives back.
        labels={"event_name": "[!p]*"},
        holds=within(2**25),
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_sys_memory_allocated_bytes_total",),
        aspects=("value",),
        theirs="less, while sessions of that user end",
        ours="less at other moments",
        why="the server adds up over accounts and then over sessions: who ends meanwhile is in neither",
        source="collector/sys_user_summary.go: sys.x$user_summary",
        test=_CONTRACT,
        holds=within(2**22),
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_*buffer_pool_bytes_d*",),
        aspects=("value",),
        theirs="with pages of temporary tables that its own statements need",
        ours="with those of ours",
        why="the number is of another moment",
        source="collector/exporter.go: all collectors run once for each scrape",
        test=_CONTRACT,
        holds=_pages_apart,
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_*buffer_pool_pages*", "mysql_*buffer_pool_dirty_pages"),
        aspects=("value",),
        theirs="with pages of temporary tables that its own statements need",
        ours="with those of ours",
        why="the number is of another moment",
        source="collector/exporter.go: all collectors run once for each scrape",
        test=_CONTRACT,
        holds=within(256),
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_info_schema_innodb_metrics_os_os_log_pending_fsyncs",),
        aspects=("missing",),
        theirs="a gauge without `_total` while the server has a number below zero there, else a counter with it",
        ours="always with `_total`",
        why="a name that changes with the value can't be watched",
        source="collector/info_schema_innodb_metrics.go: counters below zero are sent as gauges",
        test="tests/unit/test_mysql_rows.py::test_a_counter_of_innodb_below_zero_keeps_its_name",
        where=_negative("mysql_info_schema_innodb_metrics_os_os_log_pending_fsyncs"),
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_global_status_buffer_pool_pages", "mysql_info_schema_innodb_metrics_buffer_pool_pages"),
        aspects=("missing",),
        theirs="1.8e19, or a number below zero, while the pool holds many compressed pages",
        ours="absent then",
        why="the server takes more pages off the frames than there are frames; nobody knows how many are misc",
        source="collector/global_status.go, info_schema_innodb_metrics.go: values are sent as the server has them",
        test="tests/unit/test_mysql_rows.py::test_pages_below_zero_are_not_known",
        labels={"state": "misc"},
        holds=lambda theirs, _: not 0 <= theirs < 2**63,
        provoked=False,
    ),
    Deviation(
        metrics=tuple(f"mysql_global_variables_{name}" for name in sorted(TEXTS)),
        aspects=("missing",),
        theirs="a text that looks like a number, as one",
        ours="never there",
        why="a name, a version or a password is no number, and a password is nobody's business",
        source="collector/global_variables.go: what parseStatus can read is sent",
        test="tests/unit/test_mysql_findings.py::test_texts_are_no_numbers",
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
        kinds=("counter", "gauge"),
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
        kinds=("untyped", "counter"),
    ),
    Deviation(
        metrics=("mysql_info_schema_innodb_cmpmem_relocation_time_seconds_total",),
        aspects=("value",),
        theirs="a thousand times too many",
        ours="seconds",
        why="the server tells microseconds",
        source="collector/info_schema_innodb_cmpmem.go: divides by 1000",
        test=_CONTRACT,
        holds=lambda theirs, ours: math.isclose(theirs, 1000 * ours),
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
        kinds=("counter", "gauge"),
    ),
    Deviation(
        metrics=(
            "mysql_sys_statements_total",
            "mysql_sys_statement_latency",
            "mysql_sys_table_scans_total",
            "mysql_sys_file_ios_total",
            "mysql_sys_file_io_seconds_total",
            "mysql_sys_current_memory_bytes",
            "mysql_sys_memory_allocated_bytes_total",
        ),
        aspects=("value",),
        theirs="times the number of hosts that the user came from",
        ours="what the user did",
        why="ten hosts do not make one statement ten",
        source="collector/sys_user_summary.go: sys.x$user_summary, which joins the sums of a user to each of its hosts"
        " and adds them up again",
        test="tests/servers/test_mysql_tables.py::test_users_are_added_up_once_for_all_of_their_hosts",
        times="mysql_sys_unique_hosts_total",
    ),
    Deviation(
        metrics=("mysql_exporter_collector_*",),
        aspects=("missing", "more"),
        theirs="its own collectors, as `collect.` and their name, and `connection`",
        ours="those of ours, by our collectors' names",
        why="each exporter tells of its own work",
        source='collector/exporter.go: `"collect." + scraper.Name()`',
        test=_TESTS + "test_our_own_work_is_told_in_their_words",
        partly=True,
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
        metrics=("mysql_perf_schema_events_statements_latency",),
        aspects=("missing",),
        theirs="quantiles called 95, 99 and 999, of 0 where the server has none",
        ours="0.95, 0.99 and 0.999, and absent there",
        why="what reads a summary takes the label for a share",
        source="collector/perf_schema_events_statements.go: the keys of the summary are no quantiles, and are sent"
        " whether they were read or not",
        test=_DIGESTS + "test_what_the_server_does_not_know_is_absent",
        labels={"quantile": "95|99|999"},
    ),
    Deviation(
        metrics=("mysql_perf_schema_events_statements_latency",),
        aspects=("more",),
        theirs="quantiles called 95, 99 and 999",
        ours="0.95, 0.99 and 0.999",
        why="what reads a summary takes the label for a share",
        source="collector/perf_schema_events_statements.go: the keys of the summary are no quantiles",
        test=_DIGESTS + "test_what_the_server_does_not_know_is_absent",
        when=mysql(8),
        labels={"quantile": "0.95|0.99|0.999"},
    ),
    Deviation(
        metrics=("mysql_perf_schema_events_statements_cpu_time_seconds_total",),
        aspects=("missing",),
        theirs="0 where the server does not count CPU time",
        ours="absent",
        why="unknown is not zero",
        source="collector/perf_schema_events_statements.go: sent whether it was read or not; the consumer"
        " events_statements_cpu is off by default",
        test=_DIGESTS + "test_what_the_server_does_not_know_is_absent",
        value=0,
    ),
    Deviation(
        metrics=("mysql_perf_schema_events_statements_lock_time_seconds_total",),
        aspects=("value",),
        theirs="0",
        ours="what the server says",
        why="it does count them",
        source="collector/perf_schema_events_statements.go: read on MySQL from 8.0.28 on alone, sent always",
        test=_DIGESTS + "test_numbers_are_those_of_the_work_and_of_the_server",
        when=mariadb(10, 6) | mysql(8, below=(8, 0, 28)),
        holds=lambda theirs, ours: theirs == 0 < ours,
    ),
    Deviation(
        metrics=("mysql_perf_schema_events_statements_*",),
        aspects=("more",),
        theirs="no statement of a session without a schema, and none of one in the server's own",
        ours="all, the foremost of late; NULL as the empty label",
        why="their load is load",
        source="collector/perf_schema_events_statements.go: NOT IN is NULL for a NULL schema",
        test=_TESTS + "test_statements_without_a_schema_count",
        labels={"schema": "|mysql|performance_schema|information_schema"},
    ),
    Deviation(
        metrics=(
            "mysql_info_schema_innodb_tablespace_space_info",
            "mysql_info_schema_innodb_tablespace_file_size_bytes",
            "mysql_info_schema_innodb_tablespace_allocated_size_bytes",
        ),
        aspects=("more",),
        theirs="no system tablespace on MySQL",
        ours="it too, as MariaDB lists it",
        why="it may fill a disk",
        source="collector/info_schema_innodb_sys_tablespaces.go: INNODB_TABLESPACES, which lacks it",
        test="tests/servers/test_mysql_sizes.py::test_the_system_tablespace_is_as_large_as_its_file",
        when=mysql(8),
        labels={"tablespace_name": "innodb_system"},
    ),
    Deviation(
        metrics=("mysql_info_schema_table_version", "mysql_info_schema_table_rows", "mysql_info_schema_table_size"),
        aspects=("missing",),
        theirs="0 for what the server does not know, as of views",
        ours="absent",
        why="unknown is not zero",
        source="collector/info_schema_tables.go: IFNULL(TABLE_ROWS, '0') and its like",
        test="tests/servers/test_mysql_sizes.py::test_rows_and_sizes_of_each_table",
        value=0,
        partly=True,
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_info_schema_table_rows", "mysql_info_schema_table_size"),
        aspects=("value",),
        theirs="up to a day old",
        ours="as they are",
        why="growth would be seen a day late",
        source="collector/info_schema_tables.go: the session leaves information_schema_stats_expiry as it is",
        test="tests/servers/test_mysql_sizes.py::test_rows_and_sizes_of_each_table",
        when=mysql(8),
        where=_cached_sizes,
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_perf_schema_last_applied_*", "mysql_perf_schema_applying_*"),
        aspects=("missing",),
        theirs="0 for a worker that has had no such transaction",
        ours="absent",
        why="unknown is not zero: time() less 0 is 56 years",
        source="collector/perf_schema_replication_applier_status_by_worker.go: what time.Parse refuses, as a zero date,"
        " is sent as 0",
        test=_TESTS + "test_moments_of_workers_are_those_of_the_server",
        when=mysql(8),
        value=0,
    ),
    Deviation(
        metrics=("mysql_perf_schema_last_applied_*", "mysql_perf_schema_applying_*"),
        aspects=("value",),
        theirs="wrong by the distance of the server's time zone from UTC",
        ours="right",
        why="lag is the clock less such a moment",
        source="collector/perf_schema_replication_applier_status_by_worker.go: time.Parse takes the text for UTC",
        test="tests/servers/test_mysql_replication_threads.py::test_moments_of_workers_in_another_time_zone",
        when=mysql(8),
        holds=_zones_apart,
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_heartbeat_*_timestamp_seconds",),
        aspects=("value",),
        theirs="with --collect.heartbeat.utc, both wrong by the distance of the server's time zone from UTC",
        ours="right",
        why="their difference is the same",
        source="collector/heartbeat.go: UNIX_TIMESTAMP() takes what is in UTC for the session's zone",
        test="tests/servers/test_switching_mysqld_peer.py::test_a_heartbeat_table_of_another_name_in_another_time_zone",
        holds=_zones_apart,
        provoked=False,
    ),
    Deviation(
        metrics=("mysql_perf_schema_transactions_rows_validating_total",),
        aspects=("type",),
        theirs="counter",
        ours="gauge",
        why="rows are forgotten once all members have them",
        source="collector/perf_schema_replication_group_member_stats.go: sent as CounterValue",
        test="tests/servers/test_mysql_group.py::test_a_group_and_its_member",
        when=mysql(8),
        kinds=("counter", "gauge"),
        provoked=False,
    ),
)
