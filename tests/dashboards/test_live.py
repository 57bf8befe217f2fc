"""Every query of every dashboard against a real Prometheus that scrapes the exporter of real servers."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.dashboards.files import QUERIES, ROOT, Query
from tests.live import settled
from tests.providers.tools import Prometheus

EXPECTED_EMPTY: dict[str, str] = yaml.safe_load((ROOT / "dashboards" / "expected_empty.yml").read_text())


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)
def test_query_returns_what_the_panel_shows(query: Query, live_prometheus: Prometheus) -> None:
    result: list[dict[str, Any]] = []

    def empty() -> bool:
        result[:] = live_prometheus.query(query.substituted)
        return not result and query.where not in EXPECTED_EMPTY

    settled(lambda: (query.where,) if empty() else ())
    assert result or query.where in EXPECTED_EMPTY, f"no result: {query.substituted}"
    named = set(re.findall(r"{{(\w+)}}", query.legend)) - {"channel", "database", "schema"}
    for series in result:
        assert named <= series["metric"].keys(), "the legend names a label that the result does not have"
    if query.panel.get("type") == "table" and not query.where.endswith("/ A"):
        names = [series["metric"].get("__name__") for series in result]
        assert set(names) <= {None}, "Grafana would put these values into rows of their own"
    values = [float(series["value"][1]) for series in result]
    defaults = query.panel["fieldConfig"]["defaults"] if query.panel else {}
    if defaults.get("unit") in {"percentunit", "s", "bytes", "ops"}:
        assert all(value >= 0 for value in values), values
    if "max" in defaults:
        assert all(value <= defaults["max"] for value in values), values
