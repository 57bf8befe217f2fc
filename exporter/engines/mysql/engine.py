"""The engine for MySQL, Percona Server and MariaDB: connect under a deadline, ask who answers, learn about it."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

from exporter.config.secrets import SecretError
from exporter.engines.deadline import WATCHDOG, Deadline
from exporter.engines.mysql import facts as knowledge
from exporter.engines.mysql import tls
from exporter.engines.mysql.connection import DECODERS, ServerConnection
from exporter.engines.mysql.errors import Asker, failure, one_line
from exporter.engines.mysql.session import MySQLSession
from exporter.engines.resolve import resolve
from exporter.failure import Failure, Reason
from exporter.own_sessions import OWN_SCHEMA

if TYPE_CHECKING:
    from exporter.config.model import ServerConfig
    from exporter.engines.base import Session
    from exporter.facts import Facts, Identity

log = logging.getLogger(__name__)


class MySQLEngine:
    """exporter.engines.base.Engine for everything that speaks MySQL's protocol."""

    name = "mysql"
    tells_open_sessions = False

    def connect(
        self,
        server: ServerConfig,
        deadline: Deadline,
        *,
        database: str | None = None,
        facts: Facts | None = None,  # noqa: ARG002 - the version is asked anew, an upgrade may have changed it
    ) -> MySQLSession:
        """Open a session; see exporter.engines.base.Engine.

        Its default schema is OWN_SCHEMA, which tells the digests of our statements from those of others; statements of
        users have `database`.
        """
        session = self._open(server, deadline, OWN_SCHEMA)
        session.users_database = database or OWN_SCHEMA
        try:
            session.prepare(deadline, server.timeouts.lock)
        except BaseException:
            session.close()
            raise
        return session

    def identify(self, session: Session, deadline: Deadline) -> Identity:
        """Ask who answers; one or two cheap queries."""
        return knowledge.identify(_own(session), deadline)

    def learn(self, session: Session, identity: Identity, server: ServerConfig, deadline: Deadline) -> Facts:  # noqa: ARG002
        """Learn the facts of the server behind a session."""
        return knowledge.learn(_own(session), identity, deadline)

    def databases(self, session: Session, deadline: Deadline) -> dict[str, Failure | None]:  # noqa: ARG002
        """None: one connection sees everything."""
        return {}

    def cancel(self, server: ServerConfig, session: Session, deadline: Deadline) -> bool:
        """End a session that was cut off, and what it still runs, over a connection of its own.

        MySQL's limit on statements knows SELECT only, and a server does not see that its client has gone while a
        statement runs. An account may end its own sessions. By now another server may answer, where the number is
        somebody else's: nothing is ended there, nor where the session never told who answered.
        """
        cut = _own(session)
        if cut.identity is None:
            return True
        try:
            other = self.connect(server, deadline)
            try:
                if knowledge.leads_to(other, cut.identity, deadline):
                    other.kill(cut.connection_id, deadline)
            finally:
                other.close()
        except Failure as failed:
            log.info("%s: a session that was cut off could not be ended: %s", server.name, failed.message)
            return False
        return True

    def _open(self, server: ServerConfig, deadline: Deadline, database: str | None = None) -> MySQLSession:
        connection = self._driver(server, database)
        sock = _dial(server, deadline)
        try:
            with WATCHDOG.guard(sock.fileno(), deadline) as guard:
                try:
                    connection.connect(sock.dup())
                except Exception as error:  # noqa: BLE001 - whatever a driver raises ends here, as a reason
                    raise (_silent(server) if guard.fired else failure(error, Asker(f"'{server.user}'"))) from None
        except BaseException:
            sock.close()
            raise
        return MySQLSession(connection, sock)

    def _driver(self, server: ServerConfig, database: str | None) -> ServerConnection:
        context = None if server.socket else tls.context(server.tls)
        try:
            password = server.password.reveal() if server.password else ""
        except SecretError as error:
            raise Failure(Reason.AUTH, one_line(str(error))) from None
        connection = ServerConnection(
            user=server.user,
            password=password.encode(),
            host=server.tls.server_name or server.host,
            port=server.port,
            database=database,
            charset="utf8mb4",
            use_unicode=False,
            conv=DECODERS,  # type: ignore[arg-type]  # with use_unicode=False they get bytes
            # Among our own settings: PyMySQL can't write its statement for it without encoders.
            autocommit=None,
            local_infile=False,
            program_name=server.application_name,
            ssl=context,
            ssl_disabled=context is None,
            defer_connect=True,
        )
        connection.local = server.socket is not None
        return connection


def _own(session: Session) -> MySQLSession:
    if not isinstance(session, MySQLSession):
        raise TypeError(f"{type(session).__name__} is no session of this engine")
    return session


def _where(server: ServerConfig) -> str:
    return server.socket or f"{server.host}:{server.port}"


def _silent(server: ServerConfig) -> Failure:
    return Failure(Reason.TIMEOUT, f"{_where(server)} accepted the connection and did not answer in time")


def _dial(server: ServerConfig, deadline: Deadline) -> socket.socket:
    """A connected socket; of several addresses each gets its share of the time."""
    if server.socket:
        return _try(socket.AF_UNIX, server.socket, server, deadline)
    addresses = resolve(server.host, server.port, deadline)
    for index, address in enumerate(addresses):
        share = deadline.within(deadline.remaining() / (len(addresses) - index))
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            return _try(family, (address, server.port), server, share)
        except Failure:
            if index == len(addresses) - 1:
                raise
    raise Failure(Reason.DNS, f"the name {server.host} has no address")


def _try(
    family: socket.AddressFamily, address: str | tuple[str, int], server: ServerConfig, deadline: Deadline
) -> socket.socket:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise Failure(Reason.CONNECT, f"no connection to {_where(server)}: {error.strerror or error}") from None
    try:
        sock.settimeout(max(deadline.remaining(), 0.001))
        sock.connect(address)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.settimeout(None)
    except TimeoutError:
        sock.close()
        raise Failure(Reason.TIMEOUT, f"no connection to {_where(server)} in time") from None
    except OSError as error:
        sock.close()
        raise Failure(Reason.CONNECT, f"no connection to {_where(server)}: {error.strerror or error}") from None
    return sock


MYSQL = MySQLEngine()
