"""What the bench needs to know of an engine: its large server, and the existing exporter beside ours."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tests.providers.base import Account, DatabaseServer
from tests.providers.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Size:
    """How large a server is made.

    Attributes:
        tables: Tables in all, with three indexes each.
        databases: Databases that sessions connect to, of PostgreSQL alone.
        statements: Distinct statements that were run.
    """

    tables: int
    databases: int
    statements: int


class Subject(ABC):
    """One engine under measurement.

    Attributes:
        engine: `postgres` or `mysql`.
        peer: The existing exporter's program.
        settings: What it is called and its flags, by the name of the setting.
        grows: The setting in which growth is measured, if it is.
        busy_idle: Whether a server of which nobody asks anything has work of its own, which is not an exporter's doing.
        alike: What *fresh* says in our config so that ours shows what theirs does; None leaves it as it is. Else those
            collectors of theirs that ours does not run by default are on, too, with room for all tables.
    """

    engine: ClassVar[Literal["postgres", "mysql"]]
    peer: ClassVar[str]
    settings: ClassVar[Mapping[str, tuple[str, Sequence[str]]]]
    grows: ClassVar[str | None]
    busy_idle: ClassVar[bool]
    alike: ClassVar[Mapping[str, Any] | None]

    @abstractmethod
    def start(self, fleet: Fleet, name: str, size: Size) -> DatabaseServer:
        """Start a server, still without tables."""

    @abstractmethod
    def account(self, server: DatabaseServer) -> Account:
        """Make the account that both exporters use."""

    @abstractmethod
    def add_tables(self, server: DatabaseServer, first: int, last: int) -> None:
        """Make the tables from number `first` to before `last`."""

    @abstractmethod
    def run_statements(self, server: DatabaseServer, size: Size) -> int:
        """Run distinct statements, and tell how many the server knows then."""

    @abstractmethod
    def says(self, size: Size, statements: int) -> str:
        """What there is on a server, for people."""

    @abstractmethod
    def connection(self, server: DatabaseServer, account: Account) -> tuple[list[str], dict[str, str]]:
        """The flags and variables that lead their exporter to a server."""

    @abstractmethod
    def pid(self, server: DatabaseServer) -> int:
        """The first process of a server."""
