"""Sessions by state, and the oldest transaction, statement and wait for a lock among them."""

from __future__ import annotations

from typing import Any

from exporter.collectors.mysql.clients import CLIENT_PROCESSES, CLIENT_THREADS, CONNECTED_PROCESSES, CONNECTED_THREADS
from exporter.collectors.mysql.innodb_ages import age
from exporter.collectors.mysql.performance_schema import ALL_THREADS
from exporter.collectors.mysql.row_waiters import FEW, many
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Context, Query, Rows, block
from exporter.gates import mariadb, mysql

_STATES = ("active", "idle", "idle_in_transaction", "other")

# Waits for other locks than those on rows are seen in a session's state; they are not older than its statement.
_SQL = """
    SELECT 'session' AS part,
           CASE WHEN {clients}
                THEN CASE t.{command} WHEN 'Sleep' THEN 'idle' WHEN 'Connect' THEN 'other' ELSE 'active' END
                ELSE 'reserved' END AS kind,
           COUNT(*) AS sessions,
           MAX({statement_age}) AS age,
           SUM({waits}) AS waiting,
           MAX(CASE WHEN {waits} THEN {statement_age} END) AS wait_age,
           {mysqlx} AS mysqlx
    FROM {sessions}
    WHERE {connected}
    GROUP BY kind
    UNION ALL
    SELECT 'transaction', IF(t.{command} = 'Sleep', 'idle', 'active'), COUNT(*),
           MAX({transaction_age}),
           SUM(x.trx_state = 'LOCK WAIT'),
           MAX({wait_age}),
           NULL
    FROM information_schema.INNODB_TRX x STRAIGHT_JOIN {table} t ON t.{id} = x.trx_mysql_thread_id
    WHERE {clients} AND {listed}
    GROUP BY 2"""
_AGES = {"transaction_age": age("x.trx_started"), "wait_age": age("x.trx_wait_started")}


def _waits(state: str) -> str:
    # The last is GET_LOCK. MariaDB's query cache has a latch, which is held for moments, by statements of any age.
    return (
        f"t.{state} LIKE 'Waiting for %lock' AND t.{state} <> 'Waiting for query cache lock'"
        f" OR t.{state} IN ('Waiting for table flush', 'User lock')"
    )


# A session of the X protocol has a thread's number from its first statement on, and a place of max_connections before.
_MYSQLX = """
    UNION ALL
    SELECT 'mysqlx', NULL, CAST(VARIABLE_VALUE AS SIGNED), NULL, NULL, NULL, NULL
    FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Mysqlx_worker_threads_active'"""

# Unlike the age in the process list, the timer of a statement is right for a client that has set its own clock. Who
# sleeps runs none; to look for one all the same took 5 ms of 7 with 1,000 sessions.
_THREADS = _SQL.format(
    command="PROCESSLIST_COMMAND",
    waits=_waits("PROCESSLIST_STATE"),
    id="PROCESSLIST_ID",
    mysqlx="SUM(t.NAME LIKE 'thread/mysqlx/%')",
    statement_age="COALESCE(s.TIMER_WAIT / 1e12, t.PROCESSLIST_TIME)",
    sessions="""performance_schema.threads t
        LEFT JOIN performance_schema.events_statements_current s
            ON s.THREAD_ID = IF(t.PROCESSLIST_COMMAND = 'Sleep', NULL, t.THREAD_ID)
            AND s.END_EVENT_ID IS NULL AND s.NESTING_EVENT_LEVEL = 0""",
    table="performance_schema.threads",
    clients=CLIENT_THREADS,
    connected=CONNECTED_THREADS,
    listed="TRUE",
    **_AGES,
)
_MANY = f"""
    UNION ALL
    {many("'many', NULL, NULL, NULL, COUNT, NULL, NULL")}"""


def _processes(statement_age: str, listed: str = "TRUE") -> str:
    return _SQL.format(
        command="COMMAND",
        waits=_waits("STATE"),
        id="ID",
        statement_age=statement_age,
        mysqlx="NULL",
        sessions="information_schema.PROCESSLIST t",
        table="information_schema.PROCESSLIST",
        clients=CLIENT_PROCESSES,
        connected=CONNECTED_PROCESSES,
        listed=listed,
        **_AGES,
    )


def summed(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """One row for each state, those without sessions too; the figures of the whole server stand in the first."""
    # An administrator's connection comes on top of max_connections, so the slots that are closed to applications are
    # those that replicas and we hold: the server is full without them.
    reserved = sum(row["sessions"] for row in rows.dicts() if row["kind"] == "reserved")
    found = [row for row in rows.dicts() if row["kind"] != "reserved"]
    sessions = [row for row in found if row["part"] == "session"]
    transactions = [row for row in found if row["part"] == "transaction"]
    waiters = [row for row in found if row["part"] == "many" and not transactions]
    count = dict.fromkeys(_STATES, 0) | {row["kind"]: row["sessions"] for row in sessions}
    # All that are connected over the X protocol, less those among the sessions.
    places = sum(row["sessions"] for row in found if row["part"] == "mysqlx")
    count["idle"] += max(places - sum(row["mysqlx"] or 0 for row in rows.dicts()), 0)
    if waiters:
        # Who sleeps in a transaction can't be told from who sleeps.
        count["idle_in_transaction"] = None
    else:
        # The transactions are read a moment later, when more sessions may sleep in one than slept before.
        asleep = sum(row["sessions"] for row in transactions if row["kind"] == "idle")
        count["idle_in_transaction"] = min(asleep, count["idle"])
        count["idle"] -= count["idle_in_transaction"]
    whole = {
        "reserved": reserved,
        "transaction_age": None if waiters else _oldest(transactions, "age"),
        "statement_age": _oldest([row for row in sessions if row["kind"] == "active"], "age"),
        "waiting": sum(row["waiting"] or 0 for row in sessions + (waiters or transactions)),
        "wait_age": None if waiters else _oldest(found, "wait_age"),
    }
    states: list[dict[str, Any]] = [{"state": state, "sessions": count[state]} for state in _STATES]
    states[0] |= whole
    return Rows.of(("state", "sessions", *whole), states)


def _oldest(rows: list[dict[str, Any]], column: str) -> float:
    return max((row[column] for row in rows if row[column] is not None and row[column] > 0), default=0)


activity = Collector(
    name="mysql_activity",
    about="Sessions by state, and the oldest transaction, statement and wait for a lock among them.",
    engine="mysql",
    when=mysql(8) | mariadb(10, 6),
    queries=(
        Query(mysql(8) & ALL_THREADS, _THREADS + _MYSQLX),
        Query(mysql(8), _processes("t.TIME")),
        Query(mariadb(10, 6), _processes("t.TIME_MS / 1000", FEW) + _MANY),
    ),
    rows=summed,
    blocks=(
        block(
            shared("db_connections", "sessions"),
            labels=("state",),
        ),
        block(
            shared("db_connections_reserved", "reserved"),
            shared("db_transaction_longest_seconds", "transaction_age"),
            shared("db_statement_longest_seconds", "statement_age"),
            shared("db_lock_waiting_sessions", "waiting"),
            shared("db_lock_wait_longest_seconds", "wait_age"),
            merge="max",
        ),
    ),
    grants=("PROCESS", "SELECT ON performance_schema.*"),
)
