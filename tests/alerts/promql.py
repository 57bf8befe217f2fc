"""What a PromQL expression asks for: its metrics, labels and ranges."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import promql_parser as promql

from exporter.catalogue import labels_of, metric_names

# Prometheus adds these to every series, and makes these series itself.
TARGET_LABELS = {"job", "instance"}
PROMETHEUS_METRICS = {
    "up": set[str](),
    "scrape_duration_seconds": set[str](),
    "ALERTS": {"alertname", "alertstate", "severity", "server", "engine"},
}


@dataclass
class Asked:
    """All that one expression touches."""

    metrics: dict[str, set[str]] = field(default_factory=dict)  # metric -> labels it is selected by
    ranges: list[timedelta] = field(default_factory=list)
    counters_in_rate: set[str] = field(default_factory=set)
    grouped_by: set[str] = field(default_factory=set)  # labels of by, without, on, ignoring and group_left


def ask(expr: str) -> Asked:
    """Parse an expression; ValueError if it is not PromQL."""
    asked = Asked()

    def visit(node: object) -> bool:
        if isinstance(node, promql.Call) and node.func.name in {"rate", "irate", "increase"}:
            selector = node.args[0]
            assert isinstance(selector, promql.MatrixSelector), expr
            asked.counters_in_rate.add(selector.vector_selector.name or "")
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            asked.grouped_by |= set(node.modifier.labels)
        if isinstance(node, promql.BinaryExpr) and node.modifier is not None:
            asked.grouped_by |= set(node.modifier.matching.labels if node.modifier.matching else [])
            asked.grouped_by |= set(node.modifier.group_labels or [])
        if isinstance(node, promql.MatrixSelector):
            assert node.range is not None
            asked.ranges.append(node.range)
            visit(node.vector_selector)
        if isinstance(node, promql.SubqueryExpr):
            assert node.range is not None
            asked.ranges.append(node.range)
        if isinstance(node, promql.VectorSelector):
            assert node.name, f"a selector without a metric name: {expr}"
            used = asked.metrics.setdefault(node.name, set())
            used |= {matcher.name for matcher in node.matchers.matchers} - TARGET_LABELS
        return True

    promql.walk(promql.parse(expr), visit)
    return asked


def unknown(asked: Asked, known: dict[str, set[str]]) -> list[str]:
    """Metrics and labels that nothing exposes, as sentences."""
    found = {name: labels_of(name, known) for name in asked.metrics}
    complaints = [f"no metric {name}" for name, labels in found.items() if labels is None]
    complaints += [
        f"{name} has no label {label}"
        for name, labels in found.items()
        if labels is not None
        for label in sorted(asked.metrics[name] - labels)
    ]
    possible = set[str]().union(TARGET_LABELS, *(labels or set() for labels in found.values()))
    complaints += [f"none of {sorted(asked.metrics)} has a label {label}" for label in asked.grouped_by - possible]
    return complaints


def exporter_metrics() -> dict[str, set[str]]:
    """Every metric that the exporter can expose, and those of Prometheus itself, with their labels."""
    return {name: set(labels) for name, labels in metric_names().items()} | PROMETHEUS_METRICS
