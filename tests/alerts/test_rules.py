"""Rules about the rules: what promtool does not look at."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alerts.source.__main__ import files
from alerts.source.settings import SettingsError, load
from exporter.catalogue import labels_of
from tests.alerts.promql import ask, exporter_metrics, unknown
from tests.alerts.rules import ALERTS, GROUPS, RECORDINGS, ROOT, RULES, cases, name, questions

each_rule = pytest.mark.parametrize("rule", RULES, ids=name)
each_alert = pytest.mark.parametrize("alert", ALERTS, ids=name)


def test_generated_files_are_current() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "alerts.source", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_every_alert_has_a_firing_and_a_silent_case() -> None:
    alerts = {(alert["alert"], alert["labels"]["severity"]) for alert in ALERTS}
    fired: set[tuple[str, str]] = set()
    silent: set[tuple[str, str]] = set()
    for where, case in cases():
        named = {alert for alert in alerts if alert[0] == case["alertname"]}
        assert named, f"{where} tests {case['alertname']}, which is no alert"
        firing = {(case["alertname"], one["exp_labels"]["severity"]) for one in case.get("exp_alerts", [])}
        fired |= firing
        silent |= named - firing
    assert fired == alerts
    assert silent == alerts


@each_rule
def test_windows_hold_four_scrapes(rule: dict[str, Any]) -> None:
    # Prometheus 3 leaves the first sample of a range out: a window of two scrapes holds one, and rate() gives nothing.
    for expr in questions(rule):
        assert all(window >= timedelta(seconds=4 * 30) for window in ask(expr).ranges), expr


@each_rule
def test_every_metric_and_label_exists(rule: dict[str, Any]) -> None:
    known = exporter_metrics()
    for recording in RECORDINGS:
        asked = ask(recording["expr"])
        known[recording["record"]] = set[str]().union(*(labels_of(metric, known) or set() for metric in asked.metrics))
    assert [text for expr in questions(rule) for text in unknown(ask(expr), known)] == []


@each_rule
def test_rules_speak_of_the_shared_vocabulary(rule: dict[str, Any]) -> None:
    foreign = [
        metric
        for expr in questions(rule)
        for metric in ask(expr).metrics
        if metric != "up" and not metric.startswith("db_") and ":db_" not in metric
    ]
    assert foreign == []


@each_rule
def test_counters_only_inside_rate_and_gauges_never(rule: dict[str, Any]) -> None:
    for expr in questions(rule):
        asked = ask(expr)
        counters = {metric for metric in asked.metrics if metric.endswith(("_total", "_bucket", "_count", "_sum"))}
        assert asked.counters_in_rate == counters, expr


@each_rule
def test_series_are_matched_by_server(rule: dict[str, Any]) -> None:
    # Many servers share one page, and two exporters may watch the same server: each match names all three.
    matches = re.findall(r"\bon \(([^)]*)\)", rule["expr"])
    operators = re.findall(r"\n\s*[-/+*>]|\band\b|\bunless\b| - ", rule["expr"])
    assert all({"job", "instance", "server"} <= set(match.split(", ")) for match in matches)
    assert len(matches) >= len(operators), "an operator between two metrics has no on (...)"


@each_alert
def test_alert_is_complete(alert: dict[str, Any]) -> None:
    texts = alert["annotations"]
    assert re.fullmatch(r"([A-Z][a-z]+)+", alert["alert"])
    assert len(alert["alert"]) <= 40
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in {"info", "warning", "critical"}
    assert "for" in alert
    assert re.fullmatch(r"[A-Z][^{}]*\.", texts["summary"]), "a plain sentence: it names a kind of trouble"
    assert texts["description"].endswith(".")
    assert "absent(" in alert["expr"] or "{{ $labels." in texts["description"]
    assert "<" not in texts["description"]
    assert texts["runbook_url"].startswith("docs/runbooks/")
    assert "/d/database-overview" in texts["dashboard_url"]


@each_alert
def test_alert_has_a_runbook(alert: dict[str, Any]) -> None:
    runbook = ROOT / alert["annotations"]["runbook_url"]
    headings = [line for line in runbook.read_text().splitlines() if line.startswith("#")]
    assert headings == [f"# {alert['alert']}", "## Meaning", "## Impact", "## Diagnosis", "## Mitigation"]


def test_every_runbook_has_an_alert() -> None:
    runbooks = {path.stem for path in (ROOT / "docs" / "runbooks").glob("Database*.md")}
    assert runbooks == {alert["alert"] for alert in ALERTS}


def test_groups_are_small_and_named_once() -> None:
    names = [group["name"] for group in GROUPS]
    assert len(set(names)) == len(names)
    assert all(len(group["rules"]) <= 20 and len(group["name"]) <= 40 for group in GROUPS)


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        (
            "slow_statements: 5m",
            "slow_statements: 1m",
            r"windows.slow_statements: 1m is shorter than 4 scrapes \(120s\)",
        ),
        ("slow_statements: 5m", "slow_statements: 5 minutes", r"^windows.slow_statements: .*'5 minutes' is not a dur"),
        (
            "critical: {for: 10m}",
            "critical: {four: 10m}",
            r"^alerts.DatabaseMetricsAbsent.critical.for: Field required\n",
        ),
        ("runbook_base:", "runbook_bass:", r"^runbook_bass: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, right: str, wrong: str, told: str) -> None:
    text = (ROOT / "alerts" / "settings.yml").read_text()
    assert right in text
    path = tmp_path / "settings.yml"
    path.write_text(text.replace(right, wrong))
    with pytest.raises(SettingsError, match=re.compile(told, re.MULTILINE)):
        load(path)


def test_alerts_and_their_durations_belong_together(tmp_path: Path) -> None:
    text = (ROOT / "alerts" / "settings.yml").read_text()
    path = tmp_path / "settings.yml"
    path.write_text(text.replace("  DatabaseServerDown:", "  DatabaseServerDawn:"))
    with pytest.raises(SettingsError, match=r"alerts.DatabaseServerDown.critical: missing"):
        files(load(path))
    path.write_text(text + "  DatabaseServerDawn:\n    critical: {for: 1m}\n")
    with pytest.raises(SettingsError, match=r"alerts.DatabaseServerDawn.critical: no such alert"):
        files(load(path))
