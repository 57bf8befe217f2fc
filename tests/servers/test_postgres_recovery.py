"""Replay on a standby of its own: paused, held up, promoted; and how far WAL got, against the functions that tell."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.providers.base import Account, DatabaseServer, wait_for
from tests.servers.background import running
from tests.servers.collecting import Watch, watching

pytestmark = pytest.mark.engine("postgres")


@pytest.fixture(scope="module")
def pair(server: DatabaseServer, fleet: Any) -> Iterator[tuple[DatabaseServer, DatabaseServer, Account]]:
    """Give a primary, its standby, which never cancels anybody, and the account of the exporter."""
    made = fleet.provider.create(server.name)
    account = made.account()
    yield made, made.replica(max_standby_streaming_delay="-1", wal_receiver_status_interval="1"), account
    made.remove()


def _replay(watch: Watch) -> dict[str, Any]:
    samples = watch.run("pg_replay")
    return {
        "paused": samples.one("pg_replay_paused"),
        "blockers": samples.one("pg_replay_blocking_sessions"),
        "waits": set(samples.by("pg_replay_waiting", "wait_event_type", "wait_event")),
    }


def test_how_far_wal_got(pair: tuple[DatabaseServer, DatabaseServer, Account]) -> None:
    primary, standby, account = pair
    written = "SELECT pg_current_wal_lsn() - '0/0'"
    with watching(primary, account) as here, watching(standby, account) as there:
        before = primary.execute(written)[0][0]
        samples = here.run("pg_wal_positions")
        after = primary.execute(written)[0][0]
        primary.execute("CREATE TABLE IF NOT EXISTS moved (i int)")
        standby.wait_until_caught_up()
        [(received, replayed)] = standby.execute(
            "SELECT pg_last_wal_receive_lsn() - '0/0', pg_last_wal_replay_lsn() - '0/0'"
        )
        on_standby = there.run("pg_wal_positions")
    assert before <= samples.one("pg_wal_written_bytes_total") <= after
    assert not samples.values("pg_wal_replayed_bytes_total")
    assert not on_standby.values("pg_wal_written_bytes_total")
    assert on_standby.one("pg_wal_received_bytes_total") >= received
    assert on_standby.one("pg_wal_replayed_bytes_total") >= replayed
    assert samples.one("pg_timeline_id") == on_standby.one("pg_timeline_id") == 1


def test_replay_is_paused_and_held_up(pair: tuple[DatabaseServer, DatabaseServer, Account]) -> None:
    primary, standby, account = pair
    primary.execute("DROP TABLE IF EXISTS wanted")
    primary.execute("CREATE TABLE wanted (i int)")
    standby.wait_until_caught_up()
    with watching(standby, account) as watch:
        assert wait_for(lambda: _replay(watch) == {"paused": 0, "blockers": 0, "waits": set()}, 10)
        standby.execute("SELECT pg_wal_replay_pause()")
        try:
            assert _replay(watch)["paused"] == 1
        finally:
            standby.execute("SELECT pg_wal_replay_resume()")
        with standby.connect() as reader:
            reader.execute("BEGIN; SELECT * FROM wanted")
            primary.execute("DROP TABLE wanted")
            assert wait_for(lambda: _replay(watch)["blockers"] == 1, 20)
            assert {kind for kind, _ in _replay(watch)["waits"]} == {"Lock"}
        assert wait_for(lambda: _replay(watch)["waits"] == set(), 20)


def test_what_replay_reads_ahead(pair: tuple[DatabaseServer, DatabaseServer, Account]) -> None:
    primary, standby, account = pair
    with watching(standby, account) as watch:
        if standby.version[0] < 15:
            assert not watch.run("pg_stat_recovery_prefetch").all
            return
        primary.execute("CREATE TABLE IF NOT EXISTS ahead AS SELECT generate_series(1, 1000) i")
        primary.execute("UPDATE ahead SET i = i + 1")
        standby.wait_until_caught_up()
        view = "SELECT prefetch, hit, skip_init, skip_new, skip_fpw, skip_rep FROM pg_stat_recovery_prefetch"
        assert wait_for(lambda: sum(standby.execute(view)[0]) > 0, 15)
        names = ("prefetch", "hit", "skip_init", "skip_new", "skip_fpw", "skip_rep")

        def same() -> bool:
            samples = watch.run("pg_stat_recovery_prefetch")
            shown = tuple(samples.one(f"pg_recovery_prefetch_{name}_total") for name in names)
            return shown == standby.execute(view)[0]

        assert wait_for(same, 15)
    with watching(primary, account) as here:
        assert not here.run("pg_stat_recovery_prefetch").all


def test_a_standby_that_commits_wait_for(pair: tuple[DatabaseServer, DatabaseServer, Account]) -> None:
    primary, _, account = pair

    def state() -> str:
        return str(primary.execute("SELECT sync_state FROM pg_stat_replication")[0][0])

    with watching(primary, account) as watch:

        def shown() -> list[float]:
            return watch.run("pg_stat_replication").values("pg_standby_synchronous")

        assert (state(), shown()) == ("async", [0])
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
        try:
            primary.execute("SELECT pg_reload_conf()")
            assert wait_for(lambda: state() == "quorum", 15)
            assert shown() == [1]
        finally:
            primary.execute("ALTER SYSTEM RESET synchronous_standby_names")
            primary.execute("SELECT pg_reload_conf()")
        assert wait_for(lambda: state() == "async", 15)


def test_a_promotion_begins_another_timeline(pair: tuple[DatabaseServer, DatabaseServer, Account]) -> None:
    _, standby, account = pair
    standby.execute("SELECT pg_promote()")
    assert wait_for(lambda: not standby.execute("SELECT pg_is_in_recovery()")[0][0], 30)
    with watching(standby, account) as watch, contextlib.ExitStack() as stack:
        assert watch.run("pg_wal_positions").one("pg_timeline_id") == 2
        assert not watch.run("pg_replay").all
        # It takes writes.
        stack.enter_context(running(stack.enter_context(standby.connect()), "CREATE TABLE promoted (i int)"))
