"""Who holds up whom, what sessions wait for, and who keeps vacuum waiting, against what the test sets up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.providers.base import DatabaseServer, wait_for
from tests.servers.background import running
from tests.servers.collecting import Watch, watching

pytestmark = pytest.mark.engine("postgres")


@pytest.fixture
def watch(server: DatabaseServer) -> Iterator[Watch]:
    with watching(server) as watch:
        yield watch


@pytest.fixture
def held(server: DatabaseServer) -> Iterator[str]:
    """Give a database with two tables to fight for."""
    server.execute("DROP DATABASE IF EXISTS contended")
    server.execute("CREATE DATABASE contended")
    server.execute("CREATE TABLE a (i int)", "contended")
    server.execute("CREATE TABLE b (i int)", "contended")
    yield "contended"
    server.execute("DROP DATABASE contended")


def _waiting(server: DatabaseServer, sessions: int) -> bool:
    sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    return bool(wait_for(lambda: server.execute(sql)[0][0] == sessions, 15))


def test_the_root_of_a_chain_of_waits(server: DatabaseServer, watch: Watch, held: str) -> None:
    before = watch.run("pg_blocking")
    with contextlib.ExitStack() as stack:
        root, middle, last, other = (stack.enter_context(server.connect(held)) for _ in range(4))
        root.execute("BEGIN; LOCK TABLE a")
        middle.execute("BEGIN; LOCK TABLE b")
        last.execute("BEGIN")
        other.execute("BEGIN")
        stack.enter_context(running(middle, "LOCK TABLE a"))
        assert _waiting(server, 1)
        stack.enter_context(running(last, "LOCK TABLE b"))
        stack.enter_context(running(other, "LOCK TABLE a"))
        assert _waiting(server, 3)
        chained = watch.run("pg_blocking")
        waits = watch.run("pg_wait_events")
    states = {"active": 0, "idle_in_transaction": 0, "prepared": 0, "other": 0}
    assert before.by("pg_blocking_root_sessions", "state") == states
    assert before.one("pg_blocking_longest_queue_sessions") == before.one("pg_blocking_root_oldest_seconds") == 0
    assert chained.by("pg_blocking_root_sessions", "state") == states | {"idle_in_transaction": 1}
    assert chained.one("pg_blocking_longest_queue_sessions") == 3
    assert 0 < chained.one("pg_blocking_root_oldest_seconds") < 60
    assert waits.one("pg_wait_event_sessions", wait_event_type="Lock", wait_event="relation") == 3


def test_who_waits_is_no_root_however_many_wait_before_it(server: DatabaseServer, watch: Watch, held: str) -> None:
    with contextlib.ExitStack() as stack:
        root, middle, one, two = (stack.enter_context(server.connect(held)) for _ in range(4))
        root.execute("BEGIN; LOCK TABLE b")
        middle.execute("BEGIN; LOCK TABLE a")
        for number, waiter in enumerate((one, two), 1):
            waiter.execute("BEGIN")
            stack.enter_context(running(waiter, "LOCK TABLE a IN SHARE MODE"))
            assert _waiting(server, number)
        # The last to wait, and so not among the two that have waited longest.
        stack.enter_context(running(middle, "LOCK TABLE b"))
        assert _waiting(server, 3)
        bounded = watch.run("pg_blocking", limit=2)
    states = {"active": 0, "idle_in_transaction": 1, "prepared": 0, "other": 0}
    assert bounded.by("pg_blocking_root_sessions", "state") == states
    assert bounded.one("pg_blocking_longest_queue_sessions") == 3


def test_a_vacuum_keeps_nothing_old(server: DatabaseServer, watch: Watch, held: str) -> None:
    server.execute("INSERT INTO a SELECT generate_series(1, 200000)", held)
    with server.connect(held) as session, server.connect() as others:
        session.execute("SET vacuum_cost_delay = 100; SET vacuum_cost_limit = 1")
        with running(session, "VACUUM a"):
            shown = "SELECT max(age(backend_xmin)) FROM pg_stat_activity WHERE query = 'VACUUM a'"
            # It begins another transaction for the table itself.
            begun = "SELECT count(*) FROM pg_stat_progress_vacuum WHERE phase = 'scanning heap'"
            assert wait_for(lambda: server.execute(begun) == [(1,)], 15)
            for _ in range(50):
                others.execute("SELECT txid_current()")
            # It says so of itself, and no other vacuum minds.
            assert server.execute(shown)[0][0] >= 50
            found = "pg_xmin_horizon_age_transactions"
            assert wait_for(lambda: watch.run("pg_xmin_horizon").one(found, holder="backend") < 50, 10)
            assert server.execute(shown)[0][0] >= 50


def test_a_prepared_transaction_and_a_busy_session_hold_others_up(
    server: DatabaseServer, watch: Watch, held: str
) -> None:
    with contextlib.ExitStack() as stack:
        busy, one, two = (stack.enter_context(server.connect(held)) for _ in range(3))
        server.execute("BEGIN; LOCK TABLE a; PREPARE TRANSACTION 'forgotten'", held)
        try:
            one.execute("BEGIN")
            with running(one, "LOCK TABLE a"):
                assert _waiting(server, 1)
                alone = watch.run("pg_blocking")
            one.execute("ROLLBACK")
            busy.execute("BEGIN; LOCK TABLE b")
            stack.enter_context(running(busy, "SELECT pg_sleep(60)"))
            one.execute("BEGIN")
            two.execute("BEGIN")
            stack.enter_context(running(one, "LOCK TABLE a"))
            stack.enter_context(running(two, "LOCK TABLE b"))
            assert _waiting(server, 2)
            samples = watch.run("pg_blocking")
            waits = watch.run("pg_wait_events")
            prepared = watch.run("pg_prepared_xacts")
            horizon = watch.run("pg_xmin_horizon")
        finally:
            server.execute("ROLLBACK PREPARED 'forgotten'", held)
    assert 0 < alone.one("pg_blocking_root_oldest_seconds") < 60
    roots = samples.by("pg_blocking_root_sessions", "state")
    assert roots == {"active": 1, "idle_in_transaction": 0, "prepared": 1, "other": 0}
    assert waits.one("pg_wait_event_sessions", wait_event="PgSleep") == 1
    counts = prepared.by("pg_prepared_xacts", "datname")
    assert counts == dict.fromkeys(counts, 0) | {held: 1}
    assert 0 < prepared.one("pg_prepared_xacts_oldest_seconds", datname=held) < 60
    assert prepared.one("pg_prepared_xacts_oldest_seconds", datname="postgres") == 0
    assert horizon.one("pg_xmin_horizon_age_transactions", holder="prepared") > 0


def test_who_keeps_old_rows(
    server: DatabaseServer, replica: DatabaseServer, watch: Watch, fresh_server: Callable[..., Any]
) -> None:
    def age(holder: str) -> float:
        return watch.run("pg_xmin_horizon").one("pg_xmin_horizon_age_transactions", holder=holder)

    def transactions(count: int) -> None:
        with server.connect() as connection:
            for _ in range(count):
                connection.execute("SELECT txid_current()")

    server.execute("SELECT pg_create_logical_replication_slot('keeper', 'pgoutput')")
    try:
        with server.connect() as session, replica.connect() as there:
            session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
            there.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
            fed_back = "SELECT count(backend_xmin) FROM pg_stat_replication"
            assert wait_for(lambda: server.execute(fed_back)[0][0] > 0, 30)
            transactions(30)
            own = "SELECT age(backend_xmin) FROM pg_stat_activity WHERE pid = pg_backend_pid()"
            keeper = "SELECT age(catalog_xmin) FROM pg_replication_slots WHERE slot_name = 'keeper'"

            def stated() -> tuple[int, int]:
                return session.execute(own).fetchall()[0][0], server.execute(keeper)[0][0]

            # Each transaction of anybody else makes them older.
            least = stated()
            by_session, by_slot, by_standby = age("backend"), age("slot_catalog_xmin"), age("standby")
            slots = watch.run("pg_replication_slots")
            most = stated()
        by_name = slots.one("pg_replication_slot_catalog_xmin_age_transactions", slot_name="keeper")
        assert 30 <= least[0] <= by_session <= most[0] < least[0] + 10
        assert 30 <= least[1] <= by_slot <= by_name <= most[1] < least[1] + 10
        assert by_standby >= 30
        assert wait_for(lambda: age("backend") < 30, 10)
    finally:
        server.execute("SELECT pg_drop_replication_slot('keeper')")
    assert age("slot_catalog_xmin") == 0
