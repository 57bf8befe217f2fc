"""The large server that is measured: many tables, databases and statements."""

from __future__ import annotations

from tests.providers.base import DatabaseServer
from tests.providers.fleet import Fleet

SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "2GB",
    "pg_stat_statements.max": "10000",
    # Its work would be counted as the exporters'.
    "autovacuum": "off",
}
_BATCH = 100
_TABLE = """
    CREATE TABLE t{number} (id int PRIMARY KEY, a int, b text, c timestamptz DEFAULT now());
    CREATE INDEX ON t{number} (a);
    CREATE INDEX ON t{number} (b);
    INSERT INTO t{number} SELECT n, n, 'row ' || n FROM generate_series(1, 50) n;
    SELECT count(*) FROM t{number} WHERE id < 10;
    ANALYZE t{number};"""
# Different columns and conditions make different statements, on one table as many as there are pairs of these.
_COLUMNS = ("id", "a", "b", "c", "id, a", "id, b")
_CONDITIONS = ("id = 1", "a = 1", "b = 'x'", "id < 3", "id > 3", "a < 3")


def start(fleet: Fleet, name: str, databases: int) -> DatabaseServer:
    """A server with that many databases to connect to."""
    server = fleet.provider.create(name, SETTINGS)
    with server.connect() as session:
        for number in range(databases - 1):
            session.execute(f"CREATE DATABASE d{number} STRATEGY file_copy")
    return server


def add_tables(server: DatabaseServer, first: int, last: int) -> None:
    """Tables with three indexes each, in the database that the exporters connect to."""
    with server.connect() as session:
        for batch in range(first, last, _BATCH):
            numbers = range(batch, min(last, batch + _BATCH))
            session.execute("".join(_TABLE.format(number=number) for number in numbers))
        session.execute("CHECKPOINT")


def run_statements(server: DatabaseServer, statements: int, tables: int) -> int:
    """Run distinct statements, and tell how many pg_stat_statements knows then."""
    shapes = [f"SELECT {columns} FROM t{{}} WHERE {where}" for columns in _COLUMNS for where in _CONDITIONS]
    with server.connect() as session:
        session.execute("SELECT pg_stat_statements_reset()")
        for number in range(min(statements, tables * len(shapes))):
            session.execute(shapes[number // tables].format(number % tables))
        found = session.execute("SELECT count(*) FROM pg_stat_statements(false)").fetchone()
    assert found is not None
    return int(found[0])
