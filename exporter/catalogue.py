"""Every metric that the exporter can expose, from the declarations: for the reference, rules, panels and tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from exporter.declare import Block, Collector, Kind, Measure
from exporter.exposition import process, selfmetrics
from exporter.gates import ANY
from exporter.registry import collectors_by_name

T = TypeVar("T")
PROCESS = "the exporter itself, on /metrics"
_SUM_AND_COUNT: Mapping[str, tuple[str, ...]] = {"_sum": (), "_count": ()}
# The ends of the names of a metric's samples, and the label that each has more.
_SAMPLES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "histogram": {"_bucket": ("le",), **_SUM_AND_COUNT},
    "summary": {"": ("quantile",), **_SUM_AND_COUNT},
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One metric as one block declares it.

    Attributes:
        name: Its full name; with `*` at the end what the server calls things completes it.
        kind: counter, gauge, histogram or summary.
        help: A sentence.
        labels: Besides `server`, which all have but those of the process, and `engine` on db_* metrics.
        where: The servers that have it, as a sentence.
        collector: Whose it is; empty if it is the exporter's own.
        drop_in: Whether an existing exporter has it under this name.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    where: str
    collector: str
    drop_in: bool


def entries() -> list[Entry]:
    """All metrics; a metric that several collectors feed is there once for each."""
    found = [
        _entry(measure, part, collector)
        for collector in collectors_by_name().values()
        # What is read in other databases has the metrics of the collector that reads the connected one.
        if collector.elsewhere_of is None
        for part in collector.blocks
        for measure in part.measures
    ]
    for where, blocks in selfmetrics.ALL.items():
        for part in blocks:
            for measure in part.measures:
                labels = (*part.labels, *part.fixed)
                found.append(Entry(measure.name, measure.kind, measure.help, labels, where, "", measure.drop_in))
    found += [
        Entry(item.name, "gauge", item.help, item.labels, PROCESS, "", drop_in=False) for item in process.DECLARED
    ]
    return found


def metric_names() -> Mapping[str, frozenset[str]]:
    """Every sample name with all labels it can have; those of a histogram or summary are there each."""
    names: dict[str, set[str]] = {}
    for entry in entries():
        labels = {*entry.labels} if entry.where == PROCESS else {*entry.labels, "server"}
        if entry.name.startswith("db_"):
            labels.add("engine")
        for suffix, more in _SAMPLES.get(entry.kind, {"": ()}).items():
            names.setdefault(entry.name + suffix, set()).update(labels, more)
    return {name: frozenset(labels) for name, labels in sorted(names.items())}


def labels_of(name: str, names: Mapping[str, T]) -> T | None:
    """What `names` has for a metric, by its name or by that of the metrics it is one of (`pg_settings_*`)."""
    if name in names:
        return names[name]
    return next((kept for start, kept in names.items() if start[-1] == "*" and name.startswith(start[:-1])), None)


def _entry(measure: Measure, part: Block, collector: Collector) -> Entry:
    gates = [str(gate) for gate in (collector.when, part.when, measure.when) if gate is not ANY]
    # A narrower gate of the same flavor says it all; keep each sentence once.
    where = ", ".join(dict.fromkeys(gates)) or "any server"
    labels = (*part.labels, *part.fixed)
    help_text = measure.help + collector.note
    name = measure.name if part.named_by is None else measure.name + "*"
    return Entry(name, measure.kind, help_text, labels, where, collector.name, measure.drop_in)
