"""The server's status counters: connections, refusals, cache, deadlocks, and what existing dashboards show of them."""

from __future__ import annotations

from typing import Any

from exporter.collectors.mysql.values import number
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Context, Kind, Measure, Query, Rows, block, counter, gauge
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
_COMMANDS = ("begin", "commit", "delete", "insert", "replace", "rollback", "select", "update")
_ERRORS = ("accept", "internal", "max_connections", "peer_address", "select", "tcpwrap")
_PAGES = ("data", "free", "misc")
_NAMES = ", ".join(
    f"'{name}'"
    for name in (
        *(name for name, _, _ in _STATUS),
        *(f"Com_{name}" for name in _COMMANDS),
        *(f"Connection_errors_{name}" for name in _ERRORS),
        *(f"Innodb_buffer_pool_pages_{name}" for name in (*_PAGES, "dirty")),
    )
)


def _native(name: str, kind: Kind, about: str) -> Measure:
    return Measure(f"mysql_global_status_{name.lower()}", kind, (name.lower(),), about, drop_in=True)


def derived(rows: Rows, context: Context) -> Rows:
    """One row with all counters by name, and what follows from them; then one row for each label of the others.

    In every block the rows of the others have neither label nor value, and merge away.
    """
    status = {str(name).lower(): number(value) for name, value in rows.rows}
    # MariaDB has the counter but never counts in it; there a full server is told by failed logins alone.
    known = [name for name in _ERRORS if name != "max_connections" or context.facts.flavor != "mariadb"]
    more: list[dict[str, Any]] = [
        *({"command": name, "commands": status.get(f"com_{name}")} for name in _COMMANDS),
        *({"error": name, "errors": status.get(f"connection_errors_{name}")} for name in _ERRORS),
        *({"page_state": name, "pages": status.get(f"innodb_buffer_pool_pages_{name}")} for name in _PAGES),
        *({"reason": name, "refused": status.get(f"connection_errors_{name}")} for name in known),
        {"reason": "login", "refused": status.get("aborted_connects")},
        {"kind": "redo", "stored": status.get("innodb_redo_log_physical_size")},
    ]
    labelled = ("command", "commands", "error", "errors", "page_state", "pages", "reason", "refused", "kind", "stored")
    return Rows.of((*status, *labelled), [status, *more])


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


class Differences:
    """What follows from two counters: failed logins, which MySQL counts together with refusals for want of a slot, and
    the pages that the buffer pool had.
    """

    def __init__(self) -> None:
        self.rebase()

    def feed(self, rows: Rows, context: Context) -> Rows:  # noqa: ARG002
        """Correct the rows of `derived`."""
        found = rows.dicts()
        status = found[0]
        asked, read = status.get("innodb_buffer_pool_read_requests"), status.get("innodb_buffer_pool_reads")
        if asked is not None and read is not None:
            status["cache_hits"] = self._hits.of(asked, read)
        full = next((row["refused"] for row in found if row["reason"] == "max_connections"), None) or 0
        for row in found:
            if row["reason"] == "login" and row["refused"] is not None:
                row["refused"] = self._logins.of(row["refused"], full)
        return Rows.of((*rows.columns, "cache_hits"), found)

    def rebase(self) -> None:
        """Another server answers, with counters of its own."""
        self._hits, self._logins = Difference(), Difference()


status = Collector(
    name="mysql_status",
    about="Connections, refusals, cache, deadlocks and statements as the server's status counters have them.",
    engine="mysql",
    when=mysql(8) | mariadb(10, 6),
    queries=(Query(mysql(8) | mariadb(10, 6), f"SHOW GLOBAL STATUS WHERE Variable_name IN ({_NAMES})"),),
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
            shared("db_connections_opened_total", "connections"),
            shared("db_cache_hits_total", "cache_hits"),
            shared("db_cache_misses_total", "innodb_buffer_pool_reads"),
            shared("db_deadlocks_total", "innodb_deadlocks", when=mariadb(10, 6)),
            merge="max",
        ),
        block(
            counter(
                "mysql_global_status_commands_total", "commands", help="Statements by their first word.", drop_in=True
            ),
            labels=("command",),
            merge="max",
        ),
        block(
            counter(
                "mysql_global_status_connection_errors_total",
                "errors",
                help="Connections refused before the login.",
                drop_in=True,
            ),
            labels=("error",),
            merge="max",
        ),
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
    ),
)
