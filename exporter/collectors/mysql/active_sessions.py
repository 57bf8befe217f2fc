"""Active sessions by what they wait for, sampled once a second."""

from exporter.collectors.mysql.clients import CLIENT_PROCESSES, CLIENT_THREADS, SEES_SESSIONS
from exporter.collectors.mysql.performance_schema import ALL_THREADS
from exporter.declare import Collector, Query
from exporter.gates import SAMPLED, mariadb, mysql
from exporter.subjects.sessions import mysql as subject
from exporter.subjects.sessions.statements import MOST_STATEMENTS
from exporter.subjects.sessions.totals import blocks

# InnoDB alone knows who waits for a row, and lists transactions under a latch that all locks need: on MariaDB for each
# waiter it looks through the whole queue. So it is asked how many wait, which takes no latch, and for the list where
# somebody does and where they are not too many. IF() runs a subquery only where it needs it. If they are too many, as
# many as wait are taken to be the ones that have been at the same kind of work for the longest time, those last that
# have been so for longer than one may wait. See decision 19.
# SYSDATE() is read when the rest is done and NOW() was when it began, so that the last part tells what the query took
# the server, without the way to us. Names of schemas may differ by case alone.
_SQL = """
    SELECT `database`, active, IF(active, state, NULL) AS state, IF(active, event, NULL) AS event,
           active AND row_lock AS row_lock, IF(active, statement, NULL) AS statement, COUNT(*) AS sessions, NULL AS took
    FROM (
        SELECT `database`, active, state, event, statement,
               IF(waits > {most},
                  works AND ROW_NUMBER() OVER (
                      PARTITION BY works ORDER BY seconds > @@GLOBAL.innodb_lock_wait_timeout, seconds DESC
                  ) <= waits,
                  COALESCE(FIND_IN_SET(id, waiters), 0) > 0) AS row_lock
        FROM (
            SELECT t.{id} AS id, t.{database} AS `database`, t.{command} NOT IN ('Sleep', 'Connect') AS active,
                   t.{state} AS state, {event} AS event, {statement} AS statement, {seconds} AS seconds,
                   w.waits, w.waiters,
                   t.{command} NOT IN ('Sleep', 'Connect') AND COALESCE(t.{state} IN (
                       'updating', 'update', 'executing', 'statistics', 'sending data', 'searching rows for update',
                       'updating main table', 'updating reference tables',
                       'deleting from main table', 'deleting from reference tables'
                   ), 0) AS works
            FROM {table}
            CROSS JOIN (
                SELECT waits, IF(waits < 1 OR waits > {most}, NULL, (
                    SELECT GROUP_CONCAT(trx_mysql_thread_id) FROM information_schema.INNODB_TRX
                    WHERE trx_state = 'LOCK WAIT'
                )) AS waiters
                FROM (
                    SELECT (
                        SELECT COUNT FROM information_schema.INNODB_METRICS
                        WHERE NAME = 'lock_row_lock_current_waits' AND {enabled}
                    ) AS waits
                ) metric
            ) w
            WHERE {clients}
        ) clients
    ) sessions
    GROUP BY 1, 2, 3, 4, 5, 6, CAST(`database` AS BINARY)
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULLIF(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6)), 0) / 1e6"""
# What a list of this length takes is within what a sample may take.
MOST_LISTED = 100
_MYSQL = {"enabled": "STATUS = 'enabled'"}
_MARIADB = {"enabled": "ENABLED", "seconds": "t.TIME_MS / 1000"}

# What is in progress within reading a table says more than that a table is being read. The table of waits is empty
# unless somebody has switched it on.
_EVENT = """
    IF(t.PROCESSLIST_COMMAND = 'Sleep', NULL, (
        SELECT w.EVENT_NAME FROM performance_schema.events_waits_current w
        WHERE w.THREAD_ID = t.THREAD_ID AND w.END_EVENT_ID IS NULL ORDER BY w.EVENT_ID DESC LIMIT 1
    ))"""
# The digest of what the client sent, which is known once that is parsed: statements of a routine that it calls have
# none. MariaDB knows a digest only when the statement is over.
_STATEMENT = """
    IF(t.PROCESSLIST_COMMAND = 'Sleep', NULL, (
        SELECT s.DIGEST FROM performance_schema.events_statements_current s
        WHERE s.THREAD_ID = t.THREAD_ID AND s.END_EVENT_ID IS NULL AND s.NESTING_EVENT_LEVEL = 0 LIMIT 1
    ))"""

_THREADS = _SQL.format(
    **_MYSQL,
    most=MOST_LISTED,
    database="PROCESSLIST_DB",
    command="PROCESSLIST_COMMAND",
    state="PROCESSLIST_STATE",
    id="PROCESSLIST_ID",
    seconds="t.PROCESSLIST_TIME",
    event=_EVENT,
    statement=_STATEMENT,
    table="performance_schema.threads t",
    clients=CLIENT_THREADS,
)


def _processes(**server: str) -> str:
    return _SQL.format(
        **server,
        most=MOST_LISTED,
        database="DB",
        command="COMMAND",
        state="STATE",
        id="ID",
        event="NULL",
        statement="NULL",
        table="information_schema.PROCESSLIST t",
        clients=CLIENT_PROCESSES,
    )


active_sessions = Collector(
    name="mysql_active_sessions",
    about="Active sessions by what they wait for, and by statement; its limit is how many statements have series.",
    engine="mysql",
    when=(mysql(8) | mariadb(10, 6)) & SEES_SESSIONS & SAMPLED,
    queries=(
        Query(mysql(8) & ALL_THREADS, _THREADS),
        Query(mysql(8), _processes(**_MYSQL, seconds="t.TIME")),
        Query(mariadb(10, 6), _processes(**_MARIADB)),
    ),
    sampled=subject.sessions,
    timeout=0.9,
    limit=MOST_STATEMENTS,
    blocks=blocks("mysql", "digest", mysql(8) & ALL_THREADS),
    grants=("PROCESS", "SELECT ON performance_schema.*"),
)
