"""Active sessions by statement against a plain account: each second on the pages once, and no counter that falls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.collectors.recent import HALF_LIFE_SECONDS
from exporter.declare import Rows
from exporter.subjects.sessions import postgres, statements, totals
from exporter.subjects.sessions.statements import OTHERS
from exporter.subjects.sessions.totals import ActiveSessions

COLUMNS = ("database", "active", "wait_event_type", "statement", "sessions", "took")
EVENTS = (None, "Lock", "Odd")

Group = tuple[str | None, str | None, int | None, int]
# By database and class, and by these and the statement.
Sums = dict[tuple[str, str], float]
Series = dict[tuple[str, str, Any], float]

groups = st.lists(
    st.tuples(
        st.sampled_from((None, "a", "b", "c")), st.sampled_from(EVENTS), st.sampled_from((None, 1, 2, 3, 4, 5)),
        st.integers(1, 9),
    ),
    max_size=5,
)  # fmt: skip
# Seconds until the sample, what it finds, and how many pages are made of it.
steps = st.lists(st.tuples(st.sampled_from((0.0, 0.5, 1.0, 7.0, 900.0)), groups, st.integers(0, 2)), max_size=25)


def sample(found: Iterable[Group]) -> Rows:
    rows: list[tuple[Any, ...]] = [(name, True, event, which, count, None) for name, event, which, count in found]
    return Rows(COLUMNS, [*rows, (None, None, None, None, None, None)])


def page(sessions: ActiveSessions, now: float) -> tuple[Sums, Series]:
    rows = sessions.rows(now).dicts()
    of_all = {(row["database"], row["wait_class"]): row["seconds"] for row in rows if row["seconds"] is not None}
    listed = [row for row in rows if row["of_statement"] is not None]
    of_each = {(row["database"], row["wait_class"], row["statement"]): row["of_statement"] for row in listed}
    assert len(of_each) == len(listed)
    return of_all, of_each


def shown(of_each: Series) -> set[tuple[str, Any]]:
    return {(database, which) for database, _, which in of_each if which != OTHERS}


def added_up(series: Series) -> Sums:
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for (database, wait_class, _), value in series.items():
        sums[database, wait_class] += value
    return sums


# A busy machine may be slow.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_whoever_comes_and_goes_the_series_add_up_and_none_of_them_falls(
    taken: list[tuple[float, list[Group], int]],
) -> None:
    sessions, now = postgres.sessions(2), 1000.0
    sessions.take(sample([]), now)
    # Of each series that was ever on a page what it said last, as Prometheus has it.
    said: Series = {}
    active: set[tuple[str, Any]] = set()
    for gap, found, pages in taken:
        now += gap
        sessions.take(sample(found), now)
        active |= {(database or "", which) for database, _, which, _ in found}
        for _ in range(pages):
            of_all, of_each = page(sessions, now)
            assert len(shown(of_each)) == min(2, len(active)), "room is left, or taken by too many"
            assert shown(of_each) <= active, "a series of what was never seen"
            for key, value in of_each.items():
                assert value >= said.get(key, 0.0), f"{key} fell"
                known_class = key[1] in postgres.CLASSES
                if key not in said and key[2] != OTHERS and known_class:
                    assert value == 0, "what a rate can't see is nowhere else"
            said |= of_each
            assert dict(added_up(said)) == pytest.approx(of_all)


def test_the_busiest_have_series_and_what_they_did_before_is_the_others() -> None:
    sessions = postgres.sessions(2)
    sessions.take(sample([]), 0.0)
    assert page(sessions, 0.0)[1] == {("", name, OTHERS): 0.0 for name in postgres.CLASSES}
    sessions.take(sample([("a", None, 1, 3), ("a", "Lock", 2, 2), ("a", None, 3, 1)]), 1.0)
    of_all, first = page(sessions, 1.0)
    assert shown(first) == {("a", 1), ("a", 2)}
    assert {value for (_, _, which), value in first.items() if which != OTHERS} == {0.0}
    assert (first["a", "cpu", OTHERS], first["a", "lock", OTHERS]) == (4.0, 2.0)
    assert (of_all["a", "cpu"], of_all["a", "lock"]) == (4.0, 2.0)
    sessions.take(sample([("a", None, 1, 3), ("a", "Lock", 2, 2), ("a", None, 3, 1)]), 2.0)
    _, second = page(sessions, 2.0)
    assert (second["a", "cpu", 1], second["a", "lock", 2], second["a", "cpu", OTHERS]) == (3.0, 2.0, 5.0)


@pytest.mark.parametrize("up", [0.0, 1e3, 2e6, 1e9])
def test_the_first_page_has_the_busiest_however_long_the_machine_is_up(up: float) -> None:
    sessions = postgres.sessions(2)
    sessions.take(sample([]), up)
    quiet: list[Group] = [("a", None, which, 1) for which in range(1, 6)]
    for second in range(1, 4):
        sessions.take(sample([*quiet, ("a", None, 77, 50), ("a", None, 88, 40)]), up + second)
    assert shown(page(sessions, up + 4)[1]) == {("a", 77), ("a", 88)}


def test_who_has_a_series_stays_until_another_does_twice_as_much_and_goes_on_where_it_was() -> None:
    sessions = postgres.sessions(1)
    sessions.take(sample([]), 0.0)
    sessions.take(sample([("a", None, 1, 10)]), 1.0)
    page(sessions, 1.0)
    sessions.take(sample([("a", None, 1, 2), ("a", None, 2, 23)]), 2.0)
    of_all, of_each = page(sessions, 2.0)
    assert (of_each["a", "cpu", 1], of_each["a", "cpu", OTHERS]) == (2.0, 33.0)
    sessions.take(sample([("a", None, 1, 1), ("a", None, 2, 5)]), 3.0)
    of_all, of_each = page(sessions, 3.0)
    # What it did since the page before is on no page of its own.
    assert shown(of_each) == {("a", 2)}
    assert (of_each["a", "cpu", 2], of_each["a", "cpu", OTHERS]) == (0.0, 39.0)
    sessions.take(sample([("a", None, 1, 100)]), 4.0)
    of_all, of_each = page(sessions, 4.0)
    assert (of_each["a", "cpu", 1], of_each["a", "cpu", OTHERS], of_all["a", "cpu"]) == (2.0, 139.0, 141.0)


def test_what_was_long_ago_counts_less() -> None:
    sessions = postgres.sessions(1)
    sessions.take(sample([]), 0.0)
    sessions.take(sample([("a", None, 1, 10)]), 1.0)
    page(sessions, 1.0)
    later = 1.0 + 3 * HALF_LIFE_SECONDS
    page(sessions, later)
    sessions.take(sample([("a", None, 2, 1)]), later)
    assert shown(page(sessions, later)[1]) == {("a", 2)}


def test_sessions_whose_statement_is_not_known_are_like_one_statement() -> None:
    sessions = postgres.sessions(1)
    sessions.take(sample([("a", "Lock", None, 5), ("a", None, 1, 1)]), 0.0)
    page(sessions, 0.0)
    sessions.take(sample([("a", "Lock", None, 5), ("a", None, 1, 1)]), 1.0)
    _, of_each = page(sessions, 1.0)
    assert (of_each["a", "lock", None], of_each["a", "cpu", OTHERS]) == (5.0, 1.0)


def test_of_a_database_that_makes_room_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "MOST_DATABASES", 2)
    monkeypatch.setattr(totals, "FORGOTTEN_SECONDS", 0.5)
    sessions = postgres.sessions(2)
    for now, name in enumerate(("a", "a", "b", "b", "b")):
        sessions.take(sample([(name, None, 1, 1)]), float(now))
        of_all, of_each = page(sessions, float(now))
    assert {database for database, _, _ in of_each} == {"", "b"} == {database for database, _ in of_all}
    assert shown(of_each) == {("b", 1)}
    # Statements of those that find no room are those of all that find none.
    monkeypatch.setattr(totals, "FORGOTTEN_SECONDS", 100.0)
    sessions.take(sample([("b", None, 1, 1), ("c", None, 1, 1), ("d", None, 1, 1)]), 5.0)
    page(sessions, 5.0)
    sessions.take(sample([("b", None, 1, 1), ("c", None, 1, 1), ("d", None, 1, 1)]), 6.0)
    of_all, of_each = page(sessions, 6.0)
    assert of_all[totals.OTHERS, "cpu"] == 4.0
    assert of_each[totals.OTHERS, "cpu", 1] == 2.0


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "MOST_REMEMBERED", 10)
    sessions = postgres.sessions(2)
    sessions.take(sample([]), 0.0)
    for number in range(100):
        found: list[Group] = [
            ("a", None, -1, 5),
            ("a", None, -2, 5),
            *(("a", None, 5 * number + n, 1) for n in range(5)),
        ]
        sessions.take(sample(found), float(number + 1))
    kept = sessions._statements
    assert len(kept._recent) <= 22
    assert {("a", -1), ("a", -2)} <= kept._recent.keys()
    now = 100.0
    for number in range(100):
        # Each of them beats the one before.
        now += 1.0
        sessions.take(sample([("a", None, 1000 + number, 3 ** min(number, 30) * (number + 1) ** 9)]), now)
        page(sessions, now)
        now += 20 * HALF_LIFE_SECONDS
        page(sessions, now)
    assert len(kept._left) <= 10
    assert len(kept._recent) <= 12
    assert len(kept._shown) == 2


def test_who_is_shown_is_remembered_however_many_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "MOST_REMEMBERED", 2)
    sessions = postgres.sessions(5)
    sessions.take(sample([("a", None, number, 1) for number in range(5)]), 0.0)
    for now in (1.0, 2.0):
        assert shown(page(sessions, now)[1]) == {("a", number) for number in range(5)}
