"""Two pages against each other: what counts as the same, and what is said of the rest."""

from __future__ import annotations

import math
from typing import Any

import pytest

from exporter.compare.deviations import Aspect, Deviation, applying, within
from exporter.compare.pages import Page, PageError, complete, parse, shown
from exporter.compare.series import Comparison, Reading, compare
from exporter.gates import PRIMARY, REPLICA, pg

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


def test_a_line_ends_where_the_format_says() -> None:
    """Names of tables may hold what Python takes for the end of a line as well."""
    names = ("a\u2028b", "a\x0bb", "a\x85b", "a\rb")
    page = parse("".join(f't{{relname="{name}"}} 1\n' for name in names) + "crlf 2\r\n")
    assert page.values("relname") == set(names)
    assert page.value("crlf") == 2


@pytest.mark.parametrize("text", ["<html><body>", "a b c", '{"a": 1}'])
def test_another_page_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="line 1"):
        parse(text)


def test_addresses_as_people_write_them() -> None:
    assert complete("db1:9187") == "http://db1:9187/metrics"
    assert complete("https://db1/probe?target=x") == "https://db1/probe?target=x"
    assert shown("https://me:secret@db1:1/metrics") == "https://db1:1/metrics"
    assert shown("https://db1:1/probe?target=db2:5432") == "https://db1:1/probe?target=db2:5432"


@pytest.mark.parametrize(
    "target", ["me:hidden@db2", "postgresql%3A%2F%2Fme%3Ahidden%40db2", "db2/x?user=me%26password%3Dhidden"]
)
def test_a_targets_password_is_not_shown(target: str) -> None:
    assert shown(f"http://db1:1/probe?target={target}") == "http://db1:1/probe?..."


@pytest.mark.parametrize(
    "address", ["http://me:hid#den@db1:1/metrics", "http://me:12#3@db1/metrics", "http://me:1/2@db1:1", "http://[::1/x"]
)
def test_of_an_address_that_can_not_be_read_nothing_is_repeated(address: str) -> None:
    with pytest.raises(PageError) as caught:
        complete(address)
    assert str(caught.value) == (
        "an address can't be read; write http://HOST:PORT/metrics, and what is special in a password as in %40 for @, "
        "%23 for #"
    )


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


def test_a_metric_that_is_not_here_is_missing_though_its_series_come_and_go() -> None:
    pages = [parse(f'pg_b{{pid="{number}"}} 1\n') for number in range(3)]
    nothing = parse("pg_up 1\n")
    result = compare([Reading(nothing, theirs, nothing) for theirs in pages], [])
    assert said(result) == [("missing", "pg_b", {})]
    assert result.absent == {"pg_b"}
    # What theirs did not have all the time, ours may have missed.
    assert said(compare([Reading(nothing, theirs, nothing) for theirs in (*pages, nothing)], [])) == []


def test_one_series_of_theirs_is_not_two_of_ours() -> None:
    two = 'pg_a{db="x"} 1\npg_a{db="y"} 2\n'
    assert said(once("pg_a 1\n", two)) == [("label", "pg_a", {}), ("more", "pg_a", {})]
    # Theirs has to be one of ours, whatever else there is.
    assert said(once("pg_a 3\n", two)) == [("label", "pg_a", {}), ("value", "pg_a", {}), ("more", "pg_a", {})]
    assert said(once('pg_a{db="x"} 1\npg_a{db="y"} 2\n', "pg_a 1\n")) == [
        ("label", "pg_a", {}),
        ("missing", "pg_a", {}),
    ]


def test_an_empty_label_is_not_a_lacking_one() -> None:
    """Nobody has a name at this moment, which says nothing about the label."""
    theirs = 'pg_a{app="",state="idle"} 1\npg_a{app="job",state="idle"} 1\n'
    result = once(theirs, 'pg_a{app="",state="idle"} 1\n')
    assert said(result) == [("missing", "pg_a", {"app": "job", "state": "idle"})]
    other_way = once('pg_a{app="",state="idle"} 1\n', theirs)
    assert said(other_way) == [("more", "pg_a", {"app": "job", "state": "idle"})]
    assert said(once(theirs, 'pg_a{state="idle"} 2\n'))[0] == ("label", "pg_a", {})


def test_types() -> None:
    assert said(once("# TYPE pg_a counter\npg_a 1\n", "# TYPE pg_a gauge\npg_a 1\n")) == [("type", "pg_a", {})]
    assert said(once("pg_a 1\n", "# TYPE pg_a unknown\npg_a 1\n")) == []


def test_a_label_that_ours_adds_is_compared_where_theirs_has_one_of_its_name() -> None:
    ours = 'pg_a{server="s",engine="%s"} 1\n'
    assert said(once("pg_a 1\n", ours % "postgres")) == []
    theirs = 'pg_a{server="other",engine="InnoDB"} 1\n'
    assert said(once(theirs, ours % "InnoDB")) == []
    assert said(once(theirs, ours % "CSV")) == [
        ("missing", "pg_a", {"engine": "InnoDB"}),
        ("more", "pg_a", {"engine": "CSV"}),
    ]


def test_a_deviation_explains_what_it_covers_and_nothing_else() -> None:
    theirs = 'pg_a{kind="physical",n="1"} 0\npg_a{kind="physical",n="2"} 7\npg_a{kind="logical",n="3"} 0\npg_b 0\n'
    result = once(theirs, "pg_c 1\n", None, MEANT)
    assert [dict(item.labels)["n"] for item in result.deliberate()] == ["1"]
    assert len(result.unexplained()) == 3


def deviation(*aspects: Aspect, **changes: Any) -> Deviation:
    given = {"metrics": ("pg_a",), "theirs": "t", "ours": "o", "why": "w", "source": "s", "test": "t"}
    return Deviation(aspects=aspects, **(given | changes))


def test_conditions_of_a_deviation() -> None:
    near = deviation("value", holds=within(2))
    assert said(once("pg_a 5\n", "pg_a 7\n", None, near)) == []
    assert said(once("pg_a 5\n", "pg_a 8\n", None, near)) == [("value", "pg_a", {})]
    # What one of them does not have is 0.
    few = deviation("missing", "more", holds=within(2))
    assert said(once('pg_a{x="1"} 1\npg_a{x="2"} 2\n', 'pg_a{x="1"} 1\npg_a{x="3"} 2\n', None, few)) == []
    assert len(said(once('pg_a{x="1"} 1\npg_a{x="2"} 3\n', 'pg_a{x="1"} 1\npg_a{x="3"} 3\n', None, few))) == 2
    known = deviation("type", kinds=("untyped", "counter|gauge"))
    assert said(once("pg_a 1\n", "# TYPE pg_a gauge\npg_a 1\n", None, known)) == []
    assert said(once("# TYPE pg_a counter\npg_a 1\n", "# TYPE pg_a gauge\npg_a 1\n", None, known)) == [
        ("type", "pg_a", {})
    ]
    one_label = deviation("label", only=("x",))
    assert said(once('pg_a{x="1"} 1\n', "pg_a 1\n", None, one_label)) == []
    assert said(once('pg_a{x="1",y="1"} 1\n', "pg_a 1\n", None, one_label)) == [("label", "pg_a", {})]
    partly = deviation("missing", partly=True)
    theirs = 'pg_a{x="1"} 1\npg_a{x="2"} 1\n'
    assert said(once(theirs, 'pg_a{x="1"} 1\n', None, partly)) == []
    assert len(said(once(theirs, "pg_b 1\n", None, partly))) == 2
    several = deviation("missing", labels={"x": "|2*"})
    assert said(once('pg_a 1\npg_a{x="1"} 1\npg_a{x="23"} 1\n', "pg_b 1\n", None, several)) == [
        ("missing", "pg_a", {"x": "1"})
    ]
    zero = deviation("more", value=0)
    assert said(once('pg_a{x="1"} 1\n', 'pg_a{x="1"} 1\npg_a{x="2"} 0\npg_a{x="3"} 1\n', None, zero)) == [
        ("more", "pg_a", {"x": "3"})
    ]
    with_b = deviation("value", where=lambda theirs, ours: "pg_b" in ours.metrics and "pg_b" not in theirs.metrics)
    assert said(once("pg_a 1\n", "pg_a 2\npg_b 1\n", None, with_b)) == []
    assert said(once("pg_a 1\n", "pg_a 2\n", None, with_b)) == [("value", "pg_a", {})]


def test_a_multiple_is_explained_by_the_number_that_it_is_a_multiple_of() -> None:
    several = deviation("value", times="pg_hosts")
    hosts = 'pg_hosts{x="1"} 60\npg_hosts{x="2"} 2\npg_hosts{x="3"} 1\npg_hosts{x="4"} 0\n'
    theirs = 'pg_a{x="1"} 6030\npg_a{x="2"} 200\npg_a{x="3"} 100.5\npg_a{x="4"} 5\n'
    ours = 'pg_a{x="1"} 100\npg_a{x="2"} 100\npg_a{x="3"} 100\npg_a{x="4"} 100\n'
    assert said(once(theirs + hosts, ours + hosts, None, several)) == [
        ("value", "pg_a", {"x": "3"}),
        ("value", "pg_a", {"x": "4"}),
    ]
    for wrong in ("5900", "10000", "200"):
        assert said(once(f'pg_a{{x="1"}} {wrong}\n{hosts}', f'pg_a{{x="1"}} 100\n{hosts}', None, several)) == [
            ("value", "pg_a", {"x": "1"})
        ]
    # A host more by the time that the other one looks.
    assert said(
        once('pg_a{x="2"} 300\npg_hosts{x="2"} 3\n', 'pg_a{x="2"} 100\npg_hosts{x="2"} 2\n', None, several)
    ) == [("value", "pg_hosts", {"x": "2"})]
    assert said(once('pg_a{x="1"} 200\n', 'pg_a{x="1"} 100\n', None, several)) == [("value", "pg_a", {"x": "1"})]


def test_every_value_of_several_series_has_to_be_explained() -> None:
    zero = deviation("missing", value=0)
    ignoring = deviation("label", ignore=("pid",))
    theirs = 'pg_a{x="1",pid="1"} 0\npg_a{x="1",pid="2"} 7\n'
    assert said(once(theirs, 'pg_a{x="2",pid="1"} 5\n', None, zero, ignoring)) == [
        ("missing", "pg_a", {"x": "1"}),
        ("more", "pg_a", {"x": "2"}),
    ]


@pytest.mark.parametrize(("version", "role", "kept"), [("16.4", "primary", [0]), ("18.1", "primary", [0, 1]),
                                                      ("18.1", "replica", [1, 2])])  # fmt: skip
def test_deviations_of_other_servers_do_not_count(version: str, role: str, kept: list[int]) -> None:
    given = [deviation("value", when=PRIMARY), deviation("value", when=pg(17)), deviation("value", when=REPLICA)]
    page = parse(f'db_info{{flavor="postgres",version="{version}",role="{role}"}} 1\n')
    assert applying(given, page) == [given[one] for one in kept]
    assert applying(given, parse("pg_a 1\n")) == given


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


AGES = (
    'database_exporter_collector_age_seconds{collector="pg_database_sizes"} %s\n'
    'database_exporter_collector_age_seconds{collector="pg_stat_user_tables"} 0.1\n'
    'database_exporter_collector_age_seconds{collector="pg_stat_user_tables_elsewhere"} %s\n'
)


def aged(metric: str, theirs: float, ours: float, *ages: float, kind: str = "gauge") -> tuple[int, int]:
    """How many values have moved, and how many are different, in readings of 1.1 seconds each."""
    name = metric.partition("{")[0]
    readings = []
    for seconds in ages:
        page = parse(f"# TYPE {name} {kind}\n{metric} {ours}\n" + AGES % (seconds, seconds))
        readings.append(Reading(page, parse(f"# TYPE {name} {kind}\n{metric} {theirs}\n"), page, 1.1, "postgres"))
    result = compare(readings, ())
    return len(result.moved), len(result.differences)


def test_what_was_read_before_may_have_moved() -> None:
    size = 'pg_database_size_bytes{datname="shop"}'
    assert aged(size, 7, 5, 20.0, 21.1, 22.2) == (1, 0)
    assert aged(size, 5, 7, 20.0, 21.1, 22.2) == (1, 0)
    # It was read again after theirs, once at least, and is another all the same.
    assert aged(size, 7, 5, 299.0, 0.9, 2.0) == (0, 1)
    assert aged(size, 7, 7, 20.0, 21.1) == (0, 0)


def test_a_counter_of_theirs_is_not_behind_one_that_was_read_before() -> None:
    there, here = (f'pg_stat_user_tables_seq_scan{{datname="{name}"}}' for name in ("shop", "postgres"))
    assert aged(there, 7, 5, 20.0, kind="counter") == (1, 0)
    assert aged(there, 5, 7, 20.0, kind="counter") == (0, 1)
    # The connected database is read at the scrape.
    assert aged(here, 7, 5, 20.0, kind="counter") == (0, 1)
