"""A server under watch: when it counts as down, whose readings are kept, and who may have a session when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from exporter.config.model import ServerConfig
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.engines.deadline import Deadline
from exporter.facts import Facts, Identity, Role
from exporter.failure import Failure, Reason
from exporter.gates import ANY
from exporter.polling import second as polling_second
from exporter.polling import sessions as polling_sessions
from exporter.polling.flight import Flight
from exporter.polling.runs import Reading
from exporter.polling.scrape import Scrapes
from exporter.polling.server import Watched
from exporter.polling.snapshot import Snapshot, State
from exporter.polling.tasks import Cost
from exporter.subjects.logs.choice import StandIn
from exporter.subjects.logs.turn import Turn
from tests.providers.base import wait_for

HANGS, LOCKED, TAKES_TEN_SECONDS, ENDED_AFTER_TEN = "HANGS", "LOCKED", "TAKES TEN SECONDS", "ENDED AFTER TEN SECONDS"


class FakeSession:
    """A session of FakeEngine: it answers for the server that was there when it was opened."""

    tls = None

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.system, self.value, self.machine = engine.system, engine.value, engine.machine
        self.closed = False
        self.statements = 0
        self.round_trip = engine.round_trip

    def run(self, sql: str, deadline: Deadline) -> Rows:
        self.statements += 1
        if sql == HANGS:
            self.closed = True
            raise Failure(Reason.TIMEOUT, "silent", broken=True)
        if sql == LOCKED:
            raise Failure(Reason.LOCK, "locked")
        if sql in (TAKES_TEN_SECONDS, ENDED_AFTER_TEN):
            self.engine.seconds += 10
        if sql == ENDED_AFTER_TEN:
            raise Failure(Reason.TIMEOUT, "ended by the server")
        return Rows(("value",), [(self.value,)])

    def close(self) -> None:
        self.closed = True


class FakeEngine:
    """Whatever a server may do, at will."""

    name = "mysql"
    tells_open_sessions = True

    def __init__(self) -> None:
        self.system, self.value = "one", 1
        # What tells machines apart that are alike in all else, and which of them answers.
        self.server_ids: dict[str, int] = {}
        self.machine = "here"
        self.down = self.full = False
        self.learning: Failure | None = None
        self.learnt = 0
        self.names: list[str] = []
        # What statements have taken, for tests that put the clock forward by it.
        self.seconds = 0
        self.round_trip = 0.0
        self.opened: list[FakeSession] = []
        self.cancelled: list[FakeSession] = []
        self.when_cancelling: Callable[[], None] = lambda: None
        self.cancels = True

    def connect(self, *_: Any, **__: Any) -> FakeSession:
        if self.down:
            raise Failure(Reason.CONNECT, "refused")
        if self.full:
            raise Failure(Reason.TOO_MANY_CONNECTIONS, "full")
        self.opened.append(FakeSession(self))
        return self.opened[-1]

    def identify(self, session: FakeSession, _: Deadline) -> Identity:
        if self.down:
            session.closed = True
            raise Failure(Reason.CONNECT, "gone")
        return Identity(session.system, 1.0, Role.PRIMARY, self.server_ids.get(session.machine))

    def learn(self, session: FakeSession, identity: Identity, *_: Any) -> Facts:
        if self.learning is not None:
            session.closed = self.learning.broken
            raise self.learning
        self.learnt += 1
        return Facts("mysql", "mysql", (9, 7), "9.7", identity)

    def databases(self, *_: Any) -> dict[str, Failure | None]:
        return dict.fromkeys(self.names)

    def cancel(self, _: Any, session: FakeSession, __: Deadline) -> bool:
        self.when_cancelling()
        self.cancelled.append(session)
        return self.cancels


def declared(name: str, sql: str = "SELECT", labels: tuple[str, ...] = (), **more: Any) -> Collector:
    blocks = (block(gauge(f"db_{name}", "value", help="A number."), labels=labels),)
    return Collector(name=name, about="A number.", engine="mysql", queries=(Query(ANY, sql),), blocks=blocks, **more)


def watched(engine: FakeEngine, *collectors: Collector, **more: Any) -> Watched:
    return Watched(ServerConfig(name="s", engine="mysql", host="h", port=1, **more), engine, collectors)  # type: ignore[arg-type]


def scrape(server: Watched) -> Flight:
    flight = Flight(Deadline.after(30))
    server.scrape(flight)
    flight.land()
    return flight


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is left alone be left alone for as long as it may be, and a server that was down be asked at once."""
    monkeypatch.setattr("exporter.polling.backoff.random.uniform", lambda _, longest: longest if longest >= 30 else 0.0)


def test_collectors_that_hang_do_not_make_a_server_down_that_answers() -> None:
    server = watched(FakeEngine(), declared("one", HANGS), declared("two", HANGS), declared("fine"))
    states = []
    for _ in range(5):
        flight = scrape(server)
        assert flight.answered
        assert server.sessions.up is True
        states.append(flight.results["fine"].state)
    # The slowest come last, and then they are left alone.
    assert states[-1] is State.OK


def test_a_server_that_does_not_tell_its_facts_anew_is_not_down(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    server = watched(engine, declared("fine"))
    scrape(server)
    facts = server.sessions.facts
    for broken in (False, True):
        monkeypatch.setattr(server.sessions, "_learned", float("-inf"))
        engine.learning = Failure(Reason.TIMEOUT, "busy", broken=broken)
        flight = scrape(server)
        assert server.sessions.up is True
        assert server.sessions.facts is facts
        assert flight.results["fine"].state is State.OK
    # It is asked again before long, and no sooner.
    engine.learning = None
    scrape(server)
    assert engine.learnt == 1
    monkeypatch.setattr(polling_sessions, "FACTS_SECONDS", polling_sessions._RELEARN_SECONDS - 1000)
    scrape(server)
    assert engine.learnt == 2


def test_a_server_that_answers_and_tells_nothing_is_up_and_says_why() -> None:
    engine = FakeEngine()
    engine.learning = Failure(Reason.PERMISSION, "may not look")
    server = watched(engine, declared("fine"))
    flight = scrape(server)
    assert flight.answered
    assert server.sessions.up is True
    assert flight.results["fine"].reason is Reason.PERMISSION
    engine.down = True
    assert not scrape(server).answered
    assert server.sessions.up is False


def test_a_reading_of_the_server_that_was_there_before_is_not_kept() -> None:
    engine = FakeEngine()
    server = watched(engine, declared("at_scrape"), declared("first", every=60), declared("second", every=60))
    scrape(server)
    kept = server.outcomes.keep

    def moved(task: Any, *rest: Any) -> None:
        if task.name == "second":
            # Between the two the address moves, and a scrape finds out; the background still has its old session.
            engine.system, engine.value = "another", 2
            server.sessions.close_main()
            scrape(server)
        kept(task, *rest)

    server.outcomes.keep = moved  # type: ignore[method-assign]
    server.background(server.slow_tasks())
    assert server.sessions.generation == 1
    assert "second" not in server.good
    server.outcomes.keep = kept  # type: ignore[method-assign]
    server.background(server.slow_tasks())
    assert [family.text for family in server.good["second"].families] == ['db_second{server="s",engine="mysql"} 2\n']


class Slow:
    """What a collector keeps that takes its time to take a reading in; what happened to it, in that order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.entered, self.over = threading.Event(), threading.Event()

    def feed(self, rows: Rows, _: Context) -> Rows:
        self.events.append("begins")
        self.entered.set()
        assert self.over.wait(30)
        self.events.append("ends")
        return rows

    def rebase(self) -> None:
        self.events.append("rebased")


@contextmanager
def taking_in(**more: Any) -> Iterator[tuple[FakeEngine, Watched, Slow, threading.Thread]]:
    """A server on which background work is taking in what it has read, until told that it is over."""
    engine, state = FakeEngine(), Slow()
    slow, quick = declared("slow", every=60, state=lambda: state), declared("quick", every=300)
    server = watched(engine, declared("at_scrape"), slow, quick, **more)
    scrape(server)
    thread = threading.Thread(target=server.background, args=([server.tasks["slow"]],))
    thread.start()
    try:
        assert state.entered.wait(30)
        yield engine, server, state, thread
    finally:
        state.over.set()
        thread.join(30)


def test_no_scrape_waits_for_what_the_background_takes_in() -> None:
    with taking_in() as (_, server, state, thread):
        assert scrape(server).results["at_scrape"].state is State.OK
        assert state.events == ["begins"]
        state.over.set()
        thread.join(30)
        assert server.good["slow"].state is State.OK


def test_what_the_background_takes_in_it_takes_in_one_after_another() -> None:
    with taking_in() as (_, server, state, thread):
        facts = server.sessions.facts
        assert facts is not None
        reading = Reading(Rows(("value",), [(1,)]), None, time.monotonic())
        other = threading.Thread(target=server.outcomes.keep, args=(server.tasks["quick"], reading, 0, facts))
        other.start()
        other.join(0.2)
        assert "quick" not in server.good, "it may look at what the first one keeps"
        state.over.set()
        for one in (other, thread):
            one.join(30)
        assert server.good.keys() == {"quick", "slow"}


def test_what_is_being_taken_in_when_another_server_answers_is_forgotten_whole() -> None:
    with taking_in() as (engine, server, state, thread):
        engine.system = "another"
        server.sessions.close_main()
        scraping = threading.Thread(target=scrape, args=(server,))
        scraping.start()
        assert wait_for(lambda: server.sessions.generation == 1, 10)
        scraping.join(0.2)
        assert state.events == ["begins"], "nothing is forgotten in the midst of it"
        state.over.set()
        for one in (scraping, thread):
            one.join(30)
        assert state.events == ["begins", "ends", "rebased"]
        assert server.good == {}


def test_what_was_taken_in_has_the_room_that_scrapes_have_left_meanwhile() -> None:
    with taking_in(max_series=100) as (_, server, state, thread):
        before = server.latest["at_scrape"]
        server.outcomes.record(server.tasks["at_scrape"], replace(before, series=100))
        state.over.set()
        thread.join(30)
        assert server.latest["slow"].dropped == {"budget": 1}
        assert server.latest["slow"].series == 0


def test_why_a_collector_is_left_alone_outlives_an_outage() -> None:
    engine = FakeEngine()
    server = watched(engine, declared("locked", LOCKED))
    for _ in range(3):
        scrape(server)
    engine.down = True
    assert scrape(server).results["locked"].reason is Reason.CONNECT
    engine.down = False
    assert scrape(server).results["locked"].reason is Reason.LOCK


def test_series_that_are_still_shown_count_in_the_budget() -> None:
    server = watched(FakeEngine(), declared("at_scrape"), declared("slow", every=60), max_series=100)
    scrape(server)
    server.background(server.slow_tasks())
    assert server.outcomes.budget(server.tasks["at_scrape"]) == 50
    good = server.good["slow"]
    server.good["slow"] = Snapshot("slow", State.OK, good.at, families=good.families, series=80)
    server.latest["slow"] = Snapshot.failed("slow", Failure(Reason.LOCK, "locked"), time.monotonic())
    assert server.outcomes.budget(server.tasks["at_scrape"]) == 20


def test_databases_that_a_run_has_no_time_for_are_a_failure_and_come_first_in_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, clock = FakeEngine(), time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + engine.seconds)
    engine.names = [f"db{number}" for number in range(10)]
    collector = declared("sizes", TAKES_TEN_SECONDS, ("database",), every=60, each_database=True)
    server = watched(engine, collector)
    seen = []
    for _ in range(3):
        server.background(server.slow_tasks())
        outcome = server.latest["sizes"]
        assert (outcome.state, outcome.reason) == (State.FAILED, Reason.TIMEOUT)
        assert "4 of 10 databases" in outcome.message
        shown = "".join(family.text for family in outcome.families)
        seen.append({name for name in engine.names if f'database="{name}"' in shown})
    first, second, third = seen
    assert first == set(engine.names[:6])
    assert first | second == set(engine.names)
    assert set(engine.names) - second <= third
    engine.names = engine.names[:3]
    server.background(server.slow_tasks())
    assert (server.latest["sizes"].state, server.latest["sizes"].message) == (State.OK, "")


def test_on_a_full_server_an_old_session_is_not_given_away(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    server = watched(engine, declared("fine"))
    scrape(server)
    first = server.sessions._main
    monkeypatch.setattr(server.sessions, "_main_until", 0.0)
    engine.full = True
    assert scrape(server).results["fine"].state is State.OK
    assert server.sessions._main is first
    # Nor is it tried at every scrape.
    engine.full = False
    scrape(server)
    assert server.sessions._main is first
    monkeypatch.setattr(server.sessions, "_main_until", 0.0)
    scrape(server)
    assert server.sessions._main is not first
    assert first is not None
    assert first.closed
    assert server.sessions.connections == 1


def test_on_a_full_server_what_is_quick_goes_on_over_the_main_session() -> None:
    engine = FakeEngine()
    quick, slow, new = (declared(name, every=60) for name in ("quick", "slow", "new"))
    server = watched(engine, declared("at_scrape"), quick, slow, new)
    scrape(server)
    server.background([server.tasks["quick"], server.tasks["slow"]])
    good = server.good["slow"]
    server.good["slow"] = Snapshot("slow", State.OK, good.at, 30.0, families=good.families, series=1)
    engine.full = True
    engine.value = 7
    server.background(server.slow_tasks())
    assert server.latest["quick"].state is State.OK
    assert server.latest["quick"].at > good.at
    assert {server.latest[name].reason for name in ("slow", "new")} == {Reason.TOO_MANY_CONNECTIONS}
    assert server.sessions.up is True
    assert server.sessions.connections == 1
    # Without a session there is nothing to borrow.
    server.sessions.close_main()
    server.background([server.tasks["quick"]])
    assert server.latest["quick"].reason is Reason.TOO_MANY_CONNECTIONS


def test_a_kill_waits_for_the_second_session_and_goes_before_anybody_else() -> None:
    engine = FakeEngine()
    server = watched(engine, declared("fine"), declared("hangs", HANGS))
    most = []
    engine.when_cancelling = lambda: most.append(server.sessions.connections)
    scrape(server)
    first = engine.cancelled.pop()
    assert first.closed
    assert most == [1], "it takes a connection, and it counts"
    with server.sessions.side(Deadline.after(5)) as side:
        scrape(server)
        assert engine.cancelled == [], "nobody has a third connection"
        assert not side.session.closed
    assert len(engine.cancelled) == 1
    assert most[1] <= 2
    # One of the background's own, which hangs while it has the second session.
    server = watched(engine, declared("hangs", HANGS, every=60))
    server.background(server.slow_tasks())
    assert wait_for(lambda: len(engine.cancelled) == 2, 5)


def test_a_kill_that_failed_is_tried_again_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, clock = FakeEngine(), time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + engine.seconds)
    server = watched(engine, declared("fine"), declared("hangs", HANGS), declared("slow", every=60))

    def tries() -> int:
        before = len(engine.cancelled)
        server.background([server.tasks["slow"]])
        return len(engine.cancelled) - before

    engine.cancels = False
    scrape(server)
    assert len(engine.cancelled) == 1
    assert server.sessions.ending
    assert tries() == 1
    engine.cancels = True
    assert tries() == 1
    assert not server.sessions.ending
    assert tries() == 0
    assert len(set(engine.cancelled)) == 1
    # Whoever waits for it to be ended does not wait for ever.
    engine.cancels = False
    scrape(server)
    engine.seconds += polling_second.ENDING_SECONDS
    assert not server.sessions.ending
    assert (tries(), tries()) == (1, 0)


def test_a_scrape_does_not_get_what_an_earlier_one_has_had_whose_time_is_over() -> None:
    engine, over = FakeEngine(), threading.Event()
    config = ServerConfig(name="s", engine="mysql", host="h", port=1)
    scrapes = Scrapes([config], {"mysql": engine}, [declared("hangs", HANGS)])  # type: ignore[dict-item]
    engine.when_cancelling = lambda: over.wait(30) and None
    try:
        first = scrapes.start("s", Deadline.after(0.5))
        assert scrapes.start("s", Deadline.after(0.5)) is first
        assert wait_for(lambda: "hangs" in first.results and first.deadline.passed, 10)
        assert first.duration is None, "it ends what it has cut off"
        second = scrapes.start("s", Deadline.after(30))
        assert second is not first
        assert scrapes.start("s", Deadline.after(30)) is second
        over.set()
        second.future.result(30)
        assert second.results["hangs"] is not first.results["hangs"]
    finally:
        over.set()
        scrapes.close(30)


def test_the_second_session_is_not_waited_for_longer_than_the_deadline() -> None:
    server = watched(FakeEngine())
    entered, over = threading.Event(), threading.Event()

    def keep() -> None:
        with server.sessions.side(Deadline.after(5)):
            entered.set()
            over.wait(30)

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        assert entered.wait(30)
        with pytest.raises(Failure, match="other work in the background"), server.sessions.side(Deadline.after(0.05)):
            pass
    finally:
        over.set()
        thread.join(30)


def often(*more: Collector) -> tuple[FakeEngine, Watched]:
    """A server that was scraped once, and whose background work has run once."""
    engine = FakeEngine()
    server = watched(engine, declared("fine"), declared("often", every=15), *more)
    scrape(server)
    server.background([server.tasks["often"]])
    assert [session.closed for session in engine.opened] == [False, False]
    return engine, server


def test_the_second_session_is_kept_for_a_minute_where_work_comes_soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, server = often()
    server.background(server.slow_tasks())
    assert len(engine.opened) == server.sessions.connections == 2
    # An address that has moved is found out by connecting.
    now = time.monotonic() + 61
    monkeypatch.setattr(polling_second.time, "monotonic", lambda: now)
    server.background(server.slow_tasks())
    assert [session.closed for session in engine.opened] == [False, True, False]


@pytest.mark.parametrize("more", [{"every": 60}, {"every": 15, "default": False}, {"every": 15, "each_database": True}])
def test_the_second_session_is_not_kept_for_nothing(more: dict[str, Any]) -> None:
    engine = FakeEngine()
    engine.names = ["a"]
    server = watched(engine, declared("fine"), declared("work", **more), declared("seldom", every=60))
    scrape(server)
    server.background(server.slow_tasks())
    assert server.latest["seldom"].state is State.OK
    assert server.sessions.connections == 1


def test_what_needs_the_place_of_the_second_session_closes_what_is_kept_there(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, server = often(declared("round", labels=("database",), every=300, each_database=True))
    engine.names = ["a", "b"]
    connect, most = engine.connect, 0

    def counted(*args: Any, **kwargs: Any) -> FakeSession:
        nonlocal most
        session = connect(*args, **kwargs)
        most = max(most, sum(not one.closed for one in engine.opened))
        return session

    monkeypatch.setattr(engine, "connect", counted)
    server.background([server.tasks["round"]])
    assert server.good["round"].series == 2
    server.background([server.tasks["often"]])
    monkeypatch.setattr(server.sessions, "_main_until", 0.0)
    scrape(server)
    server.background([server.tasks["often"]])
    engine.when_cancelling = lambda: counts.append(server.sessions.connections)
    counts: list[int] = []
    server.sessions.end(engine.opened[0])
    assert counts == [2], "the main session and the one that ends another"
    assert most == 2


def test_a_second_session_that_was_cut_off_or_leads_elsewhere_is_of_no_more_use() -> None:
    engine, server = often()
    engine.opened[1].close()
    server.background(server.slow_tasks())
    assert server.latest["often"].state is State.OK
    # The main session finds another server, to which the one that was kept does not lead.
    engine.system, engine.value = "two", 2
    engine.opened[0].close()
    scrape(server)
    server.background(server.slow_tasks())
    assert server.latest["often"].state is State.OK
    assert "} 2\n" in server.good["often"].families[0].text
    assert [session.closed for session in engine.opened] == [True, True, True, False, False]
    # Of a server that is down nothing is kept.
    engine.down = True
    scrape(server)
    assert server.sessions.connections == 0


def _twins(*more: Collector) -> tuple[FakeEngine, Watched]:
    engine = FakeEngine()
    engine.server_ids = {"here": 1, "there": 2}
    server = watched(engine, declared("fine"), *more)
    scrape(server)
    return engine, server


def test_over_a_new_session_another_server_id_is_another_server() -> None:
    engine, server = _twins()
    engine.machine = "there"
    scrape(server)
    assert server.sessions.identity_changes == 0
    engine.opened[0].close()
    scrape(server)
    assert (server.sessions.identity_changes, server.sessions.generation, engine.learnt) == (1, 1, 2)


def test_over_the_same_session_another_server_id_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, server = _twins()
    for number in (7, 8):
        engine.server_ids["here"] = number
        scrape(server)
        assert server.sessions.facts is not None
        assert server.sessions.facts.identity.server_id == number
        # So it was where the session's time is up just then.
        monkeypatch.setattr(server.sessions, "_main_until", 0.0)
    assert [session.closed for session in engine.opened] == [True, False]
    assert (server.sessions.identity_changes, server.sessions.generation, engine.learnt) == (0, 0, 1)
    engine.machine = "there"
    monkeypatch.setattr(server.sessions, "_main_until", 0.0)
    scrape(server)
    assert (server.sessions.identity_changes, server.sessions.generation, engine.learnt) == (1, 1, 2)


@pytest.mark.parametrize("moved", [False, True])
def test_background_work_with_another_server_id_waits_until_a_scrape_has_told_what_happened(moved: bool) -> None:
    engine, server = _twins(declared("seldom", every=60))
    if moved:
        engine.machine = "there"
    else:
        engine.server_ids["here"] = 7
    server.background(server.slow_tasks())
    assert server.latest["seldom"].state is State.FAILED
    scrape(server)
    assert (server.sessions.identity_changes, server.sessions.generation, engine.learnt) == (moved, moved, 1 + moved)
    server.background(server.slow_tasks())
    assert server.latest["seldom"].state is State.OK


class Counts:
    """Gives nothing, and remembers how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def feed(self, rows: Rows, context: Context) -> Rows:
        self.asked += 1
        return Rows(("value", "database", "slow", "source", "threshold"), [])

    def rebase(self) -> None:
        """Keep everything."""


def test_who_counts_slow_statements_changes_at_once_whatever_the_intervals() -> None:
    turn, counts, words = Turn(), Counts(), iter([True, False, False, False, True, True])

    class Log(Counts):
        def feed(self, rows: Rows, context: Context) -> Rows:
            if next(words):
                turn.heard(context.now, at_end=True)
            else:
                turn.silent()
            return super().feed(rows, context)

    engine = FakeEngine()
    log = declared("log", every=2, state=Log)
    server = watched(engine, log, declared("other", every=300, state=lambda: StandIn(counts, turn)))
    scrape(server)
    server.background([server.tasks["log"], server.tasks["other"]])
    asked = [counts.asked]
    for _ in range(5):
        server.background([server.tasks["log"]])
        asked.append(counts.asked)
    # When the log falls silent, and when it counts again.
    assert asked == [1, 2, 2, 2, 3, 3]


def test_at_the_end_nothing_is_kept() -> None:
    _, server = often()
    server.close()
    assert server.sessions.connections == 0
    _, server = often()
    with server.sessions.side(Deadline.after(5), keep=True):
        server.close()
        assert server.sessions.connections == 1
    assert server.sessions.connections == 0


def test_a_flight_that_no_thread_could_be_had_for_is_not_flown_later() -> None:
    engine = FakeEngine()
    config = ServerConfig(name="s", engine="mysql", host="h", port=1)
    scrapes = Scrapes([config], {"mysql": engine}, [declared("fine")])  # type: ignore[dict-item]
    refused: list[Callable[[], None]] = []

    def refuse(act: Callable[..., None], *args: Any) -> None:
        # As the pool does: the work is queued before a thread is wanted.
        refused.append(lambda: act(*args))
        raise RuntimeError("can't start new thread")

    scrapes._pool.submit = refuse  # type: ignore[assignment]
    flight = scrapes.start("s", Deadline.after(30))
    assert flight.future.done()
    refused[0]()
    assert not flight.flown
    assert engine.learnt == 0
    scrapes.close(0)


def test_what_two_threads_account_for_is_all_there() -> None:
    cost = Cost()

    def spend() -> None:
        for _ in range(20_000):
            cost.add(1, 1.0)

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (cost.queries, cost.seconds) == (80_000, 80_000.0)
