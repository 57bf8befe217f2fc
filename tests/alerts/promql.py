"""What a PromQL expression asks for: its metrics, labels and ranges."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import promql_parser as promql

from exporter.catalogue import labels_of, metric_names
from exporter.compare.promql import TARGET_LABELS, parse, selector, walk

# Prometheus makes these series itself.
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
    for node in walk(parse(expr)):
        if isinstance(node, promql.Call) and node.func.name in {"rate", "irate", "increase"}:
            (argument,) = node.args
            assert isinstance(argument, promql.MatrixSelector), expr
            asked.counters_in_rate.add(argument.vector_selector.name or "")
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            asked.grouped_by |= set(node.modifier.labels)
        if isinstance(node, promql.BinaryExpr) and node.modifier is not None:
            asked.grouped_by |= set(node.modifier.matching.labels if node.modifier.matching else [])
            asked.grouped_by |= set(node.modifier.group_labels or [])
        if isinstance(node, promql.MatrixSelector | promql.SubqueryExpr):
            assert node.range is not None
            asked.ranges.append(node.range)
        if isinstance(node, promql.VectorSelector):
            selected = selector(node)
            assert selected.metric, f"a selector without a metric name: {expr}"
            used = asked.metrics.setdefault(selected.metric, set())
            used |= {matcher.label for matcher in selected.matchers} - TARGET_LABELS
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
