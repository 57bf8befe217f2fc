"""Replication as it is: behind, delayed, stopped, cut off, promoted."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymysql
import pytest
import yaml

from exporter.facts import Role
from exporter.failure import Failure, Reason
from tests.exporters import Exporter
from tests.providers.base import DatabaseServer, wait_for
from tests.providers.fleet import Fleet
from tests.providers.processes import is_root
from tests.servers.collecting import Samples, Watch, watching

pytestmark = pytest.mark.engine("mysql")
LAG, RUNNING, DELAY, BYTES = (
    "db_replication_lag_seconds",
    "db_replication_running",
    "db_replication_delay_seconds",
    "db_replication_lag_bytes",
)


@pytest.fixture
def standby(replica: DatabaseServer) -> Iterator[DatabaseServer]:
    """Give a replica that is level, and put it right after the test."""
    assert replica.primary is not None
    replica.primary.execute("CREATE DATABASE IF NOT EXISTS replicated")
    replica.primary.execute("CREATE TABLE IF NOT EXISTS replicated.t (a int PRIMARY KEY AUTO_INCREMENT, b int)")
    replica.wait_until_caught_up()
    yield replica
    replica.execute(say(replica, "STOP REPLICA"))
    delay(replica, 0)
    replica.execute(say(replica, "START REPLICA"))
    replica.wait_until_caught_up()


@pytest.fixture
def watch(standby: DatabaseServer) -> Iterator[Watch]:
    with watching(standby) as made:
        yield made


def say(server: DatabaseServer, statement: str) -> str:
    """Write a statement in the words of the flavor."""
    return statement if server.flavor == "mysql" else statement.replace("REPLICA", "SLAVE")


def delay(server: DatabaseServer, seconds: int) -> None:
    if server.flavor == "mysql":
        server.execute(f"CHANGE REPLICATION SOURCE TO SOURCE_DELAY = {seconds}")
    else:
        server.execute(f"CHANGE MASTER TO MASTER_DELAY = {seconds}")


def write(server: DatabaseServer) -> None:
    assert server.primary is not None
    server.primary.execute("INSERT INTO replicated.t (b) VALUES (1)")


def replication(watch: Watch) -> Samples:
    both = watch.run("mysql_replica_status")
    both.all += watch.run("mysql_replica_lag").all
    return both


def level(watch: Watch) -> bool:
    return replication(watch).one(LAG, channel="") == 0


def relay_logs(server: DatabaseServer) -> int | None:
    """What its files have, which grow when the source has something to say; None where they can't be looked at."""
    if server.data is None:
        return None
    logs = [path for path in server.data.glob("*-relay-bin.*") if path.suffix[1:].isdecimal()]
    return sum(path.stat().st_size for path in logs)


def test_level_and_idle(standby: DatabaseServer, watch: Watch) -> None:
    assert wait_for(lambda: level(watch), 15)
    # Some seconds without anything to apply are no lag.
    time.sleep(2)
    before = relay_logs(standby)
    found = replication(watch)
    after = relay_logs(standby)
    assert found.one(RUNNING, channel="") == 1
    assert found.one(LAG, channel="") == 0
    assert found.one(BYTES, channel="") == 0
    assert found.one(DELAY, channel="") == 0
    assert found.one("db_storage_bytes", kind="relay") > 0
    if before is not None and after is not None:
        assert before <= found.one("db_storage_bytes", kind="relay") <= after


def test_an_applier_that_is_held_up(standby: DatabaseServer, watch: Watch) -> None:
    with standby.connect() as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLES replicated.t READ")
        started = time.monotonic()
        write(standby)
        assert wait_for(lambda: replication(watch).one(LAG, channel="") >= 2, 30)
        found = replication(watch)
        most = time.monotonic() - started
        cursor.execute("UNLOCK TABLES")
    assert found.one(RUNNING, channel="") == 1
    # MariaDB tells whole seconds, by clocks that are not read at the same time.
    assert 2 <= found.one(LAG, channel="") <= most + 1
    assert found.one(BYTES, channel="") > 0
    standby.wait_until_caught_up()
    assert wait_for(lambda: level(watch), 10)


def test_an_applier_that_is_several_files_behind(standby: DatabaseServer, watch: Watch) -> None:
    """Against the files of the source, from where the applier is to their end."""
    primary = standby.primary
    assert primary is not None
    files, each = 4, 300_000
    primary.execute("CREATE TABLE IF NOT EXISTS replicated.wide (a longtext)")
    standby.wait_until_caught_up()
    with standby.connect() as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLES replicated.wide READ")
        for number in range(files):
            primary.execute(f"INSERT INTO replicated.wide VALUES ('{number}{'x' * each}')")
            primary.execute("FLUSH BINARY LOGS")
        assert wait_for(lambda: positions(standby)[0] == primary.execute("SHOW BINARY LOGS")[-1][0], 20)
        time.sleep(1)
        (_, applied, position), sizes = positions(standby), primary.execute("SHOW BINARY LOGS")
        found = watch.run("mysql_replica_status").one(BYTES, channel="")
        standby.execute("SET GLOBAL relay_log_purge = OFF")
        kept = watch.run("mysql_replica_status").values(BYTES)
        standby.execute("SET GLOBAL relay_log_purge = ON")
        cursor.execute("UNLOCK TABLES")
    unapplied = sum(size - position * (name == applied) for name, size, *_ in sizes if name >= applied)
    assert unapplied > files * each * 0.9
    # Relay logs have a head of their own, and there are more of them than of the source's files.
    assert unapplied <= found <= 1.02 * unapplied
    assert kept == [], "where applied files are kept their bytes are no lag"
    standby.wait_until_caught_up()
    assert wait_for(lambda: watch.run("mysql_replica_status").one(BYTES, channel="") == 0, 10)


def positions(replica: DatabaseServer) -> tuple[str, str, int]:
    """The source's file that is received, the one that is applied, and the position in it."""
    with replica.connect() as connection, connection.cursor(pymysql.cursors.DictCursor) as cursor:
        cursor.execute(say(replica, "SHOW REPLICA STATUS"))
        row = cursor.fetchone()
    old, new = ("Master", "Source")
    word = new if f"{new}_Log_File" in row else old
    return row[f"{word}_Log_File"], row[f"Relay_{word}_Log_File"], int(row[f"Exec_{word}_Log_Pos"])


def test_a_stopped_applier_is_not_without_lag(standby: DatabaseServer, watch: Watch) -> None:
    standby.execute(say(standby, "STOP REPLICA SQL_THREAD"))
    write(standby)
    assert wait_for(lambda: replication(watch).one(BYTES, channel="") > 0, 10)
    found = replication(watch)
    assert found.one(RUNNING, channel="") == 0
    assert found.values(LAG) == []
    assert found.values("mysql_slave_status_seconds_behind_master") == []
    assert found.values("mysql_slave_status_slave_sql_running") == [0]


def test_a_stopped_receiver_is_not_without_lag(standby: DatabaseServer, watch: Watch) -> None:
    standby.execute(say(standby, "STOP REPLICA IO_THREAD"))
    found = replication(watch)
    assert found.one(RUNNING, channel="") == 0
    assert found.values(LAG) == []
    assert found.values(BYTES) == []
    assert found.values("mysql_slave_status_slave_io_running") == [0]
    assert watch.facts().role is Role.REPLICA


def test_a_delayed_replica(standby: DatabaseServer, watch: Watch) -> None:
    standby.execute(say(standby, "STOP REPLICA"))
    delay(standby, 10)
    standby.execute(say(standby, "START REPLICA"))
    assert wait_for(lambda: replication(watch).one(RUNNING, channel="") == 1, 10)
    started = time.monotonic()
    write(standby)
    # The configured delay is part of the lag: alerts subtract it.
    assert wait_for(lambda: replication(watch).one(LAG, channel="") >= 2, 30)
    found = replication(watch)
    assert found.one(DELAY, channel="") == 10
    assert 2 <= found.one(LAG, channel="") <= time.monotonic() - started + 1
    assert wait_for(lambda: level(watch), 30)


def test_no_lag_without_the_delay_in_it(standby: DatabaseServer, watch: Watch) -> None:
    """Alerts subtract it, also where one of the two collectors is denied or fails."""
    standby.execute(say(standby, "STOP REPLICA"))
    delay(standby, 10)
    standby.execute(say(standby, "START REPLICA"))
    known = "mysql_replica_lag" if standby.flavor == "mysql" else "mysql_replica_status"
    assert wait_for(lambda: watch.run(known).values(LAG, channel="") != [], 10)
    assert watch.run(known).values(DELAY, channel="") == [10]
    assert len(replication(watch).values(DELAY, channel="")) == 1


def test_a_source_that_is_gone(standby: DatabaseServer, watch: Watch) -> None:
    assert standby.primary is not None
    standby.primary.stop()
    try:
        assert wait_for(lambda: replication(watch).one(RUNNING, channel="") == 0, 10)
        found = replication(watch)
        assert found.values(LAG) == []
    finally:
        standby.primary.start()


def test_a_source_that_hangs(standby: DatabaseServer, watch: Watch) -> None:
    """It keeps its connection, and the replica takes its silence for nothing to do until replica_net_timeout."""
    assert standby.primary is not None
    heartbeat(standby, 2)
    try:
        # An idle one is silent too, but for its heartbeats.
        assert wait_for(lambda: replication(watch).one(RUNNING, channel="") == 1, 10)
        idle = time.monotonic()
        while time.monotonic() < idle + 7:
            found = replication(watch)
            assert found.one(RUNNING, channel="") == 1
            assert found.one(LAG, channel="") == 0
            time.sleep(0.5)
        standby.primary.pause()
        try:
            assert wait_for(lambda: replication(watch).one(RUNNING, channel="") == 0, 20)
            found = replication(watch)
            assert found.values(LAG) == [], "nobody knows what the source has"
            assert found.values("mysql_slave_status_slave_io_running") == [1], "the receiver believes in its connection"
        finally:
            standby.primary.resume()
        assert wait_for(lambda: replication(watch).one(RUNNING, channel="") == 1, 20)
        assert wait_for(lambda: replication(watch).values(LAG) == [0], 20)
        heartbeat(standby, 0)
        # Whether it is silent is not known so soon.
        assert wait_for(lambda: replication(watch).values(RUNNING) == [1], 20)
    finally:
        heartbeat(standby, 30)


def heartbeat(replica: DatabaseServer, seconds: int) -> None:
    replica.execute(say(replica, "STOP REPLICA"))
    if replica.flavor == "mysql":
        replica.execute(f"CHANGE REPLICATION SOURCE TO SOURCE_HEARTBEAT_PERIOD = {seconds}")
    else:
        replica.execute(f"CHANGE MASTER TO MASTER_HEARTBEAT_PERIOD = {seconds}")
    replica.execute(say(replica, "START REPLICA"))


@pytest.mark.full
@pytest.mark.flavor("mysql")
def test_a_source_that_hangs_is_seen_without_performance_schema(fresh_server: Any, server: DatabaseServer) -> None:
    made = fresh_server(server.name)
    standby = made.replica()
    standby.wait_until_caught_up()
    standby.restart(performance_schema="OFF")
    heartbeat(standby, 2)
    with watching(standby) as watch:
        heard = "SELECT COUNT_RECEIVED_HEARTBEATS FROM performance_schema.replication_connection_status"
        assert wait_for(lambda: standby.execute(heard)[0][0] > 1, 20)
        assert wait_for(lambda: watch.run("mysql_replica_lag").one("db_replication_running") == 1, 5)
        made.pause()
        try:
            assert wait_for(lambda: watch.run("mysql_replica_lag").one("db_replication_running") == 0, 15)
        finally:
            made.resume()
        assert wait_for(lambda: watch.run("mysql_replica_lag").one("db_replication_running") == 1, 15)


@pytest.mark.full
def test_a_receiver_that_waits_for_relay_logs_to_be_freed_runs(fresh_server: Any, server: DatabaseServer) -> None:
    """It takes in neither events nor heartbeats, since relay_log_space_limit is reached and the applier is held up."""
    source = fresh_server(server.name)
    # With more than one worker, or a long queue, the applier's own reader would make room.
    alone = {"replica_parallel_workers": "1", "replica_pending_jobs_size_max": "1024"}
    standby = source.replica(relay_log_space_limit="1048576", **(alone if server.flavor == "mysql" else {}))
    source.execute("CREATE DATABASE large")
    source.execute("CREATE TABLE large.t (a longtext)")
    standby.wait_until_caught_up()
    heartbeat(standby, 1)
    waiting = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for % relay log space'"
    with watching(standby) as watch:
        assert wait_for(lambda: level(watch), 20)
        with standby.connect() as holder, holder.cursor() as cursor:
            cursor.execute("LOCK TABLES large.t READ")
            for _ in range(6):
                source.execute(f"INSERT INTO large.t VALUES ('{'x' * 1_000_000}')")
            assert wait_for(lambda: standby.execute(waiting)[0][0] == 1, 30)
            began = time.monotonic()
            while time.monotonic() < began + 5:
                found = replication(watch)
                assert standby.execute(waiting)[0][0] == 1
                assert found.values(RUNNING) == [1]
                assert found.one(BYTES, channel="") > 0
                time.sleep(0.5)
            assert found.one(LAG, channel="") >= 4
            cursor.execute("UNLOCK TABLES")
        standby.wait_until_caught_up()
        assert wait_for(lambda: level(watch), 20)


@pytest.mark.full
@pytest.mark.flavor("mariadb")
@pytest.mark.skipif(not is_root(), reason="a file system of its own has to be mounted")
def test_a_full_disk_holds_up_nobody_who_asks(fresh_server: Any, server: DatabaseServer, fleet: Fleet) -> None:
    """A receiver that waits for room holds what its status, and then every status of the server, would wait for."""
    if server.data is None:
        pytest.skip("the files of a container lie elsewhere")
    small = fleet.workspace.directory("relay", unprivileged=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "none", str(small)], check=True)
    try:
        source = fresh_server(server.name)
        standby = source.replica(relay_log=str(small / "relay"))
        source.execute("CREATE DATABASE large")
        source.execute("CREATE TABLE large.t (a longtext)")
        account = source.account()
        standby.wait_until_caught_up()
        standby.execute("STOP SLAVE SQL_THREAD")
        for _ in range(5):
            source.execute(f"INSERT INTO large.t VALUES ('{'x' * 1_000_000}')")
        stuck = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for someone to free%'"
        assert wait_for(lambda: standby.execute(stuck)[0][0] == 1, 20)
        with watching(standby, account) as watch:
            assert watch.facts().role is Role.REPLICA
            with pytest.raises(Failure) as failed:
                watch.run("mysql_replica_status")
            assert (failed.value.reason, failed.value.broken) == (Reason.LOCK, False)
            assert watch.run("mysql_status").one("mysql_global_status_queries") > 0
        # It would look for room once a minute.
        standby.kill()
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)


def test_a_primary_has_no_lag(standby: DatabaseServer) -> None:
    assert standby.primary is not None
    with watching(standby.primary) as watch:
        found = replication(watch)
    assert found.names() == set()


def test_a_promoted_replica_is_a_primary(server: DatabaseServer, fleet: object) -> None:
    made = server.replica()
    try:
        with watching(made) as watch:
            assert watch.facts().role is Role.REPLICA
            made.execute(say(made, "STOP REPLICA"))
            assert watch.facts().role is Role.REPLICA
            made.execute(say(made, "RESET REPLICA ALL"))
            assert watch.facts().role is Role.PRIMARY
            assert replication(watch).names() == set()
    finally:
        server.replicas.remove(made)
        made.remove()


def test_a_promotion_makes_no_transactions(server: DatabaseServer) -> None:
    """The promoted server's counters go on where they were: what it did before is not done again."""
    made = server.replica()
    try:
        with watching(made) as watch:

            def ended() -> float:
                return sum(watch.run("mysql_transactions").values("db_transactions_total"))

            made.execute("CREATE DATABASE promoted")
            made.execute("CREATE TABLE promoted.t (a int)")
            assert ended() == 0, "a start of the exporter is no load"
            with made.connect() as connection, connection.cursor() as cursor:
                for number in range(200):
                    cursor.execute("INSERT INTO promoted.t VALUES (%s)", (number,))
            before = ended()
            assert 200 <= before < 400
            made.execute(say(made, "STOP REPLICA"))
            made.execute(say(made, "RESET REPLICA ALL"))
            watch.forget()
            assert ended() == before
            made.execute("INSERT INTO promoted.t VALUES (1)")
            assert before < ended() < before + 20
    finally:
        server.replicas.remove(made)
        made.remove()


def test_two_channels(standby: DatabaseServer, watch: Watch) -> None:
    """A second channel that can't connect does not hide behind the first that works."""
    if standby.flavor == "mysql":
        standby.execute("CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = 1 FOR CHANNEL 'second'")
        standby.execute("START REPLICA FOR CHANNEL 'second'")
        stop, reset = "STOP REPLICA FOR CHANNEL 'second'", "RESET REPLICA ALL FOR CHANNEL 'second'"
    else:
        standby.execute("CHANGE MASTER 'second' TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1, MASTER_USER = 'x'")
        standby.execute("START SLAVE 'second'")
        stop, reset = "STOP SLAVE 'second'", "RESET SLAVE 'second' ALL"
    label = "channel_name" if standby.flavor == "mysql" else "connection_name"

    def told() -> list[dict[str, float]]:
        found = replication(watch)
        by = ((RUNNING, "channel"), (LAG, "channel"), ("mysql_slave_status_slave_io_running", label))
        return [found.by(name, of) for name, of in by]

    try:
        assert wait_for(lambda: told() == [{"": 1, "second": 0}, {"": 0}, {"": 1, "second": 0}], 15), told()
    finally:
        standby.execute(stop)
        standby.execute(reset)


@pytest.mark.flavor("mysql")
def test_stopping_a_replica_that_is_held_up_stops_no_scrape(standby: DatabaseServer, watch: Watch) -> None:
    with standby.connect() as holder, standby.connect() as stopper:
        holder.cursor().execute("LOCK TABLES replicated.t READ")
        write(standby)
        assert wait_for(lambda: replication(watch).one(LAG, channel="") > 0, 15)
        stopper._execute_command(3, "STOP REPLICA")
        time.sleep(0.5)
        assert watch.facts().role is Role.REPLICA
        assert replication(watch).one(LAG, channel="") > 0
        holder.cursor().execute("UNLOCK TABLES")
        stopper._read_query_result()


def test_a_heartbeat_table_that_the_config_names(server: DatabaseServer, tmp_path: Path) -> None:
    [(before,)] = server.execute("SELECT @@GLOBAL.time_zone")
    account = server.account()
    table = {"database": "beats", "table": "beat"}
    said: dict[str, dict[str, Any]] = {"local": table, "utc": {**table, "utc": True}}
    servers = [{"name": name, "url": server.url(account), "heartbeat": beat} for name, beat in said.items()]
    file = tmp_path / "config.yml"
    file.write_text(yaml.safe_dump({"servers": servers}))
    command = [sys.executable, "-m", "exporter", "check", f"--config.file={file}"]
    try:
        server.execute("SET GLOBAL time_zone = '+03:00'")
        server.execute("CREATE DATABASE IF NOT EXISTS beats")
        server.execute("CREATE TABLE beats.beat (ts varchar(26) NOT NULL, server_id int unsigned PRIMARY KEY)")
        server.execute("INSERT INTO beats.beat VALUES ('2026-01-02T03:04:05.678900', 7)")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "GRANT SELECT ON beats.* TO 'exporter'@'%';" in done.stdout, done.stdout + done.stderr
        server.execute("GRANT SELECT ON beats.beat TO exporter")
        with Exporter(tmp_path, {"servers": servers}) as exporter:
            page, landing = exporter.scrape(), exporter.get("/")[1]
    finally:
        server.execute(f"SET GLOBAL time_zone = '{before}'")
        server.execute("DROP DATABASE IF EXISTS beats")
    moment = datetime(2026, 1, 2, 3, 4, 5, 678900, UTC).timestamp()
    for name, early in (("local", 3 * 3600), ("utc", 0)):
        stored = page.value("mysql_heartbeat_stored_timestamp_seconds", server=name, server_id="7")
        assert stored == pytest.approx(moment - early, abs=1e-5)
        assert page.value("mysql_heartbeat_now_timestamp_seconds", server=name) == pytest.approx(time.time(), abs=300)
    # It is no query of the user's.
    assert "User-defined" not in landing


@pytest.mark.flavor("mysql")
def test_what_a_replica_applies_is_no_transaction_of_a_client(standby: DatabaseServer, watch: Watch) -> None:
    primary = standby.primary
    assert primary is not None

    def ended() -> float:
        return sum(watch.run("mysql_transactions").values("db_transactions_total"))

    with primary.connect() as source, source.cursor() as cursor, standby.connect() as client:
        before = ended()
        for _ in range(200):
            cursor.execute("INSERT INTO replicated.t (b) VALUES (1)")
        standby.wait_until_caught_up()
        idle = ended()
        for _ in range(50):
            client.cursor().execute("SELECT COUNT(*) FROM replicated.t")
        busy = ended()
    # The server's own, and who waited.
    assert idle - before < 50
    assert 50 <= busy - idle < 75
