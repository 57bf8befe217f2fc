"""PostgreSQL for the rest of the exporter: sessions with limits, directly or through a pooler, and facts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

from exporter.engines.deadline import Deadline
from exporter.engines.postgres import facts as learning
from exporter.engines.postgres.connect import login_of, open_connection, place
from exporter.engines.postgres.session import PostgresSession, literal, server_limit
from exporter.facts import Facts, Identity
from exporter.failure import Failure

if TYPE_CHECKING:
    from exporter.config.model import ServerConfig
    from exporter.engines.base import Engine, Session

log = logging.getLogger(__name__)

# By now somebody else's process may have that number, here or on another server that answers.
_END = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid = {pid} AND usename = current_user AND application_name = {name} AND state = 'active'"""


class PostgresEngine:
    """PostgreSQL 13 and newer, and what speaks for it: PgBouncer and other poolers in transaction mode."""

    name = "postgres"
    tells_open_sessions = True

    def connect(
        self, server: ServerConfig, deadline: Deadline, *, database: str | None = None, facts: Facts | None = None
    ) -> PostgresSession:
        """Open a session, with its settings made unless a pooler stands in between.

        Raises:
            Failure: With the reason why not.
        """
        deadline = deadline.within(server.timeouts.connect)
        login = login_of(server, database)
        pgconn = open_connection(server, login, deadline)
        session = PostgresSession(pgconn, login, place(server), _settings(server))
        known = server.pooler == "transaction" or (server.pooler == "auto" and facts is not None and facts.pooled)
        if not known:
            try:
                session.settle(deadline, _session_settings(pgconn.server_version), anyway=server.pooler == "none")
            except Failure:
                session.close()
                raise
        return session

    def identify(self, session: Session, deadline: Deadline) -> Identity:
        """Ask who answers; one cheap query."""
        return learning.identify(cast("PostgresSession", session), deadline)

    def learn(
        self,
        session: Session,
        identity: Identity,
        server: ServerConfig,  # noqa: ARG002 - the protocol's; PostgreSQL tells all by itself
        deadline: Deadline,
    ) -> Facts:
        """Learn the facts of the server behind a session."""
        return learning.learn(cast("PostgresSession", session), identity, deadline)

    def databases(self, session: Session, deadline: Deadline) -> dict[str, Failure | None]:
        """The databases by name, and why not if we may not connect to one."""
        return learning.databases(cast("PostgresSession", session), deadline)

    def cancel(self, server: ServerConfig, session: Session, deadline: Deadline) -> bool:
        """End the process that still runs a user's statement; statement_timeout ends all others.

        Before 14 a server does not see that its client has gone while a statement runs.
        """
        cut = cast("PostgresSession", session)
        if not cut.unfinished:
            return True
        try:
            other = self.connect(server, deadline)
            try:
                other.run(_END.format(pid=cut.backend, name=literal(server.application_name)), deadline)
            finally:
                other.close()
        except Failure as failed:
            log.info("%s: a session that was cut off could not be ended: %s", server.name, failed.message)
            return False
        return True


def _settings(server: ServerConfig) -> dict[str, str]:
    """What every statement of ours is held to, on all versions; times in milliseconds."""
    return {
        "application_name": server.application_name,
        "statement_timeout": str(server_limit(server.timeouts.statement) or 1),
        "lock_timeout": str(max(1, round(server.timeouts.lock * 1000))),
        "idle_in_transaction_session_timeout": "5000",
        "search_path": "pg_catalog",
        "jit": "off",
        "max_parallel_workers_per_gather": "0",
    }


def _session_settings(version: int) -> dict[str, str]:
    """What a session of our own has besides, as SQL expressions; pooled statements run in BEGIN READ ONLY instead."""
    settings = {"default_transaction_read_only": "'on'"}
    if version >= 140_000:
        # A backend whose client has gone stops within a second; not every system can tell, and others refuse it.
        settings["client_connection_check_interval"] = "CASE WHEN version() ~ 'linux' THEN '1000' ELSE '0' END"
    if version >= 150_000:
        settings["stats_fetch_consistency"] = "'none'"
    return settings


POSTGRES: Engine = PostgresEngine()
