"""Numbers that a server packs into one text, as columns of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.collectors.busiest import busiest
from exporter.collectors.mysql.packing import packed
from exporter.declare import Collector, DeclarationError, Query, Rows, block, gauge, histogram
from exporter.exposition.render import render_blocks
from exporter.failure import Failure
from exporter.gates import ANY
from exporter.measures import Measure
from exporter.polling.shapes import unpacked
from tests.unit.test_mysql_rows import context

NUMBER = st.one_of(st.none(), st.integers().map(str), st.floats(allow_nan=False, allow_infinity=False).map(repr))


@given(rows=st.lists(st.tuples(st.text(max_size=3), NUMBER, NUMBER, NUMBER), max_size=5))
def test_what_was_packed_comes_out_again(rows: list[tuple[str | None, ...]]) -> None:
    sent = [(row[0], " ".join(number or "" for number in row[1:])) for row in rows]
    assert unpacked(Rows(("k", "packed"), sent), ("a", "b", "c")) == Rows(
        ("k", "a", "b", "c"), rows, verbatim=frozenset({"a", "b", "c"})
    )


@pytest.mark.parametrize("text", ["1 2", "1 2 3 4", ""])
def test_too_many_or_too_few_are_a_failure(text: str) -> None:
    with pytest.raises(Failure, match="other numbers than a, b, c"):
        unpacked(Rows(("k", "packed"), [("x", "1 2 3"), ("y", text)]), ("a", "b", "c"))


def test_null_keeps_its_place() -> None:
    assert packed({"a": "A", "b": "B / 2"}) == "CONCAT_WS(' ', COALESCE(A, ''), COALESCE(B / 2, '')) AS packed"


@pytest.mark.parametrize(
    "measure", [gauge("mysql_m", "a", help="M.", parse=float), histogram("mysql_h", "a", help="H.")]
)
def test_nobody_else_may_read_them(measure: Measure) -> None:
    queries = (Query(ANY, "SELECT 1 AS packed", packed=("a",)),)
    with pytest.raises(DeclarationError, match="numbers that its query packs"):
        Collector(name="x", about="X.", engine="mysql", queries=queries, blocks=(block(measure),))
    plain = block(gauge("mysql_m", "a", help="M."))
    with pytest.raises(DeclarationError, match="numbers that its query packs"):
        Collector(
            name="x", about="X.", engine="mysql", queries=queries, blocks=(plain,), rows=lambda rows, _context: rows
        )
    Collector(name="x", about="X.", engine="mysql", queries=queries, blocks=(plain,))


def test_the_busiest_are_chosen_and_stay_as_they_were_written() -> None:
    rows = unpacked(Rows(("k", "packed"), [("a", "9 0.5"), ("b", "10 1e-7"), ("c", " ")]), ("n", "t"))
    found = busiest("k", by=("n",))().feed(rows, replace(context(), room=2))
    assert [row[0] for row in found.rows][:2] == ["b", "a"]
    blocks = (block(gauge("mysql_n", "n", help="N."), gauge("mysql_t", "t", help="T."), labels=("k",)),)
    made = render_blocks(blocks, found, "s", "mysql", None, budget=4)
    assert [family.text for family in made.families] == [
        'mysql_n{server="s",k="b"} 10\nmysql_n{server="s",k="a"} 9\n',
        'mysql_t{server="s",k="b"} 1e-7\nmysql_t{server="s",k="a"} 0.5\n',
    ]
