"""Statements, their time and the slow ones, by database, and what pg_stat_statements had to forget."""

from __future__ import annotations

from exporter.declare import Collector, Query, block, counter, gauge
from exporter.gates import RECORDED, Gate, extension, pg
from exporter.subjects.statements.measures import SLOW, THRESHOLD, TOTALS
from exporter.subjects.statements.postgres import OWN, PostgresStatements

_NAME = "pg_stat_statements"


def _since(*version: int) -> Gate:
    return extension(_NAME, *version, preload=True)


def _sql(toplevel: str, since: str) -> str:
    # From pg_database, so that a database without statements starts at 0 and a dropped one is gone. Without the
    # texts (false): with them the server reads its whole file of texts, whatever is selected. With track = all the
    # statements inside functions have entries too, and their time is in that of the client's statement already.
    # In arrays, a row for each database: ten thousand rows cost both sides several times as much.
    return f"""
        SELECT d.datname AS database, d.oid AS dbid, s.*
        FROM pg_database d
        LEFT JOIN (
            SELECT s.dbid AS of, array_agg(userid) AS userids, array_agg(queryid) AS queryids,
                   array_agg(calls) AS calls, array_agg(total_exec_time) AS times,
                   array_agg(max_exec_time) AS longest, array_agg({since}) AS since
            FROM {{schema:{_NAME}}}.pg_stat_statements(false) s
            WHERE NOT {OWN}{toplevel}
            GROUP BY s.dbid
        ) s ON s.of = d.oid
        WHERE d.datallowconn OR s.calls IS NOT NULL"""


statements = Collector(
    name="pg_statements",
    about="Statements, their time and the slow ones, in total and by database, from pg_stat_statements.",
    engine="postgres",
    when=_since(1, 8) & RECORDED,
    every=15,
    queries=(
        Query(_since(1, 11), _sql(" AND toplevel", "extract(epoch FROM stats_since)::float8")),
        Query(_since(1, 9), _sql(" AND toplevel", "NULL::float8")),
        Query(_since(1, 8), _sql("", "NULL::float8")),
    ),
    blocks=(TOTALS, SLOW, THRESHOLD),
    state=PostgresStatements,
    grants=("pg_monitor",),
)

evictions = Collector(
    name="pg_statements_info",
    about="What pg_stat_statements had to forget, which db_statements_total may then lack.",
    engine="postgres",
    # No PostgreSQL before 14 has it, whatever is updated there.
    when=pg(14) & _since(1, 9),
    queries=(
        Query(
            _since(1, 9),
            f"SELECT dealloc, extract(epoch FROM stats_reset)::float8 AS stats_reset "
            f"FROM {{schema:{_NAME}}}.pg_stat_statements_info",
        ),
    ),
    blocks=(
        block(
            counter(
                "pg_stat_statements_deallocations_total",
                "dealloc",
                help="Times that pg_stat_statements was full and forgot its least executed entries.",
            ),
            gauge(
                "pg_stat_statements_reset_timestamp_seconds",
                "stats_reset",
                help="When pg_stat_statements was last reset as a whole.",
            ),
        ),
    ),
)

fill = Collector(
    name="pg_statements_fill",
    about="How many statements pg_stat_statements holds, and how many it has room for.",
    engine="postgres",
    every=60,
    when=_since(1, 8),
    queries=(
        Query(
            _since(1, 8),
            f"""
            SELECT count(*) AS entries, current_setting('pg_stat_statements.max')::int AS most
            FROM {{schema:{_NAME}}}.pg_stat_statements(false)""",
        ),
    ),
    blocks=(
        block(
            gauge("pg_stat_statements_entries", "entries", help="Statements that pg_stat_statements holds."),
            gauge("pg_stat_statements_entries_max", "most", help="Statements that it has room for."),
        ),
    ),
)
