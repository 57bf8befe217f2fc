"""A PostgreSQL server as tests see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql as psql

from tests.providers.base import Account, DatabaseServer

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "40",
    "max_prepared_transactions": "10",
    "shared_buffers": "16MB",
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "128MB",
    "min_wal_size": "32MB",
    "wal_level": "logical",
    "wal_keep_size": "64MB",
    "hot_standby_feedback": "on",
    # It would change sizes and counts, and use statistics up, while they are compared; who wants it says so.
    "autovacuum_naptime": "1h",
    "shared_preload_libraries": "pg_stat_statements",
    "track_io_timing": "on",
    "jit": "off",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    # Whoever sets nothing gets the same text on every machine.
    "lc_messages": "C",
    "timezone": "UTC",
}


class PostgresServer(DatabaseServer):
    """PostgreSQL 13 to 18."""

    @property
    def version(self) -> tuple[int, ...]:
        """``(18, 1)``, from server_version_num."""
        number = int(self.execute("SHOW server_version_num")[0][0])
        return number // 10000, number % 10000

    def connect(
        self, database: str | None = None, user: str | None = None, password: str | None = None, **options: Any
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """Open a psycopg connection in autocommit over TCP; the caller closes it."""
        login = self.admin if user is None else Account(user, password or "")
        given: dict[str, Any] = {"connect_timeout": 10, "application_name": "test"}
        return psycopg.connect(
            host=self.host,
            port=self.port,
            dbname=database or "postgres",
            user=login.user,
            password=login.password,
            autocommit=True,
            **(given | options),
        )

    def execute(
        self, sql: str, database: str | None = None, params: Sequence[Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser; the rows, if there are any."""
        with self.connect(database) as connection:
            cursor = connection.execute(sql.encode(), params)
            return cursor.fetchall() if cursor.description else []

    def account(self, *grants: str, name: str = "exporter", limit: int = 3) -> Account:
        """Create a member of pg_monitor anew, as ``check --grants`` prints it, and run each of `grants`."""
        made = Account(name, f"{name} secret")
        role = psql.Identifier(name)
        with self.connect() as connection:
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone():
                connection.execute(psql.SQL("DROP OWNED BY {}; DROP ROLE {}").format(role, role))
            connection.execute(
                psql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE pg_monitor CONNECTION LIMIT {}").format(
                    role, made.password, limit
                )
            )
            for grant in grants:
                connection.execute(grant.encode())
        self.known_account = made
        return made

    def url(self, account: Account | None = None, database: str | None = None) -> str:
        """``postgresql://user:password@127.0.0.1:port/database``."""
        login = account or self.admin
        return (
            f"postgresql://{quote(login.user)}:{quote(login.password)}@{self.host}:{self.port}"
            f"/{quote(database or 'postgres')}"
        )

    def caught_up(self) -> bool:
        """Whether the standby has replayed up to where the primary writes now."""
        assert self.primary is not None, "not a standby"
        written = self.primary.execute("SELECT pg_current_wal_lsn()")[0][0]
        behind = self.execute("SELECT pg_wal_lsn_diff(%s, pg_last_wal_replay_lsn())", params=(written,))[0][0]
        return behind is not None and behind <= 0
