"""The histogram of all statements over truncations, against the statements themselves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config.model import ServerConfig
from exporter.declare import Context, Rows
from exporter.facts import Facts, Identity, Role
from exporter.subjects.statements.histogram import MySQLHistogram

# As MySQL has them: the first bucket ends at 10 µs, fifty make a factor of ten, the last has no end.
BOUNDS = [round(10**7 * 10 ** (step / 50)) for step in range(449)] + [2**64 - 1]
SERVER = ServerConfig(name="tested", engine="mysql", host="127.0.0.1", port=3306)
CONTEXT = Context(SERVER, Facts("mysql", "mysql", (9, 7), "9.7", Identity("", 0, Role.PRIMARY)), 0)


class Table:
    def __init__(self) -> None:
        self.statements: list[int] = []

    def read(self) -> Rows:
        counts = dict.fromkeys(BOUNDS, 0)
        for duration in self.statements:
            counts[next(bound for bound in BOUNDS if duration < bound)] += 1
        together = (None, len(self.statements), sum(self.statements))
        return Rows(("bound", "count", "time"), [*((bound, count, None) for bound, count in counts.items()), together])


def fed(histogram: MySQLHistogram, table: Table) -> dict[str, object]:
    (row,) = histogram.feed(table.read(), CONTEXT).dicts()
    return row


DURATIONS = st.lists(st.integers(0, 5 * 10**12), max_size=8)


@settings(max_examples=60, deadline=None)
@given(DURATIONS, st.lists(DURATIONS, max_size=6))
def test_without_truncation_each_bucket_holds_what_ran_since_the_baseline(before, later):
    histogram, table = MySQLHistogram(), Table()
    table.statements = list(before)
    assert fed(histogram, table)["durations"][2] == 0
    ran: list[int] = []
    for turn in later:
        table.statements += turn
        ran += turn
        row = fed(histogram, table)
        buckets, total, count = row["durations"]
        assert total == pytest.approx(sum(ran) / 1e12)
        assert count == len(ran)
        for bound, below in buckets:
            assert below == sum(duration < round(bound * 1e12) for duration in ran)
        assert row["threshold"] == 1.0
        assert row["slow"] == sum(duration >= 10**12 for duration in ran)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(DURATIONS, st.sampled_from(["truncate", "rebase"])), max_size=12))
def test_it_never_falls_and_counts_nothing_twice(actions):
    histogram, table = MySQLHistogram(), Table()
    before = fed(histogram, table)
    ran = 0
    for action in actions:
        if action == "truncate":
            table.statements = []
        elif action == "rebase":
            histogram.rebase()
        else:
            table.statements += action
            ran += len(action)
        row = fed(histogram, table)
        assert row["slow"] >= before["slow"]
        assert row["durations"][2] <= ran
        assert row["durations"][1] >= before["durations"][1]
        for (bound, below), (same, earlier) in zip(row["durations"][0], before["durations"][0], strict=True):
            assert bound == same
            assert below >= earlier
        before = row


def test_the_bounds_are_the_server_s_own_and_one_second_is_among_them():
    buckets, _, _ = fed(MySQLHistogram(), Table())["durations"]
    bounds = [bound for bound, _ in buckets]
    assert 1.0 in bounds
    assert len(bounds) == 20
    assert {round(bound * 10**12) for bound in bounds} <= set(BOUNDS)
