"""The five subjects as a table: what the exporter's own page says, read the way Prometheus reads it."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from rich import box
from rich.table import Table

_CAPTION = "slow: statements over 1 s; lag: behind the primary"

SAMPLES = dict[str, list[tuple[dict[str, str], float]]]


@dataclass(frozen=True)
class Reading:
    """One page.

    Attributes:
        at: Monotonic seconds.
        samples: Labels and value of each series, by metric.
    """

    at: float
    samples: SAMPLES

    def total(self, name: str, **labels: str) -> float | None:
        """The sum of the series with these labels, None if there are none."""
        values = [
            value
            for have, value in self.samples.get(name, [])
            if all(have.get(label) == wanted for label, wanted in labels.items())
        ]
        return sum(values) if values else None


def read(url: str, at: float) -> Reading:
    """Scrape a page.

    Raises:
        OSError: It doesn't answer.
    """
    with urllib.request.urlopen(url, timeout=15) as response:  # noqa: S310 - our own address
        text = response.read().decode()
    samples: SAMPLES = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    return Reading(at, samples)


def table(now: Reading, before: Reading | None, servers: Iterable[str]) -> Table:
    """Connections, statements, size, cache and lag of each server; rates since the reading before."""
    view = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, caption=_CAPTION, caption_justify="left")
    columns = ("server", "up", "connections", "statements", "slow", "size", "cache hits", "lag")
    for column in columns:
        view.add_column(column, justify="left" if column == "server" else "right", no_wrap=True)
    for server in servers:
        up = now.total("db_up", server=server)
        view.add_row(
            server,
            "yes" if up else "no",
            _connections(now, server),
            _rate(now, before, "db_statements_total", server),
            _count(now.total("db_slow_statements_total", server=server)),
            _bytes(now.total("db_size_bytes", server=server)),
            _hits(now, before, server),
            _lag(now, server),
        )
    return view


def _connections(now: Reading, server: str) -> str:
    used = now.total("db_connections", server=server)
    most = now.total("db_connections_max", server=server)
    reserved = now.total("db_connections_reserved", server=server) or 0.0
    if used is None or most is None:
        return "…"
    return f"{used:.0f} of {most - reserved:.0f}"


def _rate(now: Reading, before: Reading | None, name: str, server: str) -> str:
    new = now.total(name, server=server)
    old = before.total(name, server=server) if before is not None else None
    if new is None or old is None or before is None or now.at <= before.at:
        return "…"
    return f"{max(0.0, new - old) / (now.at - before.at):.0f}/s"


def _hits(now: Reading, before: Reading | None, server: str) -> str:
    def grown(name: str) -> float | None:
        new = now.total(name, server=server)
        old = before.total(name, server=server) if before is not None else 0.0
        return None if new is None else new - (old or 0.0)

    hits, misses = grown("db_cache_hits_total"), grown("db_cache_misses_total")
    if hits is None or misses is None or hits + misses <= 0:
        return "…"
    return f"{hits / (hits + misses):.1%}"


def _lag(now: Reading, server: str) -> str:
    lag = now.total("db_replication_lag_seconds", server=server)
    return "–" if lag is None else f"{lag:.1f} s"


def _count(value: float | None) -> str:
    return "…" if value is None else f"{value:.0f}"


def _bytes(value: float | None) -> str:
    if value is None:
        return "…"
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
