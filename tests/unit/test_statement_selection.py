"""Which statements have series of their own: bounded, the foremost by each measure, and not others at every whim."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exporter.collectors.recent import HALF_LIFE_SECONDS, Key, Numbers
from exporter.subjects.statements.selection import Selection

Totals = dict[Key, Numbers]
NAMES = st.sampled_from([("shop", digest) for digest in "abcdefghijkl"] + [(None, None)])
NUMBERS = st.tuples(*[st.integers(0, 10**6).map(float)] * 3)
READINGS = st.lists(st.dictionaries(NAMES, NUMBERS, max_size=13), min_size=1, max_size=6)


def of(**totals: tuple[float, float, float]) -> Totals:
    """Calls, time and I/O of statements by name."""
    return {("shop", name): numbers for name, numbers in totals.items()}


class Chosen:
    """A selection fed every 15 seconds."""

    def __init__(self, room: int) -> None:
        self.selection, self.room, self.now = Selection(), room, 0.0

    def after(self, totals: Totals, seconds: float = 15.0) -> set[str]:
        self.now += seconds
        self.selection.take(totals, self.room, self.now)
        return {str(key[-1]) for key in self.selection.chosen}


@given(READINGS, st.integers(1, 13))
def test_as_many_as_there_is_room_for_each_once_and_none_that_is_not_there(readings: list[Totals], room: int) -> None:
    selection = Selection()
    for now, totals in enumerate(readings):
        selection.take(totals, room, now * 60.0)
        assert len(selection.chosen) == len(set(selection.chosen)) == min(room, len(totals))
        assert set(selection.chosen) <= set(totals)
        assert ((None, None) in selection.chosen) is ((None, None) in totals)


@given(READINGS, st.integers(1, 13))
def test_where_nothing_happened_nobody_is_replaced(readings: list[Totals], room: int) -> None:
    selection = Selection()
    for now, totals in enumerate(readings):
        selection.take(totals, room, now * 60.0)
    before = set(selection.chosen)
    selection.take(readings[-1], room, (len(readings) - 1) * 60.0)
    # The first comparison finds that nothing moved lately, and goes on by the totals, by time.
    if len(readings) > 1:
        assert set(selection.chosen) == before


@given(READINGS, st.integers(4, 13), NAMES, st.integers(0, 2))
def test_who_does_by_far_the_most_of_anything_is_in(readings: list[Totals], room: int, name: Key, measure: int) -> None:
    selection = Selection()
    for now, totals in enumerate(readings):
        selection.take(totals, room, now * 60.0)
    numbers = [0.0, 0.0, 0.0]
    numbers[measure] = 10.0**9
    totals = {key: tuple(map(sum, zip(value, (1.0, 1.0, 1.0), strict=True))) for key, value in readings[-1].items()}
    before = totals.get(name, (0.0, 0.0, 0.0))
    totals[name] = tuple(map(sum, zip(before, numbers, strict=True)))
    # The overflow row takes a place, and a quarter of what is left is at least one.
    selection.take(totals, room + 1, len(readings) * 60.0)
    assert name in selection.chosen


def test_before_there_are_two_readings_it_goes_by_all_that_was_done() -> None:
    totals = of(much=(1, 100, 0), often=(900, 1, 0), reads=(1, 1, 900), slow=(1, 90, 0), nothing=(1, 1, 1))
    assert Chosen(4).after(totals) == {"much", "often", "reads", "slow"}


def test_each_measure_has_its_own_part() -> None:
    chosen = Chosen(8)
    busy = {f"busy{number}": (1000.0, 1000.0 + number, 1000.0) for number in range(8)}
    totals = of(**busy, often=(0, 0, 0), reads=(0, 0, 0), slow=(0, 0, 0), idle=(10**9, 10**9, 10**9))
    chosen.after(totals)
    more = {name: (2000.0, 2000.0 + number, 2000.0) for number, name in enumerate(busy)}
    last = chosen.after(of(**more, often=(9000, 1, 0), reads=(1, 1, 9000), slow=(1, 50, 0), idle=(10**9, 10**9, 10**9)))
    assert {"often", "reads", "slow"} < last
    assert "idle" not in last


def test_two_that_take_turns_replace_nobody() -> None:
    chosen = Chosen(4)
    calls, seen = {"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.0, "e": 0.0}, []
    for run in range(60):
        calls["ab"[run % 2]] += 100
        for name in "cde":
            calls[name] += 20
        seen.append(chosen.after(of(**{name: (done, done, done) for name, done in calls.items()})))
    assert len(set(map(frozenset, seen[2:]))) == 1
    assert {"a", "b"} < seen[-1]


def test_who_does_twice_as_much_comes_in() -> None:
    chosen = Chosen(1)
    chosen.after(of(a=(1, 10, 1), b=(1, 0, 1)))
    assert chosen.after(of(a=(1, 110, 1), b=(1, 150, 1))) == {"a"}
    assert chosen.after(of(a=(1, 120, 1), b=(1, 400, 1))) == {"b"}


def test_one_long_call_fades() -> None:
    chosen = Chosen(4)
    often = {f"often{number}": (1.0, 1.0, 1.0) for number in range(5)}
    chosen.after(of(**often, long=(0, 0, 0)))
    busy = {name: (1001.0, 31.0 + number, 1001.0) for number, name in enumerate(often)}
    assert "long" in chosen.after(of(**busy, long=(1, 3600, 0)))
    busier = {name: (2001.0, 2000.0 + number, 2001.0) for number, name in enumerate(often)}
    assert "long" not in chosen.after(of(**busier, long=(1, 3600, 0)), 20 * HALF_LIFE_SECONDS)


def test_what_found_no_room_on_the_server_is_always_in_and_counts() -> None:
    totals = {**of(a=(9, 9, 9), b=(8, 8, 8)), (None, None): (1.0, 0.0, 0.0)}
    assert Chosen(2).after(totals) == {"None", "a"}


def test_after_all_was_forgotten_those_that_come_anew_are_chosen() -> None:
    chosen = Chosen(2)
    chosen.after(of(a=(1000, 1000, 1000), b=(900, 900, 900), c=(1, 1, 1)))
    chosen.after(of(a=(1010, 1010, 1010), b=(901, 901, 901), c=(2, 2, 2)))
    assert chosen.after({}) == set()
    assert chosen.after(of(c=(5, 5, 5))) == {"c"}
    assert chosen.after(of(c=(6, 6, 6), d=(50, 50, 50), e=(40, 40, 40))) >= {"d"}


@given(READINGS, st.integers(1, 13), st.frozensets(NAMES))
def test_of_some_alone_as_many_as_there_is_room_for(readings: list[Totals], room: int, among: frozenset[Key]) -> None:
    selection = Selection()
    for now, totals in enumerate(readings):
        selection.take(totals, room, now * 60.0, among)
        these = {key for key in totals if key in among or key[-1] is None}
        assert set(selection.chosen) <= these
        assert len(selection.chosen) == len(set(selection.chosen)) == min(room, len(these))
