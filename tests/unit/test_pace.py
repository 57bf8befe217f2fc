"""A collector that would take a server too much comes more seldom, so that its part of a processor is bounded."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.declare import Context, DeclarationError, Rows
from exporter.engines.deadline import Deadline
from exporter.exposition.selfmetrics import about
from exporter.polling import slow
from exporter.polling.flight import Flight
from exporter.polling.pace import Pace
from exporter.polling.server import Watched
from exporter.polling.snapshot import Snapshot
from exporter.registry import collectors_by_name
from tests.unit.test_slow_tier import Clock, Driven, Noted, collector
from tests.unit.test_watched import (
    ENDED_AFTER_TEN,
    TAKES_TEN_SECONDS,
    FakeEngine,
    declared,
    scrape,
    watched,
)

INTERVAL = "database_exporter_collector_interval_seconds"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """A server on which time passes when it works, and at no other time."""
    made = FakeEngine()
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0 + made.seconds)
    return made


def intervals(server: Watched) -> dict[str, float]:
    """What the page says of them."""
    families = about(server, Flight(Deadline.after(30)), list(server.latest.values()))
    text = "".join(family.text for family in families if family.name == INTERVAL)
    return {
        line.split('collector="')[1].split('"')[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line
    }


def test_what_takes_long_comes_so_seldom_that_its_part_is_bounded(engine: FakeEngine) -> None:
    server = watched(
        engine,
        declared("quick", every=15, core_share=0.004),
        declared("dear", TAKES_TEN_SECONDS, every=15, core_share=0.1),
        declared("unbounded", TAKES_TEN_SECONDS, every=15),
    )
    seen = []
    for _ in range(5):
        server.background(server.slow_tasks())
        seen.append(intervals(server))
    assert [found["quick"] for found in seen] == [15] * 5
    # One run that took long says little.
    assert [found["dear"] for found in seen] == [30, 60, 100, 100, 100]
    assert [server.tasks[name].interval for name in ("quick", "dear", "unbounded")] == [15, 100, 15]


def test_a_run_that_ran_out_of_time_has_cost_it(engine: FakeEngine) -> None:
    server = watched(engine, declared("ended", ENDED_AFTER_TEN, every=15, core_share=0.1))
    server.background(server.slow_tasks())
    assert intervals(server) == {"ended": 30}


def test_the_way_to_the_server_is_no_work_of_it(engine: FakeEngine) -> None:
    server = watched(engine, declared("far", TAKES_TEN_SECONDS, every=15, core_share=0.1))
    engine.round_trip = 9.0
    for _ in range(3):
        server.background(server.slow_tasks())
    assert intervals(server) == {"far": 15}


def test_who_says_how_often_is_heeded(engine: FakeEngine) -> None:
    dear = declared("dear", TAKES_TEN_SECONDS, every=15, core_share=0.1)
    server = watched(engine, dear, collectors={"dear": {"every": 20, "limit": 5}})
    for _ in range(5):
        server.background(server.slow_tasks())
    assert server.tasks["dear"].interval == 20
    assert intervals(server) == {}


def test_what_comes_seldom_is_shown_until_it_comes_again_and_not_of_another_server(engine: FakeEngine) -> None:
    dear = declared("dear", TAKES_TEN_SECONDS, every=15, core_share=0.1)
    server = watched(engine, dear, declared("at_scrape"), max_series=100)
    for _ in range(3):
        server.background(server.slow_tasks())
    task, other = server.tasks["dear"], server.tasks["at_scrape"]
    server.good["dear"] = replace(server.good["dear"], series=80)
    engine.seconds += 280
    assert server.served(task) is not None
    assert server.outcomes.budget(other) == 20, "what is shown takes its room"
    engine.seconds += 30
    assert server.served(task) is None
    assert server.outcomes.budget(other) == 50
    assert task.interval == 100
    # To another server it may be nothing.
    scrape(server)
    server.sessions.close()
    engine.system = "two"
    scrape(server)
    assert task.interval == 15


def test_what_comes_more_often_again_is_shown_without_a_gap(engine: FakeEngine) -> None:
    shown: list[Snapshot | None] = []

    def look(rows: Rows, _: Context) -> Rows:
        shown.append(server.served(server.tasks["dear"]))
        return rows

    server = watched(engine, declared("dear", TAKES_TEN_SECONDS, every=15, core_share=0.1, rows=look))
    task = server.tasks["dear"]
    for _ in range(4):
        server.background([task])
    before = server.good["dear"]
    engine.seconds += 90
    engine.round_trip = 10.0
    server.background([task])
    assert task.interval == 15, "one run that is quick is enough"
    assert shown[-1] is before
    assert server.served(task) is not before
    engine.seconds += 46
    assert server.served(task) is None


def test_the_clock_keeps_to_the_interval_as_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(slow, "time", clock)
    server = Noted(clock, "one", replace(collector("dear", 15.0), core_share=0.01), collector("plain", 15.0))
    pace = server.tasks["dear"].pace
    assert pace is not None
    tier = Driven(clock, server)
    tier.pass_time(61)
    assert (len(server.times("dear")), len(server.times("plain"))) == (5, 5)
    for _ in range(8):
        pace.account_for(1.0)
    tier.pass_time(1200)
    assert 12 <= len(server.times("dear")) - 5 <= 13
    assert len(server.times("plain")) - 5 == 80
    pace.account_for(0.001)
    tier.pass_time(300)
    assert len(server.times("dear")) >= 5 + 12 + 13


@given(st.lists(st.floats(0, 30), min_size=1, max_size=40), st.floats(1, 900), st.floats(0.001, 0.1))
def test_it_never_comes_more_often_than_declared_nor_without_need(
    took: list[float], every: float, core_share: float
) -> None:
    pace = Pace("a collector", every, core_share)
    for number, seconds in enumerate(took, 1):
        before = pace.interval
        pace.account_for(seconds)
        assert every <= pace.interval <= 2 * before
        # One run that is quick is enough to know better; a few that are slow are not.
        assert pace.interval <= max(every, min(took[max(number - 4, 0) : number]) / core_share)
    for _ in range(30):
        pace.account_for(took[-1])
    assert pace.interval == pytest.approx(max(every, took[-1] / core_share))


def test_what_is_declared_has_an_interval() -> None:
    with pytest.raises(DeclarationError):
        declared("at_scrape", core_share=0.01)


def test_what_reads_all_digests_takes_a_hundredth_of_a_processor_at_most() -> None:
    found: dict[str, Any] = {
        item.name: item.core_share
        for item in collectors_by_name().values()
        if any("events_statements_summary_by_digest" in query.sql for query in item.queries) and item.default
    }
    assert set(found) >= {"mysql_statements", "mysql_statement_digests", "mysql_statement_durations"}
    assert sum(found.values()) == pytest.approx(0.01)
