"""Rules about every dashboard: what Grafana would show wrongly, or only to some."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.alerts.promql import ask, exporter_metrics, unknown
from tests.dashboards.files import DASHBOARDS, QUERIES, ROOT, Query, panels

each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
each_panel = pytest.mark.parametrize(
    "panel",
    [pytest.param(panel, id=f"{name}-{panel['title']}") for name, one in DASHBOARDS.items() for panel in panels(one)],
)
each_query = pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)

# Kinds of panel that Grafana 10 has too.
KINDS = {"row", "stat", "table", "timeseries", "state-timeline"}
UNITS = {value for name, value in vars(units).items() if name[0].isupper() and isinstance(value, str)}


def test_generated_files_are_current() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "dashboards.source", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


@each_dashboard
def test_dashboard_is_fit_for_any_grafana(dashboard: dict[str, Any]) -> None:
    assert re.fullmatch(r"[a-z-]{1,40}", dashboard["uid"])
    assert dashboard["editable"] is False, "changes in the browser are lost at the next update"
    assert "id" not in dashboard, "Grafana gives the number"
    assert {panel["type"] for panel in dashboard["panels"]} <= KINDS
    assert all("placement" not in shown for shown in dashboard["annotations"]["list"])


@each_dashboard
def test_dashboard_is_what_grafana_understands(dashboard: dict[str, Any]) -> None:
    plugins.register_default_plugins()
    understood = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))
    for shown in understood["annotations"]["list"]:
        # The SDK's default, which would hide them in a menu.
        assert shown.pop("placement") == "inControlsMenu"
    assert understood == dashboard, "a field is misspelt or has the wrong type"


@each_dashboard
def test_panels_have_numbers_of_their_own(dashboard: dict[str, Any]) -> None:
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert min(numbers) > 0
    titles = [panel["title"] for panel in panels(dashboard)]
    assert len(set(titles)) == len(titles)


@each_dashboard
def test_panels_do_not_overlap(dashboard: dict[str, Any]) -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in dashboard["panels"]]
    for title, place in places:
        assert place["x"] >= 0, title
        assert place["x"] + place["w"] <= 24, title
    for (first, a), (second, b) in combinations(places, 2):
        apart_x = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart_y = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart_x or apart_y, f"{first} and {second} overlap"


@each_dashboard
def test_variables_choose_what_to_show(dashboard: dict[str, Any]) -> None:
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance", "server"]
    assert variables["datasource"]["label"] == "Data source"
    for name in ("job", "instance", "server"):
        variable = variables[name]
        assert variable["label"] == name.capitalize()
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".+")
        assert variable["refresh"] == 2, "values follow the time range"
        assert variable["datasource"]["uid"] == "${datasource}"
        assert re.fullmatch(rf"label_values\(db_up(\{{.*\}})?, {name}\)", variable["query"]), (
            "db_up is one series a server"
        )


@each_panel
def test_panel_explains_itself(panel: dict[str, Any]) -> None:
    assert re.fullmatch(r"[A-Z].*[^.]", panel["title"])
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["targets"]
    overridden = [
        one["value"]
        for override in panel["fieldConfig"]["overrides"]
        for one in override["properties"]
        if one["id"] == "unit"
    ]
    assert set(overridden) <= UNITS


@each_panel
def test_targets_are_named_and_have_the_chosen_data_source(panel: dict[str, Any]) -> None:
    names = [target["refId"] for target in panel["targets"]]
    assert names == [chr(ord("A") + position) for position in range(len(names))]
    for target in panel["targets"]:
        assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert bool(target.get("instant")) == (panel["type"] in {"stat", "table"})
        assert (target.get("format") == "table") == (panel["type"] == "table")
        assert target["legendFormat"] or panel["type"] in {"stat", "table"}


@each_query
def test_query_selects_what_is_chosen(query: Query) -> None:
    for metric, selector in re.findall(r"\b((?:db_|database_exporter_|scrape_|ALERTS)[a-z_]*)(\{[^}]*\})?", query.expr):
        if metric.startswith("scrape_"):
            # With everything chosen, only the join keeps the targets of others out.
            assert re.search(r"and on \(job, instance\) db_up\{", query.expr)
            continue
        chosen = 'job=~"$job", instance=~"$instance", server=~"$server"'
        if metric == "ALERTS":
            # An alert about the exporter has no server, one about missing metrics no target either.
            chosen = 'job=~"$job|", instance=~"$instance|", server=~"$server|"'
        assert chosen in selector, f"{metric} is not limited to what is chosen"


@each_query
def test_query_takes_rates_over_the_right_time(query: Query) -> None:
    asked = ask(query.substituted)
    counters = {name for name in asked.metrics if name.endswith(("_total", "_bucket", "_count", "_sum"))}
    assert asked.counters_in_rate == counters
    assert all(window >= timedelta(minutes=2) for window in asked.ranges)
    for window in re.findall(r"\b(?:rate|irate|increase)\([^\[]*\[([^\]]*)\]", query.expr):
        assert window == "$__rate_interval"


@each_query
def test_every_metric_and_label_exists(query: Query) -> None:
    assert unknown(ask(query.substituted), exporter_metrics()) == []


def test_what_may_be_empty_exists_and_has_a_reason() -> None:
    expected = yaml.safe_load((ROOT / "dashboards" / "expected_empty.yml").read_text())
    assert expected.keys() <= {query.where for query in QUERIES}
    assert all(isinstance(reason, str) and reason for reason in expected.values())


def test_alerts_link_to_a_dashboard_and_its_variables() -> None:
    from tests.alerts.rules import ALERTS  # noqa: PLC0415

    by_uid = {dashboard["uid"]: dashboard for dashboard in DASHBOARDS.values()}
    for alert in ALERTS:
        path, _, variables = alert["annotations"]["dashboard_url"].partition("?")
        known = {variable["name"] for variable in by_uid[path.removeprefix("/d/")]["templating"]["list"]}
        assert set(re.findall(r"var-(\w+)=", variables)) <= known
