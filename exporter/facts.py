"""What is true of a server: learnt when we connect, and again when another server answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

# Starts are told exactly, some in whole seconds; this is for what arithmetic does to them.
_SLACK = 0.5


class Role(StrEnum):
    """The part a server plays in replication."""

    PRIMARY = "primary"
    REPLICA = "replica"
    # Point-in-time recovery or a restore: it replays, but follows nobody, so it has no lag.
    RECOVERING = "recovering"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which server answers at an address; read at every scrape.

    Attributes:
        system: PostgreSQL's system identifier, MySQL's server_uuid, or what stands in for them on MariaDB.
        start_time: When the server started, in Unix seconds on the clock that it had then: it stays the same however
            slowly we are answered, and when a clock is set.
        role: Its part in replication right now.
        server_id: MariaDB's, which tells containers apart that are alike in all else; it can be set at any time, see
            `renumbered`. None elsewhere.
    """

    system: str
    start_time: float
    role: Role
    server_id: int | None = None

    def same_server(self, other: Identity) -> bool:
        """Whether both were read from one server process in one role."""
        return self.role == other.role and self.same_process(other)

    def same_process(self, other: Identity) -> bool:
        """Whether both were read from one server process."""
        return self.server_id == other.server_id and self._looks_like(other)

    def renumbered(self, now: Identity) -> Identity:
        """This identity with the server id of another that was read later over the same session.

        There it was set, since a session ends with its server; over a new session another id is another server's.
        """
        return replace(self, server_id=now.server_id) if self._looks_like(now) else self

    def replaced_by(self, now: Identity) -> bool:
        """Whether who answers now is another server, or this one in another role; not after a mere restart."""
        moved = self.system != now.system or self.server_id != now.server_id
        # No restart makes a start earlier.
        return moved or self.role != now.role or now.start_time < self.start_time - _SLACK

    def _looks_like(self, other: Identity) -> bool:
        return self.system == other.system and abs(self.start_time - other.start_time) < _SLACK


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension as it is installed: its own version, which pg_upgrade leaves behind the server's."""

    version: tuple[int, ...]
    schema: str
    database: str


def _frozen() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a gate may ask about a server.

    Attributes:
        engine: `postgres` or `mysql`.
        flavor: `postgres`, `mysql`, `percona` or `mariadb`.
        version: The server's version as integers, for example `(17, 2)` or `(8, 0, 36)`.
        version_text: The same as the server writes it.
        identity: Which server this is.
        database: The database of the first connection; empty on MySQL.
        extensions: Installed in `database`, by name.
        preloaded: The libraries in shared_preload_libraries; None if our account may not read it.
        account: Our account as GRANT takes it.
        grants: Role memberships (`pg_monitor`) or global privileges (`PROCESS`) that our account has;
            `SELECT ON performance_schema.*` is spelt out the way SHOW GRANTS does.
        settings: The few settings that gates ask about, by name, values as the server prints them.
        pooled: Whether a transaction pooler stands between us and the server.
        tables: How many tables, views and partitions the server has, of all engines, counted up to a bound; None if
            nobody has counted them.
        certificate_expiry: When the certificate ends that was shown to us, in Unix seconds; None if none was.
    """

    engine: str
    flavor: str
    version: tuple[int, ...]
    version_text: str
    identity: Identity
    database: str = ""
    extensions: Mapping[str, Extension] = field(default_factory=_frozen)
    preloaded: frozenset[str] | None = None
    account: str = "the account"
    grants: frozenset[str] = frozenset()
    settings: Mapping[str, str] = field(default_factory=_frozen)
    pooled: bool = False
    tables: int | None = None
    certificate_expiry: float | None = None

    @property
    def role(self) -> Role:
        """The server's part in replication."""
        return self.identity.role
