"""States, errors and GTIDs of replication that is really broken, and locks that are really held."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymysql.cursors import DictCursor

from exporter.collectors.mysql.gtid import Errant
from exporter.collectors.mysql.lock_waits import lock_waits
from tests.providers.base import DatabaseServer, wait_for
from tests.servers.collecting import Watch, watching

pytestmark = pytest.mark.engine("mysql")


@pytest.fixture(autouse=True)
def _no_source_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests of this process have read of the sources is not known here."""
    monkeypatch.setattr(Errant, "_executed", {})


def say(server: DatabaseServer, statement: str) -> str:
    """Write a statement in the words of the flavor."""
    return statement if server.flavor == "mysql" else statement.replace("REPLICA", "SLAVE")


@pytest.fixture
def standby(replica: DatabaseServer) -> Iterator[DatabaseServer]:
    """Give a replica that is level, and start what a test has stopped."""
    assert replica.primary is not None
    replica.primary.execute("CREATE DATABASE IF NOT EXISTS threads")
    replica.primary.execute("CREATE TABLE IF NOT EXISTS threads.t (a int PRIMARY KEY)")
    replica.wait_until_caught_up()
    yield replica
    replica.execute(say(replica, "START REPLICA"))
    replica.wait_until_caught_up()


@pytest.fixture
def watch(standby: DatabaseServer) -> Iterator[Watch]:
    with watching(standby) as made:
        yield made


@pytest.mark.flavor("mysql")
def test_each_stopped_thread_is_told(standby: DatabaseServer, watch: Watch) -> None:
    standby.execute("STOP REPLICA SQL_THREAD")
    found = watch.run("mysql_replica_threads")
    assert found.one("mysql_replica_applier_running", channel="") == 0
    assert found.by("mysql_replica_receiver_state", "state") == {"on": 1, "connecting": 0, "off": 0}
    standby.execute("STOP REPLICA IO_THREAD")
    found = watch.run("mysql_replica_threads")
    assert found.by("mysql_replica_receiver_state", "state") == {"on": 0, "connecting": 0, "off": 1}


@pytest.mark.flavor("mariadb")
def test_of_each_connection_the_receiver_and_the_errors_are_told(standby: DatabaseServer, watch: Watch) -> None:
    def shown(column: str) -> dict[str, Any]:
        with standby.connect(cursorclass=DictCursor) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW ALL SLAVES STATUS")
            return {row["Connection_name"]: row[column] for row in cursor.fetchall()}

    def told() -> dict[str, str]:
        """The one state that each receiver is in."""
        found = watch.run("mysql_replica_status").by("mysql_replica_receiver_state", "channel", "state")
        assert {state for _, state in found} == {"on", "connecting", "off"}
        assert set(found.values()) == {0, 1}
        states = [channel for (channel, _), value in found.items() if value]
        assert len(states) == len(set(states))
        return {channel: state for (channel, state), value in found.items() if value}

    # Nobody listens there.
    standby.execute("CHANGE MASTER 'nowhere' TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1, MASTER_USER = 'nobody'")
    try:
        assert told() == {"": "on", "nowhere": "off"}
        standby.execute("START SLAVE 'nowhere'")
        assert wait_for(lambda: shown("Last_IO_Errno")["nowhere"] != 0, 15)
        assert shown("Slave_IO_Running") == {"": "Yes", "nowhere": "Connecting"}
        assert told() == {"": "on", "nowhere": "connecting"}
        errors = watch.run("mysql_replica_status").by("mysql_replica_error_number", "channel", "thread")
        assert errors == {
            ("", "receiver"): 0,
            ("", "applier"): 0,
            ("nowhere", "receiver"): shown("Last_IO_Errno")["nowhere"],
            ("nowhere", "applier"): 0,
        }
        standby.execute("STOP SLAVE 'nowhere'")
        standby.execute("STOP SLAVE")
        assert told() == {"": "off", "nowhere": "off"}
    finally:
        standby.execute("STOP SLAVE 'nowhere'")
        standby.execute("RESET SLAVE 'nowhere' ALL")


@pytest.mark.flavor("mysql")
def test_moments_of_workers_in_another_time_zone(standby: DatabaseServer) -> None:
    assert standby.primary is not None
    zone = standby.execute("SELECT @@GLOBAL.time_zone")[0][0]
    standby.execute("SET GLOBAL time_zone = '+05:30'")
    try:
        began = time.time()
        standby.primary.execute("REPLACE INTO threads.t VALUES (4711)")
        standby.wait_until_caught_up()
        with watching(standby) as watch:
            found = watch.run("mysql_replica_workers")
    finally:
        standby.execute(f"SET GLOBAL time_zone = '{zone}'")
    for moment in ("original_commit", "immediate_commit", "start_apply", "end_apply"):
        # The clock of the server is ours.
        latest = max(found.values(f"mysql_perf_schema_last_applied_transaction_{moment}_timestamp_seconds"))
        assert began - 1 < latest < time.time() + 1


def test_what_is_received_and_not_applied_is_counted(standby: DatabaseServer, watch: Watch) -> None:
    assert standby.primary is not None
    standby.execute(say(standby, "STOP REPLICA SQL_THREAD"))
    for number in range(3):
        standby.primary.execute(f"REPLACE INTO threads.t VALUES ({number})")
    collector = "mysql_gtid_sets" if standby.flavor == "mysql" else "mysql_replica_status"
    assert wait_for(lambda: watch.run(collector).values("mysql_replica_pending_transactions") == [3], 10)
    standby.execute(say(standby, "START REPLICA"))
    standby.wait_until_caught_up()
    assert wait_for(lambda: watch.run(collector).values("mysql_replica_pending_transactions") == [0], 10)


@pytest.mark.flavor("mariadb")
def test_what_a_replica_wrote_itself_is_not_taken_for_applied(standby: DatabaseServer, watch: Watch) -> None:
    """Its position in SHOW is the newer one of what it applied and of what it wrote."""
    assert standby.primary is not None

    def position(name: str) -> str:
        with standby.connect(cursorclass=DictCursor) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW ALL SLAVES STATUS")
            [row] = cursor.fetchall()
        return str(row[name])

    def pending() -> list[float]:
        return watch.run("mysql_replica_status").values("mysql_replica_pending_transactions")

    standby.wait_until_caught_up()
    standby.execute("REPLACE INTO threads.t VALUES (808)")
    standby.execute("STOP SLAVE SQL_THREAD")
    before = position("Gtid_IO_Pos")
    standby.primary.execute("REPLACE INTO threads.t VALUES (809)")
    assert wait_for(lambda: position("Gtid_IO_Pos") != before, 10)
    assert position("Gtid_Slave_Pos").split("-")[2] == position("Gtid_IO_Pos").split("-")[2]
    assert pending() == []
    standby.execute("START SLAVE SQL_THREAD")
    standby.wait_until_caught_up()
    assert wait_for(lambda: pending() == [0], 10)


@pytest.mark.flavor("mariadb")
def test_how_far_a_source_and_its_replica_are_in_each_domain(standby: DatabaseServer, watch: Watch) -> None:
    source = standby.primary
    assert source is not None
    with source.connect() as session, session.cursor() as cursor:
        cursor.execute("SET SESSION gtid_domain_id = 7")
        cursor.execute("REPLACE INTO threads.t VALUES (71)")
        cursor.execute("SET SESSION server_id = 4711")
        cursor.execute("REPLACE INTO threads.t VALUES (72)")
    standby.wait_until_caught_up()

    def as_shown(server: DatabaseServer, variable: str) -> dict[tuple[str, str], float]:
        [(text,)] = server.execute(f"SELECT @@GLOBAL.{variable}")
        parts = [member.split("-") for member in text.split(",") if member]
        return {(domain, by): float(number) for domain, by, number in parts}

    with watching(source) as there:
        # Its account, too, goes to the replica.
        standby.wait_until_caught_up()
        for server, looks in ((source, there), (standby, watch)):
            found = looks.run("mysql_gtid_positions")
            for name in ("gtid_binlog_pos", "gtid_current_pos"):
                assert found.by(f"mysql_{name}", "domain_id", "server_id") == as_shown(server, name)
        assert ("7", "4711") in there.run("mysql_gtid_positions").by("mysql_gtid_binlog_pos", "domain_id", "server_id")
    # What the replica has applied is what its source has written.
    applied = watch.run("mysql_replica_status").by("mysql_slave_status_gtid_slave_pos", "domain_id", "server_id")
    assert applied[("7", "4711")] == as_shown(source, "gtid_binlog_pos")[("7", "4711")]


def transactions(sets: str) -> int:
    """How many a set without tags has."""
    intervals = [part.split("-") for member in sets.replace("\n", "").split(",") for part in member.split(":")[1:]]
    return sum(int(interval[-1]) - int(interval[0]) + 1 for interval in intervals)


@pytest.mark.flavor("mysql")
def test_sets_as_numbers_are_those_of_the_server(standby: DatabaseServer, watch: Watch) -> None:
    # Of a replica that has forgotten some of its own.
    standby.execute("FLUSH BINARY LOGS")
    [*_, newest] = standby.execute("SHOW BINARY LOGS")
    standby.execute(f"PURGE BINARY LOGS TO '{newest[0]}'")
    [(executed, purged)] = standby.execute("SELECT @@GLOBAL.gtid_executed, @@GLOBAL.gtid_purged")
    [(received,)] = standby.execute(
        "SELECT RECEIVED_TRANSACTION_SET FROM performance_schema.replication_connection_status"
    )
    found = watch.run("mysql_gtid_sets")
    assert found.one("mysql_gtid_executed_transactions") == transactions(executed) >= transactions(purged)
    assert found.one("mysql_gtid_purged_transactions") == transactions(purged) > 0
    assert found.one("mysql_replica_received_transactions", channel="") == transactions(received) > 0


@pytest.mark.flavor("mysql")
def test_workers_heartbeats_and_retries(standby: DatabaseServer, watch: Watch) -> None:
    source = standby.primary
    assert source is not None
    source.execute("REPLACE INTO threads.t VALUES (55)")
    standby.wait_until_caught_up()
    [(wait,)] = standby.execute("SELECT @@GLOBAL.innodb_lock_wait_timeout")
    standby.execute("STOP REPLICA")
    [(workers,)] = standby.execute("SELECT COUNT(*) FROM performance_schema.replication_applier_status_by_worker")
    assert watch.run("mysql_replica_threads").by("mysql_replica_workers", "state") == {
        "applying": 0, "idle": 0, "stopped": workers,
    }  # fmt: skip
    standby.execute("CHANGE REPLICATION SOURCE TO SOURCE_HEARTBEAT_PERIOD = 0.5")
    standby.execute("SET GLOBAL innodb_lock_wait_timeout = 1")
    try:
        standby.execute("START REPLICA")
        with standby.connect() as holder:
            holder.begin()
            holder.cursor().execute("SELECT * FROM threads.t WHERE a = 55 FOR UPDATE")
            source.execute("DELETE FROM threads.t WHERE a = 55")

            def told(name: str, **labels: str) -> float:
                return watch.run("mysql_replica_threads").one(f"mysql_replica_{name}", **labels)

            assert wait_for(lambda: told("workers", state="applying") == 1, 15)
            assert told("workers", state="idle") == workers - 1
            assert wait_for(lambda: told("transaction_retries_total") >= 1, 15)
            assert wait_for(lambda: told("received_heartbeats_total") >= 1, 15)
            counts = (
                "SELECT COUNT_RECEIVED_HEARTBEATS, COUNT_TRANSACTIONS_RETRIES "
                "FROM performance_schema.replication_connection_status "
                "JOIN performance_schema.replication_applier_status USING (CHANNEL_NAME)"
            )
            [before] = standby.execute(counts)
            found = told("received_heartbeats_total"), told("transaction_retries_total")
            [after] = standby.execute(counts)
            assert before[0] <= found[0] <= after[0]
            assert before[1] <= found[1] <= after[1]
            holder.rollback()
        standby.wait_until_caught_up()
        assert wait_for(lambda: told("workers", state="idle") == workers, 15)
    finally:
        standby.execute(f"SET GLOBAL innodb_lock_wait_timeout = {wait}")
        standby.execute("STOP REPLICA")
        standby.execute("CHANGE REPLICATION SOURCE TO SOURCE_HEARTBEAT_PERIOD = 30")


@pytest.mark.full
@pytest.mark.flavor("mariadb")
def test_workers_of_a_pool_that_connections_share(server: DatabaseServer) -> None:
    standby = server.replica(performance_schema="ON", slave_parallel_threads="3", slave_parallel_mode="optimistic")
    states = ("applying", "idle", "stopped")
    way = (
        f"MASTER_HOST = '{server.host}', MASTER_PORT = {server.port}, MASTER_USER = '{server.admin.user}', "
        f"MASTER_PASSWORD = '{server.admin.password}', MASTER_USE_GTID = slave_pos, MASTER_SSL_VERIFY_SERVER_CERT = 0"
    )

    def by_the_processes() -> tuple[int, int]:
        """How many workers have something to do, and how many have not."""
        rows = standby.execute("SELECT STATE FROM information_schema.PROCESSLIST WHERE COMMAND = 'Slave_worker'")
        idle = [state == "Waiting for work from SQL thread" for (state,) in rows]
        return idle.count(False), idle.count(True)

    try:
        server.execute("CREATE DATABASE IF NOT EXISTS threads")
        server.execute("CREATE TABLE IF NOT EXISTS threads.pool (a int PRIMARY KEY)")
        server.execute("REPLACE INTO threads.pool VALUES (1)")
        standby.wait_until_caught_up()
        for statement in (
            "STOP SLAVE",
            "RESET SLAVE ALL",
            f"CHANGE MASTER 'one' TO {way}",
            "CHANGE MASTER 'nowhere' TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1, MASTER_USER = 'nobody'",
            "START SLAVE 'one'",
        ):
            standby.execute(statement)
        with watching(standby) as watch:

            def told(channel: str = "one") -> tuple[float | None, ...]:
                found = watch.run("mysql_replica_pool").by("mysql_replica_workers", "channel", "state")
                return tuple(found.get((channel, state)) for state in states)

            server.execute("REPLACE INTO threads.pool VALUES (2)")
            standby.wait_until_caught_up()
            with standby.connect() as holder:
                holder.begin()
                holder.cursor().execute("SELECT * FROM threads.pool WHERE a = 2 FOR UPDATE")
                server.execute("DELETE FROM threads.pool WHERE a = 2")
                server.execute("REPLACE INTO threads.pool VALUES (3)")
                assert wait_for(lambda: by_the_processes() == (2, 1), 15)
                assert told()[0] == 2
                holder.rollback()
            standby.wait_until_caught_up()
            assert wait_for(lambda: by_the_processes() == (0, 3), 15)
            assert sum(watch.run("mysql_replica_pool").values("mysql_replica_workers", state="idle")) == 3
            assert told()[0] == 0

            # Of workers that go on for one connection the server says that they have stopped, once another was.
            standby.execute("START SLAVE 'nowhere'")
            standby.execute("STOP SLAVE 'nowhere'")
            shown = "SELECT DISTINCT SERVICE_STATE FROM performance_schema.replication_applier_status_by_worker"
            assert standby.execute(shown) == [("OFF",)]
            assert by_the_processes() == (0, 3)
            assert watch.run("mysql_replica_pool").values("mysql_replica_workers", state="stopped") == []

            standby.execute("INSERT INTO threads.pool VALUES (77)")
            server.execute("INSERT INTO threads.pool VALUES (77)")
            assert wait_for(lambda: sum(by_the_processes()) == 0, 15)
            assert sum(watch.run("mysql_replica_pool").values("mysql_replica_workers", state="stopped")) == 3
            [(at,)] = standby.execute(
                "SELECT UNIX_TIMESTAMP(LAST_ERROR_TIMESTAMP) "
                "FROM performance_schema.replication_applier_status_by_coordinator WHERE CHANNEL_NAME = 'one'"
            )
            moments = watch.run("mysql_replica_pool").by("mysql_replica_error_timestamp_seconds", "channel", "thread")
            assert moments == {("one", "applier"): at}
            assert at > 1e9

            # What the server keeps of workers that it had is no worker.
            standby.execute("DELETE FROM threads.pool WHERE a = 77")
            standby.execute("SET GLOBAL slave_parallel_threads = 0")
            assert standby.execute(shown) == [("OFF",)]
            assert watch.run("mysql_replica_pool").values("mysql_replica_workers") == []
            standby.execute("START SLAVE 'one'")
            standby.wait_until_caught_up()
            assert watch.run("mysql_replica_pool").values("mysql_replica_workers") == []
    finally:
        standby.remove()


def test_a_source_knows_whom_it_sends_to(standby: DatabaseServer) -> None:
    assert standby.primary is not None
    with watching(standby.primary) as watch:

        def counted() -> bool:
            sent = sum(str(row[4]).startswith("Binlog Dump") for row in standby.primary.execute("SHOW PROCESSLIST"))
            return sent >= 1 and watch.run("mysql_senders").one("mysql_source_connected_replicas") == sent

        assert wait_for(counted, 15)


@pytest.mark.flavor("mysql")
def test_sets_are_whole_however_short_the_server_would_cut_them(standby: DatabaseServer) -> None:
    [[before]] = standby.execute("SELECT @@GLOBAL.group_concat_max_len")
    received = "SELECT RECEIVED_TRANSACTION_SET FROM performance_schema.replication_connection_status"
    assert len(standby.execute(received)[0][0]) > 10
    with watching(standby) as watch:
        known = watch.run("mysql_gtid_sets").one("mysql_replica_errant_transactions")
    standby.execute("SET GLOBAL group_concat_max_len = 10")
    try:
        with watching(standby) as watch:
            assert watch.run("mysql_gtid_sets").one("mysql_replica_errant_transactions") == known
    finally:
        standby.execute(f"SET GLOBAL group_concat_max_len = {before}")


def test_an_error_of_the_applier_and_the_write_that_made_it(standby: DatabaseServer, watch: Watch) -> None:
    assert standby.primary is not None
    standby.primary.execute("DELETE FROM threads.t WHERE a = 77")
    standby.wait_until_caught_up()
    own = "mysql_gtid_sets" if standby.flavor == "mysql" else "mysql_gtid_domains"
    # By itself: its source is not watched.
    before = watch.run(own).one("mysql_replica_errant_transactions")
    standby.execute("INSERT INTO threads.t VALUES (77)")
    assert watch.run(own).one("mysql_replica_errant_transactions") == before + 1
    standby.primary.execute("INSERT INTO threads.t VALUES (77)")
    status = "mysql_slave_status_last_sql_errno"
    try:
        assert wait_for(lambda: watch.run("mysql_replica_status").values(status) == [1062], 15)
        found = watch.run("mysql_replica_threads" if standby.flavor == "mysql" else "mysql_replica_status")
        assert found.by("mysql_replica_error_number", "thread") == {"receiver": 0, "applier": 1062}
        if standby.flavor == "mysql":
            assert found.one("mysql_replica_error_timestamp_seconds", thread="applier") > 1e9
    finally:
        with standby.connect() as session, session.cursor() as cursor:
            cursor.execute("SET SESSION sql_log_bin = 0")
            cursor.execute("DELETE FROM threads.t WHERE a = 77")
        standby.execute(say(standby, "START REPLICA"))
    standby.wait_until_caught_up()


def test_who_waits_for_a_row_and_who_sleeps_on_it(server: DatabaseServer) -> None:
    server.execute("CREATE DATABASE IF NOT EXISTS held")
    server.execute("CREATE TABLE IF NOT EXISTS held.t (a int PRIMARY KEY, b int)")
    server.execute("REPLACE INTO held.t VALUES (1, 1)")
    with server.connect() as holder, watching(server) as watch:
        began = time.monotonic()
        holder.begin()
        holder.cursor().execute("UPDATE held.t SET b = 2 WHERE a = 1")
        waiter = threading.Thread(target=server.execute, args=("UPDATE held.t SET b = 3 WHERE a = 1",))
        waiter.start()
        try:

            def waits() -> bool:
                return watch.run("mysql_lock_waits").one("mysql_lock_waiting_sessions", kind="row") == 1

            assert wait_for(waits, 10)
            longest = "mysql_lock_wait_longest_seconds"
            assert wait_for(lambda: watch.run("mysql_lock_waits").one(longest, kind="row") >= 2, 10)
            found = watch.run("mysql_lock_waits")
            assert found.one("mysql_lock_blocking_sessions", kind="row", state="idle") == 1
            assert found.one("mysql_lock_blocking_sessions", kind="row", state="active") == 0
            assert found.one(longest, kind="metadata") == 0
            opened = watch.run("mysql_open_transactions")
            # The server tells whole seconds.
            most = time.monotonic() - began + 1
            assert 2 <= found.one(longest, kind="row") <= most
            assert opened.one("mysql_open_transactions", state="idle") == 1
            assert opened.one("mysql_open_transactions_modified_rows", state="idle") == 1
            columns = "trx_rows_locked, trx_tables_locked, trx_lock_structs"
            rows = f"SELECT {columns} FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id = %s"
            [(locked, tables, structs)] = server.execute(rows, params=(holder.thread_id(),))
            assert opened.one("mysql_open_transactions_locked_rows", state="idle") == locked >= 1
            assert opened.one("mysql_open_transactions_locked_tables", state="idle") == tables == 1
            assert opened.one("mysql_open_transactions_lock_structs", state="idle") == structs >= 2
            assert 2 <= opened.one("mysql_open_transaction_longest_seconds", state="idle") <= most
            assert 1 <= opened.one("mysql_open_transaction_idle_longest_seconds") <= most
            assert opened.one("mysql_open_transaction_longest_seconds", state="active") <= most
        finally:
            holder.rollback()
            waiter.join(10)


def test_who_holds_a_row_that_was_inserted(server: DatabaseServer) -> None:
    server.execute("CREATE DATABASE IF NOT EXISTS held")
    server.execute("CREATE TABLE IF NOT EXISTS held.inserted (a int PRIMARY KEY)")
    with server.connect() as holder, watching(server) as watch:
        holder.begin()
        holder.cursor().execute("INSERT INTO held.inserted VALUES (1)")
        waiter = threading.Thread(target=server.execute, args=("INSERT INTO held.inserted VALUES (1)",))
        waiter.start()
        try:
            waiting = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'"
            assert wait_for(lambda: server.execute(waiting) == [(1,)], 10)
            found = watch.run("mysql_lock_waits")
        finally:
            holder.rollback()
            waiter.join(10)
    assert found.one("mysql_lock_blocking_sessions", kind="row", state="idle") == 1
    assert found.one("mysql_lock_blocking_sessions", kind="row", state="active") == 0
    if server.flavor == "mysql":
        [(digest,)] = server.execute("SELECT STATEMENT_DIGEST('INSERT INTO held.inserted VALUES (1)')")
        told = found.by("mysql_lock_blocking_statement_sessions", "kind", "digest")
        assert told == {("row", digest): 1}
    server.execute("DROP TABLE held.inserted")


def test_what_is_prepared_and_left_behind_is_told(server: DatabaseServer) -> None:
    """A transaction that an application server prepared before it died: no session shows what holds its rows."""
    server.execute("CREATE DATABASE IF NOT EXISTS held")
    server.execute("CREATE TABLE IF NOT EXISTS held.x (a int PRIMARY KEY)")
    with watching(server) as watch:

        def told(name: str = "") -> float:
            return watch.run("mysql_open_transactions").one(f"mysql_open_transaction{name}", state="prepared")

        # The server's own are over at once.
        assert wait_for(lambda: told("s") == 0, 10)
        with server.connect() as application, application.cursor() as cursor:
            cursor.execute("XA START 'left behind'")
            cursor.execute("INSERT INTO held.x VALUES (1), (2), (3)")
            cursor.execute("XA END 'left behind'")
            cursor.execute("XA PREPARE 'left behind'")
        try:
            assert wait_for(lambda: told("s") == 1, 10)
            assert told("s_modified_rows") == 3
            assert wait_for(lambda: told("_longest_seconds") >= 2, 10)
            waiter = threading.Thread(target=server.execute, args=("INSERT INTO held.x VALUES (2)",))
            waiter.start()
            waiting = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'"
            assert wait_for(lambda: server.execute(waiting) == [(1,)], 10)
            found = watch.run("mysql_lock_waits")
        finally:
            server.execute("XA ROLLBACK 'left behind'")
        waiter.join(10)
        blocking = found.by("mysql_lock_blocking_sessions", "kind", "state")
        assert {state: blocking["row", state] for state in ("idle", "active", "prepared")} == {
            "idle": 0, "active": 0, "prepared": 1,
        }  # fmt: skip
        assert found.values("mysql_lock_blocking_statement_sessions") == []
        assert wait_for(lambda: told("s") == 0, 10)
        assert told("_longest_seconds") == 0
        server.execute("DROP TABLE held.x")


def test_who_waits_for_the_definition_of_a_table(server: DatabaseServer) -> None:
    server.execute("CREATE DATABASE IF NOT EXISTS held")
    server.execute("CREATE TABLE IF NOT EXISTS held.m (a int PRIMARY KEY)")
    with server.connect() as holder, watching(server) as watch:
        holder.begin()
        holder.cursor().execute("SELECT * FROM held.m")
        waiter = threading.Thread(
            target=server.execute,
            args=(
                "ALTER TABLE held.m ADD COLUMN IF NOT EXISTS b int"
                if server.flavor == "mariadb"
                else "ALTER TABLE held.m COMMENT = 'x'",
            ),
        )
        waiter.start()
        try:

            def waits() -> bool:
                return watch.run("mysql_lock_waits").one("mysql_lock_waiting_sessions", kind="metadata") == 1

            assert wait_for(waits, 10)
            if server.flavor == "mysql":
                found = watch.run("mysql_lock_waits")
                assert found.one("mysql_lock_blocking_sessions", kind="metadata", state="idle") == 1
        finally:
            holder.rollback()
            waiter.join(10)


@pytest.mark.flavor("mysql")
@pytest.mark.parametrize(
    ("table", "name"), [("instruments", "wait/lock/metadata/sql/mdl"), ("consumers", "global_instrumentation")]
)
def test_who_waits_for_a_definition_is_told_where_its_locks_are_not(
    server: DatabaseServer, table: str, name: str
) -> None:
    server.execute("CREATE DATABASE IF NOT EXISTS held")
    server.execute("CREATE TABLE IF NOT EXISTS held.m (a int PRIMARY KEY)")
    switch = f"UPDATE performance_schema.setup_{table} SET ENABLED = %s WHERE NAME = %s"
    server.execute(switch, params=("NO", name))
    try:
        with server.connect() as holder, watching(server) as watch:
            holder.begin()
            holder.cursor().execute("SELECT * FROM held.m")
            waiter = threading.Thread(target=server.execute, args=("ALTER TABLE held.m COMMENT = 'x'",))
            waiter.start()
            try:
                waits = (
                    "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table metadata%'"
                )
                assert wait_for(lambda: server.execute(waits) == [(1,)], 10)
                found = watch.run("mysql_lock_waits")
            finally:
                holder.rollback()
                waiter.join(10)
    finally:
        server.execute(switch, params=("YES", name))
    assert found.by("mysql_lock_waiting_sessions", "kind") == {"row": 0, "metadata": 1, "table": 0}
    assert {kind for kind, _ in found.by("mysql_lock_blocking_sessions", "kind", "state")} == {"row"}


def test_who_writes_while_all_tables_are_read_locked_waits_for_a_definition(server: DatabaseServer) -> None:
    server.execute("CREATE DATABASE IF NOT EXISTS held")
    server.execute("CREATE TABLE IF NOT EXISTS held.w (a int PRIMARY KEY)")
    with server.connect() as holder, watching(server) as watch:
        holder.cursor().execute("FLUSH TABLES WITH READ LOCK")
        waiter = threading.Thread(target=server.execute, args=("REPLACE INTO held.w VALUES (1)",))
        waiter.start()
        try:

            def waits() -> bool:
                found = watch.run("mysql_lock_waits")
                longest = found.one("mysql_lock_wait_longest_seconds", kind="metadata")
                return (
                    found.by("mysql_lock_waiting_sessions", "kind") == {"row": 0, "metadata": 1, "table": 0}
                    and longest > 0
                )

            assert wait_for(waits, 10)
        finally:
            holder.cursor().execute("UNLOCK TABLES")
            waiter.join(10)


@pytest.mark.flavor("mysql")
def test_a_queue_for_the_definition_of_a_table_is_read_by_its_length_and_not_by_its_square(
    server: DatabaseServer,
) -> None:
    server.execute("CREATE DATABASE IF NOT EXISTS held")
    server.execute("CREATE TABLE IF NOT EXISTS held.m (a int PRIMARY KEY)")
    kind = {"kind": "metadata"}
    with contextlib.ExitStack() as opened, watching(server) as watch:
        holders = [opened.enter_context(server.connect()) for _ in range(4)]
        for holder in holders:
            holder.begin()
            holder.cursor().execute("SELECT * FROM held.m")
        waiters = [
            threading.Thread(target=server.execute, args=("ALTER TABLE held.m COMMENT = 'x'",)) for _ in range(3)
        ]
        for waiter in waiters:
            waiter.start()
        try:
            assert wait_for(
                lambda: watch.run("mysql_lock_waits").one("mysql_lock_waiting_sessions", **kind) == len(waiters), 10
            )
            # One of them holds a lock already that only what comes after it has to wait for.
            found = watch.run("mysql_lock_waits")
            assert found.one("mysql_lock_blocking_sessions", **kind, state="idle") == len(holders)
            assert found.one("mysql_lock_blocking_sessions", **kind, state="active") == 0
            sql = lock_waits.queries[0].sql.replace("{limit}", "1000")
            rows = [row for row in server.execute(sql) if row[0] == "metadata"]
            assert len(rows) <= 2 * len(waiters) + len(holders)
        finally:
            for holder in holders:
                holder.rollback()
            for waiter in waiters:
                waiter.join(10)


@pytest.mark.flavor("mysql")
def test_who_holds_a_table_of_another_case_or_accent_holds_up_nobody(server: DatabaseServer) -> None:
    for schema, table in (("held", "n"), ("held", "N"), ("HELD", "n"), ("held", "\N{LATIN SMALL LETTER N WITH TILDE}")):
        server.execute(f"CREATE DATABASE IF NOT EXISTS {schema}")
        server.execute(f"CREATE TABLE IF NOT EXISTS {schema}.{table} (a int PRIMARY KEY)")
    with server.connect() as holder, server.connect() as others, watching(server) as watch:
        holder.begin()
        holder.cursor().execute("SELECT * FROM held.n")
        others.begin()
        others.cursor().execute("SELECT * FROM held.N, HELD.n, held.\N{LATIN SMALL LETTER N WITH TILDE}")
        waiter = threading.Thread(target=server.execute, args=("ALTER TABLE held.n COMMENT = 'x'",))
        waiter.start()
        try:
            metadata = {"kind": "metadata"}
            assert wait_for(
                lambda: watch.run("mysql_lock_waits").one("mysql_lock_waiting_sessions", **metadata) == 1, 10
            )
            found = watch.run("mysql_lock_waits")
            assert found.one("mysql_lock_blocking_sessions", **metadata, state="idle") == 1
        finally:
            holder.rollback()
            waiter.join(10)
            others.rollback()
            server.execute("DROP DATABASE HELD")


@pytest.mark.flavor("mysql")
def test_who_holds_a_routine_holds_it_in_whatever_case_it_is_asked_for(server: DatabaseServer) -> None:
    server.execute("CREATE DATABASE IF NOT EXISTS held")
    server.execute("DROP PROCEDURE IF EXISTS held.routine")
    server.execute("CREATE PROCEDURE held.routine() SELECT 1")
    with server.connect() as holder, watching(server) as watch:
        holder.begin()
        holder.cursor().execute("CALL held.ROUTINE()")
        waiter = threading.Thread(target=server.execute, args=("DROP PROCEDURE held.Routine",))
        waiter.start()
        try:

            def blocks() -> bool:
                found = watch.run("mysql_lock_waits")
                return found.one("mysql_lock_blocking_sessions", kind="metadata", state="idle") == 1

            assert wait_for(blocks, 10)
        finally:
            holder.rollback()
            waiter.join(10)


def test_who_waits_for_a_lock_of_the_users_own_waits_for_no_definition(server: DatabaseServer) -> None:
    with server.connect() as holder, watching(server) as watch:
        holder.cursor().execute("SELECT GET_LOCK('held.here', 0)")
        waiter = threading.Thread(target=server.execute, args=("SELECT GET_LOCK('held.here', 30)",))
        waiter.start()
        try:
            waits = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE = 'User lock'"
            assert wait_for(lambda: server.execute(waits)[0][0] == 1, 10)
            assert watch.run("mysql_lock_waits").one("mysql_lock_waiting_sessions", kind="metadata") == 0
        finally:
            holder.cursor().execute("SELECT RELEASE_ALL_LOCKS()")
            waiter.join(10)


@pytest.mark.flavor("mysql")
def test_a_set_of_many_pieces_is_counted_whole(
    server: DatabaseServer, fresh_server: Callable[..., DatabaseServer]
) -> None:
    """As one that a replica has whose workers commit in any order, or of many servers: longer than a text of 64 KiB."""
    made = fresh_server(server.name)
    pieces = 30_000
    with watching(made) as watch:
        before = watch.run("mysql_gtid_sets")
        text = ":".join(str(number) for number in range(1, 2 * pieces, 2))
        made.execute(f"SET GLOBAL gtid_purged = '+00000000-1111-2222-3333-444444444444:{text}'")
        found = watch.run("mysql_gtid_sets")
        for name in ("mysql_gtid_executed_transactions", "mysql_gtid_purged_transactions"):
            assert found.one(name) == before.one(name) + pieces, name


@pytest.mark.flavor("mysql")
def test_nothing_is_told_to_be_errant_where_a_channel_gives_gtids_to_what_comes_without(
    standby: DatabaseServer, watch: Watch
) -> None:
    """What came from a source without GTIDs has this server's own then, as what was written here."""
    errant = "mysql_replica_errant_transactions"
    assert len(watch.run("mysql_gtid_sets").values(errant)) == 1
    standby.execute(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=1, SOURCE_AUTO_POSITION=0,"
        " ASSIGN_GTIDS_TO_ANONYMOUS_TRANSACTIONS=LOCAL FOR CHANNEL 'without'"
    )
    try:
        found = watch.run("mysql_gtid_sets")
        assert found.values(errant) == []
        assert found.one("mysql_gtid_executed_transactions") > 0
    finally:
        standby.execute("RESET REPLICA ALL FOR CHANNEL 'without'")
    assert len(watch.run("mysql_gtid_sets").values(errant)) == 1


@pytest.mark.flavor("mysql")
def test_where_the_source_is_watched_its_own_set_tells_what_is_errant(standby: DatabaseServer, watch: Watch) -> None:
    """What a replica wrote and its source then has is not errant; what a third server began and the source lacks is."""
    source = standby.primary
    assert source is not None
    third = "00000000-1111-2222-3333-444444444444"

    def by_the_servers() -> int:
        """Where the sets have one interval each, as these have, the difference of their sizes."""
        [(theirs,)] = source.execute("SELECT @@GLOBAL.gtid_executed")
        [(lacking,)] = standby.execute(f"SELECT GTID_SUBTRACT(@@GLOBAL.gtid_executed, '{theirs}')")
        return sum(
            int(interval.split("-")[-1]) - int(interval.split("-")[0]) + 1
            for member in lacking.replace("\n", "").split(",")
            for interval in member.split(":")[1:]
        )

    def as_of(server: DatabaseServer, gtid: str) -> None:
        with server.connect() as session, session.cursor() as cursor:
            cursor.execute(f"SET gtid_next = '{gtid}'")
            cursor.execute("COMMIT")
            cursor.execute("SET gtid_next = 'AUTOMATIC'")

    standby.execute("CREATE DATABASE IF NOT EXISTS errant_here")
    as_of(standby, f"{third}:1")
    with watching(source) as there:

        def look() -> float | None:
            """What the replica had at a first reading, by a later one of its source."""
            watch.run("mysql_gtid_sets")
            there.run("mysql_gtid_sets")
            return watch.run("mysql_gtid_sets").one("mysql_replica_errant_transactions")

        assert look() == by_the_servers() >= 2
        assert watch.run("mysql_gtid_sets").by("mysql_replica_source_compared", "channel") == {"": 1}
        # The usual cure: an empty transaction of that name on the source.
        [(lacking,)] = standby.execute(
            f"SELECT GTID_SUBTRACT(@@GLOBAL.gtid_executed, '{source.execute('SELECT @@GLOBAL.gtid_executed')[0][0]}')"
        )
        for member in lacking.replace("\n", "").split(","):
            server, *intervals = member.split(":")
            for interval in intervals:
                first, _, last = interval.partition("-")
                for number in range(int(first), int(last or first) + 1):
                    as_of(source, f"{server}:{number}")
        standby.wait_until_caught_up()
        assert look() == by_the_servers() == 0
