"""Statements and their time by schema, and MySQL's histogram of all statements, from performance_schema."""

from __future__ import annotations

from exporter.collectors.mysql.performance_schema import ON
from exporter.declare import Collector, Query, block, counter
from exporter.gates import mariadb, mysql
from exporter.subjects.statements.blind import switched_off
from exporter.subjects.statements.histogram import MySQLHistogram
from exporter.subjects.statements.measures import DURATIONS, SLOW, THRESHOLD, TOTALS
from exporter.subjects.statements.mysql import Digests

_DIGESTS = "performance_schema.events_statements_summary_by_digest"
# Every schema has a row, so that one without statements starts at 0. With lower_case_table_names = 1 their names have
# another collation.
_SCHEMAS = """
    SELECT 'schema' AS kind, CONVERT(SCHEMA_NAME USING utf8mb4) COLLATE utf8mb4_bin AS `database`, NULL AS digest,
           NULL AS calls, NULL AS time, NULL AS longest, NULL AS since
    FROM information_schema.SCHEMATA"""
# What drivers prepare on the server and execute by the binary protocol. MariaDB gives it no digest and tells no schema
# (measured on 10.11 and 11.8), nor does MySQL 8.0 and 8.4 (by their source). MySQL 9.7 has it among the digests
# (measured), where it would count twice; which version was the first to have it there is not known.
_UNDIGESTED = """
            UNION ALL
            SELECT 'undigested', NULL, EVENT_NAME, COUNT_STAR, SUM_TIMER_WAIT, NULL, NULL
            FROM performance_schema.events_statements_summary_global_by_event_name
            WHERE EVENT_NAME IN ('statement/com/Execute', 'statement/com/Bulk_execute')"""
# Names of schemas differ by case and accents, which the table takes for the same. All digests begin anew together, by a
# TRUNCATE.
_MYSQL = f"""{_SCHEMAS}
            UNION ALL
            SELECT 'digest', name, room, SUM(COUNT_STAR), SUM(SUM_TIMER_WAIT), NULL, MIN(since)
            FROM (
                SELECT SCHEMA_NAME COLLATE utf8mb4_bin AS name, IF(DIGEST IS NULL, NULL, '') AS room, COUNT_STAR,
                       SUM_TIMER_WAIT, UNIX_TIMESTAMP(FIRST_SEEN) AS since
                FROM {_DIGESTS}
            ) AS digests
            GROUP BY name, room
{switched_off(7, digests=True)}"""

digests = Collector(
    name="mysql_statements",
    about="Statements and their time, in total and by schema, from the statement digests of performance_schema.",
    engine="mysql",
    when=(mysql(8) | mariadb(10, 6)) & ON,
    # Measured on MySQL 9.7: 2 ms of the server's time for 200 digests, 5 for 1,000, 21 for 5,500 (MariaDB 11.8 takes
    # 26). Read more seldom, rate() over a minute would have one reading now and two then.
    every=15,
    core_share=0.004,
    timeout=30,
    queries=(
        Query(mysql(9), _MYSQL),
        Query(mysql(8, below=(9,)), _MYSQL + _UNDIGESTED),
        # MariaDB has no histogram: slow statements are counted by the server, or else estimated one by one, as where
        # it counts by other things than time; see exporter.subjects.statements.mysql.
        Query(
            mariadb(10, 6),
            f"""{_SCHEMAS}
            UNION ALL
            SELECT 'digest', SCHEMA_NAME, DIGEST, COUNT_STAR, SUM_TIMER_WAIT, MAX_TIMER_WAIT,
                   UNIX_TIMESTAMP(FIRST_SEEN)
            FROM {_DIGESTS}{_UNDIGESTED}
            UNION ALL
            SELECT 'status', NULL, NULL, VARIABLE_VALUE,
                   CASE WHEN NOT @@GLOBAL.log_queries_not_using_indexes AND @@GLOBAL.min_examined_row_limit = 0
                             AND NOT FIND_IN_SET('call', @@GLOBAL.log_slow_disabled_statements)
                        THEN CAST(@@GLOBAL.long_query_time * 1e12 AS UNSIGNED) END, NULL, NULL
            FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'SLOW_QUERIES'
{switched_off(7, digests=True)}""",
        ),
    ),
    blocks=(
        TOTALS,
        SLOW,
        THRESHOLD,
        block(
            counter(
                "mysql_statements_without_digest_total",
                "overflow",
                help="Statements that found the digest table full; db_statements_total has them without a database.",
            ),
            merge="max",
        ),
    ),
    state=Digests,
    grants=("SELECT ON performance_schema.*",),
)

durations = Collector(
    name="mysql_statement_histogram",
    about="How long statements take, and how many are slow, from the server's histogram of all statements.",
    engine="mysql",
    when=mysql(8) & ON,
    every=15,
    queries=(
        # A connection of a replica is one statement, which ends with it: that is no work of a client. The buckets are
        # read first, see MySQLHistogram.
        Query(
            mysql(8),
            f"""
            SELECT 'bucket' AS kind, BUCKET_TIMER_HIGH AS bound, COUNT_BUCKET AS count, NULL AS time
            FROM performance_schema.events_statements_histogram_global
            UNION ALL
            SELECT whose, NULL, SUM(COUNT_STAR), SUM(SUM_TIMER_WAIT)
            FROM (
                SELECT IF(EVENT_NAME LIKE 'statement/com/Binlog Dump%'
                          OR EVENT_NAME LIKE 'statement/com/Group Replication%'
                          OR EVENT_NAME = 'statement/clone/server', 'sender', 'client') AS whose,
                       COUNT_STAR, SUM_TIMER_WAIT
                FROM performance_schema.events_statements_summary_global_by_event_name
            ) AS events
            GROUP BY whose
            UNION ALL
            SELECT 'ours', NULL, NULL, NULL FROM performance_schema.threads
            WHERE PROCESSLIST_ID = CONNECTION_ID() AND INSTRUMENTED = 'YES'
{switched_off(4, digests=False)}""",
        ),
    ),
    blocks=(DURATIONS, SLOW, THRESHOLD),
    state=MySQLHistogram,
    grants=("SELECT ON performance_schema.*",),
)
