"""A large PostgreSQL: many tables, databases and statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from bench.subject import Size, Subject
from tests.providers.base import Account, DatabaseServer
from tests.providers.fleet import Fleet

SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "2GB",
    "pg_stat_statements.max": "10000",
    # Its work would be counted as the exporters'.
    "autovacuum": "off",
}
MORE = (
    "buffercache_summary", "database_wraparound", "long_running_transactions", "postmaster", "process_idle",
    "stat_activity_autovacuum", "stat_checkpointer", "stat_wal_receiver", "statio_user_indexes", "stat_statements",
    "stat_statements.include_query", "stat_statements.limit=500",
)  # fmt: skip
# Half of theirs takes no password with a space.
_ACCOUNT = Account("exporter", "secret")
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
SHAPES = tuple(f"SELECT {columns} FROM {{}} WHERE {where}" for columns in _COLUMNS for where in _CONDITIONS)


class Postgres(Subject):
    """PostgreSQL beside postgres_exporter."""

    engine = "postgres"
    peer = "postgres_exporter"
    settings: ClassVar[Mapping[str, tuple[str, Sequence[str]]]] = {
        "defaults": (peer, ()),
        "more": (f"{peer}, + statements, indexes and 8 more", [f"--collector.{name}" for name in MORE]),
    }
    grows = "defaults"
    busy_idle = False
    alike = None

    def start(self, fleet: Fleet, name: str, size: Size) -> DatabaseServer:
        """A server with databases to connect to."""
        server = fleet.provider.create(name, SETTINGS)
        with server.connect() as session:
            for number in range(size.databases - 1):
                session.execute(f"CREATE DATABASE d{number} STRATEGY file_copy")
        return server

    def account(self, server: DatabaseServer) -> Account:
        """An account with room for theirs, which opens sessions anew while old ones still count."""
        statement = f"ALTER ROLE {_ACCOUNT.user} PASSWORD '{_ACCOUNT.password}'"
        server.account(statement, name=_ACCOUNT.user, limit=20)
        return _ACCOUNT

    def add_tables(self, server: DatabaseServer, first: int, last: int) -> None:
        """Tables with three indexes each, in the database that the exporters connect to."""
        with server.connect() as session:
            for batch in range(first, last, _BATCH):
                numbers = range(batch, min(last, batch + _BATCH))
                session.execute("".join(_TABLE.format(number=number) for number in numbers))
            session.execute("CHECKPOINT")

    def run_statements(self, server: DatabaseServer, size: Size) -> int:
        """Run distinct statements, and tell how many pg_stat_statements knows then."""
        with server.connect() as session:
            session.execute("SELECT pg_stat_statements_reset()")
            for number in range(min(size.statements, size.tables * len(SHAPES))):
                session.execute(SHAPES[number // size.tables].format(f"t{number % size.tables}"))
            found = session.execute("SELECT count(*) FROM pg_stat_statements(false)").fetchone()
        assert found is not None
        return int(found[0])

    def says(self, size: Size, statements: int) -> str:
        """Tables, databases and statements."""
        return f"{size.tables} tables, {size.databases} databases, {statements} statements"

    def connection(self, server: DatabaseServer, account: Account) -> tuple[list[str], dict[str, str]]:
        """The variable that has the address and the password."""
        return [], {"DATA_SOURCE_NAME": server.url(account) + "?sslmode=disable"}

    def pid(self, server: DatabaseServer) -> int:
        """The postmaster."""
        assert server.data is not None
        return int((server.data / "postmaster.pid").read_text().splitlines()[0])
