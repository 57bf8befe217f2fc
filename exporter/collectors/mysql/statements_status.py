"""Statements and slow statements of a server without performance_schema, from its status counters."""

from __future__ import annotations

from exporter.collectors.mysql.performance_schema import ON
from exporter.declare import Collector, Query
from exporter.gates import mariadb, mysql
from exporter.subjects.statements.measures import SLOW, THRESHOLD, TOTALS
from exporter.subjects.statements.status import Questions, SlowQueries

# With performance_schema the collectors mysql_statements and mysql_statement_histogram have more.
_SETTINGS = " ".join(
    f"UNION ALL SELECT '{name}', @@GLOBAL.{name}"
    for name in ("long_query_time", "log_queries_not_using_indexes", "min_examined_row_limit")
)
_CALLS = "UNION ALL SELECT 'calls_unlogged', FIND_IN_SET('call', @@GLOBAL.log_slow_disabled_statements) > 0"


def _queries(name: str, more: str = "", mariadb_more: str = "") -> tuple[Query, ...]:
    # MySQL keeps this table even where performance_schema is off; MariaDB has none there.
    sql = f"SELECT VARIABLE_NAME, VARIABLE_VALUE FROM {{}}.global_status WHERE VARIABLE_NAME = '{name}' {more}"
    return (
        Query(mysql(8), sql.format("performance_schema"), pivot=True),
        Query(mariadb(10, 6), f"{sql.format('information_schema')} {mariadb_more}", pivot=True),
    )


questions = Collector(
    name="mysql_statements_status",
    about="Statements in total from the status counter Questions, where performance_schema is off.",
    engine="mysql",
    when=(mysql(8) | mariadb(10, 6)) & ~ON,
    every=15,
    queries=_queries("Questions"),
    blocks=(TOTALS,),
    state=Questions,
)

slow = Collector(
    name="mysql_slow_statements_status",
    about="Slow statements from the status counter Slow_queries, where performance_schema is off.",
    engine="mysql",
    when=(mysql(8) | mariadb(10, 6)) & ~ON,
    every=15,
    queries=_queries("Slow_queries", _SETTINGS, _CALLS),
    blocks=(SLOW, THRESHOLD),
    state=SlowQueries,
)
