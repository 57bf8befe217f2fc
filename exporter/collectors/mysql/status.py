"""The server's status counters: connections, refusals, cache, deadlocks, and what existing dashboards show of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from exporter.collectors.mysql.history import checkpoint_age, history_list
from exporter.collectors.mysql.status_kinds import kind_of
from exporter.collectors.mysql.values import not_negative, number
from exporter.collectors.vocabulary import shared
from exporter.declare import Block, Collector, Context, Kind, Measure, Query, Rows, block, counter, gauge
from exporter.gates import mariadb, mysql

_STATUS: tuple[tuple[str, Kind, str], ...] = (
    ("Aborted_clients", "counter", "Connections that ended without a goodbye."),
    ("Aborted_connects", "counter", "Attempts to connect that failed."),
    ("Bytes_received", "counter", "Bytes received from clients."),
    ("Bytes_sent", "counter", "Bytes sent to clients."),
    ("Connections", "counter", "Attempts to connect, failed ones among them."),
    ("Created_tmp_disk_tables", "counter", "Internal temporary tables on disk."),
    ("Created_tmp_files", "counter", "Temporary files."),
    ("Created_tmp_tables", "counter", "Internal temporary tables."),
    ("Innodb_buffer_pool_bytes_data", "gauge", "Bytes in the buffer pool that hold data."),
    ("Innodb_buffer_pool_bytes_dirty", "gauge", "Bytes in the buffer pool that are not yet on disk."),
    ("Innodb_buffer_pool_read_requests", "counter", "Pages asked of the buffer pool."),
    ("Innodb_buffer_pool_reads", "counter", "Pages that the buffer pool did not have."),
    ("Innodb_buffer_pool_wait_free", "counter", "Waits for a free page in the buffer pool."),
    ("Innodb_buffer_pool_write_requests", "counter", "Writes to the buffer pool."),
    ("Innodb_data_fsyncs", "counter", "Flushes to disk."),
    ("Innodb_data_read", "counter", "Bytes read from disk."),
    ("Innodb_data_reads", "counter", "Reads from disk."),
    ("Innodb_data_writes", "counter", "Writes to disk."),
    ("Innodb_data_written", "counter", "Bytes written to disk."),
    ("Innodb_deadlocks", "counter", "Deadlocks."),
    ("Innodb_log_waits", "counter", "Waits for room in the log buffer."),
    ("Innodb_os_log_written", "counter", "Bytes written to the redo log."),
    ("Innodb_redo_log_logical_size", "gauge", "Bytes of the redo log that are needed."),
    ("Innodb_redo_log_physical_size", "gauge", "Bytes of the redo log's files."),
    ("Innodb_row_lock_current_waits", "gauge", "Waits for a lock on a row right now."),
    ("Innodb_row_lock_time", "counter", "Milliseconds spent waiting for locks on rows."),
    ("Innodb_row_lock_waits", "counter", "Waits for locks on rows."),
    ("Max_used_connections", "gauge", "The most connections there were at once."),
    ("Open_files", "gauge", "Open files."),
    ("Open_tables", "gauge", "Open tables."),
    ("Opened_tables", "counter", "Tables opened."),
    ("Prepared_stmt_count", "gauge", "Prepared statements."),
    ("Queries", "counter", "Statements executed, those inside stored programs too."),
    ("Questions", "counter", "Statements that clients sent."),
    ("Select_full_join", "counter", "Joins without an index."),
    ("Select_scan", "counter", "Joins that scanned the first table."),
    ("Slow_queries", "counter", "Statements slower than long_query_time."),
    ("Sort_merge_passes", "counter", "Merge passes of sorts."),
    ("Sort_rows", "counter", "Rows sorted."),
    ("Table_locks_immediate", "counter", "Locks on tables granted at once."),
    ("Table_locks_waited", "counter", "Locks on tables that were waited for."),
    ("Table_open_cache_hits", "counter", "Tables found in the cache of open tables."),
    ("Table_open_cache_misses", "counter", "Tables not found in the cache of open tables."),
    ("Threads_cached", "gauge", "Threads kept for new connections."),
    ("Threads_connected", "gauge", "Open connections, the exporter's own too."),
    ("Threads_created", "counter", "Threads created for connections."),
    ("Threads_running", "gauge", "Threads that are not asleep."),
    ("Uptime", "counter", "Seconds since the server started."),
)
_ERRORS = ("accept", "internal", "max_connections", "peer_address", "select", "tcpwrap")
_PAGES = ("data", "free", "misc", "old")
# What has a metric of its own, and what is in no metric: the pages in all are those of the states together.
_KNOWN = frozenset((*(name.lower() for name, _, _ in _STATUS), "innodb_buffer_pool_pages_total"))
# What stands under another name too.
_TWICE = ("innodb_buffer_pool_pages_dirty", "innodb_history_list_length", "ssl_server_not_after")
# Families of variables: how their names begin, the column of the label, the column of the value.
_FAMILIES = (
    ("com_", "command", "commands"),
    ("handler_", "handler", "handlers"),
    ("connection_errors_", "error", "errors"),
    ("innodb_buffer_pool_pages_", "page_operation", "page_operations"),
    ("innodb_rows_", "row_operation", "row_operations"),
    ("performance_schema_", "instrumentation", "lost"),
)
_UNFIT = re.compile(r"[^a-z0-9_]")
_LABELLED = (
    *(column for _, label, value in _FAMILIES for column in (label, value)),
    *("page_state", "pages", "reason", "refused", "kind", "stored"),
    *("counter", "gauge", "untyped", "value"),
)


def _native(name: str, kind: Kind, about: str) -> Measure:
    return Measure(f"mysql_global_status_{name.lower()}", kind, (name.lower(),), about, drop_in=True)


def derived(rows: Rows, context: Context) -> Rows:
    """One row with the counters that have metrics of their own, and what follows from them; then one row for each
    label of the others, and for each variable that no manual names here.

    In every block the rows of the others have neither label nor value, and merge away.
    """
    status = {str(name).lower(): number(value) for name, value in rows.rows}
    # MariaDB refuses most in the slot that it keeps for administrators, and then counts a failed login alone; here it
    # counts who came while somebody had that slot. So few would look as if the server was hardly ever full.
    known = [name for name in _ERRORS if name != "max_connections" or context.facts.flavor != "mariadb"]
    more: list[dict[str, Any]] = [
        # Of compressed tables the pool has more pages than frames. What is misc the server tells by taking all pages
        # off the frames, so that is below zero then, and nobody knows how many they are.
        *(
            {"page_state": name, "pages": not_negative(status.get(f"innodb_buffer_pool_pages_{name}"))}
            for name in _PAGES
        ),
        *({"reason": name, "refused": status.get(f"connection_errors_{name}")} for name in known),
        {"reason": "login", "refused": status.get("aborted_connects")},
        {"kind": "redo", "stored": status.get("innodb_redo_log_physical_size")},
    ]
    first: dict[str, Any] = {name: status.get(name) for name in _TWICE}
    first["checkpoint_age"] = _checkpoint_age(status)
    for name, value in status.items():
        if name in _KNOWN:
            first[name] = value
        elif value is not None:
            more.extend(_labelled(name, value))
    # The first row has a column for each counter, the others have few values: written out by hand, that is quick.
    others = [(*(None,) * len(first), *map(row.get, _LABELLED)) for row in more]
    return Rows((*first, *_LABELLED), [(*first.values(), *(None,) * len(_LABELLED)), *others])


def _checkpoint_age(status: Mapping[str, float | None]) -> float | None:
    # The names of MySQL from 8.0.30 on, and those of MariaDB.
    for now, then in (
        ("innodb_redo_log_current_lsn", "innodb_redo_log_checkpoint_lsn"),
        ("innodb_lsn_current", "innodb_lsn_last_checkpoint"),
    ):
        written, kept = status.get(now), status.get(then)
        if written is not None and kept is not None:
            return max(written - kept, 0)
    return None


def _labelled(name: str, value: float) -> Iterator[dict[str, Any]]:
    for prefix, label, column in _FAMILIES:
        if name.startswith(prefix):
            part = name.removeprefix(prefix)
            if label != "page_operation" or part not in {*_PAGES, "dirty"}:
                yield {label: part, column: value}
            return
    yield {kind_of(name): _UNFIT.sub("_", name), "value": value}


def _family(name: str, label: str, value: str, about: str) -> Block:
    column = next(column for _, column, values in _FAMILIES if values == value)
    measure = counter(f"mysql_global_status_{name}", value, help=about, drop_in=True)
    return block(measure, labels={label: column}, merge="max")


def _generic(kind: Kind) -> Block:
    measure = Measure("mysql_global_status_", kind, ("value",), "The status variable of this name.", drop_in=True)
    return block(measure, named_by=kind)


class Difference:
    """One counter of the server less another, never falling while the first does not.

    The two don't move at the same moment, so their difference may fall for an instant, which Prometheus would take for
    a restart and count everything anew: it is held then. It goes on where it was when the exporter is started anew, so
    nothing is a baseline.
    """

    def __init__(self) -> None:
        self._last: float | None = None
        self._whole = 0.0

    def of(self, whole: float, part: float) -> float:
        """The difference now."""
        less = max(whole - part, 0)
        held = less if self._last is None or whole < self._whole else max(less, self._last)
        self._last, self._whole = held, whole
        return held


class Logins:
    """Failed logins, from all attempts that failed and those that found the server full.

    The server counts most of these among the first, but not those that came while an administrator had the slot that is
    kept for one. So what is new is compared from one reading to the next, and those hide no more than what fails in the
    same interval. The first reading is taken as it is, so that it goes on where it was when the exporter is started
    anew.
    """

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        self._ahead = 0.0
        self._failed = 0.0

    def of(self, failed: float, full: float) -> float:
        """Failed logins by now."""
        last, self._last = self._last, (failed, full)
        if last is None or failed < last[0]:
            self._failed, self._ahead = max(failed - full, 0), 0.0
            return self._failed
        new = failed - last[0] - max(full - last[1], 0)
        self._failed += max(new - self._ahead, 0)
        # One may be counted as full already, and with the next reading as failed.
        self._ahead = 1.0 if new < 0 else 0.0
        return self._failed


class Differences:
    """What follows from two counters: failed logins, which MySQL counts together with refusals for want of a slot, and
    the pages that the buffer pool had.
    """

    def __init__(self) -> None:
        self.rebase()

    def feed(self, rows: Rows, context: Context) -> Rows:  # noqa: ARG002
        """Correct the rows of `derived`."""
        place = {column: index for index, column in enumerate(rows.columns)}
        reason, refused = place["reason"], place["refused"]
        status = dict(zip(rows.columns, rows.rows[0], strict=True))
        asked, read = status.get("innodb_buffer_pool_read_requests"), status.get("innodb_buffer_pool_reads")
        hits = None if asked is None or read is None else self._hits.of(asked, read)
        full = next((row[refused] for row in rows.rows if row[reason] == "max_connections"), None) or 0
        found = [(*row, None) for row in rows.rows]
        found[0] = (*rows.rows[0], hits)
        for index, row in enumerate(rows.rows):
            if row[reason] == "login" and row[refused] is not None:
                found[index] = (*row[:refused], self._logins.of(row[refused], full), *row[refused + 1 :], None)
        return Rows((*rows.columns, "cache_hits"), found)

    def rebase(self) -> None:
        """Another server, or this one after a restart, has counters of its own."""
        self._hits, self._logins = Difference(), Logins()


status = Collector(
    name="mysql_status",
    about="Connections, refusals, cache, deadlocks and statements as the server's status counters have them.",
    engine="mysql",
    when=mysql(8) | mariadb(10, 6),
    queries=(Query(mysql(8) | mariadb(10, 6), "SHOW GLOBAL STATUS"),),
    rows=derived,
    state=Differences,
    blocks=(
        block(
            *(_native(*entry) for entry in _STATUS),
            gauge(
                "mysql_global_status_buffer_pool_dirty_pages",
                "innodb_buffer_pool_pages_dirty",
                help="Pages in the buffer pool that are not yet on disk.",
                drop_in=True,
            ),
            gauge(
                "mysql_server_certificate_expiry_timestamp_seconds",
                "ssl_server_not_after",
                help="When the server's certificate ends; absent without one, and on MariaDB, which tells that of the "
                "exporter's own connection, where that has no TLS.",
            ),
            checkpoint_age("checkpoint_age", mysql(8, 0, 30) | mariadb(10, 6)),
            history_list("innodb_history_list_length", mariadb(10, 6)),
            shared("db_connections_opened_total", "connections"),
            shared("db_cache_hits_total", "cache_hits"),
            shared("db_cache_misses_total", "innodb_buffer_pool_reads"),
            shared("db_deadlocks_total", "innodb_deadlocks", when=mariadb(10, 6)),
            merge="max",
        ),
        _family("commands_total", "command", "commands", "Statements by their first word."),
        _family("handlers_total", "handler", "handlers", "Requests to storage engines."),
        _family("innodb_row_ops_total", "operation", "row_operations", "Rows that InnoDB read and changed."),
        _family("buffer_pool_page_changes_total", "operation", "page_operations", "What happened to pages."),
        _family(
            "performance_schema_lost_total",
            "instrumentation",
            "lost",
            "What performance_schema could not take in for want of memory.",
        ),
        _family("connection_errors_total", "error", "errors", "Connections refused before the login."),
        block(
            gauge(
                "mysql_global_status_buffer_pool_pages",
                "pages",
                help="Pages of the buffer pool by what they hold.",
                drop_in=True,
            ),
            labels={"state": "page_state"},
            merge="max",
        ),
        block(
            shared("db_connections_refused_total", "refused"),
            labels=("reason",),
            merge="max",
        ),
        block(
            shared("db_storage_bytes", "stored"),
            labels=("kind",),
            merge="max",
        ),
        *(_generic(kind) for kind in ("counter", "gauge", "untyped")),
    ),
)
