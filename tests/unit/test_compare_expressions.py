"""Rules and dashboards against two pages: what stays, what changes, what goes dead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exporter.compare.deviations import Deviation
from exporter.compare.expressions import Judgement, Verdict, judge
from exporter.compare.pages import parse
from exporter.compare.promql import without_variables
from exporter.compare.questions import Question, QuestionError, from_dashboards, from_rules
from exporter.compare.series import Reading, compare

THEIRS = """\
pg_up 1
pg_replication_lag_seconds 5
pg_stat_activity_count{server="db:5432",datname="a",state="active"} 3
pg_stat_activity_count{server="db:5432",datname="b",state="active"} 4
pg_settings_max_connections{server="db:5432"} 100
pg_locks_count{datname="a",mode="exclusivelock"} 1
pg_locks_count{datname="a",mode="sharelock"} 2
pg_slots{slot="x",type="physical"} 0
pg_slots{slot="y",type="logical"} 5
pg_gone{a="1"} 1
pg_age NaN
pg_sent{app="x",slot="7"} 1
"""
OURS = """\
pg_up{server="s"} 1
pg_replication_lag_seconds{server="s"} 5
pg_stat_activity_count{server="s",datname="a",state="active"} 3
pg_stat_activity_count{server="s",datname="b",state="active"} 4
pg_settings_max_connections{server="s"} 100
pg_locks_count{server="s",datname="a",mode="exclusivelock"} 1
pg_locks_count{server="s",datname="a",mode="sharelock"} 7
pg_slots{server="s",slot="y",type="logical"} 5
pg_sent{server="s",app="x"} 1
"""
MEANT = Deviation(
    metrics=("pg_slots",), aspects=("missing",), theirs="0 for physical slots", ours="absent",
    why="unknown is not zero", source="s", test="t", value=0,
)  # fmt: skip


def judged(*expressions: str | Question) -> list[Judgement]:
    questions = [item if isinstance(item, Question) else Question("f", "p", item) for item in expressions]
    reading = Reading(parse(OURS), parse(THEIRS), parse(OURS))
    return judge(questions, reading, compare([reading], [MEANT]), lambda name: name == "pg_stat_progress_vacuum_phase")


@pytest.mark.parametrize(
    ("expression", "verdict", "reason"),
    [
        ("pg_up == 0", Verdict.SAME, ""),
        ('sum by (datname) (pg_stat_activity_count{state="active"})', Verdict.SAME, ""),
        ("sum(pg_stat_activity_count) / on(instance) pg_settings_max_connections > 0.8", Verdict.SAME, ""),
        ("pg_stat_activity_count / on(instance) group_left pg_settings_max_connections", Verdict.SAME, ""),
        ('pg_locks_count{mode="exclusivelock"}', Verdict.SAME, ""),
        ('rate(pg_locks_count{mode=~"share.*"}[5m])', Verdict.CHANGED, "2.0 there, here 7.0"),
        ("pg_gone > 1", Verdict.DEAD, "pg_gone: is missing here"),
        ("pg_age > 600", Verdict.CHANGED, "pg_age: is missing here"),
        ("pg_gone or pg_up", Verdict.CHANGED, "missing here"),
        ("pg_up unless pg_gone", Verdict.CHANGED, "missing here"),
        ("absent(pg_gone)", Verdict.CHANGED, "missing here"),
        ('pg_stat_activity_count{server="db:5432"}', Verdict.DEAD, "selected by"),
        # Prometheus' own series have no label server, and without on() all labels have to be equal.
        ("pg_up == 1 and up == 1", Verdict.DEAD, "join on(instance)"),
        ("pg_replication_lag > 1 and pg_up == 1", Verdict.UNKNOWN, "no metric pg_replication_lag"),
        ("pg_replication_lag_seconds > pg_settings_max_connections", Verdict.UNKNOWN, "on their page"),
        ('{mode="exclusivelock"}', Verdict.SAME, ""),
        ('{datname="a"}', Verdict.CHANGED, "pg_locks_count"),
        ("pg_up unless up", Verdict.CHANGED, "join on(instance)"),
        ("pg_up / ignoring(server) up", Verdict.UNKNOWN, "no metric up"),
        ("pg_replication_lag_seconds > 1 and pg_up == 1", Verdict.SAME, ""),
        ("sum(pg_up) and sum(pg_stat_activity_count)", Verdict.SAME, ""),
        ("pg_up and on(instance) pg_stat_activity_count", Verdict.SAME, ""),
        ("sum by (app) (pg_sent)", Verdict.CHANGED, "has the label slot"),
        ('{__name__=~"pg_go.*"}', Verdict.DEAD, "missing here"),
        ("pg_stat_progress_vacuum_phase", Verdict.UNKNOWN, "shows nothing on either page now"),
        ("node_load1 > 3", Verdict.UNKNOWN, "no metric node_load1"),
        ("sum(", Verdict.UNREADABLE, "no PromQL"),
        ("time() - 5", Verdict.SAME, ""),
        ("topk($top, sum by ($by) (pg_up{job=~'$job',x!=\"\"})) > $threshold", Verdict.SAME, ""),
        ('pg_locks_count{datname="$database"}', Verdict.CHANGED, "7.0"),
        ("rate(pg_up[$__rate_interval]) + increase(pg_up[$window:1m])", Verdict.SAME, ""),
        ("rate(pg_up[${__range_s}s]) + increase(pg_up[${__interval_ms}ms])", Verdict.SAME, ""),
        # What only a dashboard's user decides.
        ("pg_stat_$what + pg_up", Verdict.UNKNOWN, "in a variable"),
        ("${prefix}_up", Verdict.UNKNOWN, "in a variable"),
        ("pg_up{$filters}", Verdict.UNKNOWN, "in a variable"),
        ("rate($metric[5m])", Verdict.UNKNOWN, "in a variable"),
        ("${query}", Verdict.UNKNOWN, "in a variable"),
        ("pg_gone{a='$a'} + pg_stat_[[what]]", Verdict.DEAD, "pg_gone: is missing here"),
    ],
)
def test_what_becomes_of_an_expression(expression: str, verdict: Verdict, reason: str) -> None:
    (found,) = judged(expression)
    assert found.verdict is verdict, found
    assert reason in " ".join(found.reasons)
    assert not found.deliberate


def test_a_difference_on_purpose_says_why() -> None:
    (changed,), (dead,) = judged("sum(pg_slots)"), judged('pg_slots{type="physical"} > 0')
    assert (changed.verdict, changed.deliberate) == (Verdict.CHANGED, True)
    assert "unknown is not zero" in changed.reasons[0]
    assert dead.verdict is Verdict.DEAD


def test_what_is_recorded_is_there() -> None:
    record = Question("f", "p", "sum(pg_up)", record="job:pg_up:sum")
    assert [item.verdict for item in judged(record, "job:pg_up:sum > 1")] == [Verdict.SAME, Verdict.SAME]


def test_values_of_a_label() -> None:
    lost, kept, servers = judged(
        Question("f", "variable", "pg_slots", label="slot"),
        Question("f", "variable", "pg_locks_count{mode='exclusivelock'}", label="datname"),
        Question("f", "variable", "pg_stat_activity_count", label="server"),
    )
    assert "no slot x here" in " ".join(lost.reasons)
    assert kept.verdict is Verdict.SAME
    assert "names of servers" in " ".join(servers.reasons)


def test_variables_in_strings_stay() -> None:
    assert (
        without_variables('a{b="$b"}[$__range] > ${x:raw} and on($l) [[y]]')
        == 'a{b="$b"}[5m] > 1 and on(grafana_variable) 1'
    )


def test_rule_files(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("groups: [{name: g, rules: [{alert: A, expr: pg_up == 0}]}]")
    (tmp_path / "b.yaml").write_text(
        "kind: PrometheusRule\nspec: {groups: [{name: g, rules: [{record: r, expr: x}]}]}\n---\n"
    )
    found = from_rules([str(tmp_path)])
    assert [(item.place, item.expression, item.record) for item in found] == [
        ("alert A", "pg_up == 0", None),
        ("record r", "x", "r"),
    ]
    resource = {"kind": "PrometheusRule", "spec": {"groups": [{"rules": [{"alert": "A", "expr": "pg_up == 0"}]}]}}
    (tmp_path / "list.yml").write_text(json.dumps({"kind": "List", "items": [resource, {"kind": "Service"}, resource]}))
    assert [item.place for item in from_rules([str(tmp_path / "list.yml")])] == ["alert A", "alert A"]
    (tmp_path / "c.yml").write_text("a: 1")
    for wrong in ("c.yml", "missing.yml"):
        with pytest.raises(QuestionError, match=wrong):
            from_rules([str(tmp_path / wrong)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("groups: {a: b}", "groups is no list of mappings"),
        ("groups: [a]", "groups is no list of mappings"),
        ("groups: a", "groups is no list of mappings"),
        ("groups: [{rules: [foo]}]", "rules is no list of mappings"),
        ("groups: [{rules: {a: b}}]", "rules is no list of mappings"),
        ("groups: [{rules: [{record: [1], expr: x}]}]", r"record: \[1\] is no name"),
        ("spec: 7", "it has no groups"),
        ("items: 7", "it has no groups"),
        ("items: [{spec: {groups: {a: b}}}]", "it has no groups"),
        ("[" * 5000, "can't be read as YAML"),
    ],
)
def test_rule_files_of_another_shape(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "odd.yml").write_text(text)
    with pytest.raises(QuestionError, match=rf"odd\.yml.*{said}"):
        from_rules([str(tmp_path)])


@pytest.mark.parametrize("listed", ["x", ["x"], {"a": "b"}])
def test_dashboards_of_another_shape(tmp_path: Path, listed: object) -> None:
    (tmp_path / "odd.json").write_text(json.dumps({"templating": {"list": listed}}))
    with pytest.raises(QuestionError, match=r"odd\.json.*templating\.list is no list of mappings"):
        from_dashboards([str(tmp_path)])
    (tmp_path / "odd.json").write_text(json.dumps({"templating": listed, "dashboard": listed}))
    assert from_dashboards([str(tmp_path)]) == []


def test_dashboards(tmp_path: Path) -> None:
    target = {"expr": "pg_up"}
    dashboard = {
        "panels": [
            {"title": "one", "targets": [target, {"expr": "{app=\"x\"}", "datasource": {"type": "loki"}}]},
            {"title": "row", "panels": [{"title": "two", "targets": [{"expr": "b"}]}]},
        ],
        "rows": [{"panels": [{"title": "old", "targets": [{"expr": "c"}]}]}],
        "annotations": {"list": [{"name": "marks", "expr": "d"}]},
        "templating": {
            "list": [
                {"type": "query", "name": "v", "query": "label_values(pg_up{x='1'}, server)"},
                {"type": "query", "name": "w", "query": {"query": "query_result(e)"}},
                {"type": "custom", "name": "u", "query": "1,2"},
            ]
        },
    }  # fmt: skip
    file = tmp_path / "x.json"
    file.write_text(json.dumps(dashboard))
    assert [(item.place, item.expression, item.label) for item in from_dashboards([str(file)])] == [
        ("panel 'one'", "pg_up", None),
        ("panel 'two'", "b", None),
        ("panel 'old'", "c", None),
        ("panel 'marks'", "d", None),
        ("variable v", "pg_up{x='1'}", "server"),
        ("variable w", "e", None),
    ]
    file.write_text(json.dumps({"dashboard": dashboard}), encoding="utf-8-sig")
    assert len(from_dashboards([str(file)])) == 6
    file.write_text("{")
    with pytest.raises(QuestionError, match=r"x\.json"):
        from_dashboards([str(file)])
    file.write_text("[" * 100_000)
    with pytest.raises(QuestionError, match=r"x\.json"):
        from_dashboards([str(file)])


def test_dashboards_of_the_newer_layouts(tmp_path: Path) -> None:
    def query(kind: str, text: str) -> dict[str, object]:
        return {"kind": "PanelQuery", "spec": {"query": {"kind": "DataQuery", "group": kind, "spec": {"expr": text}}}}

    def variable(name: str, text: str, group: str = "prometheus") -> dict[str, object]:
        asked = {"kind": "DataQuery", "group": group, "spec": {"query": text}}
        return {"kind": "QueryVariable", "spec": {"name": name, "query": asked}}

    queries = [query("prometheus", "a"), query("loki", '{app="x"} |= "y"')]
    panel = {"kind": "Panel", "spec": {"title": "one", "data": {"kind": "QueryGroup", "spec": {"queries": queries}}}}
    listed = {"list": [{"type": "query", "name": "v", "query": "label_values(b, c)"}]}
    file = tmp_path / "x.json"
    resource = {
        "elements": {"p": panel},
        "variables": [variable("v", "label_values(b, c)"), variable("l", "d", "loki")],
    }
    for spec, places in ((resource, ["panel 'one'", "variable v"]), ({"templating": listed}, ["variable v"])):
        file.write_text(json.dumps({"kind": "Dashboard", "spec": spec}))
        assert [item.place for item in from_dashboards([str(file)])] == places


def test_whom_a_dashboard_asks(tmp_path: Path) -> None:
    loki = {"type": "loki", "uid": "l"}
    logs = {"expr": '{app="x"} |= "y"'}
    prometheus = {"expr": "a", "datasource": {"type": "prometheus", "uid": "p"}}
    mixed = {"type": "datasource", "uid": "-- Mixed --"}
    dashboard = {
        "panels": [
            {"title": "logs", "datasource": loki, "targets": [logs, prometheus]},
            {"title": "mixed", "datasource": mixed, "targets": [prometheus, {**logs, "datasource": loki}]},
        ],
        "templating": {"list": [{"type": "query", "name": "v", "datasource": loki, "query": "label_values(b, c)"}]},
    }
    (tmp_path / "x.json").write_text(json.dumps(dashboard))
    assert [(item.place, item.expression) for item in from_dashboards([str(tmp_path)])] == [
        ("panel 'logs'", "a"),
        ("panel 'mixed'", "a"),
    ]


def test_panels_of_a_library(tmp_path: Path) -> None:
    model = {"title": "shared", "targets": [{"expr": "a"}]}
    panels = [
        {"title": "here", "libraryPanel": {"uid": "x", "name": "shared", "model": model}},
        {"title": "there", "libraryPanel": {"uid": "y", "name": "shared"}},
    ]
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"panels": panels}))
    here, there = from_dashboards([str(file)])
    assert (here.expression, here.elsewhere) == ("a", None)
    (found,) = judged(there)
    assert found.verdict is Verdict.UNKNOWN
    assert "library" in found.reasons[0]
    file.write_text(json.dumps({"panels": panels, "__elements": {"y": {"name": "shared", "model": model}}}))
    assert [item.expression for item in from_dashboards([str(file)])] == ["a", "a"]


def test_variables_that_ask_for_names_or_series(tmp_path: Path) -> None:
    queries = {"n": "metrics(pg_slots)", "s": "pg_up", "l": "label_names()", "a": "label_values(datname)"}
    listed = [{"type": "query", "name": name, "query": text} for name, text in queries.items()]
    (tmp_path / "x.json").write_text(json.dumps({"templating": {"list": listed}}))
    names, series = judged(*from_dashboards([str(tmp_path)]))
    assert (names.question.expression, names.verdict) == ('{__name__=~".*(?:pg_slots).*"}', Verdict.CHANGED)
    assert (series.question.expression, series.verdict) == ("pg_up", Verdict.SAME)
