"""The slow tier keeps to its intervals, spreads servers over them, and works on a server one thing at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from exporter.config.model import ServerConfig
from exporter.declare import Collector, Query, block, gauge
from exporter.engines.known import ENGINES
from exporter.gates import ANY
from exporter.polling import slow
from exporter.polling.runs import Task
from exporter.polling.server import Watched
from exporter.polling.slow import SlowTier


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
    """A server whose background work is to write down when it was done."""

    def __init__(self, name: str, *collectors: Collector, takes: float = 0.0) -> None:
        config = ServerConfig(name=name, engine="postgres", host="localhost", port=1)
        super().__init__(config, ENGINES["postgres"], collectors)
        self.takes = takes
        self.begun: list[tuple[float, str]] = []
        self.at_once = self.most_at_once = 0
        self.error: Exception | None = None

    def background(self, tasks: Sequence[Task]) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.begun += [(time.monotonic(), task.name) for task in tasks]
        time.sleep(self.takes)
        self.at_once -= 1
        if self.error:
            raise self.error

    def times(self, name: str) -> list[float]:
        return [at for at, begun in self.begun if begun == name]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow, "TICK_SECONDS", 0.02)


def run(seconds: float, *servers: Noted) -> None:
    tier = SlowTier(servers)
    tier.start()
    time.sleep(seconds)
    tier.stop()


def test_each_collector_has_its_own_interval() -> None:
    server = Noted("one", collector("often", 0.2), collector("seldom", 1.0), collector("at_scrape", None))
    run(1.7, server)
    assert 6 <= len(server.times("often")) <= 9
    assert len(server.times("seldom")) == 2
    assert server.times("at_scrape") == []


def test_a_server_is_worked_on_by_one_thread_and_stays_on_its_grid() -> None:
    server = Noted("one", collector("often", 0.2), collector("other", 0.2), takes=0.3)
    run(2.0, server)
    assert server.most_at_once == 1
    times = server.times("often")
    # What takes longer than its interval skips turns and piles none up.
    assert 4 <= len(times) <= 6
    for at in times:
        behind = (at - times[0]) % 0.2
        assert min(behind, 0.2 - behind) < 0.1


def test_one_server_does_not_hold_up_the_others() -> None:
    slow_one = Noted("slow", collector("often", 0.2), takes=1.0)
    others = [Noted(f"quick {number}", collector("often", 0.2)) for number in range(5)]
    run(1.5, slow_one, *others)
    for other in others:
        assert len(other.times("often")) >= 4


def test_an_error_ends_neither_the_server_nor_the_tier() -> None:
    server = Noted("one", collector("often", 0.1))
    server.error = ValueError("a bug")
    run(1.0, server)
    assert len(server.times("often")) >= 4


def test_first_runs_of_many_servers_are_spread_and_the_same_in_every_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    servers = [Noted(f"server {number}", collector("once", 600.0)) for number in range(40)]
    run(2.6, *servers)
    first = [server.times("once")[0] for server in servers]
    assert max(first) - min(first) > 1.0
    order = sorted(range(40), key=lambda number: first[number])
    # Where a server has its place depends on its name alone.
    again = [Noted(f"server {number}", collector("once", 600.0)) for number in range(40)]
    tier = SlowTier(again)
    due = [tier._due[server.name, "once"] for server in again]
    tier.stop()
    places = [sorted(range(40), key=lambda number: due[number]).index(number) for number in order]
    assert all(abs(place - index) <= 3 for index, place in enumerate(places))


def test_a_changed_server_does_not_wait_for_its_interval() -> None:
    server = Noted("one", collector("seldom", 600.0))
    tier = SlowTier([server])
    tier.start()
    time.sleep(0.5)
    assert len(server.times("seldom")) == 1
    server.sessions.changed.set()
    time.sleep(0.5)
    tier.stop()
    assert len(server.times("seldom")) == 2
    assert not server.sessions.changed.is_set()


def test_after_the_end_nothing_is_begun() -> None:
    server = Noted("one", collector("often", 0.1))
    run(0.5, server)
    time.sleep(0.1)
    begun = len(server.begun)
    time.sleep(0.5)
    assert len(server.begun) == begun
    assert not any(thread.name == "slow tier" and thread.is_alive() for thread in threading.enumerate())


def test_a_thread_that_can_not_be_had_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Noted("one", collector("often", 0.1))
    tier = SlowTier([server])
    submit, refused = tier._pool.submit, []

    def refuse(*args: object) -> object:
        if len(refused) < 3:
            refused.append(args)
            raise RuntimeError("can't start new thread")
        return submit(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(tier._pool, "submit", refuse)
    tier.start()
    time.sleep(1.0)
    tier.stop()
    assert len(refused) == 3
    assert len(server.times("often")) >= 3


def test_a_round_of_databases_does_not_hold_up_what_is_due_often() -> None:
    rounds = replace(collector("rounds", 0.3), each_database=True)

    class Slow(Noted):
        def background(self, tasks: Sequence[Task]) -> None:
            self.takes = 5.0 if tasks[0].collector.each_database else 0.0
            super().background(tasks)

    server = Slow("one", collector("often", 0.1), rounds)
    run(1.0, server)
    assert len(server.times("rounds")) == 1
    assert len(server.times("often")) >= 5
