"""A file of postgres_exporter's user-defined queries: each mistake has its place, and what sound entries become."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.commands.configuration import known
from exporter.config import ConfigError, load_text
from exporter.declare import Context, Rows
from exporter.facts import Facts, Identity, Role
from exporter.queries import peer_values
from exporter.queries.peer_file import PeerFile, read_queries_file
from exporter.queries.version_range import version_range

FINE = "fine:\n  query: SELECT 1 AS a\n"


def read(tmp_path: Path, text: str, *, each_database: bool = False) -> PeerFile:
    file = tmp_path / "q.yaml"
    file.write_text(text)
    ours = known()
    return read_queries_file(str(file), ours.metrics, ours.fixed, each_database=each_database)


def said(tmp_path: Path, text: str) -> list[str]:
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in read(tmp_path, text).problems]


def entry(text: str) -> str:
    return f"e:\n  query: SELECT 1 AS a\n  {text}\n"


WRONG = {
    "- a\n": "q.yaml:1:1: must be a mapping: the name of the metrics, and below it query and metrics",
    "a: [\n": "q.yaml:2:1: this is not valid YAML",
    "e: x\n": "q.yaml:1:4: e: must be a mapping with query and metrics",
    "e:\n  metrics: []\n": "q.yaml:2:3: e.query: needs a query: one statement of SQL as text",
    "e:\n  query: DROP TABLE a\n": (
        "q.yaml:2:10: e.query: must be one statement that reads: SELECT, WITH, SHOW, VALUES or TABLE"
    ),
    "9e:\n  query: SELECT 1\n": "q.yaml:1:1: …: is no beginning of a metric's name: use letters, digits and _",
    entry("metric: []"): "q.yaml:3:3: e.metric: unknown key; did you mean 'metrics'?",
    entry("cache_seconds: soon"): "q.yaml:3:18: e.cache_seconds: must be a whole number of seconds",
    entry("master: perhaps"): "q.yaml:3:11: e.master: must be true or false",
    entry("runonserver: new"): 'q.yaml:3:16: e.runonserver: must be a range of versions such as ">=10.0.0 <12.0.0"',
    entry("metrics: {a: {usage: GAUGE}}"): (
        "q.yaml:3:12: e.metrics: must be a list: '- column:' and below it usage and description"
    ),
    entry("metrics: [a]"): "q.yaml:3:13: e.metrics[0]: must be a column's name with usage and description below it",
    entry("metrics: [{a: GAUGE}]"): "q.yaml:3:17: e.metrics[0].a: needs usage and description below it",
    entry("metrics: [{a: {usage: COUTNER}}]"): (
        "q.yaml:3:25: e.metrics[0].a.usage: must be one of LABEL, COUNTER, GAUGE, DISCARD, HISTOGRAM, MAPPEDMETRIC, "
        "DURATION; did you mean COUNTER?"
    ),
    entry("metrics: [{a: {usage: GAUGE, descripton: x}}]"): (
        "q.yaml:3:32: e.metrics[0].a.descripton: unknown key; did you mean 'description'?"
    ),
    entry("metrics: [{a: {usage: MAPPEDMETRIC, metric_mapping: [1]}}]"): (
        "q.yaml:3:55: e.metrics[0].a.metric_mapping: must be a mapping of texts to numbers"
    ),
    "db:\n  query: SELECT 1\n  metrics: [{up: {usage: GAUGE}}]\n": (
        "q.yaml:3:14: db.metrics[0].up: db_up is a metric of the exporter, which no file can replace; rename it"
    ),
    entry("metrics: [{server: {usage: LABEL}}]"): "q.yaml:1:1: e: e_: 'server' can't be a label of a collector",
    "E:\n  query: SELECT 1\ne:\n  query: SELECT 1\n": (
        "q.yaml:3:1: e: is called like another entry but for its case; rename one"
    ),
}


@pytest.mark.parametrize(("text", "expected"), WRONG.items(), ids=range(len(WRONG)))
def test_every_mistake_has_its_place_and_leaves_the_others_alone(text: str, expected: str, tmp_path: Path) -> None:
    assert said(tmp_path, text) == [expected]
    if text.endswith("\n") and not text.startswith(("-", "a: [", "E")):
        assert [item.name for item in read(tmp_path, text + FINE).collectors] == ["user_fine"]


def test_in_a_config_they_are_mistakes_of_the_config(tmp_path: Path) -> None:
    (tmp_path / "q.yaml").write_text("e:\n  qurey: SELECT 1\n")
    text = "servers:\n  - url: postgresql://u@h\n    pasued: true\nqueries_files: [q.yaml]\n"
    with pytest.raises(ConfigError) as caught:
        load_text(text, source="c.yml", directory=tmp_path, known=known(), env={})
    assert [str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems] == [
        "c.yml:3:5: servers[0].pasued: unknown key; did you mean 'paused'?",
        "q.yaml:2:3: e.qurey: unknown key; did you mean 'query'?",
        "q.yaml:2:3: e.query: needs a query: one statement of SQL as text",
    ]


def test_what_an_entry_becomes(tmp_path: Path) -> None:
    text = (
        "pg_Thing:\n  query: |\n    -- the things\n    SELECT '{limit}' AS a;\n  cache_seconds: 90\n  metrics:\n"
        "    - url: {usage: LABEL}\n      a: {usage: DURATION, description: 'Of a\n        thing'}\n"
    )
    [plain] = read(tmp_path, text).collectors
    assert (plain.name, plain.every, plain.each_database) == ("user_pg_thing", 90, False)
    assert plain.queries[0].sql == "SELECT '{limit}' AS a"
    [block] = plain.blocks
    assert dict(block.labels) == {"url": "url"}
    assert [(m.name, m.kind, m.help) for m in block.measures] == [("pg_Thing_a_milliseconds", "gauge", "Of a thing.")]
    [everywhere] = read(tmp_path, text, each_database=True).collectors
    assert (everywhere.every, everywhere.each_database) == (90, True)
    [once] = read(tmp_path, text.replace("  cache_seconds: 90", "  master: true"), each_database=True).collectors
    assert (once.every, once.each_database) == (None, False)
    # What is read at each scrape stays so in the database that the exporter is connected to.
    here, there = read(tmp_path, text.replace("  cache_seconds: 90\n", ""), each_database=True).collectors
    assert (here.name, here.every, here.each_database) == ("user_pg_thing", None, False)
    assert (there.name, there.every, there.each_database) == ("user_pg_thing_elsewhere", 60, True)


FACTS = {v: Facts("postgres", "postgres", v, "", Identity("1", 0.0, Role.PRIMARY)) for v in [(13, 4), (14, 0), (18, 1)]}


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        (">=13.0.0", [True, True, True]),
        (">13.4.0 <18.0.0", [False, True, False]),
        (">= 14.0.0", [False, True, True]),
        ("<14.0.0 || >=18.0.0", [True, False, True]),
        ("14.0.0", [False, True, False]),
        ("!=14.0.0", [True, False, True]),
        ("13.x", [True, False, False]),
        (">14.x", [False, False, True]),
        ("<=14.x", [True, True, False]),
        ("!13.4.0 <19", [False, True, True]),
        ("13.4.x || 18", [True, False, True]),
    ],
)
def test_ranges_of_versions(text: str, passes: list[bool]) -> None:
    gate = version_range(text)
    assert [gate.passes(facts) for facts in FACTS.values()] == passes


@pytest.mark.parametrize("text", ["", "x", "1.2.3.4", ">=a", "||", ">=10.0.0 ||", "10.0.0-beta"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(ValueError, match="must be a range"):
        version_range(text)


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [("1m30s", 90_000), ("-2ms", -2), ("1.5s", 1500), ("12", 12), (7, 7), (None, None), ("250µs", 0.25), ("1h", 3.6e6)],
)
def test_durations(value: object, milliseconds: float | None) -> None:
    assert peer_values.milliseconds(value) == milliseconds


def test_what_is_no_number_is_an_error() -> None:
    for parse in (peer_values.milliseconds, peer_values.number, peer_values.mapped({"a": 1})):
        with pytest.raises(ValueError, match="not a number"):
            parse("b")
    assert peer_values.mapped({"a": 1, "3": 9})("a") == 1
    assert peer_values.mapped({"a": 1, "3": 9})(3) == 9
    assert peer_values.mapped({"a": 1})("4") == 4


def test_histograms_with_a_part_missing_are_absent() -> None:
    hook = peer_values.hook(frozenset(), ("h", "g"))
    columns = ("h", "h_bucket", "h_sum", "h_count", "g", "g_bucket", "g_sum")
    context: Context = None  # type: ignore[assignment]  # the hook has no use for it
    rows = hook(
        Rows(
            columns,
            [
                ([2, 1], [5, 3], 7.5, 5, [1], [1], 1),
                ("{1,2.5}", "{3,5}", "7.5", "5", [1], [1], 1),
                ([1], [3], None, 5, [1], [1], 1),
                ([1], ["x"], 1, 5, [1], [1], 1),
                (None, None, 1, 5, [1], [1], 1),
            ],
        ),
        context,
    )
    assert [row[0] for row in rows.rows] == [
        ([(1.0, 3), (2.0, 5)], 7.5, 5),
        ([(1.0, 3), (2.5, 5)], 7.5, 5),
        None,
        None,
        None,
    ]
    assert {row[4] for row in rows.rows} == {None}
