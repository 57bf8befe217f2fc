"""Ages and states of transactions where clocks are not as usual, and after a crash."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pymysql
import pytest

from tests.providers.base import DatabaseServer, wait_for
from tests.servers.collecting import watching

pytestmark = pytest.mark.engine("mysql")
LONGEST = "mysql_open_transaction_longest_seconds"


def zone_whose_clocks_go_back_soon() -> str:
    """Give a time zone with India's offset in winter, where summer ends in half an hour: each time comes again then."""
    offset = timedelta(hours=6, minutes=30)
    end = datetime.now(UTC) + offset + timedelta(minutes=30)
    day = end.timetuple().tm_yday - 1
    return f"<+0530>-5:30<+0630>-6:30,{(day + 180) % 365}/0,{day}/{end:%H:%M:%S}"


@pytest.mark.full
def test_ages_where_a_local_time_is_two_moments(
    server: DatabaseServer, fresh_server: Callable[..., DatabaseServer]
) -> None:
    made = fresh_server(server.name, env={"TZ": zone_whose_clocks_go_back_soon()})
    assert made.execute("SELECT @@system_time_zone") == [("+0630",)]
    made.execute("CREATE DATABASE held")
    made.execute("CREATE TABLE held.t (a int)")
    made.execute("INSERT INTO held.t VALUES (1)")
    with made.connect() as holder, made.connect() as other, watching(made) as watch:
        began = time.monotonic()
        holder.begin()
        holder.cursor().execute("UPDATE held.t SET a = 2")

        def wait() -> None:
            with contextlib.suppress(pymysql.MySQLError):
                other.cursor().execute("UPDATE held.t SET a = 3")

        waiter = threading.Thread(target=wait, daemon=True)
        waiter.start()
        try:
            wait_for(lambda: watch.run("mysql_lock_waits").one("mysql_lock_wait_longest_seconds", kind="row") >= 2, 10)
            opened = watch.run("mysql_open_transactions")
            found = [
                watch.run("mysql_lock_waits").one("mysql_lock_wait_longest_seconds", kind="row"),
                watch.run("mysql_activity").one("db_transaction_longest_seconds"),
                watch.run("mysql_activity").one("db_lock_wait_longest_seconds"),
                opened.one(LONGEST, state="idle"),
                opened.one(LONGEST, state="active"),
            ]
            most = time.monotonic() - began + 1
        finally:
            holder.rollback()
            waiter.join(10)
    assert all(2 <= age <= most for age in found), found


def test_who_sleeps_in_a_transaction_sleeps_no_longer_than_it_is_open(server: DatabaseServer) -> None:
    """Replayed binary logs set the clock of their session, and MySQL counts sleep by that."""
    server.execute("CREATE DATABASE IF NOT EXISTS held")
    server.execute("CREATE TABLE IF NOT EXISTS held.clock (a int)")
    with server.connect() as replayed, watching(server) as watch:
        began = time.monotonic()
        replayed.cursor().execute("SET timestamp = 1000000000")
        replayed.begin()
        replayed.cursor().execute("INSERT INTO held.clock VALUES (1)")
        slept = "mysql_open_transaction_idle_longest_seconds"
        assert wait_for(lambda: watch.run("mysql_open_transactions").one(slept) >= 2, 10)
        found = watch.run("mysql_open_transactions").one(slept)
        assert 2 <= found <= time.monotonic() - began + 1


@pytest.mark.full
def test_what_a_crash_left_is_not_prepared(server: DatabaseServer, fresh_server: Callable[..., DatabaseServer]) -> None:
    """What the server rolls back after a start has no session either, but nobody can commit it."""
    made = fresh_server(server.name)
    account = made.account()
    made.execute("CREATE DATABASE held")
    made.execute("CREATE TABLE held.t (a int PRIMARY KEY AUTO_INCREMENT, b int, c char(100) DEFAULT 'x', KEY (b))")
    made.execute("CREATE TABLE held.x (a int)")
    made.execute("INSERT INTO held.t (b) VALUES (1), (2), (3), (4)")
    for _ in range(16):
        made.execute("INSERT INTO held.t (b) SELECT b FROM held.t")
    with made.connect() as one, made.connect() as two:
        one.begin()
        one.cursor().execute("UPDATE held.t SET b = b + 1, c = 'y'")
        # What is prepared is written to the log at once, and with it all that came before.
        for statement in ("XA START 'p'", "INSERT INTO held.x VALUES (1)", "XA END 'p'", "XA PREPARE 'p'"):
            two.cursor().execute(statement)
        made.kill()
    made.start()
    try:
        states = [state for (state,) in made.execute("SELECT trx_state FROM information_schema.INNODB_TRX")]
        assert sorted(states) == ["ROLLING BACK", "RUNNING"]
        with watching(made, account) as watch:
            found = watch.run("mysql_open_transactions")
    finally:
        # In an orderly way it would end only with the rollback.
        made.kill()
    assert found.by("mysql_open_transactions", "state") == {"active": 0, "idle": 0, "prepared": 1, "recovered": 1}
    assert found.one("mysql_open_transactions_modified_rows", state="recovered") > 1
