"""Samplers: how often they ask, when they stop, and that none of them waits for another."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from exporter.config.model import ServerConfig
from exporter.declare import Collector, Query, Rows
from exporter.engines.deadline import Deadline
from exporter.facts import Facts, Identity, Role
from exporter.failure import Failure, Reason
from exporter.gates import ANY
from exporter.polling import sampler as module
from exporter.polling.flight import Flight
from exporter.polling.sampler import Sampler
from exporter.polling.sampling import Sampling
from exporter.polling.server import Watched
from exporter.polling.snapshot import Snapshot, State
from exporter.subjects.sessions import postgres
from exporter.subjects.sessions.totals import blocks
from tests.exporters import wait_for

COLLECTOR = Collector(
    name="sampled",
    about="A test.",
    engine="postgres",
    queries=(Query(ANY, "SAMPLE"),),
    sampled=postgres.sessions,
    timeout=0.9,
    limit=20,
    blocks=blocks("pg", "queryid", ANY),
)


class FakeSession:
    """A session that answers each sample with one active session, and says how long that took."""

    tls = None

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.closed = False
        self.statements = 0

    def run(self, sql: str, deadline: Deadline) -> Rows:
        self.statements += 1
        self.engine.asked.append((self, deadline.remaining()))
        if self.engine.failing is not None:
            self.closed = self.engine.failing.broken
            raise self.engine.failing
        row = ("a", True, None, self.engine.running, 1, self.engine.took)
        return Rows(("database", "active", "wait_event_type", "statement", "sessions", "took"), [row])

    def close(self) -> None:
        self.closed = True


class FakeEngine:
    """A server that does as it is told."""

    name = "postgres"
    tells_open_sessions = True

    def __init__(self) -> None:
        self.asked: list[tuple[FakeSession, float]] = []
        self.opened: list[FakeSession] = []
        self.failing: Failure | None = None
        self.ended: list[FakeSession] = []
        self.took: float | None = 0.001
        self.running = 7
        self.system = "one"

    def connect(self, *_: Any, **__: Any) -> FakeSession:
        self.opened.append(FakeSession(self))
        return self.opened[-1]

    def cancel(self, _: Any, session: FakeSession, __: Deadline) -> bool:
        self.ended.append(session)
        return True

    def identify(self, *_: Any) -> Identity:
        return Identity(self.system, 1.0, Role.PRIMARY)

    def learn(self, _: FakeSession, identity: Identity, *__: Any) -> Facts:
        return Facts("postgres", "postgres", (18, 0), "18", identity)


class Clock:
    """The time of everything that samplers look at, put forward by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(name="clock")
def clock_by_hand(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock.monotonic)
    # The longest wait that a failure may have, and no sample sooner or later than its interval.
    monkeypatch.setattr("random.uniform", lambda low, high: high if low == 0 else 1.0 if high < 2 else high)
    return clock


@pytest.fixture(name="engine")
def fake_engine() -> FakeEngine:
    return FakeEngine()


def watched(engine: FakeEngine, **more: Any) -> Watched:
    config = ServerConfig(name="s", engine="postgres", host="h", port=1, **more)
    return Watched(config, cast("Any", engine), [COLLECTOR])


def scrape(server: Watched) -> Snapshot:
    flight = Flight(Deadline.after(30))
    server.scrape(flight)
    flight.land()
    return flight.results["sampled"]


def pass_time(server: Watched, clock: Clock, seconds: float) -> int:
    """Sample whenever a sample is due; how often the server was asked."""
    assert server.sampler is not None
    engine = cast("FakeEngine", server.engine)
    before, end = len(engine.asked), clock.now + seconds
    while clock.now < end:
        clock.now += server.sampler.sample()
    return len(engine.asked) - before


def unobserved(snapshot: Snapshot) -> float:
    [family] = [family for family in snapshot.families if family.name.endswith("unobserved_seconds_total")]
    return float(family.text.split()[-1])


def test_a_server_that_nobody_has_scraped_is_not_asked(engine: FakeEngine, clock: Clock) -> None:
    assert pass_time(watched(engine), clock, 10) == 0
    assert not engine.opened


def test_it_asks_once_a_second_over_a_session_of_its_own(engine: FakeEngine, clock: Clock) -> None:
    server = watched(engine)
    assert scrape(server).state is State.OK
    assert pass_time(server, clock, 30) == 30
    assert len(engine.opened) == 2
    assert {session for session, _ in engine.asked} == {engine.opened[1]}
    # Each sample is over before the next is due.
    assert all(seconds < 1 for _, seconds in engine.asked)
    shown = scrape(server)
    assert shown.state is State.OK
    assert 'database="a",wait_class="cpu"} 29.0' in shown.families[0].text
    assert server.sessions.connections == 2


def test_the_config_may_have_it_ask_more_seldom_or_not_at_all(engine: FakeEngine, clock: Clock) -> None:
    server = watched(engine, collectors={"sampled": {"every": "3s"}})
    scrape(server)
    assert pass_time(server, clock, 30) == 10
    off = watched(engine, collectors={"sampled": False})
    assert off.sampler is None
    assert scrape(off).state is State.DISABLED
    paused = watched(engine, paused=True)
    assert paused.sampler is None
    assert scrape(paused).state is State.PAUSED


@pytest.mark.parametrize(("limit", "shown"), [({}, 20), ({"collectors": {"sampled": {"limit": 3}}}, 3)])
def test_the_limit_says_how_many_statements_have_series(
    engine: FakeEngine, clock: Clock, limit: dict[str, Any], shown: int
) -> None:
    server = watched(engine, **limit)
    scrape(server)
    for engine.running in range(30):
        pass_time(server, clock, 2)
    [family] = [family for family in scrape(server).families if "statement" in family.name]
    assert len(set(re.findall(r'queryid="(\d+)"', family.text))) == shown


def test_what_is_dear_is_asked_more_seldom_and_loses_no_time(engine: FakeEngine, clock: Clock) -> None:
    server = watched(engine)
    scrape(server)
    assert server.sampler is not None
    # 15 ms of every three seconds are 0.5 % of a processor.
    engine.took = 0.015
    pass_time(server, clock, 10)
    assert server.sampler.interval == pytest.approx(3.0)
    assert pass_time(server, clock, 60) == 20
    shown = scrape(server)
    assert (shown.state, unobserved(shown)) == (State.OK, 0.0)


@pytest.mark.parametrize(
    ("quick", "most", "interval"),
    [
        # As measured on an idle and on a busy server, see decision 19.
        (0.003, 0.0041, 1.0),
        (0.0027, 0.014, 1.0),
        (0.002, 0.08, 2.0),
        # Nobody waits a hundred times as long as he works nearly each time.
        (0.002, 0.2, None),
    ],
)
def test_that_most_samples_wait_for_a_processor_is_not_what_they_cost_within_bounds(
    engine: FakeEngine, clock: Clock, quick: float, most: float, interval: float | None
) -> None:
    server = watched(engine)
    scrape(server)
    assert server.sampler is not None
    for number in range(60):
        engine.took = quick if number % 20 in {0, 7, 13} else most
        clock.now += server.sampler.sample()
    assert server.sampler.interval == (None if interval is None else pytest.approx(interval))


def test_a_server_that_does_not_say_what_it_took_is_held_to_what_we_waited(engine: FakeEngine, clock: Clock) -> None:
    server = watched(engine)
    scrape(server)
    assert server.sampler is not None
    engine.took = None
    run = FakeSession.run

    def slow(self: FakeSession, sql: str, deadline: Deadline) -> Rows:
        clock.now += 0.01
        return run(self, sql, deadline)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeSession, "run", slow)
        pass_time(server, clock, 10)
    assert server.sampler.interval == pytest.approx(2.0)


def test_what_is_too_dear_is_suspended_says_so_and_is_tried_again(
    engine: FakeEngine, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    server = watched(engine)
    scrape(server)
    assert server.sampler is not None
    engine.took = 0.1
    assert pass_time(server, clock, 300) == module._ENOUGH
    shown = scrape(server)
    assert shown.state is State.SUSPENDED
    assert "0.5%" in shown.message
    # What was counted is still shown, and that nobody looks is, too.
    assert 'database="a",wait_class="cpu"} 4.0' in shown.families[0].text
    assert unobserved(shown) == pytest.approx(300 - 4 - 5, abs=3)
    assert server.sampler.interval is None
    assert server.sessions.connections == 1
    assert "suspended" in caplog.text
    assert pass_time(server, clock, module.SUSPENDED_SECONDS) == module._ENOUGH
    engine.took = 0.001
    assert pass_time(server, clock, module.SUSPENDED_SECONDS + 60) > 50
    assert scrape(server).state is State.OK
    assert caplog.text.count("is suspended") == 1


def test_a_sample_that_fails_is_left_alone_for_longer_and_longer(engine: FakeEngine, clock: Clock) -> None:
    server = watched(engine)
    scrape(server)
    pass_time(server, clock, 10)
    engine.failing = Failure(Reason.TIMEOUT, "silent", broken=True)
    asked = pass_time(server, clock, 300)
    assert 10 <= asked <= 20
    shown = scrape(server)
    assert (shown.state, shown.reason) == (State.FAILED, Reason.TIMEOUT)
    assert shown.families, "what was counted is still shown"
    assert unobserved(shown) > 250
    assert server.sessions.connections == 1
    engine.failing = None
    pass_time(server, clock, 31)
    assert scrape(server).state is State.OK


def test_a_sample_that_was_cut_off_is_ended_on_the_server(engine: FakeEngine, clock: Clock) -> None:
    server = watched(engine)
    scrape(server)
    pass_time(server, clock, 3)
    third = engine.opened[-1]
    # The server itself has ended this one.
    engine.failing = Failure(Reason.TIMEOUT, "slow")
    pass_time(server, clock, 3)
    assert engine.ended == []
    engine.failing = Failure(Reason.TIMEOUT, "silent", broken=True)
    assert pass_time(server, clock, 1) == 1
    assert engine.ended == [third]
    assert server.sessions.connections == 1


@pytest.mark.parametrize("broken", [True, False])
@pytest.mark.parametrize("answered", [0, 20])
def test_what_takes_longer_than_a_sample_may_is_suspended_as_what_is_too_dear(
    engine: FakeEngine, clock: Clock, monkeypatch: pytest.MonkeyPatch, broken: bool, answered: int
) -> None:
    server = watched(engine)
    scrape(server)
    assert server.sampler is not None
    pass_time(server, clock, answered)

    def run(_: FakeSession, __: str, deadline: Deadline) -> Rows:
        clock.now += deadline.remaining()
        raise Failure(Reason.TIMEOUT, "slow", broken=broken)

    with monkeypatch.context() as patch:
        patch.setattr(FakeSession, "run", run)
        begun = clock.now
        while server.sampler.interval is not None and clock.now < begun + 3600:
            pass_time(server, clock, 1)
        shown = scrape(server)
        assert (shown.state, shown.reason) == (State.SUSPENDED, None)
        assert server.sessions.connections == 1
        assert engine.ended == (engine.opened[1:] if broken else [])
        spent = server.tasks["sampled"].cost.seconds
        pass_time(server, clock, module.SUSPENDED_SECONDS - 60)
        assert server.tasks["sampled"].cost.seconds == spent, "it is left alone"
        # Tried again, it is what fails, until that is known to be too dear again.
        pass_time(server, clock, 62)
        assert scrape(server).reason is Reason.TIMEOUT
    pass_time(server, clock, 300)
    assert scrape(server).state is State.OK


def test_one_failure_that_the_next_sample_makes_up_for_is_none(engine: FakeEngine, clock: Clock) -> None:
    server = watched(engine)
    scrape(server)
    pass_time(server, clock, 10)
    engine.failing = Failure(Reason.TIMEOUT, "slow")
    pass_time(server, clock, 1)
    assert scrape(server).state is State.OK


@pytest.mark.parametrize("answered", [0, 10])
def test_what_nobody_has_foreseen_is_shown_too(
    engine: FakeEngine, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, answered: int
) -> None:
    server = watched(engine)
    scrape(server)
    pass_time(server, clock, answered)

    def take(*_: Any) -> float:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        assert server.sampler is not None
        patch.setattr(server.sampler.task.samples, "take", take)
        assert 2 <= pass_time(server, clock, 60) <= 10
        shown = scrape(server)
        assert (shown.state, shown.reason) == (State.FAILED, Reason.ERROR)
        assert "ZeroDivisionError" in (shown.message or "")
        assert "Traceback" in caplog.text
    pass_time(server, clock, 31)
    assert scrape(server).state is State.OK


def test_a_server_that_is_down_is_left_to_the_scrapes(engine: FakeEngine, clock: Clock) -> None:
    server = watched(engine)
    scrape(server)
    server.sessions.down(Failure(Reason.CONNECT, "gone"))
    opened = len(engine.opened)
    assert pass_time(server, clock, 20) == 0
    assert len(engine.opened) == opened


def test_on_a_full_server_it_makes_room_for_scrapes(engine: FakeEngine, clock: Clock) -> None:
    server = watched(engine)
    scrape(server)
    pass_time(server, clock, 5)
    [main, third] = engine.opened
    main.close()
    server.sessions.close_main()
    server.sessions.down(Failure(Reason.TOO_MANY_CONNECTIONS, "full"))
    pass_time(server, clock, 2)
    assert third.closed
    assert server.sessions.connections == 0


def test_another_server_gets_another_session_and_the_counters_stay(engine: FakeEngine, clock: Clock) -> None:
    server = watched(engine)
    scrape(server)
    pass_time(server, clock, 10)
    before = engine.asked[-1][0]
    engine.system = "two"
    scrape(server)
    assert server.sessions.generation == 1
    pass_time(server, clock, 10)
    assert before.closed
    assert engine.asked[-1][0] is not before
    of_all, of_each, _ = scrape(server).families
    assert 'database="a",wait_class="cpu"} 19.0' in of_all.text
    # Nine seconds were over when the statement got its series.
    assert 'database="a",wait_class="cpu",queryid="7"} 10.0' in of_each.text
    assert 'database="a",wait_class="cpu",queryid="(others)"} 9.0' in of_each.text


def test_what_samples_cost_one_server_is_not_held_against_another(engine: FakeEngine, clock: Clock) -> None:
    server = watched(engine)
    scrape(server)
    assert server.sampler is not None
    engine.took = 0.1
    pass_time(server, clock, 10)
    assert server.sampler.interval is None
    engine.system, engine.took = "two", 0.001
    scrape(server)
    assert pass_time(server, clock, 10) >= 8
    assert scrape(server).state is State.OK


def test_what_samples_cost_one_server_is_no_part_of_what_they_cost_another(engine: FakeEngine, clock: Clock) -> None:
    server = watched(engine)
    scrape(server)
    assert server.sampler is not None
    engine.took = 0.1
    assert 2 <= pass_time(server, clock, module._ENOUGH - 2) < module._ENOUGH
    engine.system, engine.took = "two", 0.001
    scrape(server)
    pass_time(server, clock, 3)
    assert server.sampler.interval == 1.0


def test_closed_it_asks_nothing_any_more(engine: FakeEngine, clock: Clock) -> None:
    server = watched(engine)
    scrape(server)
    pass_time(server, clock, 5)
    server.close()
    assert server.sessions.connections == 0
    assert pass_time(server, clock, 5) == 0


class Noted:
    """A sampler that notes when it was asked."""

    def __init__(self, blocked: threading.Event | None = None, error: Exception | None = None) -> None:
        self.times: list[float] = []
        self.blocked = blocked
        self.error = error

    def sample(self) -> float:
        self.times.append(time.monotonic())
        if self.blocked is not None:
            self.blocked.wait(60)
        if self.error is not None:
            raise self.error
        return 0.05


@pytest.fixture(name="over")
def what_is_blocked_ends() -> Iterator[threading.Event]:
    over = threading.Event()
    yield over
    over.set()


def test_servers_that_hang_do_not_hold_up_the_others(over: threading.Event) -> None:
    quick, bug = Noted(), Noted(error=ValueError("a bug"))
    stuck = [Noted(over) for _ in range(60)]
    sampling = Sampling(cast("list[Sampler]", [*stuck, quick, bug]))
    sampling.start()
    try:
        assert wait_for(lambda: len(quick.times) >= 10, 30)
        assert wait_for(lambda: all(len(one.times) == 1 for one in stuck), 30), "none is asked twice at a time"
    finally:
        over.set()
        sampling.stop()
    assert len(bug.times) >= 1


def test_where_no_further_thread_can_be_had_one_takes_all_samples(
    over: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [Noted() for _ in range(5)]
    sampling = Sampling(cast("list[Sampler]", some))
    begin, begun = threading.Thread.start, []

    def start(thread: threading.Thread) -> None:
        if begun:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    sampling.start()
    try:
        assert wait_for(lambda: all(len(one.times) >= 5 for one in some), 30)
    finally:
        sampling.stop()


def test_it_ends(over: threading.Event) -> None:
    before = set(threading.enumerate())
    quick = [Noted(), Noted(), Noted(over)]
    sampling = Sampling(cast("list[Sampler]", quick))
    sampling.start()
    assert wait_for(lambda: all(one.times for one in quick))
    sampling.stop()
    over.set()
    assert wait_for(lambda: set(threading.enumerate()) <= before)
    sampled = len(quick[0].times)
    threading.Event().wait(0.3)
    assert len(quick[0].times) == sampled
