"""What the slow query log of MySQL and MariaDB tells: slow statements, their locks and rows."""

from __future__ import annotations

from exporter.declare import Collector, Query
from exporter.gates import mariadb, mysql
from exporter.subjects.logs import measures
from exporter.subjects.logs.mysql import SETTINGS, reader
from exporter.subjects.logs.mysql_table import SlowLogTable
from exporter.subjects.logs.reader import SHOWN

_NAMES = ", ".join(f"'{name}'" for name in SETTINGS)

slow_log = Collector(
    name="mysql_slow_log",
    about="Slow statements, their lock time and rows from the slow query log, where slow_log is configured.",
    engine="mysql",
    every=15,
    limit=SHOWN,
    default=False,
    queries=(Query(mysql(8) | mariadb(10, 6), f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({_NAMES})"),),
    blocks=measures.MYSQL,
    state=reader,
)


# The table has no index, so that to count its rows is to read all of it, as is to look for those at its end: each is
# done only where it is wanted.
def _table(settings_view: str) -> str:
    return f"""
        SELECT 'setting' AS kind, VARIABLE_NAME AS name, VARIABLE_VALUE AS value, NULL AS `database`, NULL AS seconds,
               NULL AS locked, NULL AS sent, NULL AS examined, NULL AS user
        FROM {settings_view} WHERE VARIABLE_NAME IN ({_NAMES})
        UNION ALL
        SELECT 'count', COUNT(*), NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM mysql.slow_log WHERE {{counted}} = 1
        UNION ALL
        SELECT 'first', NULL, (SELECT CONCAT(UNIX_TIMESTAMP(start_time), ' ', thread_id) FROM mysql.slow_log LIMIT 1),
               NULL, NULL, NULL, NULL, NULL, NULL
        UNION ALL
        (SELECT 'entry', NULL, LEFT(CONVERT(sql_text USING utf8mb4), 8192), db, CAST(query_time AS CHAR),
                CAST(lock_time AS CHAR), rows_sent, rows_examined, user_host
         FROM mysql.slow_log LIMIT {{offset}}, {{most}})"""


table = Collector(
    name="mysql_slow_log_table",
    about="The same as mysql_slow_log, from the table mysql.slow_log, where slow_log: sql is configured.",
    engine="mysql",
    every=15,
    limit=SHOWN,
    default=False,
    queries=(
        Query(mysql(8), _table("performance_schema.global_variables")),
        Query(mariadb(10, 6), _table("information_schema.GLOBAL_VARIABLES")),
    ),
    blocks=measures.MYSQL,
    state=SlowLogTable,
)
