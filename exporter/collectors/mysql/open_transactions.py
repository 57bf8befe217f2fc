"""Open transactions: how many, for how long, and what they hold."""

from __future__ import annotations

from exporter.collectors.mysql.clients import CLIENT_PROCESSES, CLIENT_THREADS
from exporter.collectors.mysql.innodb_ages import age
from exporter.collectors.mysql.performance_schema import ALL_THREADS
from exporter.collectors.mysql.row_waiters import FEW, many
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.gates import mariadb, mysql

# What is prepared (XA) and has no session any more holds its locks until somebody commits it, and what was open at a
# crash until the server has rolled it back; its own transactions without a session are over at once. By MySQL's list
# sessions that set their clock, as replayed binary logs do, sleep for years.
_AGE = age("x.trx_started")
_SQL = f"""
    SELECT CASE WHEN x.trx_mysql_thread_id <> 0 THEN IF(t.{{command}} = 'Sleep', 'idle', 'active')
                WHEN x.trx_state = 'ROLLING BACK' THEN 'recovered' ELSE 'prepared' END AS state,
           COUNT(*) AS open, MAX({_AGE}) AS longest,
           MAX(IF(t.{{command}} = 'Sleep', GREATEST(LEAST({{asleep}}, {_AGE}), 0), NULL)) AS idle_longest,
           SUM(x.trx_rows_locked) AS locked, SUM(x.trx_rows_modified) AS modified,
           SUM(x.trx_tables_locked) AS tables, SUM(x.trx_lock_structs) AS structs
    FROM information_schema.INNODB_TRX x LEFT JOIN {{table}} t ON t.{{id}} = x.trx_mysql_thread_id
    WHERE (x.trx_mysql_thread_id = 0 OR {{clients}}) AND {{listed}}
    GROUP BY 1"""
_MANY = f"""
    UNION ALL
    {many("'many', COUNT, NULL, NULL, NULL, NULL, NULL, NULL")}"""


def _processes(listed: str) -> str:
    return _SQL.format(
        command="COMMAND",
        asleep="t.TIME",
        table="information_schema.PROCESSLIST",
        id="ID",
        clients=CLIENT_PROCESSES,
        listed=listed,
    )


_STATES = ("active", "idle", "prepared", "recovered")


def complete(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """All states, with 0 where there is none; nothing where so many wait that the list was not read."""
    found = {row["state"]: row for row in rows.dicts()}
    many = found.pop("many", None)
    if many is not None and not found:
        return Rows.of(rows.columns, [])
    empty = dict.fromkeys(("open", "longest", "locked", "modified", "tables", "structs"), 0)
    out = [{"state": state} | (found.get(state) or empty) for state in _STATES]
    out.append({"idle_longest": (found.get("idle") or {}).get("idle_longest") or 0})
    return Rows.of(rows.columns, out)


open_transactions = Collector(
    name="mysql_open_transactions",
    about="Open transactions of clients, their age, and the rows that they hold.",
    engine="mysql",
    when=mysql(8) | mariadb(10, 6),
    queries=(
        Query(
            mysql(8) & ALL_THREADS,
            _SQL.format(
                command="PROCESSLIST_COMMAND",
                asleep="t.PROCESSLIST_TIME",
                table="performance_schema.threads",
                id="PROCESSLIST_ID",
                clients=CLIENT_THREADS,
                listed="TRUE",
            ),
        ),
        Query(mysql(8), _processes("TRUE")),
        Query(mariadb(10, 6), _processes(FEW) + _MANY),
    ),
    rows=complete,
    blocks=(
        block(
            gauge(
                "mysql_open_transactions",
                "open",
                help="Open transactions of clients, by whether their session is active or idle, or has gone and left "
                "one that is prepared (XA), which holds its locks until it is committed or rolled back, or was cut off "
                "by a crash (recovered), which the server rolls back. On MariaDB absent while more than 200 sessions "
                "wait for rows: to list them would hold up all locks.",
            ),
            gauge("mysql_open_transaction_longest_seconds", "longest", help="Age of the oldest of them, 0 if none."),
            gauge(
                "mysql_open_transactions_locked_rows", "locked", help="Rows that they have locked, as InnoDB has it."
            ),
            gauge("mysql_open_transactions_modified_rows", "modified", help="Rows that they have changed so far."),
            gauge(
                "mysql_open_transactions_locked_tables",
                "tables",
                help="Tables in which they have locks on rows, once for each transaction.",
            ),
            gauge(
                "mysql_open_transactions_lock_structs",
                "structs",
                help="Structures in InnoDB's memory that hold their locks, one for many rows of a page.",
            ),
            labels=("state",),
            merge="max",
        ),
        block(
            gauge(
                "mysql_open_transaction_idle_longest_seconds",
                "idle_longest",
                help="How long a session has slept in a transaction at most, 0 if none does; where a session has set "
                "its clock, MySQL tells no better than how long the transaction is open.",
            ),
            merge="max",
        ),
    ),
    grants=("PROCESS", "SELECT ON performance_schema.*"),
)
