"""Active sessions by what they wait for, sampled once a second."""

from exporter.collectors.mysql.clients import CLIENT_PROCESSES, CLIENT_THREADS, SEES_SESSIONS
from exporter.collectors.mysql.performance_schema import READABLE
from exporter.declare import Collector, Query
from exporter.gates import SAMPLED, mariadb, mysql
from exporter.subjects.sessions import mysql as subject
from exporter.subjects.sessions.totals import BLOCKS

# InnoDB alone knows who waits for a row. SYSDATE() is read when the rest is done and NOW() was when it began, so that
# the last part tells what the query took the server, without the way to us. Names of schemas may differ by case alone.
_SQL = """
    SELECT `database`, active, IF(active, state, NULL) AS state, IF(active, event, NULL) AS event,
           active AND waiter IS NOT NULL AS row_lock, COUNT(*) AS sessions, NULL AS took
    FROM (
        SELECT t.{database} AS `database`, t.{command} NOT IN ('Sleep', 'Connect') AS active, t.{state} AS state,
               {event} AS event, x.waiter
        FROM {table} t
        LEFT JOIN (
            SELECT trx_mysql_thread_id AS waiter FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'
        ) x ON x.waiter = t.{id}
        WHERE {clients}
    ) sessions
    GROUP BY 1, 2, 3, 4, 5, CAST(`database` AS BINARY)
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULLIF(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6)), 0) / 1e6"""

# What is in progress within reading a table says more than that a table is being read. The table of waits is empty
# unless somebody has switched it on.
_EVENT = """
    IF(t.PROCESSLIST_COMMAND = 'Sleep', NULL, (
        SELECT w.EVENT_NAME FROM performance_schema.events_waits_current w
        WHERE w.THREAD_ID = t.THREAD_ID AND w.END_EVENT_ID IS NULL ORDER BY w.EVENT_ID DESC LIMIT 1
    ))"""

_THREADS = _SQL.format(
    database="PROCESSLIST_DB",
    command="PROCESSLIST_COMMAND",
    state="PROCESSLIST_STATE",
    id="PROCESSLIST_ID",
    event=_EVENT,
    table="performance_schema.threads",
    clients=CLIENT_THREADS,
)
_PROCESSES = _SQL.format(
    database="DB",
    command="COMMAND",
    state="STATE",
    id="ID",
    event="NULL",
    table="information_schema.PROCESSLIST",
    clients=CLIENT_PROCESSES,
)

active_sessions = Collector(
    name="mysql_active_sessions",
    about="Active sessions by what they wait for.",
    engine="mysql",
    when=(mysql(8) | mariadb(10, 6)) & SEES_SESSIONS & SAMPLED,
    queries=(
        Query(mysql(8) & READABLE, _THREADS),
        Query(mysql(8) | mariadb(10, 6), _PROCESSES),
    ),
    sampled=subject.sessions,
    timeout=0.9,
    blocks=BLOCKS,
    grants=("PROCESS", "SELECT ON performance_schema.*"),
)
