"""Open transactions, idle sessions and locks, against what the administrator sees and what the test holds."""

from __future__ import annotations

import contextlib
import time

import pytest

from tests.providers.base import DatabaseServer, wait_for
from tests.servers.background import running
from tests.servers.collecting import watching

pytestmark = pytest.mark.engine("postgres")


def test_open_transactions_and_those_that_idle(server: DatabaseServer) -> None:
    with watching(server) as watch, contextlib.ExitStack() as stack:
        before = watch.run("pg_long_running_transactions")
        busy, idle, failed, resting = (stack.enter_context(server.connect()) for _ in range(4))
        stack.enter_context(running(busy, "SELECT pg_sleep(60)"))
        # Reading assigns no number, and still holds old rows back.
        idle.execute("BEGIN; SELECT 1")
        started = time.monotonic()
        failed.execute("BEGIN")
        with contextlib.suppress(Exception):
            failed.execute("SELECT 1/0")
        resting.execute("SELECT 1")
        active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(60)%'"
        assert wait_for(lambda: server.execute(active)[0][0] == 2, 10)
        elapsed = time.monotonic() - started
        after = watch.run("pg_long_running_transactions")
        passed = time.monotonic() - started

    def grown(name: str) -> float:
        return after.one(name) - before.one(name)

    # The sleeper and the idle one; of these the sleeper runs a statement.
    ages = {name: after.by(f"pg_{name}", "at_least_seconds") for name in ("open_transactions", "running_statements")}
    earlier = {name: before.by(f"pg_{name}", "at_least_seconds") for name in ages}
    assert ages["open_transactions"]["0"] - earlier["open_transactions"]["0"] == 2
    assert ages["running_statements"]["0"] - earlier["running_statements"]["0"] == 1
    for name, by_age in ages.items():
        assert list(by_age) == [str(seconds) for seconds in (0, 1, 5, 15, 60, 300, 900, 3600, 14400)]
        assert list(by_age.values()) == sorted(by_age.values(), reverse=True)
        assert by_age["14400"] == earlier[name]["14400"]
    # One that failed has ended for others, but its session idles in it.
    assert grown("pg_long_running_transactions") == 2
    assert grown("pg_idle_in_transaction_sessions") == 2
    assert elapsed - 0.1 <= after.one("pg_idle_in_transaction_longest_seconds") <= passed + 0.1
    assert after.one("pg_long_running_transactions_oldest_timestamp_seconds") >= elapsed - 0.1
    assert after.one("pg_idle_in_transaction_oldest_seconds") >= elapsed - 0.1


def test_every_state_and_application_has_its_idle_times(server: DatabaseServer) -> None:
    with watching(server) as watch, contextlib.ExitStack() as stack:
        for name in ("one", "one", "two"):
            stack.enter_context(server.connect(application_name=name)).execute("SELECT 1")
        stack.enter_context(server.connect(application_name="two")).execute("BEGIN")
        time.sleep(1.2)
        samples = watch.run("pg_process_idle")
    counts = samples.by("pg_process_idle_seconds_count", "application_name", "state")
    assert counts["one", "idle"] == 2
    assert counts["two", "idle"] == counts["two", "idle in transaction"] == 1
    buckets = {
        float(labels["le"]): value
        for name, labels, value in samples.all
        if name == "pg_process_idle_seconds_bucket" and labels["application_name"] == "one"
    }
    # Idle for more than a second, and hardly for five minutes.
    assert buckets[1] == 0
    assert buckets[300] == 2
    assert sorted(buckets) == [1, 2, 5, 15, 30, 60, 90, 120, 300, float("inf")]
    assert samples.one("pg_process_idle_seconds_sum", application_name="one") >= 2


def test_locks_by_database_and_mode(server: DatabaseServer) -> None:
    server.execute("DROP DATABASE IF EXISTS locked")
    server.execute("CREATE DATABASE locked")
    with watching(server) as watch, server.connect("locked") as holder, server.connect("locked") as waiter:
        holder.execute("CREATE TABLE a (i int)")
        holder.execute("BEGIN; LOCK TABLE a IN SHARE ROW EXCLUSIVE MODE")
        samples = watch.run("pg_locks")
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        waiter.execute("BEGIN")
        with running(waiter, "LOCK TABLE a IN ACCESS EXCLUSIVE MODE"):
            assert wait_for(lambda: server.execute(waits)[0][0] == 1, 10)
            contended = watch.run("pg_locks")
        # A row is waited for by the number of the transaction that has it, which belongs to no database.
        holder.execute("INSERT INTO a VALUES (1); COMMIT; BEGIN; UPDATE a SET i = 2")
        waiter.execute("ROLLBACK; BEGIN")
        with running(waiter, "UPDATE a SET i = 3"):
            assert wait_for(lambda: server.execute(waits)[0][0] == 1, 10)
            [(database,)] = server.execute("SELECT database FROM pg_locks WHERE NOT granted")
            assert database is None
            for_a_row = watch.run("pg_locks")
        # What all databases share is of none of them.
        holder.execute("ROLLBACK; BEGIN; LOCK TABLE pg_authid IN EXCLUSIVE MODE")
        waiter.execute("ROLLBACK; BEGIN")
        with running(waiter, "LOCK TABLE pg_authid IN EXCLUSIVE MODE"):
            assert wait_for(lambda: server.execute(waits)[0][0] == 1, 10)
            [(database,)] = server.execute("SELECT database FROM pg_locks WHERE NOT granted")
            assert database == 0
            for_all = watch.run("pg_locks")
    assert for_all.one("pg_locks_waiting", datname="locked") == 1
    assert for_all.one("pg_locks_waiting", datname="postgres") == 0
    assert for_a_row.one("pg_locks_waiting", datname="locked") == 1
    assert for_a_row.one("pg_locks_waiting", datname="postgres") == 0
    modes = samples.by("pg_locks_count", "datname", "mode")
    assert modes["locked", "sharerowexclusivelock"] == 1
    assert modes["locked", "accessexclusivelock"] == 0
    assert contended.one("pg_locks_count", datname="locked", mode="accessexclusivelock") == 1
    assert samples.one("pg_locks_waiting", datname="locked") == 0
    assert contended.one("pg_locks_waiting", datname="locked") == 1
    databases = {name for (name,) in server.execute("SELECT datname FROM pg_database")}
    assert {database for database, _ in modes} == databases
    assert len(modes) == 9 * len(databases)
