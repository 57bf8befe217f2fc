"""Whatever a PostgreSQL server holds, a result of it can be read."""

from __future__ import annotations

import math

import pytest

from tests.postgres_sessions import (  # noqa: F401 - fixtures among them
    Connect,
    config,
    connecting,
    deadline,
    session_account,
    value,
)
from tests.providers.base import Account, DatabaseServer

pytestmark = pytest.mark.engine("postgres")


def test_every_kind_of_value_is_read(server: DatabaseServer, account: Account, connect: Connect) -> None:
    session = connect(config(server, account))
    for expression in (
        "1.5::numeric", "-0.0001::numeric", "12345678901234567890.125::numeric", "100000000::numeric", "0::numeric",
        "7::int2", "-1::int8", "true", "NULL::text", "1e300::float8", "0.5::float4", "4294967295::oid",
        "'a'::\"char\"", "'x'::name", "ARRAY['a','b']", "ARRAY[1,2]", "''::text",
    ):  # fmt: skip
        [(expected,)] = server.execute(f"SELECT {expression}")
        assert value(session, expression) == (float(expected) if "numeric" in expression else expected), expression
    for moment in (
        "now()",
        "'1999-12-31 23:59:59.5+00'::timestamptz",
        "'1960-01-01'::timestamp",
        "'2024-02-29'::date",
    ):
        both = session.run(f"SELECT {moment}, extract(epoch FROM {moment})::float8", deadline()).rows[0]
        assert both[0] == pytest.approx(both[1], abs=1e-5), moment
    for span in ("1 year 2 mons 3 days 04:05:06.7", "-13 mons", "-1 days +02:00:00", "0"):
        sql = f"SELECT '{span}'::interval, extract(epoch FROM '{span}'::interval)::float8"
        both = session.run(sql, deadline()).rows[0]
        assert both[0] == pytest.approx(both[1]), span
    for endless in ("timestamptz", "timestamp", "date", *(["interval"] if server.version >= (17,) else [])):
        assert value(session, f"'infinity'::{endless}") == math.inf
        assert value(session, f"'-infinity'::{endless}") == -math.inf
    assert math.isnan(value(session, "'NaN'::numeric"))
    assert value(session, "'1e400'::numeric") == math.inf


def test_what_is_no_number_comes_as_text(server: DatabaseServer, account: Account, connect: Connect) -> None:
    session = connect(config(server, account))
    for expression in (
        "'10.0.0.1/8'::inet", "'{\"a\": 1}'::jsonb", "'08:00:2b:01:02:03'::macaddr", "'AB/12'::pg_lsn",
        "ROW(1,'a')", "int4range(1,2)", "'pg_class'::regclass", "'\\xff'::bytea", "gen_random_uuid() IS NOT NULL",
    ):  # fmt: skip
        [(expected,)] = server.execute(f"SELECT ({expression})::text")
        seen = value(session, expression)
        assert (str(seen).lower() if isinstance(seen, bool) else seen) == expected, expression
    rows = session.run("SELECT '1.2.3.4'::inet AS a, 2 AS b, 'x' AS a -- the end", deadline())
    assert rows.columns == ("a", "b", "a")
    assert rows.rows == [("1.2.3.4/32", 2, "x")]


def test_invalid_bytes_of_an_sql_ascii_database(server: DatabaseServer, connect: Connect) -> None:
    server.execute("CREATE DATABASE session_ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        with server.connect("session_ascii", client_encoding="SQL_ASCII") as other:
            other.execute(b'CREATE TABLE "caf\xe9" ()')
            other.execute(b"SELECT 'na\xefve \xff' AS x")
            inside = connect(config(server), database="session_ascii")
            names = inside.run("SELECT relname FROM pg_class WHERE relname LIKE 'caf%'", deadline()).rows
            assert names == [("caf�",)]
            # The text of its last statement is seen from every database.
            for database in ("session_ascii", "postgres"):
                session = connect(config(server), database=database)
                texts = session.run("SELECT query FROM pg_stat_activity WHERE datname = 'session_ascii'", deadline())
                assert any("na�ve �" in text for (text,) in texts.rows), database
                session.close()
            inside.close()
    finally:
        server.execute("DROP DATABASE session_ascii")
        # Such a text keeps others from reading pg_stat_statements.
        server.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        server.execute("SELECT pg_stat_statements_reset()")


def test_latin1_is_read_and_asked_in(server: DatabaseServer, connect: Connect) -> None:
    server.execute("CREATE DATABASE session_latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        with server.connect("session_latin") as other:
            other.execute('CREATE TABLE "café" ()')
        session = connect(config(server), database="session_latin")
        asked = session.run("SELECT relname AS \"né\" FROM pg_class WHERE relname = 'café'", deadline())
        assert (asked.columns, asked.rows) == (("né",), [("café",)])
        session.close()
    finally:
        server.execute("DROP DATABASE session_latin")
