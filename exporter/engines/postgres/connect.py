"""Opening a connection to PostgreSQL within a deadline, whatever the other side does or doesn't do."""

from __future__ import annotations

import os
import select
from collections.abc import Mapping
from typing import TYPE_CHECKING

from psycopg import pq
from psycopg.conninfo import make_conninfo

from exporter.config.secrets import SecretError
from exporter.engines.deadline import Deadline
from exporter.engines.postgres import errors, libpq
from exporter.engines.postgres.errors import Login
from exporter.engines.resolve import resolve
from exporter.failure import Failure, Reason

if TYPE_CHECKING:
    from exporter.config.model import ServerConfig

_MAINTENANCE_DATABASE = "postgres"
_READY = pq.PollingStatus.OK
_FAILED = pq.PollingStatus.FAILED
_WAITS = {pq.PollingStatus.READING: select.POLLIN, pq.PollingStatus.WRITING: select.POLLOUT}
# Another address of the same name may do better; an answer of a server settles it.
_NEXT_ADDRESS = frozenset({Reason.CONNECT, Reason.TIMEOUT})
# Where libpq has no default that can be written down, what means the same.
_UNWRITTEN = {
    "connect_timeout": "0",
    "max_protocol_version": "3.0",
    "min_protocol_version": "3.0",
    "require_auth": "none,password,md5,gss,sspi,scram-sha-256",
    "sslcertmode": "allow",
}
# By environment variable the keyword of libpq and its default; PGPASSFILE is the one that counts.
_DEFAULTS = {
    option.envvar.decode(): (
        option.keyword.decode(),
        (option.compiled or b"").decode() or _UNWRITTEN.get(option.keyword.decode(), ""),
    )
    for option in pq.Conninfo.get_defaults()
    if option.envvar and option.keyword not in {b"passfile", b"service"}
}
# No keyword can say that these don't count: a service brings settings along, a pooler may refuse the others.
for _variable in ("PGSERVICE", "PGTZ", "PGDATESTYLE", "PGGEQO"):
    os.environ.pop(_variable, None)


def login_of(server: ServerConfig, database: str | None) -> Login:
    """As whom and to which database to connect.

    Raises:
        Failure: With reason `auth` if the password can't be read from its file or variable.
    """
    try:
        secret = server.password.reveal() if server.password else None
    except SecretError as error:
        raise Failure(Reason.AUTH, str(error)) from None
    return Login(server.user or "postgres", database or server.database or _MAINTENANCE_DATABASE, secret)


def open_connection(server: ServerConfig, login: Login, deadline: Deadline) -> pq.abc.PGconn:
    """Connect, trying the addresses of the host in turn. Nothing is set on the way: this may be a pooler.

    Raises:
        Failure: No connection came about before the deadline.
    """
    keywords = _keywords(server, login)
    if server.socket:
        return _attempt({**keywords, "host": server.socket, "hostaddr": ""}, server, login, deadline)
    addresses = resolve(server.host, server.port, deadline)
    # The certificate is checked against the host's name, however the address was found.
    keywords["host"] = server.tls.server_name or server.host
    for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        # A silent first address must leave time for the next one.
        share = deadline.within(deadline.remaining() / left)
        try:
            return _attempt({**keywords, "hostaddr": address}, server, login, share)
        except Failure as failure:
            if left == 1 or failure.reason not in _NEXT_ADDRESS:
                raise
    raise Failure(Reason.DNS, f"the host name {server.host!r} has no address")


def _keywords(server: ServerConfig, login: Login) -> dict[str, str | int]:
    """What libpq is told: all that the config says, and of the environment no more than where a .pgpass lies."""
    tls = server.tls
    said: dict[str, str | int | None] = {
        "port": server.port,
        "dbname": login.database,
        "user": login.user,
        "password": login.secret,
        "application_name": "",
        "options": "",
        "client_encoding": "",
        "sslmode": tls.mode,
        "sslrootcert": tls.ca,
        "sslcert": tls.cert,
        "sslkey": tls.key,
        "gssencmode": "disable",
        "target_session_attrs": "any",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }
    if not server.socket and tls.mode in {"disable", "prefer"} and pq.version() >= 160_000:
        # Whoever answers at this address could ask for the password in the clear, and would get it.
        said["require_auth"] = "!password"
    return {**_against_environment(), **{keyword: value for keyword, value in said.items() if value is not None}}


def _against_environment() -> dict[str, str]:
    """Defaults of libpq for what its environment variables would set otherwise; an empty password looks in .pgpass."""
    return {keyword: default for variable, (keyword, default) in _DEFAULTS.items() if variable in os.environ}


def _attempt(
    keywords: Mapping[str, str | int], server: ServerConfig, login: Login, deadline: Deadline
) -> pq.abc.PGconn:
    # Keywords only: a database named `x host=elsewhere` stays a name.
    connection = pq.PGconn.connect_start(make_conninfo("", **keywords).encode())
    try:
        _shake_hands(connection, server, login, deadline)
    except BaseException:
        connection.finish()
        raise
    connection.nonblocking = 1
    return connection


def _shake_hands(connection: pq.abc.PGconn, server: ServerConfig, login: Login, deadline: Deadline) -> None:
    if connection.status == pq.ConnStatus.BAD:
        raise _refused(connection, server, login)
    libpq.report_codes(connection)
    state = pq.PollingStatus.WRITING
    while state not in {_READY, _FAILED}:
        poller = select.poll()
        poller.register(connection.socket, _WAITS[state])
        if not poller.poll(deadline.remaining() * 1000):
            raise Failure(Reason.TIMEOUT, f"{place(server)} did not answer in time", broken=True)
        state = pq.PollingStatus(connection.connect_poll())
    if state == _FAILED:
        raise _refused(connection, server, login)


def _refused(connection: pq.abc.PGconn, server: ServerConfig, login: Login) -> Failure:
    code, text = errors.sqlstate_of(connection.get_error_message("utf-8"))
    return errors.failure(code, text, login, connecting_to=place(server))


def place(server: ServerConfig) -> str:
    """Where a server is, for people."""
    return server.socket or f"{server.host}:{server.port}"
