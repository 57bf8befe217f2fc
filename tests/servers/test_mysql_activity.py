"""Sessions, locks, transactions and refusals against what we did on a real MySQL or MariaDB."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pymysql
import pytest

from exporter.collectors.mysql.lock_waits import MOST_ASKED, lock_waits
from exporter.collectors.mysql.row_waiters import MOST_LISTED
from exporter.engines.deadline import Deadline
from exporter.engines.mysql.engine import MYSQL
from exporter.failure import Failure, Reason
from exporter.polling.tasks import Task
from exporter.registry import collectors_by_name
from tests.alone import alone
from tests.providers.base import DatabaseServer, wait_for
from tests.providers.mysql import USER_COLUMNS
from tests.servers.collecting import Watch, config_of, watching

pytestmark = pytest.mark.engine("mysql")


@pytest.fixture
def watch(server: DatabaseServer) -> Iterator[Watch]:
    with watching(server) as made:
        yield made


@pytest.fixture
def table(server: DatabaseServer) -> str:
    server.execute("CREATE DATABASE IF NOT EXISTS activity")
    server.execute("DROP TABLE IF EXISTS activity.t")
    server.execute("CREATE TABLE activity.t (a int PRIMARY KEY AUTO_INCREMENT, b int)")
    server.execute("INSERT INTO activity.t (b) VALUES (1), (2)")
    return "activity.t"


@pytest.fixture
def client(server: DatabaseServer) -> Iterator[Callable[[], Any]]:
    """Open connections that are closed after the test."""
    made: list[Any] = []

    def one() -> Any:
        made.append(server.connect())
        return made[-1].cursor()

    yield one
    for each in made:
        each.close()


def in_background(cursor: Any, sql: str) -> threading.Thread:
    def work() -> None:
        with contextlib.suppress(pymysql.MySQLError):
            cursor.execute(sql)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def rows_examined(cursor: Any) -> int:
    """By the last statement of a session, on MySQL."""
    cursor.execute(
        "SELECT ROWS_EXAMINED FROM performance_schema.events_statements_history "
        "WHERE THREAD_ID = PS_CURRENT_THREAD_ID() ORDER BY EVENT_ID DESC LIMIT 1"
    )
    [(rows,)] = cursor.fetchall()
    return int(rows)


def test_sessions_by_state(watch: Watch, table: str, client: Callable[[], Any]) -> None:
    alone(client().connection, others=1)
    before = watch.run("mysql_activity").by("db_connections", "state")
    started = time.monotonic()
    idle, open_one, busy = client(), client(), client()
    idle.execute("SELECT 1")
    open_one.execute("BEGIN")
    open_one.execute(f"UPDATE {table} SET b = 5 WHERE a = 1")
    # A client that has set its clock back is not a statement of many years.
    busy.execute("SET timestamp = 1000000000")
    running = in_background(busy, "SELECT SLEEP(10)")
    assert wait_for(lambda: watch.run("mysql_activity").one("db_statement_longest_seconds") >= 1, 8)
    found = watch.run("mysql_activity")
    most = time.monotonic() - started
    states = found.by("db_connections", "state")
    assert {state: states[state] - before[state] for state in states} == {
        "active": 1,
        "idle": 1,
        "idle_in_transaction": 1,
        "other": 0,
    }
    # Transactions are told in whole seconds.
    assert 1 <= found.one("db_statement_longest_seconds") <= most
    assert 1 <= found.one("db_transaction_longest_seconds") <= most + 1
    assert (found.one("db_lock_waiting_sessions"), found.one("db_lock_wait_longest_seconds")) == (0, 0)
    running.join()


def test_waits_for_rows_and_for_tables(watch: Watch, table: str, client: Callable[[], Any]) -> None:
    holder, for_row, for_table = client(), client(), client()
    started = time.monotonic()
    holder.execute("BEGIN")
    holder.execute(f"UPDATE {table} SET b = 5 WHERE a = 1")
    threads = [in_background(for_row, f"UPDATE {table} SET b = 6 WHERE a = 1")]
    threads.append(in_background(for_table, f"ALTER TABLE {table} ADD COLUMN c int"))
    waited = wait_for(lambda: watch.run("mysql_activity").one("db_lock_wait_longest_seconds") >= 2, 30)
    found = watch.run("mysql_activity")
    most = time.monotonic() - started
    holder.execute("ROLLBACK")
    for thread in threads:
        thread.join(10)
    assert waited
    assert found.one("db_lock_waiting_sessions") == 2
    assert 1 <= found.one("db_lock_wait_longest_seconds") <= most + 1
    # InnoDB's list of transactions may be a tenth of a second old.
    assert wait_for(lambda: watch.run("mysql_activity").one("db_lock_waiting_sessions") == 0, 5)


@pytest.mark.flavor("mysql")
def test_what_those_ran_who_hold_up_others(
    watch: Watch, table: str, client: Callable[[], Any], server: DatabaseServer
) -> None:
    update, look = f"UPDATE {table} SET b = 5 WHERE a = 1", f"SELECT * FROM {table} WHERE a = 2 FOR UPDATE"
    holders = [client(), client()]
    for holder, sql in zip(holders, (update, look), strict=True):
        holder.execute("USE activity")
        holder.execute("BEGIN")
        holder.execute(sql)
    assert watch.run("mysql_lock_waits").values("mysql_lock_blocking_statement_sessions") == []
    threads = [in_background(client(), f"UPDATE {table} SET b = 6 WHERE a = {number}") for number in (1, 1, 2)]
    found = None
    try:
        assert wait_for(
            lambda: watch.run("mysql_lock_waits").one("mysql_lock_waiting_sessions", kind="row") == len(threads), 10
        )
        found = watch.run("mysql_lock_waits")
    finally:
        for holder in holders:
            holder.execute("ROLLBACK")
        for thread in threads:
            thread.join(10)
    digests = [server.execute("SELECT STATEMENT_DIGEST(%s)", params=(sql,))[0][0] for sql in (update, look)]
    assert found.by("mysql_lock_blocking_statement_sessions", "kind", "schema", "digest") == {
        ("row", "activity", digest): 1 for digest in digests
    }


def test_waits_for_whole_tables(watch: Watch, table: str, client: Callable[[], Any], server: DatabaseServer) -> None:
    server.execute("CREATE TABLE IF NOT EXISTS activity.whole (a int) ENGINE = MyISAM")
    server.execute("INSERT INTO activity.whole VALUES (1)")
    slow = [client(), client()]
    threads = [in_background(slow[0], f"SELECT a, SLEEP(60) FROM {table}")]
    threads.append(in_background(slow[1], "UPDATE activity.whole SET a = SLEEP(60)"))
    in_state = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE = '{}'"
    assert wait_for(lambda: server.execute(in_state.format("User sleep")) == [(2,)], 10)
    # Whoever replays a binary log sets its own clock.
    replaying = [client(), client()]
    for cursor in replaying:
        cursor.execute("SET TIMESTAMP = 86400")
    threads.append(in_background(replaying[0], f"FLUSH TABLES {table}"))
    # That asks for no lock on MySQL, nor do those behind it; on MariaDB it is one on the definition.
    flush = "Waiting for table flush" if server.flavor == "mysql" else "Waiting for table metadata lock"
    assert wait_for(lambda: server.execute(in_state.format(flush)) == [(1,)], 10)
    threads.append(in_background(replaying[1], f"SELECT a FROM {table}"))
    threads.append(in_background(client(), "UPDATE activity.whole SET a = 3"))
    assert wait_for(lambda: server.execute(in_state.format(flush)) == [(2,)], 10)
    assert wait_for(lambda: server.execute(in_state.format("Waiting for table level lock")) == [(1,)], 10)
    found = watch.run("mysql_activity"), watch.run("mysql_lock_waits")
    for cursor in slow:
        server.execute(f"KILL {cursor.connection.thread_id()}")
    for thread in threads:
        thread.join(10)
    assert found[0].one("db_lock_waiting_sessions") == 3
    expected = {"metadata": 0, "table": 3} if server.flavor == "mysql" else {"metadata": 2, "table": 1}
    assert found[1].by("mysql_lock_waiting_sessions", "kind") == {"row": 0, **expected}
    assert 0 < found[1].one("mysql_lock_wait_longest_seconds", kind="table") < 60
    # Who holds definitions MariaDB does not tell.
    known = {"row", "metadata"} if server.flavor == "mysql" else {"row"}
    assert {kind for kind, _ in found[1].by("mysql_lock_blocking_sessions", "kind", "state")} == known


@pytest.mark.flavor("mysql")
def test_a_thread_of_the_server_is_no_session_that_waits(
    watch: Watch, table: str, client: Callable[[], Any], server: DatabaseServer
) -> None:
    old, reader = client(), client()
    old.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    server.execute(f"DELETE FROM {table}")
    reader.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    reader.execute("BEGIN")
    reader.execute(f"SELECT * FROM {table}")
    change = in_background(client(), f"ALTER TABLE {table} ADD COLUMN c int")
    waits = """SELECT t.PROCESSLIST_ID IS NULL, COUNT(*) FROM performance_schema.metadata_locks l
               JOIN performance_schema.threads t ON t.THREAD_ID = l.OWNER_THREAD_ID
               WHERE l.LOCK_STATUS = 'PENDING' GROUP BY 1 ORDER BY 1"""
    assert wait_for(lambda: server.execute(waits) == [(0, 1)], 10)
    # What was deleted may now be purged, by a thread that waits behind the change.
    old.execute("ROLLBACK")
    assert wait_for(lambda: server.execute(waits) == [(0, 1), (1, 1)], 20)
    found = watch.run("mysql_lock_waits")
    reader.execute("ROLLBACK")
    change.join(10)
    assert found.one("mysql_lock_waiting_sessions", kind="metadata") == 1
    assert found.one("mysql_lock_wait_longest_seconds", kind="metadata") < 60


def test_our_own_sessions_are_not_clients(server: DatabaseServer, watch: Watch, client: Callable[[], Any]) -> None:
    alone(client().connection, others=1)
    before = sum(watch.run("mysql_activity").by("db_connections", "state").values())
    second = MYSQL.connect(watch.config, Deadline.after(10))
    try:
        assert sum(watch.run("mysql_activity").by("db_connections", "state").values()) == before
        with server.connect(user="exporter", password="exporter secret"):
            others = sum(watch.run("mysql_activity").by("db_connections", "state").values())
    finally:
        second.close()
    # Programs are told apart where performance_schema is asked; elsewhere our account's are taken for ours.
    assert others - before == (1 if server.flavor == "mysql" else 0)


@pytest.mark.flavor("mysql")
def test_without_performance_schema(fresh_server: Callable[..., DatabaseServer], server: DatabaseServer) -> None:
    made = fresh_server(server.name, {"performance_schema": "OFF"})
    with watching(made) as watch, made.connect() as other:
        alone(other, others=1)
        assert watch.run("mysql_activity").one("db_connections", state="idle") == 1
        status = watch.run("mysql_status")
        assert status.one("mysql_global_status_threads_connected") == 2


@pytest.mark.flavor("mysql")
def test_sessions_for_which_performance_schema_has_no_room_count(
    fresh_server: Callable[..., DatabaseServer], server: DatabaseServer
) -> None:
    made = fresh_server(server.name, {"performance_schema_max_thread_instances": "60", "max_connections": "100"})
    made.execute("CREATE DATABASE shop")
    made.execute("CREATE TABLE shop.t (a int PRIMARY KEY, b int)")
    made.execute("INSERT INTO shop.t VALUES (1, 1)")
    with contextlib.ExitStack() as stack, watching(made) as watch:
        connections = [stack.enter_context(made.connect()) for _ in range(43)]
        holder, *waiters = (connection.cursor() for connection in connections[-3:])
        holder.execute("BEGIN")
        holder.execute("UPDATE shop.t SET b = 2")
        threads = [in_background(waiter, "UPDATE shop.t SET b = 3") for waiter in waiters]
        waiting = "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'"
        assert wait_for(lambda: made.execute(waiting) == [("Innodb_row_lock_current_waits", "2")], 10)
        [[_, lost]] = made.execute("SHOW GLOBAL STATUS LIKE 'Performance_schema_thread_instances_lost'")
        facts = watch.facts()
        alone(connections[0], others=43)
        activity = watch.run("mysql_activity", facts)
        transactions = watch.run("mysql_open_transactions", facts)
        miss = lock_waits.when.miss(facts)
        holder.execute("ROLLBACK")
        for thread in threads:
            thread.join(10)
    assert int(lost) > 0
    assert sum(activity.by("db_connections", "state").values()) == 43
    assert activity.one("db_lock_waiting_sessions") == 2
    assert sum(transactions.by("mysql_open_transactions", "state").values()) == 3
    assert miss is not None
    assert "performance_schema_max_thread_instances" in (miss.fix or "")


@pytest.mark.flavor("mysql")
def test_our_own_sessions_are_known_without_their_attributes(
    fresh_server: Callable[..., DatabaseServer], server: DatabaseServer
) -> None:
    made = fresh_server(server.name, {"performance_schema_session_connect_attrs_size": "0"})
    with made.connect() as other, watching(made) as watch:
        alone(other, others=1)
        second = MYSQL.connect(watch.config, Deadline.after(10))
        try:
            found = watch.run("mysql_activity")
        finally:
            second.close()
    assert sum(found.by("db_connections", "state").values()) == 1
    assert found.one("db_connections_reserved") == 2


def test_events_are_no_connections(watch: Watch, client: Callable[[], Any], server: DatabaseServer) -> None:
    [[_, scheduler]] = server.execute("SHOW GLOBAL VARIABLES LIKE 'event_scheduler'")
    server.execute("CREATE DATABASE IF NOT EXISTS activity")
    server.execute("SET GLOBAL event_scheduler = ON")
    mine = client().connection
    alone(mine, others=1)
    before = sum(watch.run("mysql_activity").by("db_connections", "state").values())
    sleeping = "SELECT ID FROM information_schema.PROCESSLIST WHERE STATE = 'User sleep'"
    try:
        server.execute("CREATE EVENT activity.e ON SCHEDULE AT NOW() DO SELECT SLEEP(60)")
        assert wait_for(lambda: len(server.execute(sleeping)) == 1, 10)
        # The event itself is one of those on the list.
        alone(mine, others=2)
        after = sum(watch.run("mysql_activity").by("db_connections", "state").values())
    finally:
        for (event,) in server.execute(sleeping):
            server.execute(f"KILL {event}")
        server.execute(f"SET GLOBAL event_scheduler = {scheduler}")
        server.execute("DROP EVENT IF EXISTS activity.e")
    assert after == before


def test_of_a_long_queue_for_a_row_all_who_wait_are_counted(
    watch: Watch, table: str, client: Callable[[], Any], server: DatabaseServer
) -> None:
    holder = client()
    holder.execute("BEGIN")
    holder.execute(f"UPDATE {table} SET b = 9 WHERE a = 1")
    threads = [in_background(client(), f"UPDATE {table} SET b = 8 WHERE a = 1") for _ in range(5)]
    waiting = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'"
    assert wait_for(lambda: server.execute(waiting) == [(5,)], 10)
    # Five wait for the holder and for those before them: fifteen waits, of which three are looked at.
    assert wait_for(
        lambda: watch.run("mysql_lock_waits", limit=3).values("mysql_lock_waiting_sessions") == [5, 0, 0], 5
    )
    found = watch.run("mysql_lock_waits").by("mysql_lock_blocking_sessions", "kind", "state")
    assert (found["row", "idle"], found["row", "active"]) == (1, 0)
    holder.execute("ROLLBACK")
    for thread in threads:
        thread.join(10)


def test_open_transactions_count_whatever_their_statements_do(
    watch: Watch, table: str, client: Callable[[], Any], server: DatabaseServer
) -> None:
    """One waits for a row, one sleeps in a statement: threads in two states, both active."""
    holder, waiter, sleeper = client(), client(), client()
    holder.execute("BEGIN")
    holder.execute(f"UPDATE {table} SET b = 9 WHERE a = 1")
    sleeper.execute("BEGIN")
    sleeper.execute(f"UPDATE {table} SET b = 9 WHERE a = 2")
    threads = [
        in_background(waiter, f"UPDATE {table} SET b = 8 WHERE a = 1"),
        in_background(sleeper, "SELECT SLEEP(30)"),
    ]
    try:
        states = (
            "SELECT COUNT(DISTINCT STATE) FROM information_schema.PROCESSLIST WHERE STATE IN ('updating', 'User sleep')"
        )
        assert wait_for(lambda: server.execute(states) == [(2,)], 10)
        open_ones = {"active": 2, "idle": 1, "prepared": 0, "recovered": 0}

        def counted() -> bool:
            # InnoDB's list of transactions may be a tenth of a second old.
            found = watch.run("mysql_open_transactions")
            modified = found.by("mysql_open_transactions_modified_rows", "state")["active"]
            return (found.by("mysql_open_transactions", "state"), modified) == (open_ones, 1)

        assert wait_for(counted, 5), watch.run("mysql_open_transactions").all
    finally:
        server.execute(f"KILL QUERY {sleeper.connection.thread_id()}")
        holder.execute("ROLLBACK")
        for thread in threads:
            thread.join(30)


@pytest.mark.flavor("mysql")
@pytest.mark.parametrize("name", ["mysql_activity", "mysql_transactions"])
def test_for_a_session_that_sleeps_its_row_among_the_threads_is_read_and_no_other(
    name: str, client: Callable[[], Any], server: DatabaseServer
) -> None:
    sql = collectors_by_name()[name].queries[0].sql
    more = 20

    def looked_at() -> int:
        with server.connect() as session, session.cursor() as cursor:
            cursor.execute(sql)
            cursor.fetchall()
            return rows_examined(cursor)

    before = looked_at()
    for _ in range(more):
        client().execute("SELECT 1")
    assert looked_at() - before < more * 3 / 2


@pytest.mark.flavor("mysql")
def test_locks_on_definitions_are_looked_through_only_while_somebody_waits(
    client: Callable[[], Any], server: DatabaseServer
) -> None:
    server.execute("CREATE DATABASE IF NOT EXISTS activity")
    tables = [f"activity.held{number}" for number in range(40)]
    for name in tables:
        server.execute(f"CREATE TABLE IF NOT EXISTS {name} (a int)")
    sql = lock_waits.queries[0].sql.replace("{limit}", "1000")

    def looked_at() -> int:
        with server.connect() as session, session.cursor() as cursor:
            cursor.execute(sql)
            cursor.fetchall()
            cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read_rnd_next'")
            [(_, rows)] = cursor.fetchall()
            return int(rows)

    before = looked_at()
    holder = client()
    holder.execute("BEGIN")
    for name in tables:
        holder.execute(f"SELECT * FROM {name}")
    [[held]] = server.execute(
        "SELECT COUNT(*) FROM performance_schema.metadata_locks "
        "WHERE OBJECT_SCHEMA = 'activity' AND LOCK_DURATION = 'TRANSACTION'"
    )
    assert held >= len(tables)
    assert looked_at() - before < len(tables)


@pytest.mark.flavor("mysql")
def test_of_many_who_wait_for_rows_the_first_of_each_queue_are_asked_whom_they_wait_for(
    table: str, client: Callable[[], Any], server: DatabaseServer
) -> None:
    sql = lock_waits.queries[0].sql.replace("{limit}", "1000")
    assert sql.count(f"LIMIT {MOST_ASKED}\n") == 1
    holders = [client(), client()]
    for number, holder in enumerate(holders, 1):
        holder.execute("BEGIN")
        holder.execute(f"UPDATE {table} SET b = 9 WHERE a = {number}")
    queue = 20
    threads: list[threading.Thread] = []
    waiting = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'"
    try:
        for number in [1] * queue + [2]:
            threads.append(in_background(client(), f"UPDATE {table} SET b = 8 WHERE a = {number}"))
            assert wait_for(lambda: server.execute(waiting) == [(len(threads),)], 10)
        with server.connect() as session, session.cursor() as cursor:
            cursor.execute(sql.replace(f"LIMIT {MOST_ASKED}\n", "LIMIT 2\n"))
            rows = [row for row in cursor.fetchall() if row[0] == "row"]
            cursor.execute(f"EXPLAIN FORMAT=TREE {sql}")
            [(plan,)] = cursor.fetchall()
        waiters, found = ({row[place] for row in rows} - {None} for place in (1, 2))
        named = "SELECT THREAD_ID FROM performance_schema.threads WHERE PROCESSLIST_ID IN (%s, %s)"
        ids = [holder.connection.thread_id() for holder in holders]
        assert found - waiters == {thread for (thread,) in server.execute(named, params=ids)}
        assert len(waiters) == len(threads)
        # No count tells it: the server does not count what it reads for a table of its own making.
        assert "Index lookup on d using REQUESTING_THREAD_ID" in plan
        assert "Table scan on d " not in plan
    finally:
        for holder in holders:
            holder.execute("ROLLBACK")
        for thread in threads:
            thread.join(10)


@pytest.mark.flavor("mariadb")
def test_a_queue_for_a_row_that_is_too_long_to_be_listed_is_counted(
    watch: Watch, table: str, client: Callable[[], Any], server: DatabaseServer
) -> None:
    """MariaDB lists transactions under a latch that all locks need, with a look through the queue for each waiter."""
    [(most,)] = server.execute("SELECT @@GLOBAL.max_connections")
    server.execute("SET GLOBAL max_connections = 500")
    threads: list[threading.Thread] = []
    try:
        holder = client()
        holder.execute("BEGIN")
        holder.execute(f"UPDATE {table} SET b = 9 WHERE a = 1")
        metric = "SELECT COUNT FROM information_schema.INNODB_METRICS WHERE NAME = 'lock_row_lock_current_waits'"

        def wait(count: int) -> None:
            threads.extend(in_background(client(), f"UPDATE {table} SET b = 8 WHERE a = 1") for _ in range(count))
            assert wait_for(lambda: server.execute(metric) == [(len(threads),)], 30)

        wait(MOST_LISTED - 20)
        found = watch.run("mysql_lock_waits")
        assert found.by("mysql_lock_waiting_sessions", "kind")["row"] == len(threads)
        assert found.by("mysql_lock_blocking_sessions", "kind", "state")["row", "idle"] == 1
        listed = watch.run("mysql_open_transactions")
        states = {"active": len(threads), "idle": 1, "prepared": 0, "recovered": 0}
        assert listed.by("mysql_open_transactions", "state") == states
        assert listed.one("mysql_open_transaction_idle_longest_seconds") >= 0

        assert found.one("mysql_lock_wait_longest_seconds", kind="row") >= 0
        found = watch.run("mysql_activity")
        assert found.one("db_lock_waiting_sessions") == len(threads)
        assert found.by("db_connections", "state")["idle_in_transaction"] == 1

        wait(30)
        found = watch.run("mysql_lock_waits")
        assert found.by("mysql_lock_waiting_sessions", "kind") == {
            "row": len(threads), "metadata": 0, "table": 0,
        }  # fmt: skip
        assert "row" not in found.by("mysql_lock_wait_longest_seconds", "kind")
        assert not {kind for kind, _ in found.by("mysql_lock_blocking_sessions", "kind", "state")} & {"row"}
        assert watch.run("mysql_open_transactions").names() == set()
        found = watch.run("mysql_activity")
        assert found.one("db_lock_waiting_sessions") == len(threads)
        assert not found.names() & {"db_lock_wait_longest_seconds", "db_transaction_longest_seconds"}
        states = found.by("db_connections", "state")
        assert states["active"] == len(threads)
        assert states["idle"] >= 1
        assert "idle_in_transaction" not in states
        for name in ("mysql_lock_waits", "mysql_open_transactions", "mysql_activity"):
            plan = server.execute(f"ANALYZE {_for_mariadb(name)}")
            assert not [row for row in plan if row[2] in {"x", "b", "INNODB_LOCK_WAITS"}], plan
    finally:
        holder.execute("ROLLBACK")
        for thread in threads:
            thread.join(30)
        server.execute(f"SET GLOBAL max_connections = {most}")


def _for_mariadb(collector: str) -> str:
    return collectors_by_name()[collector].queries[-1].sql


def test_who_waits_in_get_lock_waits_for_a_lock(
    watch: Watch, client: Callable[[], Any], server: DatabaseServer
) -> None:
    client().execute("SELECT GET_LOCK('turn', 0)")
    waiting = client()
    number = waiting.connection.thread_id()
    thread = in_background(waiting, "SELECT GET_LOCK('turn', 60)")
    blocked = f"SELECT STATE FROM information_schema.PROCESSLIST WHERE ID = {number} AND STATE = 'User lock'"
    assert wait_for(lambda: bool(server.execute(blocked)), 10)
    found = watch.run("mysql_activity")
    server.execute(f"KILL {number}")
    thread.join(10)
    assert found.one("db_lock_waiting_sessions") == 1
    assert found.one("db_lock_wait_longest_seconds") > 0


def test_deadlocks_are_counted(watch: Watch, table: str, client: Callable[[], Any], server: DatabaseServer) -> None:
    name = "mysql_deadlocks" if server.flavor == "mysql" else "mysql_status"
    before = watch.run(name).one("db_deadlocks_total")
    one, two = client(), client()
    for cursor, row in ((one, 1), (two, 2)):
        cursor.execute("BEGIN")
        cursor.execute(f"UPDATE {table} SET b = 9 WHERE a = {row}")
    waiting = in_background(one, f"UPDATE {table} SET b = 9 WHERE a = 2")
    time.sleep(0.5)
    with contextlib.suppress(pymysql.MySQLError):
        two.execute(f"UPDATE {table} SET b = 9 WHERE a = 1")
    waiting.join(10)
    assert watch.run(name).one("db_deadlocks_total") == before + 1


@pytest.mark.flavor("mysql")
def test_transactions_that_are_not_seen_are_not_told_to_be_none(watch: Watch, server: DatabaseServer) -> None:
    actors, consumers = "performance_schema.setup_actors", "performance_schema.setup_consumers"
    for off, on, what in (
        (f"UPDATE {actors} SET ENABLED = 'NO'", f"UPDATE {actors} SET ENABLED = 'YES'", "setup_actors"),
        (
            f"UPDATE {consumers} SET ENABLED = 'NO' WHERE NAME = 'global_instrumentation'",
            f"UPDATE {consumers} SET ENABLED = 'YES' WHERE NAME = 'global_instrumentation'",
            "global_instrumentation",
        ),
    ):
        server.execute(off)
        try:
            with pytest.raises(Failure, match=what) as told:
                watch.run("mysql_transactions")
        finally:
            server.execute(on)
        assert told.value.reason is Reason.MISSING_EXTENSION
        assert told.value.fix is not None
        assert what in told.value.fix
        assert watch.run("mysql_transactions").names() == {"db_transactions_total"}


def test_transactions_by_outcome(watch: Watch, table: str, client: Callable[[], Any], server: DatabaseServer) -> None:
    cursor = client()

    def counted() -> dict[str, float]:
        return watch.run("mysql_transactions").by("db_transactions_total", "outcome")

    def added(statements: list[str]) -> dict[str, float]:
        before = counted()
        for statement in statements * 50:
            cursor.execute(statement)
        after = counted()
        return {outcome: after[outcome] - before[outcome] for outcome in after}

    insert = f"INSERT INTO {table} (b) VALUES (1)"
    counted()
    # On MySQL background work of InnoDB adds some transactions of its own.
    spare = 25 if server.flavor == "mysql" else 0
    for statements, commits, rollbacks in (
        (["BEGIN", insert, insert, "COMMIT"], 50, 0),
        (["BEGIN", insert, "ROLLBACK"], 0, 50),
        # As pools do that roll back whatever comes back to them.
        (["BEGIN", insert, "COMMIT", "ROLLBACK"], 50, 0),
        ([insert], 50, 0),
    ):
        found = added(statements)
        assert commits <= found["commit"] <= commits + spare, statements
        assert found["rollback"] == rollbacks, statements
    reads = added([f"SELECT * FROM {table}"])["commit"]
    assert 50 <= reads <= 50 + spare if server.flavor == "mysql" else reads == 0


@pytest.mark.flavor("mariadb")
def test_transactions_that_no_binary_log_tells_are_absent(
    server: DatabaseServer, fresh_server: Callable[..., DatabaseServer]
) -> None:
    made = fresh_server(server.name, {"skip_log_bin": "ON"})
    assert made.execute("SELECT @@log_bin, @@performance_schema") == [(0, 0)]
    with watching(made) as watch:
        missing = Task.of(collectors_by_name()["mysql_transactions"], watch.config).miss(watch.facts())
    assert missing is not None
    assert (missing.reason, missing.fix) == (Reason.MISSING_EXTENSION, "log_bin in my.cnf, and a restart")


def test_an_account_that_sees_its_own_sessions_alone_counts_none(server: DatabaseServer) -> None:
    account = server.account("REVOKE PROCESS ON *.* FROM 'half_blind'@'%'", name="half_blind")
    server.execute("DROP USER IF EXISTS limited@'%'")
    server.execute("CREATE USER limited@'%' IDENTIFIED BY 'x' WITH MAX_USER_CONNECTIONS 5")
    with server.connect(user="limited", password="x"), watching(server, account) as watch:
        facts = watch.facts()
        for name in ("mysql_processes", "mysql_senders", "mysql_accounts"):
            missing = Task.of(collectors_by_name()[name], watch.config).miss(facts)
            # The threads of performance_schema are shown without it.
            if server.flavor == "mysql" and name != "mysql_processes":
                assert missing is None
            else:
                assert missing is not None, name
                assert (missing.reason, missing.fix) == (
                    Reason.PERMISSION, "GRANT PROCESS ON *.* TO 'half_blind'@'%';",
                )  # fmt: skip
        if server.flavor == "mysql":
            assert watch.run("mysql_accounts").one("db_role_connections", role="limited") == 1
    server.execute("DROP USER limited@'%', half_blind@'%'")


def test_refused_connections(server: DatabaseServer, watch: Watch) -> None:
    def refused() -> dict[str, float]:
        return watch.run("mysql_status").by("db_connections_refused_total", "reason")

    crowd = server.account(name="crowd", limit=100)
    before = refused()
    with contextlib.suppress(pymysql.OperationalError):
        server.connect(user="nobody", password="wrong")
    assert wait_for(lambda: refused()["login"] == before["login"] + 1, 5)
    most = int(server.execute("SELECT @@GLOBAL.max_connections")[0][0])
    held: list[Any] = []
    try:
        held.append(server.connect())
        held[0].query("SET GLOBAL max_connections = 11")
        alone(held[0], others=1)
        with contextlib.suppress(pymysql.OperationalError):
            held.extend(server.connect(user=crowd.user, password=crowd.password) for _ in range(20))
        full = refused()
        # While an administrator has the slot on top MySQL does not count them among the attempts that failed.
        with server.connect():
            for _ in range(5):
                with pytest.raises(pymysql.OperationalError, match="1040"):
                    server.connect(user=crowd.user, password=crowd.password)
            # Of the next reading one failure is taken for one that the server has counted late.
            refused()
            fuller = refused()
    finally:
        for each in held:
            each.close()
        assert wait_for(lambda: _raised(server, most), 10)
    for _ in range(2):
        with pytest.raises(pymysql.OperationalError, match="1045"):
            server.connect(user="nobody", password="wrong")
    assert wait_for(lambda: refused()["login"] == fuller["login"] + 2, 5)
    if server.flavor == "mysql":
        assert full["max_connections"] - before["max_connections"] == 1
        assert full["login"] == before["login"] + 1
        assert (fuller["max_connections"], fuller["login"]) == (full["max_connections"] + 5, full["login"])
    else:
        assert "max_connections" not in full
        assert full["login"] == before["login"] + 2


def test_a_full_server_is_full(server: DatabaseServer, replica: DatabaseServer, watch: Watch) -> None:
    """Whom it refuses finds all slots taken that are not reserved: replicas and the exporter hold those."""
    replica.wait_until_caught_up()
    crowd = server.account(name="crowd", limit=100)
    most = int(server.execute("SELECT @@GLOBAL.max_connections")[0][0])
    held: list[Any] = []
    try:
        held.append(server.connect())
        held[0].query("SET GLOBAL max_connections = 11")
        alone(held[0], others=1)
        with pytest.raises(pymysql.OperationalError, match="1040"):
            held.extend(server.connect(user=crowd.user, password=crowd.password) for _ in range(20))
        found, limit = watch.run("mysql_activity"), watch.run("mysql_variables").one("db_connections_max")
        # The administrator's connection comes on top.
        processes = server.execute("SELECT USER, COMMAND FROM information_schema.PROCESSLIST")
    finally:
        for each in held:
            each.close()
        assert wait_for(lambda: _raised(server, most), 10)
    senders = sum(command.startswith("Binlog Dump") for _, command in processes)
    own = sum(user == watch.config.user for user, _ in processes)
    assert senders >= 1
    assert own >= 1
    assert limit == 11
    assert found.one("db_connections_reserved") == senders + own
    assert sum(found.by("db_connections", "state").values()) == limit - found.one("db_connections_reserved")


def test_connections_of_a_replica_count_against_its_accounts_limit(
    server: DatabaseServer, replica: DatabaseServer, watch: Watch
) -> None:
    replica.wait_until_caught_up()
    senders = "SELECT USER, COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%' GROUP BY 1"
    [(user, _)] = server.execute(senders)
    [(host,)] = server.execute(f"SELECT Host FROM mysql.user WHERE User = '{user}' LIMIT 1")
    server.execute(f"ALTER USER '{user}'@'{host}' WITH MAX_USER_CONNECTIONS 90")
    try:
        seen = f"""SELECT COUNT(*) FROM information_schema.PROCESSLIST
                   WHERE USER = '{user}' AND ID <> CONNECTION_ID()"""
        # A session that was closed may be there a moment longer.
        assert wait_for(
            lambda: (
                watch.run("mysql_accounts").one("db_role_connections", role=user) == server.execute(seen)[0][0] >= 1
            ),
            10,
        )
    finally:
        server.execute(f"ALTER USER '{user}'@'{host}' WITH MAX_USER_CONNECTIONS 0")


def _raised(server: DatabaseServer, most: int) -> bool:
    try:
        server.execute(f"SET GLOBAL max_connections = {most}")
    except pymysql.OperationalError:
        return False
    return True


def test_limits(server: DatabaseServer, watch: Watch) -> None:
    found = watch.run("mysql_variables")
    assert found.one("db_connections_max") == int(server.execute("SELECT @@max_connections")[0][0])
    shown = dict(server.execute("SHOW GLOBAL VARIABLES"))
    named = {name.removeprefix("mysql_global_variables_") for name in found.names() if "global_variables" in name}
    # The redo log has its size as files, or in all.
    own = {"super_read_only", "innodb_redo_log_capacity", "innodb_log_file_size"} & shown.keys()
    if "innodb_redo_log_capacity" in own:
        own.discard("innodb_log_file_size")
    assert named == own | {
        "max_connections", "max_user_connections", "innodb_buffer_pool_size", "innodb_log_buffer_size",
        "innodb_page_size", "key_buffer_size", "long_query_time", "slow_query_log", "log_bin", "read_only",
        "performance_schema", "open_files_limit", "table_open_cache", "thread_cache_size", "tmp_table_size",
        "server_id",
    }  # fmt: skip
    switches = {"ON": 1.0, "OFF": 0.0}
    for name, _, value in found.all:
        if name.startswith("mysql_global_variables_"):
            text = shown[name.removeprefix("mysql_global_variables_")]
            assert value == (switches[text] if text in switches else float(text)), name


@pytest.mark.flavor("mysql")
def test_a_replica_names_its_source_as_the_source_names_itself(
    server: DatabaseServer, replica: DatabaseServer, watch: Watch
) -> None:
    found = watch.run("mysql_variables")
    [(uuid,)] = server.execute("SELECT @@server_uuid")
    assert found.by("mysql_server_uuid_info", "server_uuid") == {uuid: 1}
    with watching(replica) as other:
        told = other.run("mysql_replica_status")
    assert {labels["master_uuid"] for _, labels, _ in told.all if "master_uuid" in labels} == {uuid}


def test_settings_that_are_read_in_the_background(server: DatabaseServer, watch: Watch) -> None:
    """How long binary logs are kept, and how transactions are isolated."""
    expiry = "binlog_expire_logs_seconds"
    [(kept,)] = server.execute(f"SELECT @@GLOBAL.{expiry}")
    server.execute(f"SET GLOBAL {expiry} = 86400")
    try:
        found = watch.run("mysql_all_variables")
    finally:
        server.execute(f"SET GLOBAL {expiry} = {kept}")
    assert found.one(f"mysql_global_variables_{expiry}") == 86400
    assert found.one("mysql_transaction_isolation", level="REPEATABLE-READ") == 1


def test_users_with_limits(server: DatabaseServer) -> None:
    tenant = server.account(name="tenant", limit=7)
    with (
        watching(server) as watch,
        server.connect(user=tenant.user, password=tenant.password),
    ):
        found = watch.run("mysql_accounts")
        assert found.one("db_role_connections", role="tenant") == 1
        assert found.one("db_role_connections_max", role="tenant") == 7
        assert "exporter" not in found.by("db_role_connections", "role")
        assert "admin" not in found.by("db_role_connections", "role")
    blind = f"REVOKE SELECT ({USER_COLUMNS[server.flavor]}) ON mysql.user FROM exporter"
    with watching(server, server.account(blind)) as watch:
        assert watch.lacks_only("mysql_accounts", "SELECT ON mysql.user")


def test_the_cache(server: DatabaseServer, watch: Watch, table: str) -> None:
    def shown() -> tuple[float, float]:
        found = watch.run("mysql_status")
        return found.one("db_cache_hits_total"), found.one("db_cache_misses_total")

    def counted() -> tuple[int, int]:
        status = dict(server.execute("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_read%'"))
        return int(status["Innodb_buffer_pool_read_requests"]), int(status["Innodb_buffer_pool_reads"])

    # A fresh MariaDB has read more pages than anybody has asked for.
    while (before := counted())[0] <= before[1]:
        server.execute(f"SELECT COUNT(*) FROM {table}")
    hits, misses = shown()
    after = counted()
    assert before[1] <= misses <= after[1]
    assert before[0] - after[1] <= hits <= after[0] - before[1]
    for _ in range(20):
        server.execute(f"SELECT COUNT(*) FROM {table}")
    assert shown()[0] > hits


def test_a_schema_and_its_project(server: DatabaseServer) -> None:
    server.execute("CREATE DATABASE IF NOT EXISTS shop_one")
    more = {"size_limit": {"shop_one": "2GiB"}, "projects": [{"pattern": "shop_.*", "project": "shop", "owner": "ada"}]}
    with watching(server, **more) as watch:
        found = watch.run("mysql_schemas")
    assert found.one("db_size_limit_bytes", database="shop_one") == 2 * 1024**3
    assert found.one("db_project_info", database="shop_one", project="shop", owner="ada") == 1
    assert config_of(server).project_of("shop_one") is None
