"""What the rest of the exporter knows of an engine: how to connect, who answers, and how to run a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from exporter.config.model import ServerConfig
    from exporter.declare import Rows
    from exporter.engines.deadline import Deadline
    from exporter.facts import Facts, Identity
    from exporter.failure import Failure


class Session(Protocol):
    """One connection: read-only, budgeted, and unable to wait beyond a deadline. Not for two threads at once."""

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""

    @property
    def tls(self) -> str | None:
        """Protocol and cipher of the connection, None if it is not encrypted."""

    @property
    def statements(self) -> int:
        """Statements sent so far, the session's own among them."""

    @property
    def round_trip(self) -> float:
        """Seconds that the quickest of them took: hardly more than the way to the server and back."""

    def run(self, sql: str, deadline: Deadline) -> Rows:
        """Run one statement.

        The server gives up before the deadline, the client at it.

        Raises:
            Failure: It did not work; `broken` tells whether the session is lost.
        """

    def run_user_defined(self, sql: str, deadline: Deadline, labels: frozenset[str]) -> Rows:
        """Run one statement that a user wrote: with the account's own search_path, and so that nothing it sets stays.

        Args:
            sql: The statement.
            deadline: As of `run`.
            labels: Columns that become labels; what is no plain number, text or moment comes as the server writes it.

        Raises:
            Failure: As of `run`.
        """

    def close(self) -> None:
        """Close the connection without waiting for the server."""


class Engine(Protocol):
    """One kind of server.

    Attributes:
        name: As the config calls it.
        tells_open_sessions: Whether a session that is open learns of what is granted and revoked meanwhile.
    """

    name: str
    tells_open_sessions: bool

    def connect(
        self,
        server: ServerConfig,
        deadline: Deadline,
        *,
        database: str | None = None,
        facts: Facts | None = None,
    ) -> Session:
        """Open a session, with its settings made.

        Args:
            server: Where and as whom.
            deadline: Covers name resolution, TLS, authentication and the settings.
            database: Another database than the configured one.
            facts: What is known from an earlier session, which saves asking for the version.

        Raises:
            Failure: With the reason why not.
        """

    def identify(self, session: Session, deadline: Deadline) -> Identity:
        """Ask who answers; one cheap query, also the ping that db_up reports."""

    def learn(self, session: Session, identity: Identity, server: ServerConfig, deadline: Deadline) -> Facts:
        """Learn the facts of the server behind a session."""

    def cancel(self, server: ServerConfig, session: Session, deadline: Deadline) -> bool:
        """End on the server what a session that was cut off may still be running there; best effort, fails silently.

        Args:
            server: Where the session was connected to, and as whom.
            session: A session whose `run` failed as broken; it can't be used after this.
            deadline: Covers a connection of its own, where one is needed.

        Returns:
            Whether there is nothing left that could be ended; else it may be tried again.
        """

    def databases(self, session: Session, deadline: Deadline) -> dict[str, Failure | None]:
        """The databases that `each_database` collectors visit, before the config's include and exclude.

        Returns:
            By name, in order, None or why our account may not enter it.
        """
