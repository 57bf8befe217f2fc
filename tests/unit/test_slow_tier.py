"""The slow tier keeps to its intervals, spreads servers over them, and works on a server one thing at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from exporter.config.model import ServerConfig
from exporter.declare import Collector, Query, block, gauge
from exporter.engines.known import ENGINES
from exporter.gates import ANY
from exporter.polling import slow
from exporter.polling.server import Watched
from exporter.polling.slow import SlowTier
from exporter.polling.snapshot import Snapshot, State
from exporter.polling.tasks import Task
from tests.providers.base import wait_for


class Clock:
    """Time that passes when it is told to."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(slow, "time", made)
    return made


def collector(name: str, every: float | None) -> Collector:
    return Collector(
        name=name,
        about="A number.",
        engine="postgres",
        queries=(Query(ANY, "SELECT 1"),),
        blocks=(block(gauge(f"db_{name}", "value", help="A number.")),),
        every=every,
    )


class Noted(Watched):
    """A server whose background work is to write down what was begun when."""

    def __init__(self, clock: Clock | None, name: str, *collectors: Collector) -> None:
        config = ServerConfig(name=name, engine="postgres", host="localhost", port=1)
        super().__init__(config, ENGINES["postgres"], collectors)
        self.clock = clock
        self.begun: list[tuple[float, str]] = []
        self.error: Exception | None = None

    def background(self, tasks: Sequence[Task]) -> None:
        now = self.clock.now if self.clock else 0.0
        self.begun += [(now, task.name) for task in tasks]
        if self.error:
            raise self.error
        for task in tasks:
            self.latest[task.name] = self.good[task.name] = Snapshot(task.name, State.OK, now)

    def times(self, name: str) -> list[float]:
        return [at for at, begun in self.begun if begun == name]


class Pool:
    """Holds what is submitted until it is let go; refuses as a pool does that gets no thread: with the work queued."""

    def __init__(self) -> None:
        self.held: list[Callable[[], None]] = []
        self.refuse = 0

    def submit(self, act: Callable[..., None], *args: Any) -> None:
        self.held.append(partial(act, *args))
        if self.refuse:
            self.refuse -= 1
            raise RuntimeError("can't start new thread")

    def let_go(self) -> None:
        held, self.held = self.held, []
        for act in held:
            act()


class Driven(SlowTier):
    """A slow tier without threads."""

    def __init__(self, clock: Clock, *servers: Watched) -> None:
        super().__init__(servers)
        super().stop()
        self.clock = clock
        self.quick, self.rounds = Pool(), Pool()
        self._pools = {False: self.quick, True: self.rounds}  # type: ignore[dict-item]

    def tick(self) -> None:
        self._tick(self.clock.now)

    def pass_time(self, seconds: float, *, hold: bool = False) -> None:
        """Tick along; unless held, everything that is begun is done at once."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now += slow.TICK_SECONDS
            self.tick()
            if not hold:
                self.quick.let_go()
                self.rounds.let_go()


def test_each_collector_has_its_own_interval(clock: Clock) -> None:
    server = Noted(clock, "one", collector("often", 15.0), collector("seldom", 60.0), collector("at_scrape", None))
    Driven(clock, server).pass_time(605)
    assert len(server.times("often")) == 41
    assert len(server.times("seldom")) == 11
    assert server.times("at_scrape") == []


def test_a_run_that_takes_long_skips_turns_and_stays_on_its_grid(clock: Clock) -> None:
    server = Noted(clock, "one", collector("often", 10.0), collector("other", 10.0))
    tier = Driven(clock, server)
    tier.pass_time(3)
    [first] = server.times("often")
    tier.pass_time(33, hold=True)
    assert len(tier.quick.held) == 1, "a server is worked on by one thread"
    tier.quick.let_go()
    tier.pass_time(40)
    begun = server.times("often")
    # Begun at 10 and done at 36, so those at 20 and 30 never were, and the next one is at 40.
    assert [round((at - first) / 10) for at in begun[2:]] == [4, 5, 6, 7]
    for at in begun[2:]:
        assert (at - first) % 10 <= slow.TICK_SECONDS


def test_servers_that_are_slow_do_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow, "TICK_SECONDS", 0.02)
    over = threading.Event()
    rounds = replace(collector("rounds", 0.1), each_database=True)

    class Stuck(Noted):
        def background(self, tasks: Sequence[Task]) -> None:
            over.wait(60)

    quick = Noted(None, "quick", collector("often", 0.1))
    tier = SlowTier([*(Stuck(None, f"stuck {number}", collector("often", 0.1), rounds) for number in range(40)), quick])
    tier.start()
    try:
        assert wait_for(lambda: len(quick.begun) >= 5, 30)
    finally:
        over.set()
        tier.stop()


def test_an_error_ends_neither_the_server_nor_the_tier(clock: Clock) -> None:
    server = Noted(clock, "one", collector("often", 10.0))
    server.error = ValueError("a bug")
    Driven(clock, server).pass_time(35)
    assert len(server.times("often")) == 4


def test_first_runs_of_many_servers_are_spread_and_the_same_in_every_process(clock: Clock) -> None:
    def first_runs() -> dict[str, float]:
        begun_at = clock.now
        servers = [Noted(clock, f"server {number}", collector("once", 600.0)) for number in range(40)]
        Driven(clock, *servers).pass_time(10)
        return {server.name: server.times("once")[0] - begun_at for server in servers}

    first = first_runs()
    # Twenty a second at most, so forty take two seconds.
    assert max(first.values()) - min(first.values()) >= 1.0
    assert first_runs() == first


def test_what_a_changed_server_lacks_does_not_wait_and_its_grid_stays(clock: Clock) -> None:
    servers = [Noted(clock, f"server {number}", collector("seldom", 600.0)) for number in range(40)]
    tier = Driven(clock, *servers)
    tier.pass_time(100)
    assert all(len(server.begun) == 1 for server in servers)
    for server in servers[:20]:
        server.good.clear()
    for server in servers:
        server.sessions.changed.set()
    tier.pass_time(1)
    assert [len(server.begun) for server in servers] == [2] * 20 + [1] * 20, "what is there is not asked for again"
    # All were away together; they do not keep asking together.
    tier.pass_time(600)
    for server in servers:
        first, last = server.begun[0][0], server.begun[-1][0]
        assert last - first == pytest.approx(600, abs=slow.TICK_SECONDS)


def test_a_change_during_a_run_is_not_lost(clock: Clock) -> None:
    server = Noted(clock, "one", collector("seldom", 600.0))
    tier = Driven(clock, server)
    tier.pass_time(5, hold=True)
    server.sessions.changed.set()
    tier.pass_time(5, hold=True)
    # What is in hand is the old server's, and comes to nothing.
    server.error = ValueError("another server answered meanwhile")
    tier.quick.let_go()
    server.error = None
    tier.pass_time(1)
    assert len(server.begun) == 2
    assert server.has_good(server.tasks["seldom"])


def test_a_thread_that_can_not_be_had_ends_nothing_and_begins_nothing_twice(clock: Clock) -> None:
    server = Noted(clock, "one", collector("often", 10.0))
    tier = Driven(clock, server)
    tier.quick.refuse = 3
    for _ in range(3):
        clock.now += 1
        with pytest.raises(RuntimeError):
            tier.tick()
    clock.now += 1
    tier.tick()
    assert len(tier.quick.held) == 4
    tier.quick.let_go()
    assert len(server.begun) == 1
    tier.pass_time(10)
    assert len(server.begun) == 2


def test_a_refusal_does_not_end_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow, "TICK_SECONDS", 0.02)
    server = Noted(None, "one", collector("often", 0.1))
    tier = SlowTier([server])
    real, pool = tier._pools, Pool()
    pool.refuse = 3
    tier._pools = {False: pool, True: pool}  # type: ignore[dict-item]
    tier.start()
    try:
        assert wait_for(lambda: not pool.refuse, 30)
        tier._pools = real
        pool.let_go()
        assert wait_for(lambda: len(server.begun) >= 2, 30)
    finally:
        tier.stop()


def test_a_round_of_databases_does_not_hold_up_what_is_due_often(clock: Clock) -> None:
    rounds = replace(collector("rounds", 30.0), each_database=True)
    server = Noted(clock, "one", collector("often", 10.0), rounds)
    tier = Driven(clock, server)
    tier.pass_time(1, hold=True)
    assert len(tier.rounds.held) == 1
    for _ in range(6):
        tier.quick.let_go()
        tier.pass_time(10, hold=True)
    assert len(server.times("often")) == 6
    assert server.times("rounds") == []
    tier.rounds.let_go()
    assert len(server.times("rounds")) == 1


def test_after_the_end_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow, "TICK_SECONDS", 0.02)
    server = Noted(None, "one", collector("often", 0.1))
    tier = SlowTier([server])
    tier.start()
    assert wait_for(lambda: len(server.begun) >= 2, 30)
    tier.stop()
    tier._thread.join(30)
    assert not tier._thread.is_alive()
    for pool in tier._pools.values():
        with pytest.raises(RuntimeError):
            pool.submit(print)
