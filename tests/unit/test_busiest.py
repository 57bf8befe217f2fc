"""Which objects are shown where not all fit: those that moved most lately, and who is shown stays."""

from __future__ import annotations

from exporter.collectors.busiest import Busiest
from exporter.collectors.recent import HALF_LIFE_SECONDS
from exporter.config.model import ServerConfig
from exporter.declare import Context, Rows
from exporter.facts import Facts, Identity, Role

SERVER = ServerConfig(name="s", engine="postgres", host="h", port=1)
FACTS = Facts("postgres", "postgres", (18, 0), "18.0", Identity("1", 0.0, Role.PRIMARY))


class Shown:
    """A selection fed with counters by name."""

    def __init__(self, room: int | None) -> None:
        self.busiest = Busiest(("name",), ("scans", "rows"))
        self.room = room
        self.now = 0.0

    def of(self, seconds: float = 15.0, **counters: int | None) -> list[str]:
        self.now += seconds
        rows = Rows(("name", "scans", "rows"), [(name, value, None) for name, value in counters.items()])
        fed = self.busiest.feed(rows, Context(SERVER, FACTS, self.now, self.room))
        assert sorted(fed.rows) == sorted(rows.rows), "no row may be lost here: the renderer leaves out and counts"
        return [row[0] for row in fed.rows][: self.room]


def test_what_fits_keeps_its_order() -> None:
    assert Shown(3).of(a=1, b=3, c=2) == ["a", "b", "c"]
    assert Shown(None).of(a=1, b=3) == ["a", "b"]


def test_without_two_readings_what_was_done_so_far_decides() -> None:
    assert Shown(2).of(a=1, b=3, c=2, d=None) == ["b", "c"]


def test_who_moves_more_lately_comes_in_for_the_least_busy() -> None:
    shown = Shown(2)
    assert set(shown.of(a=1000, b=900, c=1)) == {"a", "b"}
    # Nobody did anything: nobody is replaced.
    assert set(shown.of(a=1000, b=900, c=1)) == {"a", "b"}
    assert set(shown.of(a=1000, b=901, c=50)) == {"b", "c"}


def test_a_little_more_is_not_enough_to_replace_anyone() -> None:
    shown = Shown(1)
    shown.of(a=10, b=0)
    assert shown.of(a=110, b=150) == ["a"]
    assert shown.of(a=120, b=400) == ["b"]
    assert shown.of(a=320, b=410) == ["b"]


def test_a_new_object_counts_with_all_it_did_and_a_reset_with_nothing() -> None:
    shown = Shown(1)
    shown.of(a=1000, b=10)
    shown.of(a=1001, b=11)
    assert shown.of(a=1002, b=12, new=500) == ["new"]
    assert shown.of(a=1003, b=13, new=0) == ["new"]


def test_what_a_reading_missed_comes_back_with_what_it_did_since() -> None:
    shown = Shown(1)
    shown.of(hot=10, idle=10**9, more=0)
    shown.of(hot=20, idle=10**9, more=0)
    # A database of its own, which could not be read for two readings.
    shown.of(hot=30, more=0)
    shown.of(hot=40, more=0)
    assert shown.of(hot=50, idle=10**9 + 1, more=0) == ["hot"]
    assert shown.of(hot=60, idle=10**9 + 10_000, more=0) == ["idle"]


def test_no_more_is_remembered_of_what_is_gone_than_there_is() -> None:
    shown = Shown(1)
    for number in range(20):
        shown.of(**{f"short_lived_{number}": 5, f"also_{number}": 4, "there": number})
    assert len(shown.busiest._recent.totals) <= 6


def test_what_was_long_ago_fades() -> None:
    shown = Shown(1)
    shown.of(a=1, b=1)
    assert shown.of(a=10_001, b=1) == ["a"]
    assert shown.of(10 * HALF_LIFE_SECONDS, a=10_001, b=101) == ["b"]
