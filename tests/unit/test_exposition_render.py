"""Rows to lines that the reference parsers read back: whatever is in the labels, whatever the values are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.declare import Block, DeclarationError, Rows, block, counter, gauge, histogram, summary
from exporter.exposition.page import Dialect, page
from exporter.exposition.render import Rendered, render_blocks, server_label
from exporter.exposition.written import Written
from exporter.failure import Failure

DIALECTS = list(Dialect)

# Text as databases have it: all that breaks a line, a quote or an encoding is drawn often.
HOSTILE = st.text(
    st.one_of(st.sampled_from(list('"\\\n\r\t\0\x85\u2028{},= #\U0001f40d')), st.characters(exclude_categories=["Cs"])),
    max_size=12,
)
LABEL = st.one_of(HOSTILE, st.none(), st.integers(0, 2**63), st.booleans())
NUMBER = st.one_of(
    st.integers(-(2**64), 2**64),
    st.floats(),
    st.decimals(),
    st.booleans(),
    st.sampled_from([Decimal("1e400"), Decimal("-1e400"), Decimal("sNaN"), math.nan, math.inf, -math.inf]),
)
NOT_A_NUMBER = st.one_of(st.text(max_size=3), st.binary(max_size=3), st.just([1]), st.just(object()))


def parsed(body: bytes, dialect: Dialect) -> list[Metric]:
    parse = parse_openmetrics if dialect.openmetrics else parse_text
    return list(parse(body.decode()))


def rendered(blocks: Iterable[Block], columns: Iterable[str], rows: Iterable[tuple[Any, ...]], **more: Any) -> Rendered:
    return render_blocks(
        tuple(blocks), Rows(tuple(columns), list(rows)), more.pop("server", "s"), "postgres", None, **more
    )


def as_read(value: Any) -> float | None:
    """What a reader must get for a value, None for nothing: written down apart from the renderer."""
    if value is None or isinstance(value, str | bytes | list) or type(value) is object:
        return None
    if isinstance(value, Decimal) and value.is_snan():
        return None
    return float(value)


def same(left: float, right: float) -> bool:
    # Prometheus reads every value as a float, and so do the parsers.
    return float(left) == float(right) or (math.isnan(left) and math.isnan(right))


@given(
    server=HOSTILE.filter(bool),
    labels=st.lists(st.tuples(LABEL, LABEL), unique_by=lambda pair: tuple("" if x is None else str(x) for x in pair)),
    dialect=st.sampled_from(DIALECTS),
)
def test_labels_come_back_as_they_were(server: str, labels: list[tuple[Any, Any]], dialect: Dialect) -> None:
    blocks = [
        block(gauge("native", "v", help="N."), gauge("db_shared", "v", help="S."), labels={"one": "a", "two": "b"}),
    ]
    made = rendered(blocks, ("a", "b", "v"), [(*pair, 1) for pair in labels], server=server)
    assert made.series == 2 * len(labels)
    expected = Counter((server, *("" if value is None else str(value) for value in pair)) for pair in labels)
    families = {family.name: family for family in parsed(page(made.families, dialect), dialect)}
    for name in ("native", "db_shared") if labels else ():
        samples = families[name].samples
        assert Counter((s.labels["server"], s.labels["one"], s.labels["two"]) for s in samples) == expected
        assert {s.labels.get("engine") for s in samples} == {"postgres" if name == "db_shared" else None}
    # Series of a server are found again by its label, and by nothing that stands inside another value.
    for family in made.families:
        assert family.text.count(server_label(server) + ",") >= family.series == len(labels)


@settings(deadline=None, max_examples=20)
@given(fixed=HOSTILE, dialect=st.sampled_from(DIALECTS))
def test_a_fixed_label_is_on_every_series_of_its_block_alone(fixed: str, dialect: Dialect) -> None:
    buckets = ([(0.5, 1)], 3.0, 2)
    rows = [(f"k{n}", n, n / 8, None if n % 3 else n, buckets) for n in range(101)]
    blocks = [
        block(gauge("g", "v", help="V."), gauge("db_g", "v", help="V."), labels=("k",), fixed={"op": fixed}),
        block(gauge("f", "w", help="W."), gauge("some", "x", help="X."), labels=("k",), fixed={"op": "other"}),
        block(gauge("bare", "w", help="W."), labels=("k",)),
        block(histogram("h", "b", help="B."), labels=("k",), fixed={"op": fixed}),
    ]
    made = rendered(blocks, ("k", "v", "w", "x", "b"), rows)
    found = {family.name: family.samples for family in parsed(page(made.families, dialect), dialect)}
    for name, op, column in (("g", fixed, 1), ("db_g", fixed, 1), ("f", "other", 2), ("some", "other", 3)):
        expected = {(row[0], op): row[column] for row in rows if row[column] is not None}
        assert {(s.labels["k"], s.labels["op"]): s.value for s in found[name]} == expected
    assert {(s.labels["k"], s.labels.get("op")): s.value for s in found["bare"]} == {(r[0], None): r[2] for r in rows}
    assert Counter((s.labels["k"], s.labels["op"]) for s in found["h"]) == {(row[0], fixed): 4 for row in rows}


def test_a_label_is_fixed_or_a_column() -> None:
    with pytest.raises(DeclarationError, match="'k' can't be a label"):
        block(gauge("g", "v", help="V."), labels=("k",), fixed={"k": "one"})
    with pytest.raises(DeclarationError, match="'server' can't be a label"):
        block(gauge("g", "v", help="V."), fixed={"server": "one"})


@given(
    values=st.lists(st.one_of(NUMBER, st.none(), NOT_A_NUMBER), max_size=20),
    dialect=st.sampled_from(DIALECTS),
)
def test_values_come_back_and_others_are_left_out_and_counted(values: list[Any], dialect: Dialect) -> None:
    blocks = [block(gauge("g", "v", help="A value."), labels=("n",))]
    made = rendered(blocks, ("n", "v"), list(enumerate(values)))
    expected = {str(n): read for n, value in enumerate(values) if (read := as_read(value)) is not None}
    found = {
        # The parser keeps whole numbers whole; Prometheus has floats.
        sample.labels["n"]: float(sample.value)
        for family in parsed(page(made.families, dialect), dialect)
        for sample in family.samples
    }
    assert found.keys() == expected.keys()
    assert all(same(found[n], expected[n]) for n in found)
    lost = sum(value is not None for value in values) - len(expected)
    assert made.dropped.get("value", 0) == lost
    assert made.series == len(expected)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["a", "b", '"', "", None]), st.one_of(st.integers(-(2**53), 2**53), st.none()))
    ),
    merge=st.sampled_from(["sum", "max", "min"]),
)
def test_rows_with_equal_labels_become_one(rows: list[tuple[str | None, int | None]], merge: Any) -> None:
    made = rendered([block(gauge("g", "v", help="V."), labels=("k",), merge=merge)], ("k", "v"), rows)
    expected: dict[str, int] = {}
    for key, value in rows:
        if value is not None:
            before = expected.get(key or "")
            merged = {
                "sum": (before or 0) + value,
                "max": max(before or value, value),
                "min": min(before or value, value),
            }
            if before == 0:
                merged["max"], merged["min"] = max(0, value), min(0, value)
            expected[key or ""] = merged[merge]
    found = {s.labels["k"]: s.value for family in parse_text(page(made.families, Dialect.TEXT_0_0_4).decode())
             for s in family.samples}  # fmt: skip
    assert found == expected
    assert "duplicate" not in made.dropped


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=12))
def test_duplicates_are_dropped_and_counted_for_each_metric(keys: list[str]) -> None:
    blocks = [block(gauge("g", "v", help="V."), gauge("h", "v", help="H."), labels=("k",))]
    made = rendered(blocks, ("k", "v"), [(key, place) for place, key in enumerate(keys)])
    assert made.dropped.get("duplicate", 0) == 2 * (len(keys) - len(set(keys)))
    found = {
        s.labels["k"]: s.value
        for s in next(iter(parsed(page(made.families[:1], DIALECTS[0]), DIALECTS[0])), _none()).samples
    }
    # The first of them is the one that stays.
    assert found == {key: keys.index(key) for key in set(keys)}


def _none() -> Metric:
    return Metric("none", "", "gauge")


def test_a_row_without_a_value_is_no_duplicate() -> None:
    made = rendered([block(gauge("g", "v", help="V."), labels=("k",))], ("k", "v"), [("a", None), ("a", 7), ("b", 1)])
    assert made.families[0].text == 'g{server="s",k="a"} 7\ng{server="s",k="b"} 1\n'
    assert made.dropped == {}


def test_labels_that_read_the_same_are_duplicates_even_of_different_types() -> None:
    made = rendered([block(gauge("g", "v", help="V."), labels=("k",))], ("k", "v"), [(1, 10), ("1", 20), (True, 30)])
    [family] = parsed(page(made.families, Dialect.TEXT_0_0_4), Dialect.TEXT_0_0_4)
    assert {s.labels["k"]: s.value for s in family.samples} == {"1": 10, "True": 30}
    assert made.dropped == {"duplicate": 1}


@given(count=st.integers(0, 15), budget=st.integers(0, 500))
def test_a_budget_holds_and_what_is_left_out_is_counted(count: int, budget: int) -> None:
    blocks = [
        block(gauge("g", "v", help="V."), gauge("h", "v", help="H."), labels=("k",)),
        block(histogram("d", "times", help="D."), summary("s", "quantiles", help="S."), labels=("k",)),
        block(gauge("i", "v", help="I."), labels=("k",)),
    ]
    # As wide as they may be: 20 bounds, the end, sum and count; three quantiles, sum and count.
    times, quantiles = ([(bound, 1) for bound in range(20)], 1, 1), ([(0.5, 1), (0.95, 1), (0.99, 1)], 1, 1)
    made = rendered(blocks, ("k", "v", "times", "quantiles"), [(n, n, times, quantiles) for n in range(count)],
                    budget=budget)  # fmt: skip
    assert made.series <= budget
    assert made.series + made.dropped.get("budget", 0) == (2 + 23 + 5 + 1) * count
    # A row is there with all of its metrics, or with none.
    series = {family.name: family.series for family in made.families}
    assert series.get("g", 0) == series.get("h", 0)
    assert series.get("d", 0) * 5 == series.get("s", 0) * 23


def readings(made: Rendered) -> list[tuple[str, dict[str, str], float | str]]:
    families = parsed(page(made.families, Dialect.TEXT_0_0_4), Dialect.TEXT_0_0_4)
    samples = [sample for family in families for sample in family.samples]
    return [(s.name, s.labels, "NaN" if math.isnan(s.value) else float(s.value)) for s in samples]


@given(
    runs=st.lists(
        st.lists(st.tuples(st.sampled_from("abc"), NUMBER | st.none() | NOT_A_NUMBER, st.integers(0, 2)), max_size=4),
        min_size=2,
        max_size=5,
    )
)
def test_what_is_taken_over_from_the_last_run_says_the_same_as_what_is_written_anew(
    runs: list[list[tuple[str, Any, int]]],
) -> None:
    blocks = [
        block(gauge("g", "v", help="V."), counter("db_n_total", "n", help="N."), labels=("k",)),
        block(counter("db_m_total", "n", help="M."), labels=("k",), merge="sum"),
    ]
    written = Written()
    for rows in runs:
        again = rendered(blocks, ("k", "v", "n"), rows, written=written)
        anew = rendered(blocks, ("k", "v", "n"), rows)
        assert (again.series, again.dropped) == (anew.series, anew.dropped)
        # As numbers: 1 may stand there for an equal 1.0.
        assert readings(again) == readings(anew)


def test_only_what_has_changed_is_written_anew() -> None:
    blocks = [block(gauge("g", "v", help="V."), gauge("h", "w", help="W."), labels=("k",))]
    written = Written()

    def texts(*rows: tuple[Any, ...]) -> dict[str, str]:
        made = rendered(blocks, ("k", "v", "w"), rows, written=written)
        return {family.name: family.text for family in made.families}

    first = texts(("a", 1000, 2000), ("b", 3000, 4000))
    second = texts(("a", 1000, 2000), ("b", 3000, 4001))
    assert second["g"] is first["g"]
    assert second["h"].splitlines()[1].endswith(" 4001")
    # Nor is anything kept of a run that another one has followed.
    texts()
    assert texts(("a", 1000, 2000), ("b", 3000, 4000))["g"] is not first["g"]
    # Another object with the same numbers.
    assert 'k="c"' in texts(("a", 1000, 2000), ("c", 3000, 4000))["g"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_summary_is_one(dialect: Dialect) -> None:
    blocks = [block(summary("seconds", "v", help="H."), labels=("k",))]
    rows = [("a", ([(0.5, 1.5), (0.99, 3)], 4.5, 2)), ("b", ([], 0.0, 0)), ("c", None), ("d", ([(0.5, "x")], 1, 1))]
    made = rendered(blocks, ("k", "v"), rows)
    assert (made.dropped, made.series) == ({"value": 1}, 6)
    [family] = parsed(page(made.families, dialect), dialect)
    assert family.type == "summary"
    assert {(s.name, s.labels["k"], s.labels.get("quantile")): s.value for s in family.samples} == {
        ("seconds", "a", "0.5"): 1.5,
        ("seconds", "a", "0.99"): 3,
        ("seconds_sum", "a", None): 4.5,
        ("seconds_count", "a", None): 2,
        ("seconds_sum", "b", None): 0,
        ("seconds_count", "b", None): 0,
    }


def test_an_optional_label_is_left_out_where_there_is_no_such_column() -> None:
    part = block(gauge("g", "v", help="H."), labels=("a", "b"), optional=("b",))
    assert rendered([part], ("a", "v"), [("x", 1)]).families[0].text == 'g{server="s",a="x"} 1\n'
    assert rendered([part], ("a", "b", "v"), [("x", "y", 1)]).families[0].text == 'g{server="s",a="x",b="y"} 1\n'
    with pytest.raises(Failure):
        rendered([part], ("b", "v"), [("x", 1)])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_histogram_is_one(dialect: Dialect) -> None:
    blocks = [block(histogram("seconds", "v", help="H."), labels=("k",))]
    rows = [
        ("a", ([(0.5, 1), (1, 3)], 2.5, 4)),
        ("b", ([(0.5, 0), (1, 0)], None, 0)),
        ("c", None),
        ("d", "no histogram"),
    ]
    made = rendered(blocks, ("k", "v"), rows)
    assert made.dropped == {"value": 1}
    [family] = parsed(page(made.families, dialect), dialect)
    assert family.type == "histogram"
    mine = {(s.name, s.labels["k"], s.labels.get("le")): s.value for s in family.samples}
    assert mine == {
        ("seconds_bucket", "a", "0.5"): 1,
        ("seconds_bucket", "a", "1.0"): 3,
        ("seconds_bucket", "a", "+Inf"): 4,
        ("seconds_sum", "a", None): 2.5,
        ("seconds_count", "a", None): 4,
        ("seconds_bucket", "b", "0.5"): 0,
        ("seconds_bucket", "b", "1.0"): 0,
        ("seconds_bucket", "b", "+Inf"): 0,
    }
    assert made.series == len(mine)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_surrogate_does_not_break_the_page(dialect: Dialect) -> None:
    made = rendered([block(gauge("g", "v", help="V."), labels=("k",))], ("k", "v"), [("a\ud800b", 1), ("fine", 2)])
    [family] = parsed(page(made.families, dialect), dialect)
    assert {s.labels["k"]: s.value for s in family.samples} == {"a?b": 1, "fine": 2}


def test_the_first_of_several_columns_that_the_result_has_feeds_the_metric() -> None:
    blocks = [block(gauge("g", "new", "old", help="V."), gauge("gone", "other", help="O."))]
    made = rendered(blocks, ("old",), [(7,)])
    assert [(family.name, family.text) for family in made.families] == [("g", 'g{server="s"} 7\n')]


def test_a_label_without_its_column_fails_the_run() -> None:
    with pytest.raises(Failure, match="no column k"):
        rendered([block(gauge("g", "v", help="V."), labels=("k",))], ("v",), [(1,)])


def test_parse_makes_numbers_and_none_is_absent() -> None:
    yes = {"yes": 1, "no": 0}
    blocks = [block(gauge("g", "v", help="V.", parse=yes.get), labels=("v",))]
    made = rendered(blocks, ("v",), [("yes",), ("no",), ("perhaps",)])
    assert made.families[0].text == 'g{server="s",v="yes"} 1\ng{server="s",v="no"} 0\n'
    assert made.dropped == {}


def test_a_counter_without_total_is_a_counter_in_text_and_unknown_in_openmetrics() -> None:
    blocks = [block(counter("pg_native", "v", help="V.", drop_in=True), counter("ours_total", "v", help="O."))]
    made = rendered(blocks, ("v",), [(3,)])
    text = {f.name: f for f in parsed(page(made.families, Dialect.TEXT_0_0_4), Dialect.TEXT_0_0_4)}
    assert text["pg_native"].type == "counter"
    openmetrics = {f.name: f for f in parsed(page(made.families, Dialect.OPENMETRICS_1_0_0), Dialect.OPENMETRICS_1_0_0)}
    assert {name: (f.type, f.samples[0].name) for name, f in openmetrics.items()} == {
        "pg_native": ("unknown", "pg_native"),
        "ours": ("counter", "ours_total"),
    }


def test_a_column_completes_the_names_of_metrics() -> None:
    named = block(gauge("x_", "value", help="It."), labels=("at",), named_by="what")
    rows = [("a_bytes", "1", 1), ("B", "1", 2), ("a_bytes", "2", 3), (None, "1", 4), ("no-name", "1", 5)]
    done = rendered([named], ("what", "at", "value"), rows, budget=2)
    assert [(family.name, family.series) for family in done.families] == [("x_a_bytes", 2)]
    assert done.dropped == {"value": 1, "budget": 1}
    whole = rendered([named], ("what", "at", "value"), rows)
    assert [family.text for family in whole.families] == [
        'x_a_bytes{server="s",at="1"} 1\nx_a_bytes{server="s",at="2"} 3\n',
        'x_B{server="s",at="1"} 2\n',
    ]
    with pytest.raises(Failure, match="no column what"):
        rendered([named], ("at", "value"), [])


def test_only_names_that_a_column_completes_end_openly() -> None:
    with pytest.raises(DeclarationError, match="x: the name ends with _"):
        block(gauge("x", "value", help="It."), named_by="what")
    with pytest.raises(DeclarationError, match="x_: the name ends with _"):
        block(gauge("x_", "value", help="It."))


WRITTEN = st.one_of(
    st.integers(-(2**64), 2**64).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda number: f"{number:.17g}"),
    st.decimals(allow_nan=False, allow_infinity=False, places=4).map(str),
    st.none(),
)


@given(rows=st.lists(st.tuples(st.sampled_from("abcdef"), WRITTEN), max_size=8), merge=st.sampled_from(["sum", "max"]))
def test_numbers_that_stay_as_they_were_written_are_the_same_numbers(
    rows: list[tuple[str, str | None]], merge: Any
) -> None:
    blocks = (block(gauge("g", "v", help="V."), labels=("k",), merge=merge),)
    made = render_blocks(blocks, Rows(("k", "v"), rows, verbatim=frozenset({"v"})), "s", "mysql", None)
    read = [(key, None if value is None else int(value) if value.isdecimal() else float(value)) for key, value in rows]
    expected = render_blocks(blocks, Rows(("k", "v"), read), "s", "mysql", None)
    assert made.dropped == expected.dropped
    for one, other in zip(made.families, expected.families, strict=True):
        numbers = [
            [(sample.labels, float(sample.value)) for metric in parse_text(family.text) for sample in metric.samples]
            for family in (one, other)
        ]
        assert numbers[0] == numbers[1]


def test_of_a_text_among_numbers_that_were_written_nothing_is_shown() -> None:
    blocks = (block(gauge("g", "v", help="V."), gauge("h", "w", help="W."), labels=("k",)),)
    made = render_blocks(
        blocks, Rows(("k", "v", "w"), [("a", "1", "2")], verbatim=frozenset({"v"})), "s", "mysql", None
    )
    assert [(family.name, family.series) for family in made.families] == [("g", 1)]
    assert made.dropped == {"value": 1}
