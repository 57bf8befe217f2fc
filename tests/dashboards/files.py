"""The committed dashboards, read as plain JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "dashboards").glob("*.json"))
DASHBOARDS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in FILES}

# What Grafana puts in for a variable, with everything selected.
VARIABLES = {
    "$__rate_interval": "2m",
    "$__interval": "30s",
    "$__range": "3h",
    "$job": ".+",
    "$instance": ".+",
    "$server": ".+",
}


@dataclass(frozen=True)
class Query:
    """One expression of a dashboard, and where it is."""

    where: str
    expr: str
    panel: dict[str, Any]
    legend: str = ""

    @property
    def substituted(self) -> str:
        """The expression as Prometheus gets it."""
        expr = self.expr
        for variable, value in VARIABLES.items():
            expr = expr.replace(variable, value)
        return expr


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """All panels but the headings of rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def _queries() -> Iterator[Query]:
    for name, dashboard in DASHBOARDS.items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                where = f"{name} / {panel['title']} / {target['refId']}"
                yield Query(where, target["expr"], panel, target.get("legendFormat", ""))
        for annotation in dashboard["annotations"]["list"]:
            yield Query(f"{name} / {annotation['name']}", annotation["expr"], {}, annotation["textFormat"])


QUERIES = list(_queries())
