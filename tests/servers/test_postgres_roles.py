"""Who follows whom: a primary, a standby in all its states, and a server that is being restored."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from exporter.facts import Role
from exporter.failure import Failure
from tests.postgres_sessions import ENGINE, Connect, config, connecting, deadline  # noqa: F401 - a fixture among them
from tests.providers.base import Account, DatabaseServer, wait_for

pytestmark = pytest.mark.engine("postgres")


def role(connect: Connect, server: DatabaseServer, account: Account | None = None) -> Role:
    session = connect(config(server, account))
    found = ENGINE.identify(session, deadline()).role
    session.close()
    return found


def test_a_standby_is_a_replica_until_it_is_promoted(
    fresh_server: Callable[..., DatabaseServer], postgres: DatabaseServer, connect: Connect
) -> None:
    primary = fresh_server(postgres.name)
    monitor = primary.account(name="role_monitor", limit=10)
    blind = primary.account("REVOKE pg_monitor FROM role_blind", name="role_blind", limit=10)
    standby = primary.replica()
    assert role(connect, primary) is Role.PRIMARY
    session = connect(config(standby, monitor))
    before = ENGINE.identify(session, deadline())
    assert before.role is Role.REPLICA
    assert before.system == ENGINE.identify(connect(config(primary)), deadline()).system

    # Its receiver dies with the primary; it is a replica all the same.
    primary.stop()
    assert wait_for(lambda: standby.execute("SELECT count(*) FROM pg_stat_wal_receiver") == [(0,)], 20)
    for account in (None, monitor, blind):
        assert role(connect, standby, account) is Role.REPLICA, account

    standby.execute("SELECT pg_promote()")
    after = ENGINE.identify(session, deadline())
    assert after.role is Role.PRIMARY
    assert not before.same_server(after)


def test_a_restarted_server_is_another_life_of_the_same(
    fresh_server: Callable[..., DatabaseServer], postgres: DatabaseServer, connect: Connect
) -> None:
    server = fresh_server(postgres.name)
    before = ENGINE.identify(connect(config(server)), deadline())
    assert before.same_server(ENGINE.identify(connect(config(server)), deadline()))
    assert wait_for(lambda: server.execute("SELECT now() - pg_postmaster_start_time() > '3 s'") == [(True,)], 10)
    server.restart()
    after = ENGINE.identify(connect(config(server)), deadline())
    assert after.system == before.system
    assert not before.same_server(after)


# A restore often keeps the primary_conninfo of the standby that it was.
@pytest.mark.parametrize("conninfo", ["", "primary_conninfo = 'host=127.0.0.1 port=1'\n"], ids=["bare", "kept"])
def test_a_server_in_point_in_time_recovery_follows_nobody(
    fresh_server: Callable[..., DatabaseServer], postgres: DatabaseServer, connect: Connect, conninfo: str
) -> None:
    source = fresh_server(postgres.name)
    archive = source.runner.address.data
    assert archive is not None
    # A copy is restored from the WAL that the source still holds, up to a named point, and pauses there.
    restored = source.replica()
    monitor = source.account(name="restore_monitor", limit=10)
    restored.wait_until_caught_up()
    restored.stop()
    source.execute("SELECT pg_create_restore_point('here')")
    source.execute("SELECT pg_switch_wal()")
    assert restored.data is not None
    (restored.data / "standby.signal").unlink()
    (restored.data / "recovery.signal").touch()
    (restored.data / "postgresql.auto.conf").write_text(conninfo)
    restored.runner.configure(
        {
            "restore_command": f"cp {archive}/pg_wal/%f %p",
            "recovery_target_name": "here",
            "recovery_target_action": "pause",
        }
    )
    restored.runner.start()
    seen: list[Role | str] = []

    def recovering() -> bool:
        try:
            seen.append(role(connect, restored, monitor))
        except Failure as failure:
            seen.append(failure.message)
        return seen[-1] is Role.RECOVERING

    assert wait_for(recovering, 30), seen
    assert restored.execute("SELECT pg_is_in_recovery()") == [(True,)]
