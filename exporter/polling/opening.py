"""Opening and closing sessions on a server: how many are open, and what is asked of the server for our own upkeep."""

from __future__ import annotations

import time

from exporter.config.model import ServerConfig
from exporter.engines.base import Engine, Session
from exporter.engines.deadline import Deadline
from exporter.facts import Facts, Identity
from exporter.failure import Failure, Reason
from exporter.polling.tasks import Cost

# DROP DATABASE gives up after five seconds if somebody is still in the database, so nobody of ours stays that long.
VISIT_STATEMENT_SECONDS = 3.2
_PAUSES = (0.1, 0.4)


class Opener:
    """Opens sessions on one server.

    Attributes:
        cost: What connecting, pinging and learning have cost.
    """

    def __init__(self, config: ServerConfig, engine: Engine) -> None:
        self.cost = Cost()
        self._config = config
        self._engine = engine
        self._visiting = _hurried(config)
        self._open: set[int] = set()

    @property
    def connections(self) -> int:
        """Sessions that are open now."""
        return len(self._open)

    def connect(self, deadline: Deadline, facts: Facts | None, database: str | None = None) -> Session:
        """Open a session, in another database for a short visit.

        Raises:
            Failure: With the reason why not.
        """
        started = time.monotonic()
        queries = 0
        try:
            session = self._engine.connect(
                self._config if database is None else self._visiting,
                deadline.within(self._config.timeouts.connect),
                database=database,
                facts=facts,
            )
            queries = session.statements
        finally:
            self.cost.add(queries, time.monotonic() - started)
        self._open.add(id(session))
        return session

    def connect_patiently(self, deadline: Deadline, facts: Facts | None, database: str | None = None) -> Session:
        """Connect; a second session that was closed a moment ago may still count against the account's limit.

        Raises:
            Failure: As of `connect`.
        """
        for pause in _PAUSES:
            try:
                return self.connect(deadline, facts, database)
            except Failure as failure:
                if failure.reason is not Reason.TOO_MANY_CONNECTIONS or deadline.remaining() < pause:
                    raise
            time.sleep(pause)
        return self.connect(deadline, facts, database)

    def disconnect(self, session: Session) -> None:
        """Close a session."""
        session.close()
        self._open.discard(id(session))

    def kill(self, session: Session) -> bool:
        """End on the server what a session that was cut off may still be running there; that takes a connection.

        Returns:
            As of `Engine.cancel`.
        """
        self._open.add(id(session))
        try:
            return self._engine.cancel(self._config, session, Deadline.after(self._config.timeouts.connect))
        finally:
            self._open.discard(id(session))

    def identify(self, session: Session, deadline: Deadline) -> Identity:
        """Ask who answers.

        Raises:
            Failure: Nobody does.
        """
        with self.cost.of(session):
            # As long as a collector may take, so that the server's own limit need not be set anew for each.
            return self._engine.identify(session, deadline.within(self._config.timeouts.statement))

    def learn(self, session: Session, identity: Identity, deadline: Deadline) -> Facts:
        """Learn the facts of the server behind a session.

        Raises:
            Failure: It has not told them.
        """
        with self.cost.of(session):
            within = deadline.within(self._config.timeouts.statement)
            return self._engine.learn(session, identity, self._config, within)


def _hurried(config: ServerConfig) -> ServerConfig:
    """The config for sessions in other databases."""
    most = min(config.timeouts.statement, VISIT_STATEMENT_SECONDS)
    return config.model_copy(update={"timeouts": config.timeouts.model_copy(update={"statement": most})})
