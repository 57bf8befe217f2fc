"""Seconds of active sessions against sessions of ours, whose work and times we know, on real servers."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from exporter.collectors.mysql.active_sessions import MOST_LISTED
from exporter.config.model import ServerConfig
from exporter.declare import Collector
from exporter.engines.deadline import Deadline
from exporter.engines.known import ENGINES
from exporter.failure import Failure
from exporter.polling import sampler as module
from exporter.polling.flight import Flight
from exporter.polling.sampler import Sampler
from exporter.polling.server import Watched
from exporter.polling.snapshot import Snapshot, State
from exporter.registry import collectors_by_name
from tests.exporters import Samples, Start, server_entry, starting, wait_for  # noqa: F401 - a fixture among them
from tests.providers.base import DatabaseServer
from tests.servers.collecting import config_of

DATABASE = "sampled"


class Clients:
    """Sessions that do something until the end of the test."""

    def __init__(self, server: DatabaseServer) -> None:
        self.server = server
        self._threads: list[threading.Thread] = []
        self._ids: list[int] = []
        self._open: list[Any] = []

    @property
    def is_postgres(self) -> bool:
        return self.server.engine == "postgres"

    def connect(self) -> tuple[Any, int]:
        connection = self.server.connect(DATABASE)
        self._open.append(connection)
        number = int(connection.info.backend_pid if self.is_postgres else connection.thread_id())
        self._ids.append(number)
        return connection, number

    def holds(self, *statements: str) -> None:
        """A session that has run something and idles in its transaction."""
        connection, _ = self.connect()
        cursor = connection.cursor()
        for statement in ("BEGIN", *statements):
            cursor.execute(statement)

    def run(self, sql: str, seen: str) -> None:
        """Run a statement, and go on when the server shows, by what `seen` asks for, that it has come to its work."""
        connection, number = self.connect()

        def work() -> None:
            with contextlib.suppress(Exception):
                connection.cursor().execute(sql)

        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()
        self.wait(number, seen)

    def wait(self, number: int, seen: str) -> None:
        if self.is_postgres:
            sql = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {number} AND state = 'active' AND {seen}"
        else:
            sql = f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = {number} AND {seen}"
        wait_for(lambda: self.server.execute(sql)[0][0] == 1)

    def end(self) -> None:
        end = "SELECT pg_terminate_backend({})" if self.is_postgres else "KILL {}"
        for number in self._ids:
            # Some have ended by themselves.
            with contextlib.suppress(Exception):
                self.server.execute(end.format(number))
        for thread in self._threads:
            thread.join(30)
        for connection in self._open:
            with contextlib.suppress(Exception):
                connection.close()


@pytest.fixture(name="clients")
def clients_of_a_database(server: DatabaseServer) -> Iterator[Clients]:
    with contextlib.suppress(Exception):
        server.execute(f"CREATE DATABASE {DATABASE}")
    with server.connect(DATABASE) as connection, connection.cursor() as cursor:
        for statement in (
            "DROP TABLE IF EXISTS items",
            "DROP TABLE IF EXISTS other",
            "CREATE TABLE items (id int PRIMARY KEY, n int)",
            "CREATE TABLE other (id int PRIMARY KEY, n int)",
            "INSERT INTO items VALUES (1, 1), (2, 2)",
        ):
            cursor.execute(statement)
    made = Clients(server)
    yield made
    made.end()
    server.execute(f"DROP DATABASE {DATABASE}")


def name_of(server: DatabaseServer) -> str:
    return "pg_active_sessions" if server.engine == "postgres" else "mysql_active_sessions"


@contextlib.contextmanager
def watching(
    server: DatabaseServer, config: ServerConfig | None = None, collector: Collector | None = None
) -> Iterator[tuple[Watched, Sampler]]:
    """Watch a server with this collector alone, and nobody but the test who takes samples."""
    collector = collector or collectors_by_name()[name_of(server)]
    one = Watched(config or config_of(server), ENGINES[server.engine], [collector])
    assert one.sampler is not None
    try:
        scrape(one)
        yield one, one.sampler
    finally:
        one.close()


def scrape(one: Watched) -> Snapshot:
    flight = Flight(Deadline.after(30))
    one.scrape(flight)
    flight.land()
    [outcome] = flight.results.values()
    return outcome


def shown(snapshot: Snapshot) -> Samples:
    return Samples.of("".join(f"# TYPE {family.name} {family.kind}\n{family.text}" for family in snapshot.families))


def seconds(one: Watched) -> dict[tuple[str, str], float]:
    found = shown(scrape(one)).all("db_active_session_seconds_total")
    return {(labels["database"], labels["wait_class"]): value for labels, value in found}


def family_of(server: DatabaseServer) -> str:
    return f"{'pg' if server.engine == 'postgres' else 'mysql'}_active_session_statement_seconds_total"


def label_of(server: DatabaseServer) -> str:
    return "queryid" if server.engine == "postgres" else "digest"


def by_statement(page: Samples, server: DatabaseServer) -> dict[tuple[str, str, str], float]:
    """Seconds by database, class and statement, which add up to those of all sessions."""
    label = label_of(server)
    found = {
        (labels["database"], labels["wait_class"], labels[label]): value
        for labels, value in page.all(family_of(server))
    }
    sums: dict[tuple[str, str], float] = {}
    for (database, wait_class, _), value in found.items():
        sums[database, wait_class] = sums.get((database, wait_class), 0.0) + value
    of_all = page.all("db_active_session_seconds_total")
    assert sums == pytest.approx({(each["database"], each["wait_class"]): value for each, value in of_all})
    return found


def names_statements(server: DatabaseServer) -> bool:
    return server.flavor == "mysql" or (server.engine == "postgres" and server.version[0] >= 14)


def statement_id(server: DatabaseServer, example: str) -> str:
    """What the server calls statements like this one, of which it runs one that is short, if it must."""
    if server.engine == "mysql":
        return str(server.execute("SELECT STATEMENT_DIGEST(%s)", DATABASE, params=(example,))[0][0])
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    with server.connect(DATABASE) as connection, connection.cursor() as cursor:
        cursor.execute(example)
    [(found,)] = server.execute(
        "SELECT queryid FROM pg_stat_statements JOIN pg_database d ON d.oid = dbid "
        "WHERE datname = %s AND query LIKE replace(%s, '?', '$_') AND toplevel",
        params=(DATABASE, re.sub(r"[0-9]+", "?", example).replace("_", r"\_")),
    )
    return str(found)


@contextlib.contextmanager
def asleep(server: DatabaseServer, config: ServerConfig) -> Iterator[None]:
    """A session of ours that sleeps in a statement meanwhile."""
    ours: Any = ENGINES[config.engine].connect(config, Deadline.after(30))

    def sleep() -> None:
        with contextlib.suppress(Failure):
            ours.run("SELECT pg_sleep(60)" if config.engine == "postgres" else "SELECT SLEEP(60)", Deadline.after(150))

    thread = threading.Thread(target=sleep)
    thread.start()
    try:
        yield
        assert thread.is_alive(), "what is ours ran all the while"
    finally:
        with contextlib.suppress(Exception):
            end = f"SELECT pg_terminate_backend({ours.backend})" if config.engine == "postgres" else None
            server.execute(end or f"KILL {ours.connection_id}")
        thread.join()
        ours.close()


def test_each_session_counts_where_it_is_and_for_as_long_as_it_is_there(
    server: DatabaseServer, clients: Clients
) -> None:
    postgres = clients.is_postgres
    in_state = "state = '{}'".format
    locked = "wait_event_type = 'Lock'" if postgres else "{}"
    clients.holds("UPDATE items SET n = 5 WHERE id = 1", "SELECT * FROM other")
    for _ in range(3):
        if postgres:
            clients.run("SELECT pg_sleep(120)", "wait_event = 'PgSleep'")
        else:
            clients.run("SELECT SLEEP(120)", in_state("User sleep"))
    trx = "ID IN (SELECT trx_mysql_thread_id FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT')"
    for _ in range(2):
        clients.run("UPDATE items SET n = 6 WHERE id = 1", locked.format(trx))
    clients.run("ALTER TABLE other ADD COLUMN m int", locked.format(in_state("Waiting for table metadata lock")))
    if postgres:
        clients.run(
            "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b", "wait_event IS NULL"
        )
    else:
        rows = ", ".join(f"information_schema.COLLATIONS c{number}" for number in range(5))
        clients.run(f"SELECT COUNT(*) FROM {rows} WHERE c0.ID + c1.ID + c2.ID + c3.ID + c4.ID = 3", "TIME_MS > 300"
                    if server.flavor == "mariadb" else "TIME >= 1")  # fmt: skip
    expected = {"timeout": 3, "lock": 3 if postgres else 2, "cpu": 1} | ({} if postgres else {"metadata_lock": 1})
    config = config_of(server)
    with asleep(server, config), watching(server, config) as (one, sampler):
        begun = time.monotonic()
        sampler.sample()
        first = time.monotonic()
        before = seconds(one)
        # Idle sessions have opened the series: nothing is lost to a rate that the first sample counts.
        assert before[DATABASE, "cpu"] == 0
        for _ in range(6):
            time.sleep(0.4)
            last = time.monotonic()
            sampler.sample()
        done = time.monotonic()
        after = seconds(one)
    grown = {key: after[key] - before[key] for key in after if after[key] > before[key]}
    # At work a session may be seen as it reads a page or waits for an internal lock, and only then.
    work = sum(grown.pop((DATABASE, name), 0.0) for name in ("cpu", "io", "lwlock", "ipc"))
    assert last - first <= work <= done - begun
    for wait_class, sessions in expected.items():
        if wait_class != "cpu":
            assert sessions * (last - first) <= grown.pop((DATABASE, wait_class)) <= sessions * (done - begun), (
                wait_class
            )
    assert {key: value for key, value in grown.items() if key[0] == DATABASE} == {}
    assert "timeout" not in {wait_class for _, wait_class in grown}, "a session of ours is counted"


SLEEPING = {"postgres": "SELECT pg_sleep({})", "mysql": "SELECT SLEEP({})"}


def sleeps(clients: Clients, count: int, sql: str | None = None) -> None:
    sql = sql or SLEEPING[clients.server.engine].format(120)
    for _ in range(count):
        clients.run(sql, "wait_event = 'PgSleep'" if clients.is_postgres else "STATE = 'User sleep'")


def test_each_statement_has_its_sessions_and_what_they_wait_for(server: DatabaseServer, clients: Clients) -> None:
    if not names_statements(server):
        sleeps(clients, 1)
        with watching(server) as (one, sampler):
            for _ in range(2):
                sampler.sample()
                page = shown(scrape(one))
        assert page.has("db_active_session_seconds_total")
        assert not page.has(family_of(server)), "nobody knows statements there"
        return
    expected = {
        ("timeout", statement_id(server, SLEEPING[server.engine].format(0))): 3,
        ("lock", statement_id(server, "UPDATE items SET n = 6 WHERE id = 2")): 2,
    }
    # Of what a routine does the client's statement is told.
    with server.connect(DATABASE) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION naps(n int) RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(n); END'"
            if clients.is_postgres
            else "CREATE PROCEDURE naps(n int) DO SLEEP(n)"
        )
    nap = ("SELECT" if clients.is_postgres else "CALL") + " naps({})"
    expected["timeout", statement_id(server, nap.format(0))] = 1
    sleeps(clients, 1, nap.format(120))
    clients.holds("UPDATE items SET n = 5 WHERE id = 1")
    sleeps(clients, 3)
    trx = "ID IN (SELECT trx_mysql_thread_id FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT')"
    for _ in range(2):
        clients.run("UPDATE items SET n = 6 WHERE id = 1", "wait_event_type = 'Lock'" if clients.is_postgres else trx)
    with watching(server) as (one, sampler):
        sampler.sample()
        time.sleep(0.4)
        begun = time.monotonic()
        sampler.sample()
        first = time.monotonic()
        # What they did until they have series is the others'.
        before = by_statement(shown(scrape(one)), server)
        assert all(value == 0 for (_, _, which), value in before.items() if which != "(others)")
        assert before[DATABASE, "timeout", "(others)"] > 0
        for _ in range(4):
            time.sleep(0.4)
            last = time.monotonic()
            sampler.sample()
        done = time.monotonic()
        after = by_statement(shown(scrape(one)), server)
        for _ in range(2):
            # However often somebody looks.
            assert by_statement(shown(scrape(one)), server) == after
    grown = {key: after[key] - before[key] for key in after if key[0] == DATABASE and after[key] > before[key]}
    assert set(grown) == {(DATABASE, *which) for which in expected}
    for which, sessions in expected.items():
        assert sessions * (last - first) <= grown[DATABASE, *which] <= sessions * (done - begun), which


def test_statements_beyond_the_limit_are_the_others(server: DatabaseServer, clients: Clients) -> None:
    if not names_statements(server):
        pytest.skip("nobody knows statements there")
    plain = SLEEPING[server.engine]
    most = statement_id(server, plain.format(0))
    sleeps(clients, 1, plain.format(120) + ", 'another'")
    sleeps(clients, 3)
    config = config_of(server, collectors={name_of(server): {"limit": 1}})
    with watching(server, config) as (one, sampler):
        pages = []
        for _ in range(4):
            sampler.sample()
            pages.append(by_statement(shown(scrape(one)), server))
            time.sleep(0.3)
    # The first page is of no time yet, and the second the first that has its series for certain.
    grown = {key: value - pages[1][key] for key, value in pages[-1].items() if value > pages[1][key]}
    assert set(grown) == {(DATABASE, "timeout", most), (DATABASE, "timeout", "(others)")}
    assert grown[DATABASE, "timeout", most] == pytest.approx(3 * grown[DATABASE, "timeout", "(others)"])


@pytest.mark.flavor("postgres")
def test_who_waits_for_a_table_before_his_statement_is_parsed_has_none(
    server: DatabaseServer, clients: Clients
) -> None:
    if not names_statements(server):
        pytest.skip("nobody knows statements there")
    clients.holds("ALTER TABLE other ADD COLUMN m int")
    clients.run("SELECT * FROM other", "wait_event_type = 'Lock'")
    with watching(server) as (one, sampler):
        for _ in range(2):
            sampler.sample()
            found = by_statement(shown(scrape(one)), server)
            time.sleep(0.3)
    assert found[DATABASE, "lock", ""] > 0


@pytest.mark.flavor("postgres")
def test_without_ids_of_queries_statements_have_no_series_and_with_them_they_go_on(
    server: DatabaseServer, clients: Clients
) -> None:
    if not names_statements(server):
        pytest.skip("nobody knows statements there")
    family = family_of(server)
    which = statement_id(server, "SELECT pg_sleep(0)")

    def restart(value: str) -> None:
        # Two starts at about one time are taken for the same.
        wait_for(lambda: server.execute("SELECT now() > pg_postmaster_start_time() + interval '1 s'")[0][0])
        server.restart(compute_query_id=value)

    def look() -> Samples:
        sampler.sample()
        return shown(scrape(one))

    def its_seconds() -> float:
        return by_statement(look(), server).get((DATABASE, "timeout", which), 0.0)

    restart("off")
    try:
        with watching(server) as (one, sampler):
            page = look()
            assert page.has("db_active_session_seconds_total")
            assert not page.has(family)
            restart("auto")
            wait_for(lambda: look().has(family))
            sleeps(clients, 1)
            before = wait_for(its_seconds)
            restart("on")
            after = wait_for(lambda: (page := look()).has(family) and by_statement(page, server))
            assert after[DATABASE, "timeout", which] >= before
            sleeps(clients, 1)
            wait_for(lambda: its_seconds() > before + 0.5)
    finally:
        restart("auto")


@pytest.mark.engine("mysql")
def test_schemas_that_differ_by_case_alone_are_told_apart(server: DatabaseServer, clients: Clients) -> None:
    server.execute(f"CREATE DATABASE {DATABASE.upper()}")
    try:
        clients.run("SELECT SLEEP(120)", "STATE = 'User sleep'")
        with server.connect(DATABASE.upper()), watching(server) as (one, sampler):
            for _ in range(2):
                sampler.sample()
                time.sleep(0.2)
            found = seconds(one)
        assert found[DATABASE, "timeout"] > 0
        assert found[DATABASE.upper(), "timeout"] == 0
    finally:
        server.execute(f"DROP DATABASE {DATABASE.upper()}")


def row_waiters(clients: Clients, count: int) -> None:
    waits = "ID IN (SELECT trx_mysql_thread_id FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT')"
    clients.holds("UPDATE items SET n = 5 WHERE id = 1")
    for _ in range(count):
        clients.run("UPDATE items SET n = 6 WHERE id = 1", waits)


def changed(server: DatabaseServer, changes: Mapping[str, str]) -> Collector:
    """The collector with something else in its SQL."""
    made = collectors_by_name()[name_of(server)]
    queries = []
    for query in made.queries:
        sql = query.sql
        for old, new in changes.items():
            assert old in sql
            sql = sql.replace(old, new)
        queries.append(replace(query, sql=sql))
    return replace(made, queries=tuple(queries))


@pytest.mark.engine("mysql")
def test_where_too_many_wait_for_a_row_no_more_are_counted_so_than_innodb_says(
    server: DatabaseServer, clients: Clients
) -> None:
    clients.run("SELECT SLEEP(120)", "STATE = 'User sleep'")
    row_waiters(clients, 3)
    # At work for less long than the others have waited; who waits for longest is most likely to.
    wait_for(lambda: server.execute("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE TIME >= 2")[0][0] >= 3)
    rows = ", ".join(f"information_schema.COLLATIONS c{number}" for number in range(5))
    clients.run(f"SELECT COUNT(*) FROM {rows} WHERE c0.ID + c1.ID + c2.ID + c3.ID + c4.ID = 3", "STATE <> 'starting'")
    for most in (2, 3):
        with watching(server, collector=changed(server, {f"> {MOST_LISTED}": f"> {most}"})) as (one, sampler):
            for _ in range(2):
                sampler.sample()
                time.sleep(0.3)
            found = seconds(one)
        assert found[DATABASE, "lock"] == pytest.approx(3 * found[DATABASE, "timeout"])
        assert found[DATABASE, "lock"] > 0


@pytest.mark.engine("mysql")
def test_where_nobody_counts_who_waits_for_a_row_innodb_is_asked_all_the_same(
    server: DatabaseServer, clients: Clients
) -> None:
    clients.run("SELECT SLEEP(120)", "STATE = 'User sleep'")
    row_waiters(clients, 2)
    metric = "lock_row_lock_current_waits"
    server.execute(f"SET GLOBAL innodb_monitor_disable = '{metric}'")
    try:
        with watching(server) as (one, sampler):
            for _ in range(2):
                sampler.sample()
                time.sleep(0.3)
            found = seconds(one)
        assert found[DATABASE, "lock"] == pytest.approx(2 * found[DATABASE, "timeout"])
    finally:
        server.execute(f"SET GLOBAL innodb_monitor_enable = '{metric}'")


# MariaDB does not count rows of its lists.
@pytest.mark.flavor("mysql")
def test_the_list_of_transactions_is_read_only_where_somebody_waits_for_a_row(
    server: DatabaseServer, clients: Clients
) -> None:
    for number in range(12):
        clients.holds(f"INSERT INTO items VALUES ({number + 10}, 1)")

    def rows_read(collector: Collector) -> int:
        sql = collector.queries[0].sql
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("FLUSH STATUS")
            cursor.execute(sql)
            cursor.fetchall()
            cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read_rnd_next'")
            return int(cursor.fetchall()[0][1])

    all_of_them = {"WHERE trx_state = 'LOCK WAIT'": ""}
    always = rows_read(changed(server, {**all_of_them, "waits < 1": "waits < 0"}))
    assert rows_read(changed(server, all_of_them)) <= always - 12


def test_the_server_says_what_a_sample_takes_it(server: DatabaseServer) -> None:
    with watching(server) as (one, sampler):
        assert sampler.task.samples is not None
        told: list[float | None] = []
        take = sampler.task.samples.take
        sampler.task.samples.take = lambda rows, now: told.append(take(rows, now)) or told[-1]  # type: ignore[method-assign, func-returns-value]
        for _ in range(5):
            sampler.sample()
        assert len(told) == 5
        waited = one.tasks[name_of(server)].cost.seconds
        assert all(seconds is not None and seconds > 0 for seconds in told)
        # The clock of a server may go otherwise than ours, but not that much.
        assert sum(seconds or 0.0 for seconds in told) <= 1.2 * waited


def sessions_of_ours(server: DatabaseServer) -> int:
    view = (
        "pg_stat_activity WHERE usename" if server.engine == "postgres" else "information_schema.PROCESSLIST WHERE USER"
    )
    return int(server.execute(f"SELECT COUNT(*) FROM {view} = 'exporter'")[0][0])


def test_what_takes_too_much_of_a_server_is_suspended_and_tried_again(
    server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for(lambda: sessions_of_ours(server) == 0)
    with watching(server) as (one, sampler):
        sampler.sample()
        assert scrape(one).state is State.OK
        assert sessions_of_ours(server) == one.sessions.connections == 2
        monkeypatch.setattr(module, "CORE_SHARE", 1e-9)
        assert wait_for(lambda: sampler.sample() and sampler.interval is None)
        suspended = scrape(one)
        assert (suspended.state, sampler.interval) == (State.SUSPENDED, None)
        assert shown(suspended).has("db_active_session_seconds_total"), "what was counted is still shown"
        wait_for(lambda: sessions_of_ours(server) == 1)
        monkeypatch.setattr(module, "CORE_SHARE", 1e9)
        queries = one.tasks[name_of(server)].cost.queries
        sampler.sample()
        assert one.tasks[name_of(server)].cost.queries == queries, "it is left alone"
        sampler._suspended_until = 0.0
        wait_for(lambda: sampler.sample() and one.tasks[name_of(server)].cost.queries > queries)
        assert scrape(one).state is State.OK


def test_time_that_nobody_looked_at_is_told(server: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with watching(server) as (one, sampler):
        sampler.sample()
        monkeypatch.setattr("exporter.subjects.sessions.totals.MOST_SECONDS", 0.5)
        begun = time.monotonic()
        time.sleep(1.5)
        last = time.monotonic()
        missing = shown(scrape(one)).value("db_active_session_unobserved_seconds_total")
        assert 0.9 <= last - begun - 0.5 <= missing <= time.monotonic() - begun
        sampler.sample()
        assert shown(scrape(one)).value("db_active_session_unobserved_seconds_total") >= missing


def test_an_account_without_room_for_it_is_told_so(server: DatabaseServer) -> None:
    account = server.account(name="cramped", limit=2)
    with watching(server, config_of(server, account)) as (one, sampler):
        sampler.sample()
        outcome = scrape(one)
        assert outcome.state is State.UNSUPPORTED
        assert outcome.fix is not None
        assert "3" in outcome.fix
        assert one.sessions.connections == 1
        # What it says mends it.
        server.execute(outcome.fix.rstrip(";"))
        one.close()
    with watching(server, config_of(server, account)) as (one, sampler):
        sampler.sample()
        assert scrape(one).state is State.OK


def test_as_it_is_shipped_its_rate_is_the_number_of_active_sessions(
    server: DatabaseServer, clients: Clients, exporter: Start
) -> None:
    named = names_statements(server)
    if named:
        # On a server that many tests have used it might not be among those that have texts.
        server.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements" if clients.is_postgres else "DO 0")
        server.execute(
            "SELECT pg_stat_statements_reset()"
            if clients.is_postgres
            else "TRUNCATE performance_schema.events_statements_summary_by_digest"
        )
        statement_id(server, SLEEPING[server.engine].format(0))
    if server.engine == "mysql":
        clients.holds(SLEEPING[server.engine].format(0))
    running = exporter(server_entry(server, server.account()))
    clients.holds("SELECT 1")
    page = running.scrape_until(
        lambda page: page.has("db_active_session_seconds_total", database=DATABASE), server.name
    )
    sleeps(clients, 4)
    most = 0

    def look() -> tuple[float, float, Samples]:
        """A page, and between which moments its last sample was taken."""
        nonlocal most
        begun = time.monotonic()
        page = running.scrape(server.name)
        age = page.value("database_exporter_collector_age_seconds", collector=name_of(server))
        most = max(most, sessions_of_ours(server))
        return begun - age, time.monotonic() - age, page

    def grown(page: Samples, since: Samples) -> float:
        one, other = (
            each.value("db_active_session_seconds_total", database=DATABASE, wait_class="timeout")
            + 4 * each.value("db_active_session_unobserved_seconds_total")
            for each in (page, since)
        )
        return one - other

    # The first sample that has them all stands for some time before they came.
    first = wait_for(lambda: (found := look()) and grown(found[2], page) >= 8 and found)
    last = wait_for(lambda: (found := look()) and grown(found[2], first[2]) >= 16 and found)
    assert 4 * (last[0] - first[1]) <= grown(last[2], first[2])
    last_page = last[2]
    if last_page.value("db_active_session_unobserved_seconds_total") == 0:
        assert grown(last_page, first[2]) <= 4 * (last[1] - first[0])
    assert last_page.has("database_exporter_collector_state", collector=name_of(server), state="ok")
    assert last_page.value("database_exporter_sample_interval_seconds") >= 1
    assert 2 <= most <= 3
    if named:
        # A text tells which statement it is that they sleep in.
        info, label = ("pg_stat_statements_query_id", "query") if clients.is_postgres else (
            "mysql_statement_info", "digest_text"
        )  # fmt: skip
        text = "SELECT pg_sleep($1)" if clients.is_postgres else "SELECT `SLEEP` (?)"
        told = running.scrape_until(
            lambda page: any(labels[label] == text for labels, _ in page.all(info)), server.name
        )
        known = {labels[label_of(server)] for labels, _ in told.all(info) if labels[label] == text}
        [(which, its)] = [
            (key, value - by_statement(first[2], server)[key])
            for key, value in by_statement(last_page, server).items()
            if key[0] == DATABASE and key[1] == "timeout" and key[2] in known
        ]
        both = [page.value("db_active_session_seconds_total", database=DATABASE, wait_class="timeout")
                for page in (first[2], last_page)]  # fmt: skip
        assert its == pytest.approx(both[1] - both[0]), which


@pytest.mark.flavor("postgres")
def test_behind_a_pooler_it_sees_the_server(
    server: DatabaseServer, clients: Clients, pgbouncer: Callable[..., Any]
) -> None:
    account = server.account()
    pool = pgbouncer(server, [account])
    clients.run("SELECT pg_sleep(120)", "wait_event = 'PgSleep'")
    config = config_of(server, account, host=pool.host, port=pool.port)
    with watching(server, config) as (one, sampler):
        for _ in range(3):
            sampler.sample()
            time.sleep(0.3)
        assert one.sessions.facts is not None
        assert one.sessions.facts.pooled
        found = seconds(one)
        assert found[DATABASE, "timeout"] > 0
        assert sum(value for (database, _), value in found.items() if database != DATABASE) == 0, "ours is counted"
