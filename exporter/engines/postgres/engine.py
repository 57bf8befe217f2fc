"""PostgreSQL for the rest of the exporter: sessions with limits, directly or through a pooler, and facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from exporter.engines.deadline import Deadline
from exporter.engines.postgres import facts as learning
from exporter.engines.postgres.connect import OptionsRefusedError, login_of, open_connection, place
from exporter.engines.postgres.session import PostgresSession, server_limit
from exporter.facts import Facts, Identity
from exporter.failure import Failure, Reason

if TYPE_CHECKING:
    from exporter.config.model import ServerConfig
    from exporter.engines.base import Engine, Session


class PostgresEngine:
    """PostgreSQL 13 and newer, and what speaks for it: PgBouncer and other poolers in transaction mode."""

    name = "postgres"

    def connect(
        self, server: ServerConfig, deadline: Deadline, *, database: str | None = None, facts: Facts | None = None
    ) -> PostgresSession:
        """Open a session, with its settings made unless a pooler stands in between.

        Raises:
            Failure: With the reason why not.
        """
        deadline = deadline.within(server.timeouts.connect)
        login = login_of(server, database)
        settings = _settings(server)
        pooled = server.pooler == "transaction" or (server.pooler == "auto" and facts is not None and facts.pooled)
        options = None if pooled else " ".join(f"-c {name}={value}" for name, value in settings.items())
        try:
            pgconn = open_connection(server, login, options, deadline)
        except OptionsRefusedError as refusal:
            if server.pooler == "none":
                raise Failure(
                    Reason.CONNECT, f"a pooler refuses session settings: {refusal}", fix="set pooler: transaction"
                ) from None
            pooled = True
            pgconn = open_connection(server, login, None, deadline)
        session = PostgresSession(pgconn, login, place(server), settings, pooled=pooled)
        try:
            if not pooled and not _settle(session, deadline) and server.pooler == "auto":
                session.pooled = True
        except BaseException:
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

    def databases(self, session: Session, deadline: Deadline) -> list[str]:
        """The databases that we may connect to, by name."""
        return learning.databases(cast("PostgresSession", session), deadline)


def _settings(server: ServerConfig) -> dict[str, str | int]:
    """What every session of ours is held to, on all versions; times in milliseconds."""
    return {
        "statement_timeout": server_limit(server.timeouts.statement) or 1,
        "lock_timeout": max(1, round(server.timeouts.lock * 1000)),
        "idle_in_transaction_session_timeout": 5000,
        "default_transaction_read_only": "on",
        "search_path": "pg_catalog",
        "jit": "off",
        "max_parallel_workers_per_gather": 0,
    }


def _settle(session: PostgresSession, deadline: Deadline) -> bool:
    """Make the settings that depend on the version; False, and nothing set, if a pooler stands in between.

    Behind a pooler the process that runs this isn't the one that the greeting named, or our options got lost.
    """
    made = ["true"]
    if session.server_version >= 140_000:
        # A backend whose client has gone stops within a second.
        made.append("set_config('client_connection_check_interval', '1000', false) <> ''")
    if session.server_version >= 150_000:
        made.append("set_config('stats_fetch_consistency', 'none', false) <> ''")
    [(settled,)] = session.run(
        f"SELECT CASE WHEN pg_backend_pid() = {session.backend_pid} "
        f"AND current_setting('default_transaction_read_only') = 'on' THEN {' AND '.join(made)} ELSE false END",
        deadline,
    ).rows
    return bool(settled)


POSTGRES: Engine = PostgresEngine()
