"""A server as it comes out of its package, with the exporter as it comes out of its own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from exporter.registry import collectors_of
from tests.exporters import Exporter, Samples
from tests.providers.base import DatabaseServer
from tests.providers.fleet import Fleet

MOST_SERIES = 2_000


def test_it_has_few_series_unless_asked_for_more(server: DatabaseServer, fleet: Fleet, tmp_path: Path) -> None:
    collectors = [item for item in collectors_of(server.engine) if item.default]
    hurried = {item.name: {"every": "2s"} for item in collectors if item.every is not None}
    fresh = fleet.provider.create(server.name)
    try:
        config = {"servers": [{"name": "fresh", "url": fresh.url(fresh.account()), "collectors": hurried}]}
        with Exporter(tmp_path, config) as exporter:

            def whole(page: Samples) -> bool:
                shown = {labels["collector"] for labels, _ in page.all("database_exporter_collector_state")}
                # MariaDB comes with performance_schema off.
                failed = set(page.failures("fresh").values()) - {"missing_extension"}
                return shown >= {item.name for item in collectors} and not failed

            page = exporter.scrape_until(whole, "fresh", 90)
    finally:
        fresh.remove()
    shown = Counter(name for name, labels, _ in page.samples if labels.get("server") == "fresh")
    assert 500 < shown.total() < MOST_SERIES, shown.most_common(12)
