"""Counters of objects that share a name: none falls because one of them has gone."""

from __future__ import annotations

from exporter.collectors.busiest import Busiest
from exporter.collectors.lasting import FORGET_SECONDS, Lasting
from exporter.config.model import ServerConfig
from exporter.declare import Context, Rows
from exporter.facts import Facts, Identity, Role

SERVER = ServerConfig(name="s", engine="postgres", host="h", port=1)
FACTS = Facts("postgres", "postgres", (18, 0), "18.0", Identity("1", 0.0, Role.PRIMARY))


class Sums:
    """Sums by database and name, fed with objects called like `a.f.1`."""

    def __init__(self) -> None:
        self.lasting = Lasting(("db", "name"), "id", ("calls", "time"), Busiest(("db", "name"), ("time",)))
        self.now = 0.0

    def of(self, objects: dict[str, int], seconds: float = 15.0) -> dict[str, int]:
        self.now += seconds
        rows = Rows(
            ("db", "name", "id", "calls", "time"),
            [(*key.split("."), calls, 10 * calls) for key, calls in objects.items()],
        )
        fed = self.lasting.feed(rows, Context(SERVER, FACTS, self.now, None))
        assert fed.columns == ("db", "name", "calls", "time")
        assert [row[3] for row in fed.rows] == [10 * row[2] for row in fed.rows]
        return {f"{row[0]}.{row[1]}": row[2] for row in fed.rows}


def test_overloads_are_added_up_and_what_went_stays() -> None:
    sums = Sums()
    assert sums.of({"a.f.1": 5, "a.f.2": 3, "a.g.3": 1}) == {"a.f": 8, "a.g": 1}
    assert sums.of({"a.f.2": 4, "a.g.3": 1}) == {"a.f": 9, "a.g": 1}
    assert sums.of({"a.f.2": 4, "a.f.4": 2}) == {"a.f": 11}
    # Nothing was left of this one.
    assert sums.of({"a.f.2": 4, "a.f.4": 2, "a.g.5": 1}) == {"a.f": 11, "a.g": 1}


def test_what_counts_from_the_start_again_counts_on_top() -> None:
    sums = Sums()
    sums.of({"a.f.1": 5, "a.f.2": 3})
    assert sums.of({"a.f.1": 1, "a.f.2": 3}) == {"a.f": 9}
    assert sums.of({"a.f.1": 2, "a.f.2": 3}) == {"a.f": 10}


def test_a_database_that_was_not_read_has_lost_nothing() -> None:
    sums = Sums()
    assert sums.of({"a.f.1": 5, "b.f.1": 7, "b.f.2": 1}) == {"a.f": 5, "b.f": 8}
    assert sums.of({"a.f.1": 5}) == {"a.f": 5}
    assert sums.of({"a.f.1": 5, "b.f.1": 9}) == {"a.f": 5, "b.f": 10}
    # It is not remembered for ever.
    assert sums.of({"a.f.1": 5}, FORGET_SECONDS + 1) == {"a.f": 5}
    assert sums.of({"a.f.1": 5, "b.f.1": 9}) == {"a.f": 5, "b.f": 9}


def test_when_another_server_answers_sums_go_on_from_where_they_were() -> None:
    sums = Sums()
    sums.of({"a.f.1": 5, "a.f.2": 3})
    sums.lasting.rebase()
    assert sums.of({"a.f.1": 1, "a.f.2": 1, "a.g.3": 2}) == {"a.f": 8, "a.g": 2}
    assert sums.of({"a.f.1": 2, "a.f.2": 1, "a.g.3": 2}) == {"a.f": 9, "a.g": 2}
    sums.lasting.rebase()
    assert sums.of({"a.f.1": 50}) == {"a.f": 9}
    assert sums.of({"a.f.1": 51}) == {"a.f": 10}
