"""What MariaDB counts for each user, client, table and index with userstat on, which needs no performance_schema."""

from __future__ import annotations

from exporter.collectors.busiest import busiest
from exporter.collectors.mysql.clients import SEES_SESSIONS
from exporter.declare import Collector, Measure, Query, block, counter, gauge
from exporter.gates import granted, mariadb, setting

# It costs the server something, so that it is off is nothing to mend.
_ON = mariadb(10, 6) & setting("userstat", "ON", fix="")
# The server shows statistics of tables and indexes to those only who may read the tables; ours need not be one.
_READS = granted("SELECT", fix="")

# The server forgets no client until FLUSH CLIENT_STATISTICS, and hosts come and go: of more than these, a dozen times
# what there is room for, the idlest are not read. A client that is refused all it asks for has no rows, yet is not
# idle. They differ in columns between versions, hence all of them. All are counted, those that are left out, too.
_MOST_READ = 5_000
_BUSY = ("rows_read", "rows_sent", "denied_connections", "access_denied")
_ALL = f"""
    SELECT *, COUNT(*) OVER () AS kept FROM information_schema.{{table}}
    ORDER BY {" + ".join(_BUSY).upper()} DESC, {{key}} LIMIT {_MOST_READ}"""

# The server forgets a table that is dropped.
_FALLS = " Falls when a table is dropped, as with a restart: where tables come and go, add up the rates of tables."

# Column, what completes the name of the metric, what it says.
_COUNTERS = (
    ("total_connections", "total_connections", "Connections opened."),
    ("connected_time", "connected_time_seconds_total", "Time that connections were open."),
    ("busy_time", "busy_seconds_total", "Time that connections were at work."),
    ("cpu_time", "cpu_time_seconds_total", "Processor time."),
    ("bytes_received", "bytes_received_total", "Bytes received."),
    ("bytes_sent", "bytes_sent_total", "Bytes sent."),
    ("binlog_bytes_written", "binlog_bytes_written_total", "Bytes written to the binary log."),
    ("rows_read", "rows_read_total", "Rows read."),
    ("rows_sent", "rows_sent_total", "Rows sent."),
    ("rows_deleted", "rows_deleted_total", "Rows deleted."),
    ("rows_inserted", "rows_inserted_total", "Rows inserted."),
    ("rows_updated", "rows_updated_total", "Rows updated."),
    ("select_commands", "select_commands_total", "Statements that read."),
    ("update_commands", "update_commands_total", "Statements that write."),
    ("other_commands", "other_commands_total", "Other statements."),
    ("commit_transactions", "commit_transactions_total", "Transactions committed."),
    ("rollback_transactions", "rollback_transactions_total", "Transactions rolled back."),
    (
        "denied_connections",
        "denied_connections_total",
        "Connections refused; the server adds refused statements, those of one session many times over.",
    ),
    ("lost_connections", "lost_connections_total", "Connections that ended without a goodbye."),
    ("access_denied", "access_denied_total", "Statements refused for want of a privilege, and connections refused."),
    ("empty_queries", "empty_queries_total", "Statements that gave no row."),
    ("total_ssl_connections", "total_ssl_connections_total", "Connections opened with TLS."),
    ("key_read_hits", "key_read_hits", "Blocks of indexes found in the cache."),
    ("key_read_misses", "key_read_misses", "Blocks of indexes not found in the cache."),
)


def _statistics(of: str, exceeded: str) -> tuple[Measure, ...]:
    counters = (*_COUNTERS, ("max_statement_time_exceeded", exceeded, "Statements ended by max_statement_time."))
    return (
        gauge(
            f"mysql_info_schema_{of}_statistics_concurrent_connections",
            "concurrent_connections",
            help="Connections open at the same time.",
            drop_in=True,
        ),
        *(
            counter(f"mysql_info_schema_{of}_statistics_{name}", column, help=about, drop_in=True)
            for column, name, about in counters
        ),
    )


def _kept(what: str, of: str) -> Measure:
    return gauge(
        f"mysql_{of}_statistics_{what}",
        "kept",
        help=f"{what.capitalize()} that the server keeps statistics of, of which {_MOST_READ} are read at most.",
    )


def _changes(of: str, more: str = "") -> tuple[Measure, ...]:
    counters = (
        ("rows_read", "Rows read."),
        ("rows_changed", "Rows changed."),
        ("rows_changed_x_indexes", "Rows changed, each times the indexes that changed with it."),
    )
    return tuple(
        counter(f"mysql_info_schema_{of}_statistics_{name}_total", name, help=about + more, drop_in=True)
        for name, about in counters
    )


user_statistics = Collector(
    name="mysql_user_statistics",
    about="Connections, statements, rows and time of each user, with userstat on; the busiest of very many. Of "
    f"more than {_MOST_READ} users those with most rows read and sent and most refusals are read.",
    engine="mysql",
    every=60,
    share=0.1,
    when=_ON & SEES_SESSIONS,
    queries=(Query(mariadb(10, 6), _ALL.format(table="USER_STATISTICS", key="USER")),),
    state=busiest("user", by=_BUSY),
    blocks=(
        # First, since users take what room there is.
        block(_kept("users", "user"), merge="max"),
        block(*_statistics("user", "max_statement_time_exceeded"), labels=("user",)),
    ),
    grants=("PROCESS",),
)

client_statistics = Collector(
    name="mysql_client_statistics",
    about="Connections, statements, rows and time of each client host, with userstat on; the busiest of very many. "
    f"Of more than {_MOST_READ} hosts those with most rows read and sent and most refusals are read, until FLUSH "
    "CLIENT_STATISTICS.",
    engine="mysql",
    every=60,
    share=0.1,
    when=_ON & SEES_SESSIONS,
    queries=(Query(mariadb(10, 6), _ALL.format(table="CLIENT_STATISTICS", key="CLIENT")),),
    state=busiest("client", by=_BUSY),
    blocks=(
        block(_kept("hosts", "client"), merge="max"),
        block(*_statistics("client", "max_statement_time_exceeded_total"), labels=("client",)),
    ),
    grants=("PROCESS",),
)

table_statistics = Collector(
    name="mysql_table_statistics",
    about="Rows read and changed in each table and schema, with userstat on and SELECT on all tables; the busiest of "
    "many tables.",
    engine="mysql",
    every=60,
    share=0.1,
    when=_ON & _READS,
    queries=(
        Query(
            mariadb(10, 6),
            "SELECT TABLE_SCHEMA AS `schema`, TABLE_NAME AS `table`, ROWS_READ AS rows_read, "
            "ROWS_CHANGED AS rows_changed, ROWS_CHANGED_X_INDEXES AS rows_changed_x_indexes "
            "FROM information_schema.TABLE_STATISTICS",
        ),
    ),
    state=busiest("schema", "table", by=("rows_read", "rows_changed")),
    blocks=(
        # First, since tables take what room there is.
        block(*_changes("schema", _FALLS), labels=("schema",), merge="sum"),
        block(*_changes("table"), labels=("schema", "table")),
    ),
)

index_statistics = Collector(
    name="mysql_index_statistics",
    about="Rows read through each index, with userstat on and SELECT on all tables; the busiest of many indexes.",
    engine="mysql",
    every=300,
    share=0.1,
    when=_ON & _READS,
    queries=(
        Query(
            mariadb(10, 6),
            "SELECT TABLE_SCHEMA AS `schema`, TABLE_NAME AS `table`, INDEX_NAME AS `index`, ROWS_READ AS rows_read "
            "FROM information_schema.INDEX_STATISTICS",
        ),
    ),
    state=busiest("schema", "table", "index", by=("rows_read",)),
    blocks=(
        block(
            counter(
                "mysql_info_schema_index_statistics_rows_read_total",
                "rows_read",
                help="Rows read through the index; absent for an index that nobody has read.",
            ),
            labels=("schema", "table", "index"),
        ),
    ),
)
