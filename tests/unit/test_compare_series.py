"""Two pages against each other: what counts as the same, and what is said of the rest."""

from __future__ import annotations

import math

import pytest

from exporter.compare.deviations import Deviation
from exporter.compare.pages import Page, complete, parse, shown
from exporter.compare.series import Comparison, Reading, compare

MEANT = Deviation(
    metrics=("pg_a*",), aspects=("missing",), theirs="0", ours="absent", why="w", source="s", test="t",
    labels={"kind": "physical"}, value=0,
)  # fmt: skip


def said(result: Comparison) -> list[tuple[str, str, dict[str, str]]]:
    return [(item.aspect, item.metric, dict(item.labels)) for item in result.unexplained()]


def once(theirs: str, before: str, after: str | None = None, *deviations: Deviation) -> Comparison:
    after = before if after is None else after
    return compare([Reading(parse(before), parse(theirs), parse(after))], deviations)


def test_a_page_is_read_as_prometheus_reads_it() -> None:
    page = parse(
        "# HELP a x\n# TYPE a counter\n"
        'a{b="x\\"y\\\\z\\nn",c="",d="{}"} 1e3 1700000000000\n'
        "# TYPE h histogram\n"
        'h_bucket{le="0.50"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\nnan NaN\n'
    )
    assert page.metrics["a"] == {frozenset({("b", 'x"y\\z\nn'), ("d", "{}")}): 1000.0}
    assert set(page.metrics["h_bucket"]) == {frozenset({("le", "0.5")}), frozenset({("le", "inf")})}
    assert (page.kind("a"), page.kind("h_count"), page.kind("nan")) == ("counter", "histogram", "untyped")
    assert math.isnan(page.value("nan") or 0)


@pytest.mark.parametrize("text", ["<html><body>", "a b c", '{"a": 1}'])
def test_another_page_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="line 1"):
        parse(text)


def test_addresses_as_people_write_them() -> None:
    assert complete("db1:9187") == "http://db1:9187/metrics"
    assert complete("https://db1/probe?target=x") == "https://db1/probe?target=x"
    assert shown("https://me:secret@db1:1/metrics") == "https://db1:1/metrics"


@pytest.mark.parametrize(
    ("theirs", "before", "after", "same"),
    [
        ("5", "5", "5", True),
        ("5", "4", "6", True),
        ("5", "6", "4", True),
        ("5", "4", "4", False),
        ("5", "5.0000000001", "6", True),
        ("NaN", "NaN", "NaN", True),
        ("NaN", "1", "1", False),
        ("+Inf", "+Inf", "+Inf", True),
    ],
)
def test_a_value_lies_between_two_of_ours(theirs: str, before: str, after: str, same: bool) -> None:
    found = said(once(f"pg_a {theirs}\n", f'pg_a{{server="s"}} {before}\n', f'pg_a{{server="s"}} {after}\n'))
    assert found == ([] if same else [("value", "pg_a", {})])


def test_what_differs_once_and_not_again_was_at_work() -> None:
    right, wrong = parse("pg_a 5\n"), parse("pg_a 9\n")
    for readings, differs in (
        ([Reading(wrong, right, wrong), Reading(right, right, right)], False),
        ([Reading(wrong, right, wrong), Reading(wrong, right, wrong)], True),
    ):
        assert bool(compare(readings, ()).differences) is differs
    one, two = parse('pg_a{x="1"} 5\n'), parse('pg_a{x="1"} 5\npg_a{x="2"} 5\n')
    came = compare([Reading(one, one, one), Reading(one, two, one)], ())
    assert (came.passing, came.differences) == (1, [])


def test_labels_of_ours_alone_do_not_matter_but_are_told() -> None:
    theirs = 'pg_a{slot="x"} 1\npg_b{server="db:5432",old="1"} 1\n'
    ours = 'pg_a{server="s",slot="x",more="m"} 1\npg_b{server="s"} 1\n'
    result = once(theirs, ours)
    assert said(result) == [("label", "pg_a", {}), ("label", "pg_b", {})]
    assert [item.ours for item in result.differences] == ["has it besides", "has not"]


def test_missing_series_and_metrics_and_more_of_them() -> None:
    result = once('pg_a{n="1"} 1\npg_a{n="2"} 1\npg_b 1\n', 'pg_a{n="1"} 1\npg_a{n="3"} 1\npg_c 1\n')
    assert said(result) == [("missing", "pg_a", {"n": "2"}), ("more", "pg_a", {"n": "3"}), ("missing", "pg_b", {})]
    assert result.absent == {"pg_b"}


def test_one_series_of_theirs_is_not_two_of_ours() -> None:
    assert said(once("pg_a 1\n", 'pg_a{db="x"} 1\npg_a{db="y"} 1\n')) == [("label", "pg_a", {}), ("label", "pg_a", {})]


def test_types() -> None:
    assert said(once("# TYPE pg_a counter\npg_a 1\n", "# TYPE pg_a gauge\npg_a 1\n")) == [("type", "pg_a", {})]
    assert said(once("pg_a 1\n", "# TYPE pg_a unknown\npg_a 1\n")) == []


def test_a_deviation_explains_what_it_covers_and_nothing_else() -> None:
    theirs = 'pg_a{kind="physical",n="1"} 0\npg_a{kind="physical",n="2"} 7\npg_a{kind="logical",n="3"} 0\npg_b 0\n'
    result = once(theirs, "pg_c 1\n", None, MEANT)
    assert [dict(item.labels)["n"] for item in result.deliberate()] == ["1"]
    assert len(result.unexplained()) == 3


def test_labels_that_can_not_be_compared_leave_the_values_to_compare() -> None:
    senders = Deviation(
        metrics=("pg_a",),
        aspects=("label",),
        theirs="pid",
        ours="slot",
        why="w",
        source="s",
        test="t",
        ignore=("slot",),
    )
    theirs = 'pg_a{app="x",slot="101"} 1\npg_a{app="x",slot="102"} 2\n'
    assert said(once(theirs, 'pg_a{app="x",slot="one"} 2\npg_a{app="x",slot="two"} 1\n', None, senders)) == []
    assert said(once(theirs, 'pg_a{app="x",slot="one"} 1\npg_a{app="x",slot="two"} 3\n', None, senders)) == [
        ("value", "pg_a", {"app": "x"})
    ]


def test_a_page_of_several_servers_is_narrowed_to_one() -> None:
    page = parse('pg_a{server="a"} 1\npg_a{server="b"} 2\npg_b 3\npg_c{server="b"} 1\n').only("server", "a")
    assert page == Page({}, {"pg_a": {frozenset({("server", "a")}): 1.0}, "pg_b": {frozenset(): 3.0}})
