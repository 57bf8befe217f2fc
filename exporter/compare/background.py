"""How old our values are: what the slow tier has read before theirs answered may have moved since then."""

from __future__ import annotations

from functools import cache

from exporter.compare.pages import Labels, Page
from exporter.declare import Collector
from exporter.registry import collectors_by_name


def age(page: Page, metric: str, labels: Labels, connected: str | None) -> float | None:
    """Seconds since series of ours were read, as the page says it; None if it does not.

    Args:
        page: Ours.
        metric: Its name.
        labels: What the series have in common.
        connected: The database that ours is connected to, which is read at the scrape where others are in the
            background; None if nobody knows.
    """
    ages = {
        dict(found).get("collector"): seconds
        for found, seconds in page.metrics.get("database_exporter_collector_age_seconds", {}).items()
    }
    collectors = _collectors().get(metric, ())
    if any(item.elsewhere_of for item in collectors):
        databases = {dict(found).get("datname") for found in page.metrics.get(metric, ()) if labels <= found}
        here = connected is None or connected in databases
        collectors = tuple(item for item in collectors if bool(item.elsewhere_of) is not here)
    return min((ages[item.name] for item in collectors if item.name in ages), default=None)


@cache
def _collectors() -> dict[str, tuple[Collector, ...]]:
    """Those that have a metric, by its name."""
    found: dict[str, tuple[Collector, ...]] = {}
    for collector in collectors_by_name().values():
        for name in {measure.name for measure in collector.measures()}:
            found[name] = (*found.get(name, ()), collector)
    return found
