"""Who waits for a lock and who holds it: on rows, and on the definition of tables."""

from __future__ import annotations

from typing import Any

from exporter.collectors.mysql.performance_schema import READABLE
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.gates import mariadb, mysql

# One row for each waiter and holder; there are none while nobody waits. A long queue for one row has a square of them,
# so that no more than {limit} are looked at. InnoDB tells times in the time zone of the machine.
_WAIT = "TIMESTAMPDIFF(SECOND, CONVERT_TZ(x.trx_wait_started, 'SYSTEM', @@session.time_zone), NOW())"
_THREADS = f"""
    SELECT 'row' AS kind, w.waiter, w.holder, h.PROCESSLIST_COMMAND = 'Sleep' AS holder_sleeps, {_WAIT} AS age
    FROM (
        SELECT REQUESTING_THREAD_ID AS waiter, BLOCKING_THREAD_ID AS holder, REQUESTING_ENGINE_TRANSACTION_ID AS id
        FROM performance_schema.data_lock_waits LIMIT {{limit}}
    ) w
    LEFT JOIN information_schema.INNODB_TRX x ON x.trx_id = w.id
    LEFT JOIN performance_schema.threads h ON h.THREAD_ID = w.holder
    UNION ALL
    SELECT 'metadata', p.waiter, g.OWNER_THREAD_ID, h.PROCESSLIST_COMMAND = 'Sleep',
           COALESCE(s.TIMER_WAIT / 1e12, t.PROCESSLIST_TIME)
    FROM (
        SELECT OWNER_THREAD_ID AS waiter, OBJECT_TYPE, OBJECT_SCHEMA, OBJECT_NAME
        FROM performance_schema.metadata_locks WHERE LOCK_STATUS = 'PENDING' LIMIT {{limit}}
    ) p
    LEFT JOIN performance_schema.metadata_locks g
        ON g.OBJECT_TYPE = p.OBJECT_TYPE AND g.OBJECT_SCHEMA <=> p.OBJECT_SCHEMA AND g.OBJECT_NAME <=> p.OBJECT_NAME
        AND g.LOCK_STATUS = 'GRANTED' AND g.LOCK_DURATION <> 'STATEMENT' AND g.OWNER_THREAD_ID <> p.waiter
    LEFT JOIN performance_schema.threads h ON h.THREAD_ID = g.OWNER_THREAD_ID
    LEFT JOIN performance_schema.threads t ON t.THREAD_ID = p.waiter
    LEFT JOIN performance_schema.events_statements_current s
        ON s.THREAD_ID = p.waiter AND s.END_EVENT_ID IS NULL AND s.NESTING_EVENT_LEVEL = 0"""
# Who holds the definition of a table MariaDB does not tell without performance_schema.
_PROCESSES = f"""
    SELECT 'row' AS kind, x.trx_mysql_thread_id AS waiter, b.trx_mysql_thread_id AS holder,
           h.COMMAND = 'Sleep' AS holder_sleeps, {_WAIT} AS age
    FROM (SELECT * FROM information_schema.INNODB_LOCK_WAITS LIMIT {{limit}}) w
    JOIN information_schema.INNODB_TRX x ON x.trx_id = w.requesting_trx_id
    JOIN information_schema.INNODB_TRX b ON b.trx_id = w.blocking_trx_id
    LEFT JOIN information_schema.PROCESSLIST h ON h.ID = b.trx_mysql_thread_id
    UNION ALL
    SELECT 'metadata', ID, NULL, NULL, TIME_MS / 1000
    FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for % metadata lock'"""
_KINDS = ("row", "metadata")


def counted(rows: Rows, context: Context) -> Rows:
    """For each kind of lock: waiters, holders that wait for nobody themselves, and the longest wait."""
    edges = rows.dicts()
    waiters = {edge["waiter"] for edge in edges}
    names_holders = context.facts.flavor != "mariadb"
    out: list[dict[str, Any]] = []
    for kind in _KINDS:
        mine = [edge for edge in edges if edge["kind"] == kind]
        roots = {edge["holder"]: edge["holder_sleeps"] for edge in mine if edge["holder"] not in waiters}
        roots.pop(None, None)
        asleep = sum(1 for sleeps in roots.values() if sleeps)
        told = kind == "row" or names_holders
        out.append(
            {
                "kind": kind,
                "waiting": len({edge["waiter"] for edge in mine}),
                "longest": max((edge["age"] for edge in mine if edge["age"] is not None), default=0),
            }
        )
        out.append({"kind": kind, "state": "idle", "blocking": asleep if told else None})
        out.append({"kind": kind, "state": "active", "blocking": len(roots) - asleep if told else None})
    return Rows.of(("kind", "waiting", "longest", "state", "blocking"), out)


lock_waits = Collector(
    name="mysql_lock_waits",
    about="Sessions that wait for locks on rows and on the definition of tables, and those that hold them up.",
    engine="mysql",
    limit=10_000,
    when=(mysql(8) & READABLE) | mariadb(10, 6),
    queries=(Query(mysql(8), _THREADS), Query(mariadb(10, 6), _PROCESSES)),
    rows=counted,
    blocks=(
        block(
            gauge("mysql_lock_waiting_sessions", "waiting", help="Sessions that wait for a lock, by its kind."),
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
                "open.",
            ),
            labels=("kind", "state"),
            merge="max",
        ),
    ),
    grants=("PROCESS", "SELECT ON performance_schema.*"),
)
