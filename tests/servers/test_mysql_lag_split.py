"""Where a transaction spent its time on the way to a replica, against the server's own timestamps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pymysql
import pytest

from tests.providers.base import DatabaseServer, wait_for
from tests.servers.collecting import Watch, watching

pytestmark = pytest.mark.engine("mysql")
WAY = "mysql_replica_transaction_duration_seconds"
EVENT = "mysql_replica_event_timestamp_seconds"


def say(server: DatabaseServer, statement: str) -> str:
    """Write a statement in the words of the flavor."""
    return statement if server.flavor == "mysql" else statement.replace("REPLICA", "SLAVE")


def delay(server: DatabaseServer, seconds: int) -> None:
    server.execute(say(server, "STOP REPLICA"))
    if server.flavor == "mysql":
        server.execute(f"CHANGE REPLICATION SOURCE TO SOURCE_DELAY = {seconds}")
    else:
        server.execute(f"CHANGE MASTER TO MASTER_DELAY = {seconds}")
    server.execute(say(server, "START REPLICA"))


@pytest.fixture
def standby(replica: DatabaseServer) -> Iterator[DatabaseServer]:
    """Give a replica that is level, and put it right after the test."""
    assert replica.primary is not None
    replica.primary.execute("CREATE DATABASE IF NOT EXISTS split")
    replica.primary.execute("CREATE TABLE IF NOT EXISTS split.t (a int PRIMARY KEY AUTO_INCREMENT)")
    replica.wait_until_caught_up()
    yield replica
    delay(replica, 0)
    replica.wait_until_caught_up()


@pytest.fixture
def watch(standby: DatabaseServer) -> Iterator[Watch]:
    with watching(standby) as made:
        yield made


def write(server: DatabaseServer) -> None:
    assert server.primary is not None
    server.primary.execute("INSERT INTO split.t VALUES ()")


def stages(watch: Watch) -> dict[str, float]:
    return watch.run("mysql_replica_threads").by(WAY, "stage")


def told(server: DatabaseServer) -> dict[str, float]:
    """The way of the newest transaction, from the timestamps of the thread that received and the one that applied it.

    Empty until it is applied.
    """
    rows = server.execute(
        "SELECT LAST_QUEUED_TRANSACTION_IMMEDIATE_COMMIT_TIMESTAMP, LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP, "
        "LAST_APPLIED_TRANSACTION_START_APPLY_TIMESTAMP, LAST_APPLIED_TRANSACTION_END_APPLY_TIMESTAMP "
        "FROM performance_schema.replication_connection_status "
        "JOIN performance_schema.replication_applier_status_by_worker "
        "ON LAST_APPLIED_TRANSACTION = LAST_QUEUED_TRANSACTION WHERE LAST_QUEUED_TRANSACTION <> ''"
    )
    if not rows:
        return {}
    [(committed, queued, begun, ended)] = rows
    return {
        "transport": (queued - committed).total_seconds(),
        # An idle applier begins before the end of the transaction is in the relay log: that is no time in the queue.
        "queue": max(0.0, (begun - queued).total_seconds()),
        "apply": (ended - begun).total_seconds(),
    }


@pytest.mark.flavor("mysql")
def test_each_stage_is_what_the_threads_noted(standby: DatabaseServer, watch: Watch) -> None:
    write(standby)
    standby.wait_until_caught_up()
    assert wait_for(lambda: told(standby) != {}, 10)
    assert stages(watch) == pytest.approx(told(standby), abs=2e-6)


@pytest.mark.flavor("mysql")
def test_a_delay_is_time_in_the_queue(standby: DatabaseServer, watch: Watch) -> None:
    delay(standby, 3)
    write(standby)
    # A thread that was started has applied nothing yet.
    assert wait_for(lambda: set(stages(watch)) == {"transport"}, 10)
    assert wait_for(lambda: told(standby) != {}, 20)
    found = stages(watch)
    assert found == pytest.approx(told(standby), abs=2e-6)
    # From the commit on, and not from when it was received.
    assert found["transport"] + found["queue"] >= 3 > found["apply"]
    assert found["queue"] > 2


@pytest.mark.flavor("mysql")
def test_what_a_stopped_applier_left_is_time_in_the_queue(standby: DatabaseServer, watch: Watch) -> None:
    standby.execute("STOP REPLICA SQL_THREAD")
    before = stages(watch)["transport"]
    write(standby)
    assert wait_for(lambda: stages(watch)["transport"] != before, 10)
    # It has been in the queue for a moment by then.
    started = time.monotonic()
    assert told(standby) == {}
    time.sleep(1)
    waited = time.monotonic() - started
    standby.execute("START REPLICA SQL_THREAD")
    assert wait_for(lambda: told(standby) != {}, 10)
    found = stages(watch)
    assert found == pytest.approx(told(standby), abs=2e-6)
    assert found["queue"] >= waited - 0.1


@pytest.mark.flavor("mysql")
def test_what_a_stopped_receiver_missed_is_time_in_transport(standby: DatabaseServer, watch: Watch) -> None:
    standby.execute("STOP REPLICA IO_THREAD")
    write(standby)
    time.sleep(1)
    standby.execute("START REPLICA IO_THREAD")
    standby.wait_until_caught_up()
    assert wait_for(lambda: told(standby) != {}, 10)
    found = stages(watch)
    assert found == pytest.approx(told(standby), abs=2e-6)
    assert found["transport"] >= 1 > found["queue"]


def events(server: DatabaseServer) -> dict[str, float]:
    """Both moments of the status, which are written in the time zone of the session."""
    with server.connect() as connection, connection.cursor(pymysql.cursors.DictCursor) as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        cursor.execute("SHOW ALL SLAVES STATUS")
        row = cursor.fetchone()
    moments: dict[str, datetime | None] = {
        "received": row["Master_last_event_time"],
        "applied": row["Slave_last_event_time"],
    }
    return {name: at.replace(tzinfo=UTC).timestamp() for name, at in moments.items() if at is not None}


@pytest.mark.flavor("mariadb")
def test_a_delayed_mariadb_has_received_what_it_has_not_applied(standby: DatabaseServer, watch: Watch) -> None:
    delay(standby, 4)
    write(standby)
    written = time.time()

    def held_back() -> bool:
        return watch.run("mysql_replica_status").values("mysql_replica_pending_transactions") == [1]

    assert wait_for(held_back, 10)
    found = watch.run("mysql_replica_status")
    assert found.one("db_replication_delay_seconds", channel="") == 4
    assert 1 <= found.one("mysql_slave_status_sql_remaining_delay") <= 4
    if standby.version < (11, 6):
        assert EVENT not in found.names()
        return
    assert found.by(EVENT, "event") == events(standby)
    # A source tells whole seconds; ours and its clock are one here.
    assert found.one(EVENT, event="received") == pytest.approx(written, abs=2)
    time.sleep(2)
    standby.wait_until_caught_up()
    found = watch.run("mysql_replica_status")
    assert found.by(EVENT, "event") == events(standby)
    assert found.one(EVENT, event="applied") == found.one(EVENT, event="received")


@pytest.mark.flavor("mariadb")
def test_a_stopped_applier_of_mariadb_leaves_its_last_event_behind(standby: DatabaseServer, watch: Watch) -> None:
    write(standby)
    standby.wait_until_caught_up()
    standby.execute("STOP SLAVE SQL_THREAD")
    # Events have whole seconds.
    time.sleep(2)
    write(standby)

    def received() -> bool:
        return watch.run("mysql_replica_status").values("mysql_replica_pending_transactions") == [1]

    assert wait_for(received, 10)
    found = watch.run("mysql_replica_status")
    assert found.values("db_replication_lag_seconds") == []
    if standby.version >= (11, 6):
        assert found.by(EVENT, "event") == events(standby)
        assert found.one(EVENT, event="received") - found.one(EVENT, event="applied") >= 1
