"""Statements in total on MySQL and MariaDB: digests, histogram, status counters, and the fix where all are missing."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymysql import Connection
from pymysql.constants import COMMAND

from exporter.engines.deadline import Deadline
from exporter.failure import Reason
from exporter.polling.snapshot import State
from exporter.registry import collectors_of
from tests.providers.base import DatabaseServer, wait_for
from tests.servers.collecting import watching as one_by_one
from tests.servers.statement_runs import Watch, watching

SCHEMA = "statement totals"
TOTAL = "db_statements_total"
SECONDS = "db_statement_seconds_total"
OVERFLOW = "mysql_statements_without_digest_total"
SLOW = "db_slow_statements_total"
THRESHOLD = "db_slow_statement_threshold_seconds"
DIGESTS = "performance_schema.events_statements_summary_by_digest"
EVENTS = "performance_schema.events_statements_summary_global_by_event_name"
HISTOGRAM = "performance_schema.events_statements_histogram_global"
Fresh = Callable[..., DatabaseServer]
pytestmark = pytest.mark.engine("mysql")


@pytest.fixture
def digesting(instrumented: DatabaseServer) -> Iterator[DatabaseServer]:
    """Give a server that keeps digests, with a schema of this test's own."""
    instrumented.execute(f"DROP DATABASE IF EXISTS `{SCHEMA}`")
    instrumented.execute(f"CREATE DATABASE `{SCHEMA}`")
    instrumented.execute("CREATE TABLE numbers (n INT PRIMARY KEY)", SCHEMA)
    yield instrumented
    instrumented.execute(f"DROP DATABASE `{SCHEMA}`")


def own_account(server: DatabaseServer) -> tuple[int, int]:
    """Calls and picoseconds that the server has for the schema, over all digests."""
    [(calls, time)] = server.execute(
        f"SELECT COALESCE(SUM(COUNT_STAR), 0), COALESCE(SUM(SUM_TIMER_WAIT), 0) FROM {DIGESTS} WHERE SCHEMA_NAME = %s",
        params=(SCHEMA,),
    )
    return int(calls), int(time)


def work(server: DatabaseServer, statements: int, start: int = 0) -> None:
    with server.connect(SCHEMA) as connection, connection.cursor() as cursor:
        for number in range(start, start + statements // 2):
            cursor.execute("REPLACE INTO numbers VALUES (%s)", (number,))
            cursor.execute("SELECT COUNT(*) FROM numbers WHERE n < %s", (number,))


def sources(watch: Watch) -> list[tuple[str, str]]:
    """Collector and source of every series of slow statements that this server has."""
    found = []
    for collector in collectors_of("mysql"):
        names = {measure.name for measure in collector.measures()}
        if SLOW in names and watch.snapshot(collector.name).state is State.OK:
            sample = watch.look(collector.name)
            found += sorted({(collector.name, labels["source"]) for labels, _ in sample.all(SLOW)})
            assert {labels["source"] for labels, _ in sample.all(THRESHOLD)} == {
                labels["source"] for labels, _ in sample.all(SLOW)
            }
    return found


def test_under_load_totals_grow_as_the_server_s_own(digesting: DatabaseServer):
    with watching(digesting) as watch:
        before, first = own_account(digesting), watch.look("mysql_statements")
        assert first(TOTAL, database=SCHEMA) == 0, "a restart of the exporter is no spike"
        threads = [threading.Thread(target=work, args=(digesting, 400, at * 1000)) for at in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        after, last = own_account(digesting), watch.look("mysql_statements")
        assert last(TOTAL, database=SCHEMA) == after[0] - before[0]
        assert after[0] - before[0] >= 1600
        seconds = last("db_statement_seconds_total", database=SCHEMA)
        assert seconds == pytest.approx((after[1] - before[1]) / 1e12, rel=1e-9)


def test_truncating_the_digests_loses_nothing_that_was_seen(digesting: DatabaseServer):
    with watching(digesting) as watch:
        watch.look("mysql_statements")
        work(digesting, 100)
        seen = watch.look("mysql_statements")(TOTAL, database=SCHEMA)
        assert seen >= 100
        digesting.execute(f"TRUNCATE TABLE {DIGESTS}")
        assert watch.look("mysql_statements")(TOTAL, database=SCHEMA) == seen
        work(digesting, 20)
        after = own_account(digesting)[0]
        assert watch.look("mysql_statements")(TOTAL, database=SCHEMA) == seen + after


def test_more_after_a_truncation_than_before_it_is_all_counted(digesting: DatabaseServer):
    digesting.execute(f"TRUNCATE TABLE {DIGESTS}")
    work(digesting, 20)
    with watching(digesting) as watch:
        seen = watch.look("mysql_statements")(TOTAL, database=SCHEMA)
        # MariaDB tells no more than seconds apart.
        first = f"SELECT MAX(FIRST_SEEN) < NOW() FROM {DIGESTS} WHERE SCHEMA_NAME = %s"
        assert wait_for(lambda: digesting.execute(first, params=(SCHEMA,)) == [(1,)], 10)
        digesting.execute(f"TRUNCATE TABLE {DIGESTS}")
        work(digesting, 50)
        after = own_account(digesting)[0]
        assert after >= 50
        assert watch.look("mysql_statements")(TOTAL, database=SCHEMA) == seen + after


def test_statements_without_a_schema_are_kept(digesting: DatabaseServer):
    with watching(digesting) as watch:
        base = watch.look("mysql_statements")(TOTAL, database="")
        for _ in range(7):
            digesting.execute("SELECT 1")
        assert watch.look("mysql_statements")(TOTAL, database="") - base >= 7


def execute_prepared(connection: Connection[Any], sql: str, times: int) -> None:
    """Prepare a statement without parameters on the server and execute it, by the binary protocol."""

    def skip(lists: int) -> None:
        while lists:
            lists -= connection._read_packet().is_eof_packet()

    connection._execute_command(COMMAND.COM_STMT_PREPARE, sql)
    number, columns, _ = struct.unpack("<xIHH", connection._read_packet().get_all_data()[:9])
    skip(lists=bool(columns))
    for _ in range(times):
        connection._execute_command(COMMAND.COM_STMT_EXECUTE, struct.pack("<IBI", number, 0, 1))
        # Either that it is done, or the columns and the rows.
        if not connection._read_packet().is_ok_packet():
            skip(lists=2)


def test_what_is_prepared_on_the_server_counts_once(digesting: DatabaseServer):
    """By its digests on MySQL from 9 on, else by the event of the command, which has no schema."""
    digested = digesting.flavor == "mysql" and digesting.version >= (9,)
    database = SCHEMA if digested else ""

    def told() -> tuple[int, float]:
        """Executions and seconds as the server has them by command; asked in the schema, so that "" has none of it."""
        event = f"SELECT COUNT_STAR, SUM_TIMER_WAIT / 1e12 FROM {EVENTS} WHERE EVENT_NAME = 'statement/com/Execute'"
        [(calls, seconds)] = digesting.execute(event, SCHEMA)
        return int(calls), float(seconds)

    def shown() -> tuple[float, float]:
        sample = watch.look("mysql_statements")
        return sample(TOTAL, database=database), sample("db_statement_seconds_total", database=database)

    def grown(times: int) -> None:
        """Run that often, and compare."""
        by_command, by_schema, first = told(), own_account(digesting), shown()
        with digesting.connect(SCHEMA) as connection:
            execute_prepared(connection, "REPLACE INTO numbers VALUES (7)", times)
            execute_prepared(connection, "SELECT SLEEP(0.01), n FROM numbers WHERE n = 7", times)
        last, calls, seconds = shown(), *(now - old for now, old in zip(told(), by_command, strict=True))
        assert calls == 2 * times
        assert seconds >= 0.01 * times
        if not digested:
            assert last[0] - first[0] == calls
            assert last[1] - first[1] == pytest.approx(seconds, rel=1e-6)
            return
        text = f"SELECT SUM(COUNT_STAR) FROM {DIGESTS} WHERE SCHEMA_NAME = '{SCHEMA}' AND DIGEST_TEXT LIKE 'EXECUTE %'"
        assert digesting.execute(text) == [(calls,)]
        # Preparing counts there, and our asking in the schema.
        assert calls <= last[0] - first[0] <= own_account(digesting)[0] - by_schema[0]
        assert last[0] - first[0] < 2 * calls, "nothing counts twice"
        assert last[1] - first[1] >= seconds

    with watching(digesting) as watch:
        grown(25)
        seen = shown()
        for table in (EVENTS, DIGESTS):
            digesting.execute(f"TRUNCATE TABLE {table}", SCHEMA)
            assert all(now >= before for now, before in zip(shown(), seen, strict=True))
            seen = shown()
        grown(10)


def test_our_own_statements_are_not_among_the_foremost(digesting: DatabaseServer):
    """They would be on an idle server; theirs that have no default schema are."""
    digesting.execute(f"TRUNCATE TABLE {DIGESTS}")
    with one_by_one(digesting) as watch:
        for _ in range(50):
            watch.session.run("SELECT 1 AS ours_alone", Deadline.after(10))
        with digesting.connect() as connection, connection.cursor() as cursor:
            for _ in range(50):
                cursor.execute("SELECT 1 AS theirs_alone")
        watch.run("mysql_statement_digests")
        shown = watch.run("mysql_statement_digests").by("mysql_perf_schema_events_statements_total", "digest", "schema")
    text = f"SELECT DIGEST, COALESCE(SCHEMA_NAME, ''), COUNT_STAR FROM {DIGESTS} WHERE DIGEST_TEXT LIKE %s"
    [(ours, schema, calls)] = digesting.execute(text, params=("%ours_alone%",))
    assert calls == 50
    assert (ours, schema) not in shown
    [(theirs, schema, calls)] = digesting.execute(text, params=("%theirs_alone%",))
    assert shown[theirs, schema] == calls == 50
    own = digesting.execute(f"SELECT DIGEST FROM {DIGESTS} WHERE DIGEST_TEXT LIKE '%%events_statements_summary_by%%'")
    assert own
    assert not {digest for (digest,) in own} & {digest for digest, schema in shown if schema == "information_schema"}


def test_invalid_bytes_in_one_statement_break_nothing(digesting: DatabaseServer):
    with watching(digesting) as watch:
        base = watch.look("mysql_statements")(TOTAL, database=SCHEMA)
        with digesting.connect(SCHEMA, charset="latin1") as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 'café' AS `caffè`")
            cursor.execute("SET NAMES utf8mb4")
            with pytest.raises(Exception, match=r"(?i)invalid|syntax"):
                cursor.execute("SELECT 1 AS caf\xe9 FROM")
        assert watch.look("mysql_statements")(TOTAL, database=SCHEMA) - base >= 2


def test_a_full_digest_table_shows_how_much_it_hides(fresh_server: Fresh, digesting: DatabaseServer):
    server = fresh_server(digesting.name, {"performance_schema": "ON", "performance_schema_digests_size": "40"})
    server.execute("CREATE DATABASE crowded")
    with watching(server) as watch:
        base = watch.look("mysql_statements")("mysql_statements_without_digest_total")
        overflow = f"SELECT COALESCE(SUM(COUNT_STAR), 0) FROM {DIGESTS} WHERE DIGEST IS NULL"
        with server.connect("crowded") as connection, connection.cursor() as cursor:
            cursor.execute(overflow)
            [(before,)] = cursor.fetchall()
            first = watch.look("mysql_statements")
            for number in range(100):
                cursor.execute("SELECT 1" + ", 'x'" * number + f" AS c{number}")
            cursor.execute(overflow)
            [(after,)] = cursor.fetchall()
        last = watch.look("mysql_statements")
        # Its row is among the series of single statements, whatever else there is.
        single = watch.look("mysql_statement_digests")
        assert single("mysql_perf_schema_events_statements_total", schema="", digest="") >= after

        def lost() -> int:
            return int(server.execute("SHOW GLOBAL STATUS LIKE 'Performance_schema_digest_lost'")[0][1])

        least = lost()
        shown = watch.look("mysql_status")
        told = shown("mysql_global_status_performance_schema_lost_total", instrumentation="digest_lost")
        assert 50 <= least <= told <= lost()
    grown = last("mysql_statements_without_digest_total") - first("mysql_statements_without_digest_total")
    assert base >= 0
    assert after - before >= 50
    # Our own run may have found no room either.
    assert after - before <= grown <= after - before + 3
    assert last(TOTAL, database="") - first(TOTAL, database="") >= grown, "the overflow is in the totals"


def histogram(server: DatabaseServer) -> tuple[int, int, int]:
    """How many statements the server has in all, below one second, and from one second on."""
    [(count, quick, slow)] = server.execute(
        "SELECT SUM(COUNT_BUCKET), SUM(IF(BUCKET_TIMER_HIGH <= 1000000000000, COUNT_BUCKET, 0)), "
        f"SUM(IF(BUCKET_TIMER_LOW >= 1000000000000, COUNT_BUCKET, 0)) FROM {HISTOGRAM}"
    )
    return int(count), int(quick), int(slow)


def all_time(server: DatabaseServer) -> int:
    """Picoseconds of all statements, as the digests have them: only commands without a text are missing there."""
    return int(server.execute(f"SELECT SUM(SUM_TIMER_WAIT) FROM {DIGESTS}")[0][0])


@pytest.mark.flavor("mysql")
def test_mysql_s_histogram_of_all_statements(server: DatabaseServer):
    name = "db_statement_duration_seconds"
    with watching(server) as watch:
        time, before, first = all_time(server), histogram(server), watch.look("mysql_statement_histogram")
        assert first(f"{name}_count") == 0
        server.execute("SELECT SLEEP(1.2)")
        for _ in range(50):
            server.execute("SELECT 1")
        after, last = histogram(server), watch.look("mysql_statement_histogram")
        bounds = sorted(float(labels["le"]) for labels, _ in last.all(f"{name}_bucket"))
        assert 1.0 in bounds
        assert len(bounds) <= 21, "20 bounds and +Inf"
        counts = [
            value for _, value in sorted((float(labels["le"]), value) for labels, value in last.all(f"{name}_bucket"))
        ]
        assert counts == sorted(counts)
        # Between their reading and ours that reading ends, and its connection.
        assert last(f"{name}_count") == pytest.approx(after[0] - before[0], abs=12)
        assert last(f"{name}_bucket", le="1.0") == pytest.approx(after[1] - before[1], abs=12)
        # On a busy machine more than the sleep may take so long, this reading among it.
        slow = last(f"{name}_count") - last(f"{name}_bucket", le="1.0")
        assert slow >= 1
        assert slow == pytest.approx(after[2] - before[2], abs=2)
        taken = (all_time(server) - time) / 1e12
        assert 1.2 <= last(f"{name}_sum") == pytest.approx(taken, abs=0.3, rel=0.1)
        assert last(SLOW, database="", source="histogram") == slow
        assert last(THRESHOLD, source="histogram") == 1
        server.execute(f"TRUNCATE TABLE {HISTOGRAM}")
        reset = watch.look("mysql_statement_histogram")
        assert reset(f"{name}_count") >= last(f"{name}_count")
        assert reset(SLOW, database="", source="histogram") >= slow


# What a server records no statements without, as it is switched, and how.
SWITCHES = {
    "consumer": ("consumers SET ENABLED = '{}'", "NAME = 'global_instrumentation'"),
    "timers": ("instruments SET TIMED = '{}'", "NAME LIKE 'statement/%'"),
    "accounts": ("actors SET ENABLED = '{}'", "USER = '%'"),
    "digests": ("consumers SET ENABLED = '{}'", "NAME = 'statements_digest'"),
}


@pytest.mark.parametrize("what", SWITCHES)
def test_a_server_that_records_no_statements_says_so_and_counts_none(digesting: DatabaseServer, what: str):
    setting, where = SWITCHES[what]
    switch = f"UPDATE performance_schema.setup_{setting} WHERE {where}"
    with watching(digesting, thresholds={"slow_statements": {"warning": 10}}) as watch:
        told = {name for collector, _ in sources(watch) for name in watch.look(collector).names()}
        assert {SLOW, THRESHOLD} <= told
        digesting.execute(switch.format("NO"))
        try:
            if digesting.flavor == "mariadb":
                # It counts slow statements without.
                assert sources(watch) == [("mysql_statements", "status")]
                assert watch.look("mysql_statements").names() == {SLOW, THRESHOLD}
            else:
                assert sources(watch) == ([("mysql_statement_histogram", "histogram")] if what == "digests" else [])
                failed = watch.snapshot("mysql_statements")
                assert (failed.state, failed.reason) == (State.UNSUPPORTED, Reason.MISSING_EXTENSION)
                assert failed.fix is not None
                digesting.execute(failed.fix)
                assert watch.look("mysql_statements").names() == {TOTAL, SECONDS, OVERFLOW}
        finally:
            digesting.execute(switch.format("YES"))


@pytest.mark.parametrize("setting", ["performance_schema_digests_size", "max_digest_length"])
def test_a_server_without_digests_says_so_and_counts_none(fresh_server: Fresh, digesting: DatabaseServer, setting: str):
    server = fresh_server(digesting.name, {"performance_schema": "ON", setting: "0"})
    with watching(server, thresholds={"slow_statements": {"warning": 10}}) as watch:
        if server.flavor == "mariadb":
            # It counts slow statements without.
            assert watch.look("mysql_statements").names() == {SLOW, THRESHOLD}
            return
        failed = watch.snapshot("mysql_statements")
        assert (failed.state, failed.reason) == (State.UNSUPPORTED, Reason.MISSING_EXTENSION)
        assert failed.fix is not None
        assert setting in failed.fix
        # The histogram needs no digests.
        assert {SLOW, THRESHOLD} <= watch.look("mysql_statement_histogram").names()


@pytest.mark.flavor("mysql")
def test_our_own_statements_are_no_slow_ones(server: DatabaseServer):
    with watching(server, thresholds={"slow_statements": {"warning": 0.3}}) as watch, watching(server) as other:

        def shown() -> float:
            return watch.look("mysql_statement_histogram")(SLOW, database="", source="histogram")

        assert shown() == 0
        for session in (watch.session, other.session):
            session.run("SELECT SLEEP(0.5)", Deadline.after(5))
        assert shown() == 0
        server.execute("SELECT SLEEP(0.5)")
        watch.session.run("SELECT SLEEP(0.5)", Deadline.after(5))
        assert shown() == 1
        # An administrator may have left us out.
        actors = "performance_schema.setup_actors"
        server.execute(f"INSERT INTO {actors} VALUES ('%', 'exporter', '%', 'NO', 'NO')")
        try:
            watch.renew()
            watch.learn()
            assert shown() == 1
            watch.session.run("SELECT SLEEP(0.5)", Deadline.after(5))
            server.execute("SELECT SLEEP(0.5)")
            assert shown() == 2
        finally:
            server.execute(f"DELETE FROM {actors} WHERE USER = 'exporter'")


@pytest.mark.flavor("mysql")
def test_slow_statements_around_a_truncation_of_the_histogram_count_once(server: DatabaseServer):
    def nap(times: int) -> int:
        """Sleep, all of it in one bucket; how many slow statements the server has then."""
        with server.connect() as connection, connection.cursor() as cursor:
            for _ in range(times):
                cursor.execute("SELECT SLEEP(0.61)")
        [(slow,)] = server.execute(f"SELECT SUM(IF(BUCKET_TIMER_HIGH > 5e11, COUNT_BUCKET, 0)) FROM {HISTOGRAM}")
        return int(slow)

    with watching(server, thresholds={"slow_statements": {"warning": 0.5}}) as watch:

        def shown() -> float:
            return watch.look("mysql_statement_histogram")(SLOW, database="", source="histogram")

        server.execute(f"TRUNCATE TABLE {HISTOGRAM}")
        first = nap(1)
        assert shown() == 0
        before = nap(1) - first
        assert shown() == before >= 1
        server.execute(f"TRUNCATE TABLE {HISTOGRAM}")
        after = nap(3)
        assert before <= shown() <= before + after
        for _ in range(2):
            assert shown() == before + after
        assert nap(1) == after + 1
        assert shown() == before + after + 1


@pytest.mark.flavor("mysql")
def test_connections_of_replicas_are_no_statements(server: DatabaseServer, replica: DatabaseServer):
    """The server has each with its whole life in histogram and sums, once it ended."""
    ended = (
        "SELECT COUNT_STAR, SUM_TIMER_WAIT FROM performance_schema.events_statements_summary_global_by_event_name "
        "WHERE EVENT_NAME = 'statement/com/Binlog Dump GTID'"
    )
    name = "db_statement_duration_seconds"
    replica.wait_until_caught_up()
    with watching(server) as watch:
        [(count, time)] = server.execute(ended)
        quick_before, first = histogram(server), watch.look("mysql_statement_histogram")
        for turn in range(1, 4):
            # The source has noticed, and the connection has lasted.
            assert wait_for(lambda: _sending(server) >= 1.2, 20)
            replica.execute("STOP REPLICA IO_THREAD")
            replica.execute("START REPLICA IO_THREAD")
            assert wait_for(lambda turn=turn: server.execute(ended)[0][0] == count + turn, 20)
            if turn == 2:
                watch.look("mysql_statement_histogram")
        quick_after, last = histogram(server), watch.look("mysql_statement_histogram")
        lasted = (server.execute(ended)[0][1] - time) / 1e12
    assert lasted > 3 * 1.2
    assert quick_after[2] - quick_before[2] == 3, "the server counts them as slow statements"
    assert last(SLOW, database="", source="histogram") == first(SLOW, database="", source="histogram")
    assert last(f"{name}_sum") - first(f"{name}_sum") < lasted / 2
    slower = last(f"{name}_count") - last(f"{name}_bucket", le="1.0")
    assert slower == first(f"{name}_count") - first(f"{name}_bucket", le="1.0")
    assert last(f"{name}_count") - first(f"{name}_count") == pytest.approx(quick_after[1] - quick_before[1], abs=12)


def _sending(server: DatabaseServer) -> float:
    """How long the only connection of a replica has lasted."""
    lasted = server.execute(
        "SELECT TIMER_WAIT / 1e12 FROM performance_schema.threads JOIN performance_schema.events_statements_current "
        "USING (THREAD_ID) WHERE PROCESSLIST_COMMAND LIKE 'Binlog Dump%'"
    )
    return float(lasted[0][0]) if len(lasted) == 1 else 0


@pytest.mark.flavor("mysql")
def test_the_histogram_says_which_threshold_it_really_used(server: DatabaseServer):
    with watching(server, thresholds={"slow_statements": {"warning": 0.3}}) as watch:
        found = watch.look("mysql_statement_histogram")(THRESHOLD, source="histogram")
        bounds = server.execute(
            f"SELECT MAX(BUCKET_TIMER_HIGH) FROM {HISTOGRAM} WHERE BUCKET_TIMER_HIGH <= 300000000000"
        )
        assert found == pytest.approx(int(bounds[0][0]) / 1e12)
        server.execute("SELECT SLEEP(0.4)")
        assert watch.look("mysql_statement_histogram")(SLOW, database="", source="histogram") == 1


@pytest.mark.flavor("mariadb")
def test_a_flush_of_the_status_counts_nothing_again(digesting: DatabaseServer):
    """It takes off what sessions did that have ended, and leaves what those did that are open."""
    server = digesting
    if server.version < (11, 5):
        # FLUSH GLOBAL STATUS is not known yet.
        return
    with watching(server) as watch, server.connect() as connection, connection.cursor() as cursor:
        server.execute("SET GLOBAL long_query_time = 0.001")
        try:
            cursor.execute("SET long_query_time = 0.001")

            def slow(statements: int) -> float:
                for _ in range(statements):
                    cursor.execute("SELECT SLEEP(0.01)")
                return watch.look("mysql_statements")(SLOW, database="", source="status")

            base = slow(30)
            assert slow(10) - base == 10
            server.execute("FLUSH GLOBAL STATUS")
            assert slow_queries(server) >= 40
            assert slow(0) - base == 10
            assert slow(5) - base == 15
        finally:
            server.execute("SET GLOBAL long_query_time = 10")


@pytest.mark.flavor("mariadb")
def test_mariadb_estimates_slow_statements_until_its_own_threshold_allows_to_count(digesting: DatabaseServer):
    server = digesting
    server.execute("SET GLOBAL long_query_time = 10")
    with watching(server) as watch:
        assert sources(watch) == [("mysql_statements", "statements")]
        server.execute("SELECT SLEEP(1.2)", SCHEMA)
        watch.session.run("SELECT SLEEP(1.2)", Deadline.after(5))
        for _ in range(20):
            server.execute("SELECT SLEEP(0)", SCHEMA)
        for _ in range(2):
            found = watch.look("mysql_statements")
            assert found(SLOW, database=SCHEMA, source="statements") == 1
            assert found(SLOW, database="information_schema", source="statements") == 0
            assert found(THRESHOLD, source="statements") == 1
        server.execute("SET GLOBAL long_query_time = 0.5")
        try:
            assert sources(watch) == [("mysql_statements", "status")]
            base = watch.look("mysql_statements")(SLOW, database="", source="status")
            server.execute("SELECT SLEEP(0.7)", SCHEMA)
            found = watch.look("mysql_statements")
            assert found(SLOW, database="", source="status") - base == 1
            assert found(THRESHOLD, source="status") == 0.5
            server.execute("FLUSH STATUS")
            assert watch.look("mysql_statements")(SLOW, database="", source="status") - base == 1
            for name, value, default in misleading(server):
                server.execute(f"SET GLOBAL {name} = {value}")
                assert sources(watch) == [("mysql_statements", "statements")], name
                before = watch.look("mysql_statements")(SLOW, database=SCHEMA, source="statements")
                scan(server)
                server.execute("SELECT SLEEP(1.2)", SCHEMA)
                found = watch.look("mysql_statements")(SLOW, database=SCHEMA, source="statements")
                assert found - before == 1, name
                server.execute(f"SET GLOBAL {name} = {default}")
                # What was estimated meanwhile is not counted once more, though the server did.
                assert watch.look("mysql_statements")(SLOW, database="", source="status") - base == 1, name
        finally:
            server.execute("SET GLOBAL long_query_time = 10")
            for name, _, default in misleading(server):
                server.execute(f"SET GLOBAL {name} = {default}")


def misleading(server: DatabaseServer) -> list[tuple[str, str, str]]:
    """Settings with which Slow_queries is another count than that of slow statements, and their defaults."""
    found = [("log_queries_not_using_indexes", "ON", "OFF"), ("min_examined_row_limit", "1000", "0")]
    return found + [("log_slow_disabled_statements", "'sp,call'", "'sp'")] * (server.flavor == "mariadb")


def scan(server: DatabaseServer) -> None:
    """Run fast statements that use no index."""
    with server.connect() as connection, connection.cursor() as cursor:
        for _ in range(20):
            cursor.execute("SELECT COUNT(*) FROM mysql.help_topic WHERE description LIKE '%nowhere%'")


def slow_queries(server: DatabaseServer) -> int:
    return int(server.execute("SHOW GLOBAL STATUS LIKE 'Slow_queries'")[0][1])


def test_a_server_that_counts_by_more_than_time_is_told_how_to_count(fresh_server: Fresh, server: DatabaseServer):
    server = fresh_server(server.name, {"performance_schema": "OFF", "long_query_time": "1"})
    server.execute("CREATE PROCEDURE mysql.slowly() DO SLEEP(1.2)")
    hidden = {"min_examined_row_limit": "SELECT SLEEP(1.2)", "log_slow_disabled_statements": "CALL mysql.slowly()"}
    with watching(server) as watch:
        assert sources(watch) == [("mysql_slow_statements_status", "status")]
        base = watch.look("mysql_slow_statements_status")(SLOW, database="", source="status")
        for name, value, _ in misleading(server):
            server.execute(f"SET GLOBAL {name} = {value}")
            before = slow_queries(server)
            if name in hidden:
                server.execute(hidden[name])
                assert slow_queries(server) == before, f"{name} hides no slow statements"
            else:
                scan(server)
                assert slow_queries(server) >= before + 20, f"{name} adds no fast statements"
            told = watch.snapshot("mysql_slow_statements_status")
            assert told.reason is Reason.MISSING_EXTENSION
            assert told.fix is not None
            assert f"SET GLOBAL {name} = " in told.fix
        told = watch.snapshot("mysql_slow_statements_status")
        assert told.fix is not None
        for statement in told.fix.partition("; or ")[0].split(";"):
            server.execute(statement)
        # What the server counted meanwhile were the fast ones.
        assert watch.look("mysql_slow_statements_status")(SLOW, database="", source="status") == base
        scan(server)
        server.execute("SELECT SLEEP(1.2)")
        server.execute("CALL mysql.slowly()")
        assert watch.look("mysql_slow_statements_status")(SLOW, database="", source="status") - base == 2


def test_without_performance_schema_the_status_counters_serve(fresh_server: Fresh, server: DatabaseServer):
    server = fresh_server(server.name, {"performance_schema": "OFF"})
    with watching(server) as watch:
        assert watch.snapshot("mysql_statements").state is State.UNSUPPORTED
        assert sources(watch) == []
        told = watch.snapshot("mysql_slow_statements_status")
        assert told.reason is Reason.MISSING_EXTENSION
        assert told.fix is not None
        assert told.fix.startswith("SET GLOBAL long_query_time = 1;")

        base = watch.look("mysql_statements_status")(TOTAL, database="")
        with server.connect() as connection, connection.cursor() as cursor:
            for _ in range(200):
                cursor.execute("SELECT 1")
        assert 200 <= watch.look("mysql_statements_status")(TOTAL, database="") - base <= 215
        assert "db_statement_seconds_total" not in watch.look("mysql_statements_status").names()

        server.execute(told.fix.partition(";")[0])
        assert sources(watch) == [("mysql_slow_statements_status", "status")]
        base = watch.look("mysql_slow_statements_status")(SLOW, database="", source="status")
        server.execute("SELECT SLEEP(1.2)")
        found = watch.look("mysql_slow_statements_status")
        assert found(SLOW, database="", source="status") - base == 1
        assert found(THRESHOLD, source="status") == 1


def test_slow_statements_come_from_exactly_one_source(server: DatabaseServer):
    with watching(server) as watch:
        found = sources(watch)
    by_default = {"mysql": [("mysql_statement_histogram", "histogram")], "mariadb": []}
    assert found == by_default[server.flavor]
