"""Addresses that move, servers that come back, clients in a hurry: what is shown is of the server that answers now."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.config import server_from_dsn
from exporter.declare import Rows
from exporter.engines.deadline import Deadline
from exporter.engines.known import ENGINES
from exporter.polling import background as polling_background
from exporter.polling.flight import Flight
from exporter.polling.second import KEPT_SECONDS
from exporter.polling.server import Watched
from exporter.polling.sessions import _CONNECT_BACKOFF_SECONDS
from exporter.registry import collectors_by_name
from tests.exporters import Exporter, Proxy, server_entry
from tests.providers.base import DatabaseServer

Start = Callable[..., Exporter]


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:
        yield lambda *servers: stack.enter_context(Exporter(tmp_path, {"servers": list(servers)}))


def watch(server: DatabaseServer, **config: Any) -> Watched:
    entry = server_from_dsn(server.url(server.account()), **config)
    return Watched(entry, ENGINES[server.engine], collectors_by_name().values())


def scrape(watched: Watched, seconds: float = 8.0) -> Flight:
    flight = Flight(Deadline.after(seconds))
    flight.flown = True
    watched.scrape(flight)
    flight.land()
    return flight


def test_a_client_in_a_hurry_spoils_nothing(server: DatabaseServer, exporter: Start) -> None:
    running = exporter(server_entry(server, server.account()))
    running.scrape(server.name)
    for _ in range(3):
        time.sleep(1.05)
        hurried = running.scrape(server.name, timeout=0.001)
        # It may come too early for an answer, and then it says nothing rather than `down`.
        assert [value for _, value in hurried.all("db_up", server=server.name)] in ([], [1.0])
        patient = running.scrape(server.name, timeout=5)
        assert patient.value("db_up", server=server.name) == 1
        assert patient.has("db_connections", server=server.name)
    assert "is down" not in running.log()


@pytest.mark.engine("postgres")
def test_an_address_that_moves_while_the_old_session_lives(
    server: DatabaseServer, fresh_server: Any, exporter: Start
) -> None:
    other = fresh_server(server.name, {"max_connections": "33"})
    other.account()
    with Proxy(server.host, server.port) as proxy:
        url = server.url(server.account()).replace(f":{server.port}/", f":{proxy.port}/")
        running = exporter({"name": "moved", "url": url, "collectors": {"pg_statements": {"every": "1s"}}})
        running.scrape_until(lambda page: page.has("db_statements_total", server="moved"), "moved")
        # New connections go to the other server, what is open stays where it is.
        proxy.upstream = (other.host, other.port)
        after = running.scrape_until(
            lambda page: page.value("db_connections_max", server="moved") == 33, "moved", seconds=KEPT_SECONDS + 20
        )
        assert after.value("db_identity_changes_total", server="moved") == 1
        running.scrape_until(
            lambda page: (
                page.value("database_exporter_collector_success", server="moved", collector="pg_statements") == 1
            ),
            "moved",
        )


@pytest.mark.engine("postgres")
def test_a_reading_of_the_old_server_is_not_kept_for_the_new_one(
    postgres: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watch(postgres)
    scrape(watched)
    task = watched.tasks["pg_database_sizes"]
    read = polling_background.read

    def read_while_another_takes_over(*args: Any) -> Any:
        reading = read(*args)
        watched.sessions.generation += 1
        watched._forget()
        return reading

    monkeypatch.setattr(polling_background, "read", read_while_another_takes_over)
    watched.background([task])
    assert task.name not in watched.good
    assert watched.latest[task.name].reason == "connect"
    monkeypatch.undo()
    watched.background([task])
    assert watched.served(task) is not None
    watched.close()


def test_a_dead_server_is_not_knocked_at_by_the_background(
    server: DatabaseServer, fresh_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mortal = fresh_server(server.name)
    watched = watch(mortal)
    assert scrape(watched).answered
    mortal.stop()
    scrape(watched)
    assert watched.sessions.up is False
    connects = 0

    def connect(*_: Any, **__: Any) -> Any:
        nonlocal connects
        connects += 1
        raise AssertionError("nobody should connect")

    with monkeypatch.context() as patched:
        patched.setattr(type(watched.engine), "connect", connect)
        # Longer than any backoff after a refused connect, which would hold it back too.
        time.sleep(_CONNECT_BACKOFF_SECONDS + 0.5)
        watched.background(watched.slow_tasks())
    assert connects == 0
    mortal.start()
    assert scrape(watched).answered
    watched.background(watched.slow_tasks())
    assert any(watched.served(task) for task in watched.slow_tasks())
    watched.close()


def test_an_answer_that_comes_late_makes_no_other_server(server: DatabaseServer) -> None:
    watched = watch(server)
    scrape(watched)
    sessions = watched.sessions
    before = (sessions.generation, sessions.identity_changes)
    asleep = threading.Timer(3.0, server.resume)
    server.pause()
    asleep.start()
    try:
        assert scrape(watched, 15).answered
    finally:
        asleep.join()
    # And the next one in time, which is no other server than the one that was late.
    time.sleep(1.05)
    assert scrape(watched).answered
    assert (sessions.generation, sessions.identity_changes) == before
    watched.close()


@pytest.mark.engine("mysql")
@pytest.mark.parametrize("clock", ["UNIX_TIMESTAMP() + 300", "UNIX_TIMESTAMP() - 300", "1"])
def test_a_clock_that_is_set_makes_no_other_server(server: DatabaseServer, clock: str) -> None:
    watched = watch(server)
    scrape(watched)
    session, facts = watched.sessions.main(Deadline.after(5))
    # For this session it is as if the machine's clock had been set, also to before the server's start.
    session.run(f"SET timestamp = {clock}", Deadline.after(5))
    shifted = watched.engine.identify(session, Deadline.after(5))
    assert facts.identity.same_server(shifted)
    assert shifted.start_time == facts.identity.start_time
    time.sleep(1.05)
    assert scrape(watched).answered
    assert (watched.sessions.generation, watched.sessions.identity_changes) == (0, 0)
    watched.close()


@pytest.mark.flavor("mariadb")
def test_a_server_id_that_is_set_makes_no_other_server(server: DatabaseServer) -> None:
    watched = watch(server)
    scrape(watched)
    before = watched.sessions.facts
    [(number,)] = server.execute("SELECT @@GLOBAL.server_id")
    server.execute(f"SET GLOBAL server_id = {int(number) + 1}")
    time.sleep(1.05)
    assert scrape(watched).answered
    assert (watched.sessions.generation, watched.sessions.identity_changes) == (0, 0)
    assert before is not None
    session, facts = watched.sessions.main(Deadline.after(5))
    assert watched.engine.identify(session, Deadline.after(5)) == facts.identity != before.identity
    # Containers of one image may be alike in all else: to a session that was opened since, it is another server.
    server.execute(f"SET GLOBAL server_id = {int(number) + 2}")
    session.close()
    assert scrape(watched).answered
    assert (watched.sessions.generation, watched.sessions.identity_changes) == (1, 1)
    # After its restart it has again what its options say: another process, under another number.
    server.restart()
    assert scrape(watched).answered
    assert (watched.sessions.generation, watched.sessions.identity_changes) == (2, 2)
    watched.close()


def test_a_value_nobody_can_read_leaves_the_other_collectors_alone(
    server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watch(server)
    scrape(watched)
    session, _ = watched.sessions.main(Deadline.after(5))
    victim = next(task for task in watched.tasks.values() if task.every is None and task.samples is None)
    run = type(session).run
    wanted = victim.collector.queries[0].sql[:40]

    def strange(self: Any, sql: str, deadline: Deadline) -> Rows:
        if sql.startswith(wanted):
            raise ValueError("year 10000 is out of range")
        return run(self, sql, deadline)

    monkeypatch.setattr(type(session), "run", strange)
    flight = scrape(watched)
    monkeypatch.undo()
    failed = {name: outcome.reason for name, outcome in flight.results.items() if outcome.state == "failed"}
    assert failed == {victim.name: "error"}
    assert len(flight.results) > 5
    watched.close()
