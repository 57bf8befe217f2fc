"""What is true of a server: learnt when we connect, and again when another server answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

_SLACK = 2.5


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
        start_time: When the server started, in Unix seconds on the server's clock.
        role: Its part in replication right now.
        boot: When it started on our own monotonic clock, where the server tells no more than its uptime: its clock may
            be set, ours can't. None where `start_time` itself never moves.
    """

    system: str
    start_time: float
    role: Role
    boot: float | None = None

    def same_server(self, other: Identity) -> bool:
        """Whether both were read from one server process in one role.

        MySQL tells whole seconds of uptime, so two readings may be a second or two apart.
        """
        return self.system == other.system and self.role == other.role and abs(self._life() - other._life()) < _SLACK

    def older_than(self, other: Identity) -> bool:
        """Whether it started before the other, which a restart of the other can't have done."""
        return self._life() < other._life() - _SLACK

    def _life(self) -> float:
        return self.start_time if self.boot is None else self.boot


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

    @property
    def role(self) -> Role:
        """The server's part in replication."""
        return self.identity.role
