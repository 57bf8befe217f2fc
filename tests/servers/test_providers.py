"""The servers that all other tests rely on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.providers.base import DatabaseServer, wait_for


def test_version_is_the_one_asked_for(server: DatabaseServer) -> None:
    assert server.version[: len(server.kind.release)] == server.kind.release


def test_execute_returns_rows_and_takes_parameters(server: DatabaseServer) -> None:
    assert [tuple(row) for row in server.execute("SELECT 1, %s", params=("a%",))] == [(1, "a%")]


def test_a_paused_server_answers_nobody_until_it_resumes(server: DatabaseServer) -> None:
    options: dict[str, Any] = {"read_timeout": 1} if server.engine == "mysql" else {}
    server.pause()
    try:
        with pytest.raises(Exception, match="time"):
            server.connect(connect_timeout=1, **options)
    finally:
        server.resume()
    assert server.execute("SELECT 1")[0][0] == 1


def test_a_row_reaches_the_replica(server: DatabaseServer, replica: DatabaseServer) -> None:
    assert replica.primary is server
    assert replica.port != server.port
    server.execute("CREATE DATABASE provider_rows")
    try:
        server.execute("CREATE TABLE t (x int)", "provider_rows")
        server.execute("INSERT INTO t VALUES (42)", "provider_rows")
        replica.wait_until_caught_up()
        assert replica.execute("SELECT x FROM t", "provider_rows")[0][0] == 42
    finally:
        server.execute("DROP DATABASE provider_rows")


def test_the_exporters_account_is_limited(server: DatabaseServer) -> None:
    account = server.account(name="limited", limit=1)
    first = server.connect(None, account.user, account.password)
    with first, pytest.raises(Exception, match=r"too many connections|max_user_connections"):
        server.connect(None, account.user, account.password)
    with pytest.raises(Exception, match=r"(?i)password|denied"):
        server.connect(None, account.user, "wrong")


def _refuses(server: DatabaseServer) -> bool:
    try:
        server.connect(connect_timeout=1).close()
    except Exception as error:  # noqa: BLE001 - of any driver
        return "refused" in str(error).lower()
    return False


def test_a_killed_server_starts_again_with_its_data(server: DatabaseServer) -> None:
    port = server.port
    server.execute("CREATE DATABASE provider_crash")
    if server.engine == "postgres":
        server.execute("CHECKPOINT")
    server.kill()
    try:
        # A child that is just ending holds the socket for a moment.
        assert wait_for(lambda: _refuses(server), 10)
    finally:
        server.start()
    assert server.port == port
    server.execute("DROP DATABASE provider_crash")


def test_settings_hold_after_a_restart(server: DatabaseServer, fresh_server: Callable[..., DatabaseServer]) -> None:
    # A server of its own: a standby of the shared one would stop at a limit higher than its own.
    own = fresh_server(server.name)
    before = _max_connections(own)
    own.restart(max_connections=str(before + 7))
    assert _max_connections(own) == before + 7
    own.restart(max_connections=str(before))
    assert wait_for(lambda: _max_connections(own) == before, 5)


def _max_connections(server: DatabaseServer) -> int:
    if server.engine == "postgres":
        return int(server.execute("SHOW max_connections")[0][0])
    return int(server.execute("SELECT @@global.max_connections")[0][0])
