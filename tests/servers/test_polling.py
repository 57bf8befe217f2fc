"""When what runs, and what is shown of it: switches, budgets, breakers, facts, promotions and sessions left behind."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from exporter.collectors.mysql.active_sessions import active_sessions
from exporter.config.model import ServerConfig
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.engines.deadline import Deadline
from exporter.engines.known import ENGINES
from exporter.failure import Failure, Reason
from exporter.gates import ANY, granted
from exporter.polling import sessions as polling_sessions
from exporter.polling.flight import Flight
from exporter.polling.scrape import Scrapes
from exporter.polling.server import Watched
from exporter.polling.slow import SlowTier
from exporter.polling.snapshot import Snapshot, State
from exporter.registry import collectors_of
from tests.exporters import (  # noqa: F401 - a fixture among them
    Exporter,
    Proxy,
    Samples,
    Start,
    server_entry,
    starting,
    wait_for,
)
from tests.providers.base import Account, DatabaseServer
from tests.servers.collecting import config_of

SECONDS = 20.0


def declared(engine: Any, name: str = "probe", sql: str = "SELECT 1 AS value", **more: Any) -> Collector:
    """A collector of one number, declared here."""
    return Collector(
        name=name,
        about="A number.",
        engine=engine,
        queries=(Query(ANY, sql),),
        blocks=(block(gauge(f"db_{name}", "value", help="A number."), labels=more.pop("labels", ())),),
        **more,
    )


@contextlib.contextmanager
def watched(config: ServerConfig, *collectors: Collector) -> Iterator[Watched]:
    made = Watched(config, ENGINES[config.engine], collectors or collectors_of(config.engine))
    try:
        yield made
    finally:
        made.close()


def scrape(server: Watched, seconds: float = SECONDS) -> dict[str, Snapshot]:
    flight = Flight(Deadline.after(seconds))
    server.scrape(flight)
    return flight.results


def sessions(server: DatabaseServer, user: str = "exporter") -> int:
    """Sessions of an account, counted by the server."""
    table = {"postgres": "pg_stat_activity WHERE usename", "mysql": "information_schema.processlist WHERE user"}
    return int(server.execute(f"SELECT count(*) FROM {table[server.engine]} = %s", params=(user,))[0][0])


# -- switches and overrides ------------------------------------------------------------------------


def test_switches_decide_between_unsupported_failed_and_disabled(server: DatabaseServer, exporter: Start) -> None:
    cannot = "pg_stat_wal_receiver" if server.engine == "postgres" else "mysql_replica_pool"
    can = "pg_activity" if server.engine == "postgres" else "mysql_status"
    account = server.account(limit=6)
    running = exporter(
        server_entry(server, account),
        {**server_entry(server, account, collectors={cannot: True, can: False}), "name": "switched"},
    )
    page = running.scrape()

    def state(name: str, collector: str) -> str:
        found = page.all("database_exporter_collector_state", server=name, collector=collector)
        assert len(found) == 1
        return found[0][0]["state"]

    success = "database_exporter_collector_success"
    assert state(server.name, cannot) == "unsupported"
    assert not page.has(success, server=server.name, collector=cannot)
    assert state("switched", cannot) == "failed"
    assert page.value(success, server="switched", collector=cannot) == 0
    assert page.has("database_exporter_collector_failure", server="switched", collector=cannot)
    assert state(server.name, can) == "ok"
    assert page.value(success, server=server.name, collector=can) == 1
    assert state("switched", can) == "disabled"
    assert not page.has(success, server="switched", collector=can)
    assert page.has("db_connections", server=server.name)
    assert not page.has("db_connections", server="switched") or server.engine == "mysql"


def test_limit_timeout_and_every_of_the_config_win(server: DatabaseServer) -> None:
    rows = " UNION ALL ".join(f"SELECT {number} AS value" for number in range(9))
    sql = f"SELECT value FROM ({rows}) t LIMIT {{limit}}"
    limited = declared(server.engine, "limited", sql, labels=("value",), limit=2)
    # MySQL ends a SLEEP() without an error.
    numbers = "WITH RECURSIVE n AS (SELECT 1 AS v UNION ALL SELECT v + 1 FROM n WHERE v < 1000)"
    slow = declared(server.engine, "sleeps", f"{numbers} SELECT count(*) AS value FROM n a, n b, n c")
    config = config_of(
        server,
        timeouts={"statement": 60},
        collectors={"limited": {"limit": 5}, "sleeps": {"timeout": "300ms"}, "probe": {"every": "77s"}},
    )
    with watched(config, limited, slow, declared(server.engine)) as one:
        started = time.monotonic()
        results = scrape(one, 120)
        assert time.monotonic() - started < 30
        assert results["limited"].series == 5
        assert results["sleeps"].state is State.FAILED
        assert results["sleeps"].reason is Reason.TIMEOUT
        # What the config puts into the background is not run by a scrape.
        assert "probe" not in results
        assert [task.every for task in one.slow_tasks()] == [77]
    with watched(config_of(server), limited) as plain:
        assert scrape(plain)["limited"].series == 2


def test_a_small_series_budget_drops_counts_and_breaks_nothing(server: DatabaseServer, exporter: Start) -> None:
    # Two servers of the config are this one, each with its own three sessions.
    account = server.account(limit=6)
    running = exporter(server_entry(server, account), {**server_entry(server, account, max_series=20), "name": "small"})
    whole = running.scrape()
    time.sleep(1.1)
    page = running.scrape()
    series = "database_exporter_collector_series"
    assert sum(value for _, value in whole.all(series, server=server.name)) > 60
    for samples in (whole, page):
        assert sum(value for _, value in samples.all(series, server="small")) <= 20
        assert samples.value("db_up", server="small") == 1
        assert not samples.has("database_exporter_collector_state", server="small", state="failed")
    dropped = "database_exporter_series_dropped_total"
    counts = [sum(value for _, value in samples.all(dropped, server="small")) for samples in (whole, page)]
    assert 0 < counts[0] < counts[1]
    assert not whole.all(dropped, server=server.name)


# -- one thing's failure ---------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyError("gone"), ZeroDivisionError(), RecursionError()])
def test_a_bug_in_a_hook_fails_its_collector_alone(server: DatabaseServer, error: Exception) -> None:
    def broken(rows: Rows, context: Context) -> Rows:
        raise error

    with watched(
        config_of(server),
        declared(server.engine, "first"),
        declared(server.engine, "buggy", rows=broken),
        declared(server.engine, "last"),
    ) as one:
        for _ in range(2):
            results = scrape(one)
            assert {name: outcome.state for name, outcome in results.items()} == {
                "first": State.OK,
                "buggy": State.FAILED,
                "last": State.OK,
            }
            assert results["buggy"].reason is Reason.ERROR
        assert one.sessions.up


def test_a_collector_that_keeps_failing_is_left_alone_until_its_turn(
    server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda _, high: high)
    with watched(
        config_of(server), declared(server.engine, "wrong", "SELECT no_such_column"), declared(server.engine)
    ) as one:
        for _ in range(5):
            results = scrape(one)
            # What is suspended is still told.
            assert results["wrong"].state is State.FAILED
            assert results["wrong"].reason is Reason.ERROR
            assert results["probe"].state is State.OK
        assert one.tasks["wrong"].cost.queries == 3
        assert one.tasks["probe"].cost.queries == 5


def test_a_slow_collector_that_fails_is_shown_for_three_intervals_and_success_says_0(
    server: DatabaseServer, exporter: Start
) -> None:
    name, metric, revoke, grant = {
        "postgres": (
            "pg_storage",
            "db_storage_bytes",
            "REVOKE pg_monitor FROM exporter",
            "GRANT pg_monitor TO exporter",
        ),
        "mysql": (
            "mysql_schema_sizes",
            "db_size_bytes",
            "REVOKE PROCESS ON *.* FROM exporter",
            "GRANT PROCESS ON *.* TO exporter",
        ),
    }[server.engine]
    account = server.account()
    if server.engine == "mysql":
        server.execute("CREATE DATABASE IF NOT EXISTS polled")
        server.execute("CREATE TABLE IF NOT EXISTS polled.t (id int)")
    # Asked for by name, so that a privilege that is gone is a failure.
    running = exporter(server_entry(server, account, collectors={name: {"enabled": True, "every": "2s"}}))
    fine = running.scrape_until(lambda page: page.has(metric), server.name)
    success = "database_exporter_collector_success"
    assert fine.value(success, collector=name) == 1
    server.execute(revoke)
    try:
        failed = running.scrape_until(lambda page: page.value(success, collector=name) == 0, server.name)
        assert failed.failures(server.name)[name] == "permission"
        if failed.has(metric):
            assert failed.value("database_exporter_collector_age_seconds", collector=name) < 6.5
        gone = running.scrape_until(lambda page: not page.has(metric), server.name)
        assert gone.value(success, collector=name) == 0
        assert gone.value("db_up", server=server.name) == 1
    finally:
        server.execute(grant)


def test_what_takes_the_server_long_comes_more_seldom(server: DatabaseServer) -> None:
    slow = {"postgres": "SELECT 1 AS value FROM pg_sleep(1.2)", "mysql": "SELECT 1 + SLEEP(1.2) AS value"}
    more = {"every": 100.0, "core_share": 0.01}
    dear = declared(server.engine, "dear", slow[server.engine], **more)
    with watched(config_of(server), dear, declared(server.engine, "cheap", **more)) as made:
        for _ in range(2):
            made.background(made.slow_tasks())
        # No sleep is shorter than it was to be; a second on the way or at work would be for the other one.
        assert made.tasks["dear"].interval >= 117
        assert made.tasks["cheap"].interval == 100
        assert made.good["dear"].series == 1


@pytest.mark.engine("postgres")
def test_a_database_that_fails_leaves_the_others_intact_for_ever(server: DatabaseServer) -> None:
    for name in ("fails_a", "works_b"):
        server.execute(f"CREATE DATABASE {name}")
        server.execute("CREATE TABLE numbers AS SELECT 42 AS value", name)
        server.execute("GRANT SELECT ON numbers TO PUBLIC", name)
    server.execute("REVOKE SELECT ON numbers FROM PUBLIC", "fails_a")
    collector = declared(
        "postgres",
        "numbers",
        "SELECT value FROM public.numbers",
        labels=("database",),
        every=0.05,
        each_database=True,
    )
    config = config_of(server, databases={"include": ["fails_a", "works_b"]}, collectors={"numbers": True})
    try:
        with watched(config, collector) as one:
            # A breaker would open at the third.
            for _ in range(6):
                one.background(one.slow_tasks())
                last = one.latest["numbers"]
                assert last.state is State.FAILED
                assert last.reason is Reason.PERMISSION
                assert "fails_a" in last.message
                assert last.series == 1
            assert one.tasks["numbers"].cost.queries == 12
            assert one.sessions.connections == 0
            assert sessions(server) == 0
    finally:
        for name in ("fails_a", "works_b"):
            server.execute(f"DROP DATABASE {name}")


@pytest.mark.engine("postgres")
def test_what_goes_through_databases_together_takes_its_own_time(server: DatabaseServer) -> None:
    quick, slow = (
        declared("postgres", name, sql, labels=("database",), every=60, each_database=True)
        for name, sql in (("quick", "SELECT 1 AS value"), ("slow", "SELECT 1 AS value FROM pg_sleep(1.5)"))
    )
    with watched(config_of(server, databases={"include": ["postgres"]}), quick, slow) as one:
        one.background(one.slow_tasks())
        took = {name: one.latest[name].duration for name in ("quick", "slow")}
        asked = one.tasks["quick"].cost.seconds
    assert took["slow"] >= 1.5
    # All of it but the slow one's.
    assert asked <= took["quick"] < took["slow"] - 0.25


@pytest.mark.engine("postgres")
def test_a_database_dropped_after_it_was_listed_is_no_failure(
    server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = declared("postgres", "numbers", labels=("database",), every=60, each_database=True)
    engine = ENGINES["postgres"]
    listed = engine.databases
    monkeypatch.setattr(
        type(engine),
        "databases",
        lambda _, session, deadline: {"dropped_long_ago": None, **listed(session, deadline)},
    )
    with watched(config_of(server), collector) as one:
        one.background(one.slow_tasks())
        last = one.latest["numbers"]
        assert (last.state, last.reason) == (State.OK, None)
        assert last.series >= 1


@pytest.mark.engine("postgres")
def test_a_server_that_falls_silent_is_not_asked_for_each_of_its_databases(
    server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = declared("postgres", "numbers", labels=("database",), every=7200, each_database=True)
    with Proxy(server.host, server.port) as proxy:
        config = config_of(server, port=proxy.port, timeouts={"connect": 2})

        def databases(*_: Any) -> dict[str, None]:
            proxy.silence()
            return {f"database_{number}": None for number in range(100)}

        monkeypatch.setattr(type(ENGINES["postgres"]), "databases", databases)
        with watched(config, collector) as one:
            started = time.monotonic()
            one.background(one.slow_tasks())
            # Not a hundred times two seconds.
            assert time.monotonic() - started < 20
            assert one.latest["numbers"].reason is Reason.TIMEOUT


def test_a_silent_server_is_tried_once_for_all_slow_collectors(server: DatabaseServer) -> None:
    names = [f"slow_{number}" for number in range(8)]
    with Proxy(server.host, server.port) as proxy:
        config = config_of(server, port=proxy.port, timeouts={"connect": 3})
        with watched(config, *(declared(server.engine, name, every=60) for name in names)) as one:
            one.background(one.slow_tasks())
            assert {one.latest[name].state for name in names} == {State.OK}
            proxy.silence()
            started = time.monotonic()
            one.background(one.slow_tasks())
            # Not eight times three seconds.
            assert time.monotonic() - started < 12
            assert {one.latest[name].reason for name in names} == {Reason.TIMEOUT}
            assert one.sessions.connections == 0


# -- the server itself -----------------------------------------------------------------------------


@pytest.mark.flavor("mysql")
def test_collectors_that_hang_leave_the_server_up(server: DatabaseServer) -> None:
    # MySQL's own limit knows SELECT only, so these last until the client gives up, and are killed then.
    hang = [declared("mysql", f"hangs_{number}", "DO SLEEP(60)", timeout=0.5) for number in range(2)]
    with watched(config_of(server, server.account()), *hang, declared("mysql", "fine")) as made:
        for _ in range(4):
            found = scrape(made)
            assert made.sessions.up is True
        assert {found[one.name].reason for one in hang} == {Reason.TIMEOUT}
        assert found["fine"].state is State.OK
        running = "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'DO SLEEP%'"
        assert wait_for(lambda: server.execute(running) == [(0,)], 10)


@pytest.mark.flavor("mysql")
def test_one_that_uses_up_the_time_of_the_scrape_leaves_the_server_up(server: DatabaseServer) -> None:
    hangs = declared("mysql", "hangs", "DO SLEEP(60)")
    with watched(config_of(server, server.account()), declared("mysql", "fine"), hangs) as made:
        for _ in range(2):
            found = scrape(made, 5)
            assert made.sessions.up is True
            assert found["fine"].state is State.OK
            assert found["hangs"].reason is Reason.TIMEOUT
        running = "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'DO SLEEP%'"
        assert wait_for(lambda: server.execute(running) == [(0,)], 10)


@pytest.mark.flavor("mysql")
def test_what_the_background_left_running_is_ended_within_the_connections_that_the_account_has(
    server: DatabaseServer,
) -> None:
    hangs = declared("mysql", "hangs", "DO SLEEP(60)", every=60, timeout=1)
    account = server.account()
    with watched(config_of(server, account), declared("mysql", "fine"), hangs, active_sessions) as made:
        scrape(made)
        assert made.sampler is not None
        made.sampler.sample()
        limit = "SELECT max_user_connections FROM mysql.user WHERE User = %s"
        assert server.execute(limit, params=(account.user,)) == [(sessions(server, account.user) + 1,)]
        made.background(made.slow_tasks())
        assert made.latest["hangs"].reason is Reason.TIMEOUT
        running = "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'DO SLEEP%'"
        # Every five seconds of a SLEEP the server looks by itself whether its client is there.
        assert wait_for(lambda: server.execute(running) == [(0,)], 3)
        # Samples go on.
        made.sampler.sample()
        assert scrape(made)["fine"].state is State.OK
        assert wait_for(lambda: sessions(server, account.user) == 2)


def test_a_wrong_password_is_tried_ever_more_seldom_than_a_connect(
    server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda _, high: high)
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    account = server.account()
    refused = config_of(server, Account(account.user, "not it"))
    gone = config_of(server, account, port=1)
    longest = {}
    for name, config in (("auth", refused), ("connect", gone)):
        waits.clear()
        with watched(config, declared(server.engine)) as one:
            for _ in range(9):
                assert scrape(one, 1000)["probe"].reason == name
        longest[name] = max(waits)
    assert longest["connect"] == pytest.approx(5, abs=0.5)
    assert longest["auth"] == pytest.approx(60, abs=1)


def test_scrapes_during_a_wait_do_not_prolong_it(server: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _, high: high)
    # Time passes only where somebody sleeps.
    now = 0.0
    tries = []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def refused(*_: Any, **__: Any) -> Any:
        tries.append(now)
        raise Failure(Reason.AUTH, "no", broken=True)

    config = config_of(server)
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr(type(ENGINES[server.engine]), "connect", refused)
    with watched(config, declared(server.engine)) as one:
        # In scrapes of half a second nobody waits for as long as the waits are.
        while now < 7:
            assert scrape(one, 0.5)["probe"].reason is Reason.AUTH
            sleep(0.05)
        assert one.sessions.failure is not None
        depth, trace = 0, one.sessions.failure.__traceback__
        while trace is not None:
            depth, trace = depth + 1, trace.tb_next
    # After waits of 0.5, 1 and 2 seconds; the next is of 4.
    assert tries == pytest.approx([0, 0.5, 1.5, 3.5], abs=0.1)
    # An exception that is raised at every scrape holds on to all of them.
    assert depth < 20


@pytest.mark.engine("postgres")
@pytest.mark.parametrize("by_name", [True, False])
def test_an_extension_created_while_running_is_noticed(
    server: DatabaseServer, fresh_server: Any, monkeypatch: pytest.MonkeyPatch, by_name: bool
) -> None:
    fresh = fresh_server(server.name)
    fresh.execute("DROP EXTENSION pg_stat_statements")
    config = config_of(fresh, collectors={"pg_statements": {"enabled": True} if by_name else {}})
    monkeypatch.setattr("random.uniform", lambda _, high: high)
    with watched(config) as one:
        for _ in range(4):
            scrape(one)
            one.background(one.slow_tasks())
        before = one.latest["pg_statements"]
        assert before.state == ("failed" if by_name else "unsupported")
        assert before.reason is Reason.MISSING_EXTENSION
        assert before.fix == "in database postgres: CREATE EXTENSION pg_stat_statements;"
        fresh.execute("CREATE EXTENSION pg_stat_statements")
        scrape(one)
        one.background(one.slow_tasks())
        assert one.latest["pg_statements"].reason is before.reason
        monkeypatch.setattr(polling_sessions, "FACTS_SECONDS", 0.0)
        scrape(one)
        one.background(one.slow_tasks())
        assert one.latest["pg_statements"].state == "ok"
        assert one.sessions.identity_changes == 0


@pytest.mark.engine("postgres")
@pytest.mark.parametrize(
    "change",
    [
        "ALTER EXTENSION pg_stat_statements SET SCHEMA moved",
        # It has no column `toplevel`.
        "DROP EXTENSION pg_stat_statements; CREATE EXTENSION pg_stat_statements VERSION '1.8'",
    ],
)
def test_an_extension_that_is_changed_while_running_is_read_on(
    server: DatabaseServer, fresh_server: Any, change: str
) -> None:
    fresh = fresh_server(server.name)
    newest = fresh.execute("SELECT extversion FROM pg_extension WHERE extname = 'pg_stat_statements'")
    if "1.8" in change and newest == [("1.8",)]:
        pytest.skip("it has no newer one")
    fresh.execute("CREATE SCHEMA moved; GRANT USAGE ON SCHEMA moved TO PUBLIC")
    with watched(config_of(fresh)) as one:
        tasks = [one.tasks["pg_statements"]]

        def run() -> Snapshot:
            scrape(one)
            one.background(tasks)
            return one.latest["pg_statements"]

        assert run().state is State.OK
        known = one.sessions.facts
        assert run().state is State.OK
        assert one.sessions.facts is known
        fresh.execute(change)
        between = one.sessions.facts
        one.background(tasks)
        assert one.latest["pg_statements"].reason is not None
        # It is there, so to create it would not mend it.
        assert one.latest["pg_statements"].fix is None
        assert one.sessions.facts is between
        assert run().state is State.OK
        # That costs a server one look, whatever failed.
        known = one.sessions.facts
        assert run().state is State.OK
        assert one.sessions.facts is known
        fresh.execute("DROP EXTENSION pg_stat_statements")
        for _ in range(2):
            dropped = run()
        assert dropped.fix == "in database postgres: CREATE EXTENSION pg_stat_statements;"


def test_a_privilege_granted_while_running_is_noticed(server: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    account = server.account()
    sqls = {"probe": "SELECT 1 AS value"}
    if server.engine == "postgres":
        server.execute("REVOKE pg_monitor FROM exporter")
        privilege, grant = "pg_monitor", "GRANT pg_monitor TO exporter"
    else:
        server.execute("REVOKE PROCESS ON *.* FROM exporter")
        privilege, grant = "PROCESS", "GRANT PROCESS ON *.* TO exporter"
        # The one is refused without it, the other shows what is our own.
        sqls["refused"] = "SELECT COUNT(*) >= 0 AS value FROM information_schema.INNODB_TRX"
        sqls["cut"] = "SELECT COUNT(DISTINCT USER) > 1 AS value FROM information_schema.PROCESSLIST"
    gate = granted(privilege, fix=f"{grant};")
    gated = [replace(declared(server.engine, name, sql), when=gate) for name, sql in sqls.items()]
    monkeypatch.setattr("random.uniform", lambda _, high: high)
    config = config_of(server, account, collectors=dict.fromkeys(sqls, True))
    with watched(config, *gated) as one, server.connect():
        for _ in range(4):
            assert {snapshot.reason for snapshot in scrape(one).values()} == {Reason.PERMISSION}
        server.execute(grant)
        monkeypatch.setattr(polling_sessions, "FACTS_SECONDS", 0.0)
        # MySQL shows a session the privileges that its account has now, and lets it do what it could when it began.
        for name, snapshot in scrape(one).items():
            assert snapshot.state is State.OK, name
            assert [family.text.split()[-1] for family in snapshot.families] == ["1"], name
        # That takes a new session once, and none where nothing has changed.
        before = one.sessions._main
        scrape(one)
        assert one.sessions._main is before


@pytest.mark.engine("postgres")
def test_a_promotion_changes_the_role_and_drops_what_was_slow(server: DatabaseServer, fresh_server: Any) -> None:
    primary = fresh_server(server.name)
    account = primary.account()
    standby = primary.replica()
    with watched(config_of(standby, account)) as one:
        scrape(one)
        one.background(one.slow_tasks())
        assert one.sessions.facts is not None
        assert one.sessions.facts.role == "replica"
        assert one.served(one.tasks["pg_database_sizes"]) is not None
        assert one.latest["pg_stat_wal_receiver"].state is State.OK
        one.sessions.changed.clear()
        standby.execute("SELECT pg_promote()")
        wait_for(lambda: not standby.execute("SELECT pg_is_in_recovery()")[0][0])
        results = scrape(one)
        assert one.sessions.facts.role == "primary"
        assert one.sessions.identity_changes == 1
        assert results["pg_stat_wal_receiver"].state is State.UNSUPPORTED
        assert one.served(one.tasks["pg_database_sizes"]) is None
        # So that the slow tier does not let what is missing wait for its interval.
        assert one.sessions.changed.is_set()
        one.background(one.slow_tasks())
        assert one.served(one.tasks["pg_database_sizes"]) is not None
        scrape(one)
        assert one.sessions.identity_changes == 1


def test_another_server_or_a_restart_gives_what_failed_another_chance(
    server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda _, high: high)
    with watched(config_of(server), declared(server.engine, "wrong", "SELECT no_such_column")) as one:
        for _ in range(4):
            scrape(one)
        assert one.tasks["wrong"].cost.queries == 3
        # MySQL tells its start in whole seconds.
        assert wait_for(lambda: _uptime(server) >= 3)
        server.restart()
        scrape(one)
        assert one.sessions.up
        assert one.tasks["wrong"].cost.queries == 4


def _uptime(server: DatabaseServer) -> float:
    if server.engine == "postgres":
        return float(server.execute("SELECT extract(epoch FROM now() - pg_postmaster_start_time())")[0][0])
    return float(server.execute("SHOW GLOBAL STATUS LIKE 'Uptime'")[0][1])


def totals(page: Samples) -> float:
    return sum(value for _, value in page.all("db_statements_total"))


@pytest.mark.flavor("postgres", "mysql")
def test_statement_totals_fall_neither_at_a_restart_nor_at_a_failover(
    server: DatabaseServer, fresh_server: Any, exporter: Start
) -> None:
    first = fresh_server(server.name)
    account = first.account()
    second = first.replica()
    second.wait_until_caught_up()
    collector = "pg_statements" if server.engine == "postgres" else "mysql_statements"
    database = "postgres" if server.engine == "postgres" else "mysql"

    def work(on: DatabaseServer, times: int) -> None:
        with on.connect(database) as session, session.cursor() as cursor:
            for _ in range(times):
                cursor.execute("SELECT 1 + 1")

    def grown(running: Exporter, beyond: float) -> float:
        seen = [beyond]

        def condition(page: Samples) -> bool:
            if page.has("db_statements_total"):
                now = totals(page)
                assert now >= seen[-1], f"{now} after {seen[-1]}"
                seen.append(now)
            return seen[-1] >= beyond + 100

        running.scrape_until(condition, "moving")
        return seen[-1]

    with Proxy(first.host, first.port) as proxy:
        url = first.url(account).replace(f":{first.port}/", f":{proxy.port}/")
        running = exporter({"name": "moving", "url": url, "collectors": {collector: {"every": "1s"}}})
        running.scrape_until(lambda page: page.has("db_statements_total"), "moving")
        work(first, 150)
        before = grown(running, totals(running.scrape("moving")) - 100)
        work(first, 200)
        before = grown(running, before)
        began = running.scrape("moving").value("db_start_time_seconds")
        first.restart()
        # A page of a moment ago, from before the restart, is shared with whoever comes soon after it.
        running.scrape_until(
            lambda page: (
                page.value("db_up") == 1
                and page.has("db_start_time_seconds")
                and page.value("db_start_time_seconds") > began + 1
                and page.has("db_statements_total")
            ),
            "moving",
        )
        work(first, 200)
        before = grown(running, before)
        proxy.move(second.host, second.port)
        running.scrape_until(lambda page: page.value("db_identity_changes_total") == 1, "moving")
        running.scrape_until(lambda page: page.has("db_statements_total"), "moving")
        work(second, 200)
        grown(running, before)


# -- scrapes and their end -------------------------------------------------------------------------


def test_scrapes_that_come_together_are_one(server: DatabaseServer) -> None:
    sleep = (
        "SELECT pg_sleep(0.5)::text IS NULL AS value" if server.engine == "postgres" else "SELECT SLEEP(0.5) AS value"
    )
    config = config_of(server)
    scrapes = Scrapes([config], ENGINES, [declared(server.engine, "naps", sleep)])
    try:
        with ThreadPoolExecutor(8) as crowd:
            flights = list(crowd.map(lambda _: scrapes.start(config.name, Deadline.after(SECONDS)), range(8)))
        assert len(set(map(id, flights))) == 1
        flights[0].future.result(SECONDS)
        assert flights[0].results["naps"].state is State.OK
        # Just landed: shared too.
        assert scrapes.start(config.name, Deadline.after(SECONDS)) is flights[0]
        time.sleep(1.1)
        later = scrapes.start(config.name, Deadline.after(SECONDS))
        assert later is not flights[0]
        later.future.result(SECONDS)
        assert scrapes.servers[config.name].scrapes == 2
    finally:
        scrapes.close(5)


def test_nothing_is_left_behind_on_the_server(server: DatabaseServer) -> None:
    account = server.account()
    config = config_of(server, account)
    scrapes = Scrapes([config], ENGINES, collectors_of(server.engine))
    slow = SlowTier(scrapes.servers.values())
    one = scrapes.servers[config.name]
    try:
        slow.start()
        scrapes.start(config.name, Deadline.after(SECONDS)).future.result(SECONDS)
        wait_for(lambda: all(task.name in one.latest for task in one.slow_tasks()))
        assert sessions(server) >= 1
        assert one.sessions.connections >= 1
    finally:
        slow.stop()
        scrapes.close(5)
    wait_for(lambda: sessions(server) == 0, 10)
    wait_for(lambda: one.sessions.connections == 0, 10)
    # Closed is closed: a scrape that comes too late ends at once and connects to nothing.
    late = scrapes.start(config.name, Deadline.after(SECONDS))
    late.future.result(5)
    assert sessions(server) == 0


@pytest.mark.parametrize("every", [15, 60])
def test_the_second_session_is_kept_for_what_comes_soon_again(server: DatabaseServer, every: float) -> None:
    """But for MySQL, where a session has the privileges that the account had when it was opened."""
    kept = 2 if (server.engine, every) == ("postgres", 15) else 1
    own = {"postgres": "pg_backend_pid()", "mysql": "connection_id()"}[server.engine]
    background = declared(server.engine, "background", f"SELECT {own} AS value", every=every)
    ids = set()
    with watched(config_of(server), declared(server.engine), background) as one:
        for _ in range(3):
            scrape(one)
            one.background(one.slow_tasks())
            # As many as we say, counted by the server.
            assert one.sessions.connections == kept
            wait_for(lambda: sessions(server) == kept)
            ids.add(one.good["background"].families[0].text)
    assert len(ids) == (1 if kept == 2 else 3)
    wait_for(lambda: sessions(server) == 0)
