"""Who waits for a lock and who holds it: on rows, on the definition of tables, and on tables as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from exporter.collectors.mysql.innodb_ages import age
from exporter.collectors.mysql.performance_schema import ALL_THREADS
from exporter.collectors.mysql.row_waiters import FEW, many
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.gates import mariadb, mysql

# A row for each waiter and one for each holder; there are none while nobody waits. A queue for one row or table has a
# square of waits, so that waiters are counted by themselves, and holders looked for among no more than {limit} waits,
# or locks on what somebody waits for; MariaDB makes the whole list whatever one asks of it, or none.
# MySQL makes the list of 256 transactions at once, under the latch that every lock needs: with 1,500 waiters for a row
# it took 330 ms to give a single wait, and others' locks took up to 60 ms. Whom one waiter waits for it finds by index,
# in 0.3 ms. So a part of the waiters is asked about: the first of each queue, then the second of each, and so on.
# Of a row that was inserted the waiter itself makes the lock that it waits for, in the holder's name and with its own
# thread: so it is the transaction that tells who holds it.
# Who waits for a definition a session's state tells; who holds it only metadata_locks, which is empty where its
# instrument is off, as some switch it off for its cost. Threads of the server's own, as the one that purges old rows,
# have no PROCESSLIST_ID: nobody waits for them.
# All these locks are looked through only while somebody waits: of 30,000 that took 100 ms.
# Names of tables that differ by case or accents the view takes for the same, but only those of routines and events are.
_WAIT = age("x.trx_wait_started")
# Of the waiters for rows so many are asked for whom they wait.
MOST_ASKED = 50
# A lock's name ends with space, page and place of its row, and a number of its own.
_QUEUE = "SUBSTRING_INDEX(SUBSTRING_INDEX(trx_requested_lock_id, ':', -4), ':', 3)"
_PENDING = "LOCK_STATUS = 'PENDING' AND OBJECT_TYPE NOT IN ('USER LEVEL LOCK', 'LOCKING SERVICE')"
# What a session runs, or has run last: an idle one did in its open transaction.
_LAST = """(
        SELECT s.{column} FROM performance_schema.events_statements_current s
        WHERE s.THREAD_ID = w.holder AND s.NESTING_EVENT_LEVEL = 0 LIMIT 1
    )"""
# NULL where no thread has the transaction: somebody prepared it (XA) and has gone.
_SLEEPS = "IF(h.THREAD_ID IS NULL, NULL, COALESCE(h.PROCESSLIST_COMMAND, '') = 'Sleep')"
_STATEMENT = f"{_LAST.format(column='CURRENT_SCHEMA')}, {_LAST.format(column='DIGEST')}"
# Right also for a client that has set its own clock, unlike the age in the list of threads.
_AGE = "COALESCE(s.TIMER_WAIT / 1e12, t.PROCESSLIST_TIME)"
_RUNNING = """performance_schema.threads t
    LEFT JOIN performance_schema.events_statements_current s
        ON s.THREAD_ID = t.THREAD_ID AND s.END_EVENT_ID IS NULL AND s.NESTING_EVENT_LEVEL = 0"""
_FOR_DEFINITIONS = """t.PROCESSLIST_ID IS NOT NULL AND t.PROCESSLIST_STATE LIKE 'Waiting for %lock'
      AND t.PROCESSLIST_STATE NOT IN ('Waiting for table level lock', 'Waiting for locking service lock')"""
# Who holds what these wait for is told nowhere.
_TABLE = "('Waiting for table level lock', 'Waiting for table flush')"
_THREADS = f"""
    SELECT 'row' AS kind, t.THREAD_ID AS waiter, NULL AS holder, NULL AS holder_sleeps, {_WAIT} AS age,
           NULL AS `schema`, NULL AS digest
    FROM information_schema.INNODB_TRX x
    STRAIGHT_JOIN performance_schema.threads t ON t.PROCESSLIST_ID = x.trx_mysql_thread_id
    WHERE x.trx_state = 'LOCK WAIT'
    UNION ALL
    SELECT 'row', NULL, w.holder, {_SLEEPS}, NULL, {_STATEMENT}
    FROM (
        SELECT COALESCE(o.THREAD_ID, -CAST(b.trx_id AS SIGNED)) AS holder
        FROM (
            SELECT DISTINCT d.BLOCKING_ENGINE_TRANSACTION_ID AS id
            FROM (
                SELECT id
                FROM (
                    SELECT trx_mysql_thread_id AS id, trx_wait_started AS since,
                           ROW_NUMBER() OVER (PARTITION BY {_QUEUE} ORDER BY trx_wait_started, trx_id + 0) AS place
                    FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'
                ) queues
                ORDER BY place, since LIMIT {MOST_ASKED}
            ) x
            STRAIGHT_JOIN performance_schema.threads t ON t.PROCESSLIST_ID = x.id
            STRAIGHT_JOIN performance_schema.data_lock_waits d FORCE INDEX (REQUESTING_THREAD_ID)
                ON d.REQUESTING_THREAD_ID = t.THREAD_ID
            LIMIT {{limit}}
        ) waits
        JOIN information_schema.INNODB_TRX b ON b.trx_id = waits.id
        LEFT JOIN performance_schema.threads o ON o.PROCESSLIST_ID = b.trx_mysql_thread_id
    ) w
    LEFT JOIN performance_schema.threads h ON h.THREAD_ID = w.holder
    UNION ALL
    SELECT 'metadata', t.THREAD_ID, NULL, NULL, {_AGE}, NULL, NULL
    FROM {_RUNNING}
    WHERE {_FOR_DEFINITIONS}
    UNION ALL
    SELECT 'metadata', NULL, w.holder, {_SLEEPS}, NULL, {_STATEMENT}
    FROM (
        SELECT DISTINCT holder
        FROM (
            SELECT g.OWNER_THREAD_ID AS holder
            FROM (
                SELECT OBJECT_TYPE, OBJECT_SCHEMA, OBJECT_NAME
                FROM (SELECT 1 FROM performance_schema.threads t WHERE {_FOR_DEFINITIONS} LIMIT 1) somebody
                STRAIGHT_JOIN performance_schema.metadata_locks WHERE {_PENDING}
                GROUP BY 1, 2, 3, CAST(OBJECT_SCHEMA AS BINARY), CAST(OBJECT_NAME AS BINARY)
                LIMIT {{limit}}
            ) p
            JOIN performance_schema.metadata_locks g
                ON g.OBJECT_TYPE = p.OBJECT_TYPE
                AND g.OBJECT_SCHEMA <=> p.OBJECT_SCHEMA AND g.OBJECT_NAME <=> p.OBJECT_NAME
                AND CAST(g.OBJECT_SCHEMA AS BINARY) <=> CAST(p.OBJECT_SCHEMA AS BINARY)
                AND (CAST(g.OBJECT_NAME AS BINARY) <=> CAST(p.OBJECT_NAME AS BINARY)
                     OR g.OBJECT_TYPE IN ('FUNCTION', 'PROCEDURE', 'EVENT'))
                AND g.LOCK_STATUS = 'GRANTED' AND g.LOCK_DURATION <> 'STATEMENT'
            LIMIT {{limit}}
        ) locks
    ) w
    LEFT JOIN performance_schema.threads h ON h.THREAD_ID = w.holder
    UNION ALL
    SELECT 'no holders', NULL, NULL, NULL, NULL, NULL, NULL FROM (SELECT 1) one
    WHERE NOT EXISTS (SELECT 1 FROM performance_schema.setup_instruments
                      WHERE NAME = 'wait/lock/metadata/sql/mdl' AND ENABLED = 'YES')
       OR NOT EXISTS (SELECT 1 FROM performance_schema.setup_consumers
                      WHERE NAME = 'global_instrumentation' AND ENABLED = 'YES')
    UNION ALL
    SELECT 'table', t.THREAD_ID, NULL, NULL, {_AGE}, NULL, NULL
    FROM {_RUNNING}
    WHERE t.PROCESSLIST_STATE IN {_TABLE}"""
# Who holds the definition of a table MariaDB tells only with a plugin, or an instrument that is off as it comes. What a
# global read lock or a backup holds up has one name there; MySQL has it among the locks on definitions, too.
_PROCESSES = f"""
    SELECT 'row' AS kind, x.trx_mysql_thread_id AS waiter, NULL AS holder, NULL AS holder_sleeps, {_WAIT} AS age,
           NULL AS `schema`, NULL AS digest
    FROM information_schema.INNODB_TRX x WHERE x.trx_state = 'LOCK WAIT' AND {FEW}
    UNION ALL
    SELECT 'row', NULL, b.trx_mysql_thread_id, h.COMMAND = 'Sleep', NULL, NULL, NULL
    FROM (SELECT DISTINCT blocking_trx_id AS id FROM information_schema.INNODB_LOCK_WAITS WHERE {FEW}) w
    JOIN information_schema.INNODB_TRX b ON b.trx_id = w.id AND b.trx_state <> 'LOCK WAIT'
    LEFT JOIN information_schema.PROCESSLIST h ON h.ID = b.trx_mysql_thread_id
    WHERE {FEW}
    UNION ALL
    {many("'many rows', COUNT, NULL, NULL, NULL, NULL, NULL")}
    UNION ALL
    SELECT 'metadata', ID, NULL, NULL, TIME_MS / 1000, NULL, NULL
    FROM information_schema.PROCESSLIST
    WHERE STATE LIKE 'Waiting for % metadata lock' OR STATE = 'Waiting for backup lock'
    UNION ALL
    SELECT 'table', ID, NULL, NULL, TIME_MS / 1000, NULL, NULL
    FROM information_schema.PROCESSLIST WHERE STATE IN {_TABLE}"""
_KINDS = ("row", "metadata", "table")
# Of each kind so many statements of holders are told apart.
_MOST_STATEMENTS = 10


def counted(rows: Rows, context: Context) -> Rows:
    """For each kind of lock: waiters, the longest wait, and holders that wait for nobody themselves, by whether they
    sleep or have gone, and by statement.
    """
    edges = rows.dicts()
    many_rows = next((edge["waiter"] for edge in edges if edge["kind"] == "many rows"), None)
    names_holders = context.facts.flavor != "mariadb"
    names_metadata_holders = names_holders and all(edge["kind"] != "no holders" for edge in edges)
    edges = [edge for edge in edges if edge["kind"] in _KINDS]
    waiters = {edge["waiter"] for edge in edges} - {None}
    out: list[dict[str, Any]] = []
    for kind in _KINDS:
        mine = [edge for edge in edges if edge["kind"] == kind]
        ages = {edge["waiter"]: edge["age"] for edge in mine if edge["waiter"] is not None}
        roots = {edge["holder"]: edge for edge in mine if edge["holder"] not in waiters}
        roots.pop(None, None)
        present = [root for root in roots.values() if root["holder_sleeps"] is not None]
        asleep = sum(1 for root in present if root["holder_sleeps"])
        told = kind == "row" or (kind == "metadata" and names_metadata_holders)
        if kind == "row" and many_rows is not None:
            # Of waiters and holders either may not have been listed, or neither.
            told = bool(roots)
            out.append({"kind": kind, "waiting": len(ages) or many_rows, "longest": _longest(ages) if ages else None})
        else:
            out.append({"kind": kind, "waiting": len(ages), "longest": _longest(ages)})
        out.append({"kind": kind, "state": "idle", "blocking": asleep if told else None})
        out.append({"kind": kind, "state": "active", "blocking": len(present) - asleep if told else None})
        out.append({"kind": kind, "state": "prepared", "blocking": len(roots) - len(present) if told else None})
        if names_holders:
            out += ({"kind": kind} | statement for statement in _by_statement(present))
    return Rows.of(("kind", "waiting", "longest", "state", "blocking", "schema", "digest", "sessions"), out)


def _longest(ages: Mapping[Any, float | None]) -> float:
    return max((age for age in ages.values() if age is not None), default=0)


def _by_statement(roots: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    count = Counter((root["schema"] or "", root["digest"] or "") for root in roots)
    first = sorted(count.items(), key=lambda item: (-item[1], item[0]))
    for (schema, digest), sessions in first[:_MOST_STATEMENTS]:
        yield {"schema": schema, "digest": digest, "sessions": sessions}
    if left := sum(sessions for _, sessions in first[_MOST_STATEMENTS:]):
        yield {"schema": "(others)", "digest": "(others)", "sessions": left}


lock_waits = Collector(
    name="mysql_lock_waits",
    about="Sessions that wait for locks on rows, on definitions of tables and on whole tables, and who holds them up.",
    engine="mysql",
    limit=10_000,
    when=(mysql(8) & ALL_THREADS) | mariadb(10, 6),
    queries=(Query(mysql(8), _THREADS), Query(mariadb(10, 6), _PROCESSES)),
    rows=counted,
    blocks=(
        block(
            gauge(
                "mysql_lock_waiting_sessions",
                "waiting",
                help="Sessions that wait for a lock, by its kind: row; metadata, a table's definition; table, a whole "
                "table, or that it is closed for FLUSH TABLES.",
            ),
            gauge(
                "mysql_lock_wait_longest_seconds",
                "longest",
                help="How long the longest wait has lasted, 0 if nobody waits; of metadata, the age of the statement.",
            ),
            labels=("kind",),
            merge="max",
        ),
        block(
            gauge(
                "mysql_lock_blocking_sessions",
                "blocking",
                help="Sessions that hold what others wait for and wait for nobody: idle ones have left a transaction "
                "open; prepared are XA transactions that no session has any more. On MySQL, where more than "
                f"{MOST_ASKED} sessions wait for rows, those who hold up the first of each queue; of metadata absent "
                "where the server does not tell who (the instrument wait/lock/metadata/sql/mdl is off).",
            ),
            labels=("kind", "state"),
            merge="max",
        ),
        block(
            gauge(
                "mysql_lock_blocking_statement_sessions",
                "sessions",
                help="The same sessions by the digest of the statement that they run or have run last, 10 for each "
                "kind; none while nobody holds anybody up.",
            ),
            labels=("kind", "schema", "digest"),
            merge="sum",
            when=mysql(8),
        ),
    ),
    grants=("PROCESS", "SELECT ON performance_schema.*"),
)
