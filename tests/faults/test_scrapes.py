"""What goes wrong at three in the morning: each fault has its reason, its bound, and leaves the rest intact."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.alone import alone, sessions_of
from tests.exporters import (  # noqa: F401 - a fixture among them
    Exporter,
    Proxy,
    Samples,
    Start,
    server_entry,
    starting,
    wait_for,
)
from tests.providers.base import DatabaseServer

# What Prometheus allows a scrape in these tests, and with it the bound that every fault has to keep.
BUDGET = 5.0
# What a busy machine may add to it; a fault that is waited for takes longer than both.
SLACK = 5.0
CANARY = "canary-7f3a!&#;%@?"


def bounded(exporter: Exporter, target: str) -> Samples:
    """Scrape as Prometheus does, and hold the exporter to what it was allowed."""
    # A result younger than a second is reused; these tests want to know what is true now.
    time.sleep(1.1)
    started = time.monotonic()
    samples = exporter.scrape(target, timeout=BUDGET)
    assert time.monotonic() - started < BUDGET + SLACK
    return samples


def is_up(samples: Samples, server: str) -> bool:
    return samples.value("db_up", server=server) == 1


def test_a_stopped_server_is_down_in_time_and_right_again_at_the_next_scrape(
    server: DatabaseServer, exporter: Start
) -> None:
    running = exporter(server_entry(server, server.account()))
    before = bounded(running, server.name)
    assert is_up(before, server.name)
    server.pause()
    try:
        stopped = bounded(running, server.name)
        again = bounded(running, server.name)
    finally:
        server.resume()
    for samples in (stopped, again):
        assert not is_up(samples, server.name)
        assert samples.has("database_exporter_server_failure", server=server.name, reason="timeout")
        peer = "pg_up" if server.engine == "postgres" else "mysql_up"
        assert samples.value(peer, server=server.name) == 0
        # Success is told also when nothing could be read.
        success = samples.all("database_exporter_collector_success", server=server.name)
        assert success
        # What the server did not offer before is still no failure of the moment.
        news = samples.failures(server.name).items() - before.failures(server.name).items()
        assert {reason for _, reason in news} == {"timeout"}
        # A number of a server that does not answer would be a stale one.
        assert not samples.has("db_connections", server=server.name)
        assert samples.has("db_threshold", server=server.name, signal="connections", severity="warning")
    assert is_up(bounded(running, server.name), server.name)


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_peer_that_accepts_and_stays_silent_is_down_in_time(scheme: str, exporter: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        running = exporter({"name": "silent", "url": f"{scheme}://u:p@127.0.0.1:{port}/"})
        samples = bounded(running, "silent")
    assert not is_up(samples, "silent")
    assert samples.has("database_exporter_server_failure", reason="timeout")


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_refused_connection_is_told_at_once(scheme: str, exporter: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    names = [f"gone{number}" for number in range(5)]
    running = exporter(*({"name": name, "url": f"{scheme}://u:p@127.0.0.1:{port}/"} for name in names))
    taken = []
    for name in names:
        started = time.monotonic()
        samples = running.scrape(name, timeout=BUDGET)
        taken.append(time.monotonic() - started)
        assert not is_up(samples, name)
        assert samples.has("database_exporter_server_failure", reason="connect")
    # One of them in a moment when the machine had time.
    assert min(taken) < 1.0


def test_a_name_that_does_not_resolve_has_its_reason(exporter: Start) -> None:
    running = exporter({"name": "lost", "url": "postgresql://u:p@no-such-host.invalid/postgres"})
    samples = bounded(running, "lost")
    assert samples.has("database_exporter_server_failure", reason="dns")


def test_one_bad_server_leaves_the_others_complete(server: DatabaseServer, exporter: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        running = exporter(
            server_entry(server, server.account()),
            {"name": "silent", "url": f"postgresql://u:p@127.0.0.1:{port}/"},
            {"name": "silent2", "url": f"mysql://u:p@127.0.0.1:{port}/"},
        )
        started = time.monotonic()
        both = running.scrape(timeout=BUDGET)
        assert time.monotonic() - started < BUDGET + SLACK
        alone = running.scrape(server.name)
    assert not is_up(both, "silent")
    assert is_up(both, server.name)
    # What runs in the background comes when it comes; what runs at a scrape is all there.
    at_scrape = {"db_connections", "db_connections_max", "db_cache_hits_total"}
    assert at_scrape <= both.names(server=server.name)
    assert at_scrape <= alone.names(server=server.name)


def test_a_wrong_password_has_its_reason_and_shows_nowhere(server: DatabaseServer, exporter: Start) -> None:
    account = server.account()
    url = server.url(account).rsplit("@", 1)[1]
    scheme = "postgresql" if server.engine == "postgres" else "mysql"
    running = exporter(
        {"name": "shut", "url": f"{scheme}://{url}", "user": account.user, "password": CANARY},
    )
    samples = bounded(running, "shut")
    assert samples.has("database_exporter_server_failure", reason="auth")
    for page in ("/metrics", "/", "/sd", "/probe?target=shut", "/probe?target=nobody"):
        assert "canary" not in running.get(page)[1]
    assert "canary" not in running.log()


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://user:{CANARY}@host:port/db",
        f"postgresql//user:{CANARY}@host/db",
        f"host=h user=u password='{CANARY} unclosed",
        f"mysql://user:{CANARY}@[::1/db",
    ],
)
def test_a_malformed_dsn_is_refused_without_being_shown(dsn: str, tmp_path: Path) -> None:
    broken = Exporter(tmp_path, None, env={"DATA_SOURCE_NAME": dsn})
    try:
        code = broken.process.wait(30)
    finally:
        broken.stop()
    assert code == 2
    log = broken.log()
    assert "DATA_SOURCE_NAME" in log
    assert "canary" not in log
    assert "Traceback" not in log


def test_twelve_scrapes_at_once_are_one_run_within_the_connections(server: DatabaseServer, exporter: Start) -> None:
    running = exporter(server_entry(server, server.account(), timeouts={"connect": 60, "statement": 60}))
    # Before the crowd, so that the session is there and the count of scrapes starts somewhere.
    before = running.scrape(server.name)
    time.sleep(1.2)
    scrapes = "pg_exporter_scrapes_total" if server.engine == "postgres" else "mysql_exporter_scrapes_total"
    most, done = 0, threading.Event()

    def count() -> None:
        nonlocal most
        while not done.is_set():
            most = max(most, sessions_of(server, "exporter", 3))

    counter = threading.Thread(target=count)
    counter.start()
    try:
        # None of them is done before all of them are there.
        server.pause()
        try:
            crowd = [ask(running, server.name) for _ in range(12)]
            # What comes in is read in turn: who is answered twice now came after them.
            for _ in range(2):
                assert running.get("/-/healthy")[0] == 200
        finally:
            server.resume()
        pages = [Samples.of(answer(connection)) for connection in crowd]
    finally:
        done.set()
        counter.join()
    assert {page.value(scrapes, server=server.name) for page in pages} == {
        before.value(scrapes, server=server.name) + 1
    }
    assert 1 <= most <= 3


def ask(exporter: Exporter, target: str) -> HTTPConnection:
    """Ask for a page without waiting for it."""
    connection = HTTPConnection(*exporter.address, timeout=60)
    connection.request("GET", f"/probe?target={target}", headers={"X-Prometheus-Scrape-Timeout-Seconds": "60"})
    return connection


def answer(connection: HTTPConnection) -> str:
    with contextlib.closing(connection):
        return connection.getresponse().read().decode()


def test_a_full_server_is_full_and_not_gone(server: DatabaseServer, fresh_server: Any, exporter: Start) -> None:
    settings = {"max_connections": "8"}
    full = fresh_server(server.name, settings)
    account = full.account()
    held = []
    with contextlib.ExitStack() as stack:
        # The crowd comes as an ordinary account, which can't have the slots kept for administrators, and before us,
        # whose session would stay.
        crowd = full.account(name="crowd", limit=100)
        alone(stack.enter_context(full.connect()))
        with contextlib.suppress(Exception):
            while len(held) < 30:
                held.append(stack.enter_context(full.connect(user=crowd.user, password=crowd.password)))
        assert len(held) < 30
        running = exporter(server_entry(full, account))
        samples = bounded(running, full.name)
        assert not is_up(samples, full.name)
        assert samples.has("database_exporter_server_failure", reason="too_many_connections")
        assert "full" in running.log()
    wait_for(lambda: is_up(running.scrape(full.name), full.name))
    # Now it has its session, and a full server no longer shuts it out.
    with contextlib.ExitStack() as stack:
        held.clear()

        def as_many_as_fit() -> int:
            with contextlib.suppress(Exception):
                while len(held) < 30:
                    held.append(stack.enter_context(full.connect(user=crowd.user, password=crowd.password)))
            return len(held)

        # Those of before take a while to be gone. Five slots, of which two may be ours.
        assert wait_for(lambda: as_many_as_fit() >= 3)
        samples = bounded(running, full.name)
        assert is_up(samples, full.name)
        assert sum(value for _, value in samples.all("db_connections", server=full.name)) >= 3


def test_a_restart_is_noticed_and_is_no_other_server(server: DatabaseServer, exporter: Start) -> None:
    running = exporter(server_entry(server, server.account()))
    before = running.scrape(server.name)
    server.restart()
    after = bounded(running, server.name)
    assert is_up(after, server.name)
    assert after.value("db_start_time_seconds", server=server.name) > before.value(
        "db_start_time_seconds", server=server.name
    )
    assert after.value("db_identity_changes_total", server=server.name) == 0


@pytest.mark.engine("postgres")
def test_another_server_at_the_address_is_noticed(server: DatabaseServer, fresh_server: Any, exporter: Start) -> None:
    other = fresh_server(server.name, {"max_connections": "33"})
    account = server.account()
    other.account()
    with Proxy(server.host, server.port) as proxy:
        url = server.url(account).replace(f":{server.port}/", f":{proxy.port}/")
        running = exporter({"name": "moved", "url": url})
        before = running.scrape_until(lambda page: page.has("db_size_bytes", server="moved"), "moved")
        other.execute("CREATE DATABASE only_over_there")
        proxy.move(other.host, other.port)
        after = bounded(running, "moved")
        assert is_up(after, "moved")
        assert after.value("db_identity_changes_total", server="moved") == 1
        assert after.value("db_connections_max", server="moved") == 33
        assert before.value("db_connections_max", server="moved") != 33
        # What the slow tier had is of the old server: gone at once, and asked anew soon, not after its interval.
        sizes = {labels["database"] for labels, _ in after.all("db_size_bytes", server="moved")}
        assert not sizes or "only_over_there" in sizes
        running.scrape_until(lambda page: page.has("db_size_bytes", database="only_over_there"), "moved")
        proxy.silence()
        silent = bounded(running, "moved")
        assert not is_up(silent, "moved")
        assert silent.has("database_exporter_server_failure", reason="timeout")


@pytest.mark.engine("postgres")
def test_a_locked_table_holds_nothing_up(server: DatabaseServer, exporter: Start) -> None:
    server.execute("CREATE DATABASE locks")
    try:
        server.execute("CREATE TABLE IF NOT EXISTS held (id int PRIMARY KEY)", "locks")
        running = exporter(server_entry(server, server.account()))
        with server.connect("locks") as session:
            session.autocommit = False
            session.execute("LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
            assert is_up(bounded(running, server.name), server.name)

            def fine(page: Samples) -> bool:
                """Without any failure; a busy machine has one now and then, and a lock that is waited for each time."""
                known = page.has("db_schema_size_bytes", server=server.name, database="locks", schema="public")
                return known and page.failures(server.name) == {}

            slow = running.scrape_until(fine, server.name)
            assert slow.has("db_size_bytes", database="locks")
            session.rollback()
    finally:
        wait_for(lambda: _drop(server, "locks"))


def _drop(server: DatabaseServer, database: str) -> bool:
    with contextlib.suppress(Exception):
        server.execute(f"DROP DATABASE {database}")
        return True
    return False


@pytest.mark.engine("postgres")
def test_a_database_dropped_between_two_scrapes_just_vanishes(server: DatabaseServer, exporter: Start) -> None:
    server.execute("CREATE DATABASE short_lived")
    running = exporter(
        server_entry(server, server.account(), collectors={"pg_database_sizes": {"every": "1s"}}),
    )
    running.scrape_until(lambda page: page.has("db_size_bytes", database="short_lived"), server.name)
    # Nothing of ours may stand in its way.
    server.execute("DROP DATABASE short_lived")
    after = running.scrape_until(
        lambda page: not page.has("db_size_bytes", database="short_lived") and page.failures(server.name) == {},
        server.name,
    )
    assert is_up(after, server.name)
    assert not after.has("pg_stat_database_xact_commit", datname="short_lived")


@pytest.mark.engine("postgres")
def test_many_databases_cost_no_more_connections(fresh_server: Any, server: DatabaseServer, exporter: Start) -> None:
    many = fresh_server(server.name)
    for number in range(25):
        many.execute(f"CREATE DATABASE tenant_{number} TEMPLATE template0")
        many.execute("CREATE TABLE t AS SELECT generate_series(1, 100) AS id; ANALYZE t", f"tenant_{number}")
    running = exporter(server_entry(many, many.account(), collectors={"pg_table_sizes": {"every": "1s"}}))
    most = 0
    end = time.monotonic() + 120
    while time.monotonic() < end:
        most = max(most, sessions_of(many, "exporter", 3))
        samples = running.scrape(many.name)
        found = {labels["database"] for labels, _ in samples.all("db_schema_size_bytes", server=many.name)}
        if {f"tenant_{number}" for number in range(25)} <= found:
            break
    else:
        pytest.fail(f"only {sorted(found)}")
    assert most <= 3
    running.scrape_until(lambda page: page.failures(many.name) == {}, many.name)


def test_a_paused_server_is_left_alone(server: DatabaseServer, exporter: Start) -> None:
    account = server.account()
    running = exporter(server_entry(server, account, paused=True))
    time.sleep(1.5)
    samples = running.scrape(server.name)
    assert sessions_of(server, "exporter", 0) == 0
    assert not samples.has("db_up")
    states = samples.all("database_exporter_collector_state", server=server.name)
    assert {labels["state"] for labels, _ in states} <= {"paused", "disabled"}
    assert any(labels["state"] == "paused" for labels, _ in states)


def test_a_hung_server_holds_up_neither_the_samples_nor_the_scrapes_of_others(
    postgres: DatabaseServer, mysql: DatabaseServer, exporter: Start
) -> None:
    running = exporter(server_entry(postgres, postgres.account()), server_entry(mysql, mysql.account()))
    unobserved = "db_active_session_unobserved_seconds_total"
    for server in (postgres, mysql):
        running.scrape_until(lambda page: page.has(unobserved), server.name)

    def samples(page: Samples, server: DatabaseServer) -> float:
        [(_, count)] = [
            found
            for name in ("pg_active_sessions", "mysql_active_sessions")
            for found in page.all("database_exporter_queries_total", server=server.name, collector=name)
        ]
        return count

    mysql.pause()
    try:
        begun = time.monotonic()
        before = bounded(running, postgres.name)
        beyond = samples(before, postgres) + 8
        after = running.scrape_until(lambda page: samples(page, postgres) >= beyond, postgres.name)
        assert is_up(after, postgres.name)
        assert after.value(unobserved) == before.value(unobserved)
        hung = bounded(running, mysql.name)
        assert not is_up(hung, mysql.name)
        paused = time.monotonic() - begun
    finally:
        mysql.resume()
    again = running.scrape_until(
        lambda page: page.has(unobserved) and not page.failures(mysql.name).get("mysql_active_sessions"), mysql.name
    )
    # A sample before and one after stand for some of the time.
    assert again.value(unobserved) >= paused - 7
    assert again.value(unobserved) > 0
