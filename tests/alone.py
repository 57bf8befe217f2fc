"""Sessions that were closed are on the server's list a moment longer: whoever counts sessions waits for that."""

from __future__ import annotations

import time
from typing import Any

from tests.providers.base import DatabaseServer, wait_for

# What a replica holds open, and the server for itself, is nobody's session.
_POSTGRES = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
_MYSQL = (
    "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() "
    "AND USER NOT IN ('system user', 'event_scheduler') AND COMMAND NOT LIKE 'Binlog Dump%'"
)


def alone(connection: Any, others: int = 0) -> None:
    """Wait until a server has no sessions but this connection of an administrator, which stays, and so many others."""
    sql = _POSTGRES if hasattr(connection, "pgconn") else _MYSQL

    def seen() -> int:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return int(cursor.fetchone()[0])

    assert wait_for(lambda: seen() == others, 15), f"{seen()} other sessions, not {others}"


def sessions_of(server: DatabaseServer, user: str, most: int) -> int:
    """How many sessions an account has; above `most` only those that are there a moment later, too."""
    column, table = {
        "postgres": ("pid", "pg_stat_activity WHERE usename"),
        "mysql": ("id", "information_schema.PROCESSLIST WHERE user"),
    }[server.engine]
    found = set(server.execute(f"SELECT {column} FROM {table} = %s", params=(user,)))
    if len(found) > most:
        time.sleep(0.5)
        found &= set(server.execute(f"SELECT {column} FROM {table} = %s", params=(user,)))
    return len(found)
