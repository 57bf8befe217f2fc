"""Whatever goes wrong with a PostgreSQL server, we learn of it in time, with its reason and what mends it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from exporter.config.model import TLS
from exporter.config.secrets import Secret
from exporter.failure import Failure, Reason
from tests.alone import alone
from tests.postgres_sessions import (  # noqa: F401 - fixtures among them
    ENGINE,
    Connect,
    config,
    connecting,
    deadline,
    failing,
    session_account,
    value,
)
from tests.providers.base import Account, DatabaseServer, wait_for

pytestmark = pytest.mark.engine("postgres")


def test_a_frozen_server_ends_in_time(server: DatabaseServer, connect: Connect) -> None:
    session = connect(config(server))
    server.pause()
    try:
        running = failing(session.run, "SELECT 1", deadline(1))
        connecting = failing(connect, config(server), deadline(1))
    finally:
        server.resume()
    assert (running.reason, running.broken, session.closed) == (Reason.TIMEOUT, True, True)
    assert (connecting.reason, connecting.broken) == (Reason.TIMEOUT, True)
    assert value(connect(config(server)), "1") == 1


def test_a_peer_that_accepts_and_stays_silent_ends_in_time(server: DatabaseServer, connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = config(server, host="127.0.0.1", port=silent.getsockname()[1])
        for mode in ("disable", "prefer", "verify-full"):
            failure = failing(connect, there.model_copy(update={"tls": TLS(mode=mode)}), deadline(1))
            assert (failure.reason, failure.broken) == (Reason.TIMEOUT, True)


def test_a_dead_address_leaves_time_for_the_next(
    server: DatabaseServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.engines.postgres.connect.resolve", lambda *_: ["127.0.0.2", server.host])
    there = config(server, host="two-addresses.test")
    assert value(connect(there), "1") == 1, "the first refuses"
    with socket.create_server(("127.0.0.2", server.port)):
        assert value(connect(there, deadline(2)), "1") == 1, "the first is silent"


def test_a_peer_that_speaks_something_else_is_no_server(server: DatabaseServer, connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(1024)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        there = config(server, port=listener.getsockname()[1], tls=TLS(mode="disable"))
        failure = failing(connect, there, deadline(2))
        thread.join()
    assert failure.broken
    assert "\n" not in failure.message


def test_nobody_listens(server: DatabaseServer, connect: Connect) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        failure = failing(connect, config(server, port=taken.getsockname()[1]))
    assert (failure.reason, failure.broken) == (Reason.CONNECT, True)
    assert "refused" in failure.message


def test_an_unknown_host_and_a_missing_socket(server: DatabaseServer, connect: Connect, tmp_path: Path) -> None:
    assert failing(connect, config(server, host="no-such-host.invalid")).reason is Reason.DNS
    nowhere = config(server, host="localhost", socket=str(tmp_path))
    assert failing(connect, nowhere).reason is Reason.CONNECT


def test_a_wrong_password_never_shows(server: DatabaseServer, connect: Connect, account: Account) -> None:
    canary = "canary'\\ host=evil"
    failure = failing(connect, config(server, Account(account.user, canary)))
    assert failure.reason is Reason.AUTH
    assert failure.fix
    assert account.user in failure.fix
    assert "canary" not in f"{failure!r} {failure.message} {failure.fix} {failure.__context__!r}"


def test_a_password_file_that_is_gone(server: DatabaseServer, connect: Connect, tmp_path: Path) -> None:
    secret = Secret.from_file(tmp_path / "missing")
    failure = failing(connect, config(server, password=secret))
    assert failure.reason is Reason.AUTH
    assert "missing" in failure.message


@pytest.mark.parametrize("name", ["x host=evil port=1", "postgresql://evil/x", "é' \\x", 'x" y'])
def test_a_name_is_a_name(server: DatabaseServer, connect: Connect, name: str) -> None:
    missing = failing(connect, config(server, database=name))
    assert (missing.reason, missing.broken) == (Reason.ERROR, True)
    with server.connect() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        session = connect(config(server), database=name)
        assert value(session, "current_database()") == name
        assert name in ENGINE.databases(session, deadline())
        session.close()
    finally:
        with server.connect() as admin:
            admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


def test_a_forbidden_database_names_the_grant(server: DatabaseServer, connect: Connect, account: Account) -> None:
    server.execute("CREATE DATABASE session_forbidden")
    try:
        server.execute("REVOKE CONNECT ON DATABASE session_forbidden FROM PUBLIC")
        failure = failing(connect, config(server, account, database="session_forbidden"))
        assert failure.reason is Reason.PERMISSION
        assert failure.fix == f"GRANT CONNECT ON DATABASE session_forbidden TO {account.user};"
        listed = ENGINE.databases(connect(config(server, account)), deadline())["session_forbidden"]
        assert listed is not None
        assert (listed.reason, listed.message, listed.fix) == (failure.reason, failure.message, failure.fix)
        server.execute(failure.fix)
        connect(config(server, account, database="session_forbidden")).close()
    finally:
        server.execute("DROP DATABASE session_forbidden")


def test_a_missing_grant_names_it(server: DatabaseServer, connect: Connect) -> None:
    poor = server.account("REVOKE pg_monitor FROM session_poor", name="session_poor")
    session = connect(config(server, poor))
    failure = failing(session.run, "SELECT * FROM pg_ls_waldir()", deadline())
    assert (failure.reason, failure.broken) == (Reason.PERMISSION, False)
    assert failure.fix
    server.execute(failure.fix)
    assert session.run("SELECT * FROM pg_ls_waldir()", deadline()).rows


def test_a_missing_extension_is_told_from_an_error(server: DatabaseServer, connect: Connect) -> None:
    session = connect(config(server), database="template1")
    failure = failing(session.run, "SELECT * FROM pg_stat_statements(false)", deadline())
    assert failure.reason is Reason.MISSING_EXTENSION
    assert failure.fix == "in database template1: CREATE EXTENSION pg_stat_statements;"
    assert failing(session.run, "SELECT * FROM nothing_like_it", deadline()).reason is Reason.ERROR


def test_a_session_that_was_ended_says_so(server: DatabaseServer, connect: Connect) -> None:
    session = connect(config(server))
    server.execute("SELECT pg_terminate_backend(%s)", params=(value(session, "pg_backend_pid()"),))
    failure = failing(session.run, "SELECT pg_sleep(1)", deadline())
    assert (failure.reason, failure.broken, session.closed) == (Reason.CONNECT, True, True)


def test_a_role_at_its_limit_is_full_not_down(server: DatabaseServer, connect: Connect) -> None:
    limited = server.account(name="session_limited", limit=1)
    connect(config(server, limited))
    failure = failing(connect, config(server, limited))
    assert failure.reason is Reason.TOO_MANY_CONNECTIONS
    assert "full, not down" in failure.message
    assert failure.fix
    statement, _, otherwise = failure.fix.partition(";")
    assert statement == "ALTER ROLE session_limited CONNECTION LIMIT 3"
    assert "a role of its own" in otherwise
    server.execute(statement)
    connect(config(server, limited))


def test_a_server_without_a_free_slot_is_full_not_down(
    fresh_server: Callable[..., DatabaseServer], postgres: DatabaseServer, connect: Connect
) -> None:
    full = fresh_server(postgres.name, {"max_connections": "8", "superuser_reserved_connections": "2"})
    account = full.account(name="late")
    other = full.account(name="early", limit=20)
    taken: list[psycopg.Connection[tuple[Any, ...]]] = []
    try:
        taken.append(full.connect())
        alone(taken[0])
        with pytest.raises(psycopg.OperationalError):
            taken.extend(full.connect(user=other.user, password=other.password) for _ in range(20))
        failure = failing(connect, config(full, account))
    finally:
        for each in taken:
            each.close()
    assert (failure.reason, failure.broken) == (Reason.TOO_MANY_CONNECTIONS, True)
    assert "full, not down" in failure.message
    assert failure.fix
    assert "reserved_connections" in failure.fix


def test_a_server_that_starts_up_is_starting(
    fresh_server: Callable[..., DatabaseServer], postgres: DatabaseServer, connect: Connect
) -> None:
    # A standby that has not reached a consistent state takes no connections.
    waiting = fresh_server(postgres.name)
    waiting.stop()
    assert waiting.data is not None
    (waiting.data / "recovery.signal").touch()
    waiting.runner.configure({"restore_command": "sleep 60"})
    waiting.runner.start()
    reasons: set[Reason] = set()

    def starting() -> bool:
        with pytest.raises(Failure) as caught:
            connect(config(waiting))
        reasons.add(caught.value.reason)
        return caught.value.reason is Reason.STARTING

    assert wait_for(starting, 20), reasons
