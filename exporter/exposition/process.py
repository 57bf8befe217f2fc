"""What the exporter says of its own process: build, configuration, CPU, memory, garbage collection."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from psycopg import pq

from exporter import __version__
from exporter.declare import Kind
from exporter.exposition.render import Family, escape, number


@dataclass(frozen=True, slots=True)
class Declared:
    """A metric of the process: labels and a sentence; none has the label `server`."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


BUILD_INFO = Declared(
    "database_exporter_build_info",
    "1; version of the exporter, of Python, and which implementation of psycopg it runs on.",
    ("version", "python", "psycopg"),
)
RELOAD_SUCCESSFUL = Declared(
    "database_exporter_config_last_reload_successful", "1 if the configuration that was read last is the one in use."
)
RELOAD_TIME = Declared(
    "database_exporter_config_last_reload_success_timestamp_seconds",
    "When the configuration in use was read, in Unix time.",
)
PAGE_COMPLETE = Declared(
    "database_exporter_metrics_page_complete",
    "1 if this page holds all metrics of all servers; 0 if there are more servers than web.max_servers_on_metrics, so "
    "that it holds db_up of each and the rest is on /probe, which /sd lists.",
)
DECLARED = (BUILD_INFO, RELOAD_SUCCESSFUL, RELOAD_TIME, PAGE_COMPLETE)


class Process:
    """The metrics of this process.

    Attributes:
        loaded: When the configuration in use was read, in Unix seconds.
        last_load_worked: Whether the configuration that was read last is in use.
    """

    def __init__(self) -> None:
        self.loaded = time.time()
        self.last_load_worked = True
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def families(self, *, complete: bool) -> list[Family]:
        """All of them; `complete` tells whether the page they go on holds all servers' metrics."""
        build = {"version": __version__, "python": platform.python_version(), "psycopg": pq.__impl__}
        return [
            _gauge(BUILD_INFO, 1, build),
            _gauge(RELOAD_SUCCESSFUL, self.last_load_worked),
            _gauge(RELOAD_TIME, self.loaded),
            _gauge(PAGE_COMPLETE, complete),
            *self._from_library(),
        ]

    def _from_library(self) -> list[Family]:
        families = []
        for metric in self._registry.collect():
            lines = [f"{item.name}{_labels(item.labels)} {number(item.value)}\n" for item in metric.samples]
            kind: Kind = "counter" if metric.type == "counter" else "gauge"
            # The library calls a counter without its _total, as OpenMetrics does.
            name = f"{metric.name}_total" if kind == "counter" else metric.name
            families.append(Family(name, kind, metric.documentation, "".join(lines), len(lines)))
        return families


def _gauge(declared: Declared, value: float, labels: Mapping[str, str] | None = None) -> Family:
    text = f"{declared.name}{_labels(labels or {})} {number(value)}\n"
    return Family(declared.name, "gauge", declared.help, text, 1)


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in labels.items()) + "}"
