"""The exporter with some collectors read at the scrape that it otherwise reads in the background; for the bench alone.

All lines are written anew for each scrape, as they are where every value of every table has moved since the last one;
labels are taken over from it, as they are then, too.
Those that visit every database then read the one that the peer reads, too. Their names are in the environment variable
BENCH_AT_SCRAPE, with commas between.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Set as AbstractSet
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

from exporter import registry
from exporter.declare import Collector
from exporter.exposition import written

VARIABLE = "BENCH_AT_SCRAPE"


def shows(collector: Collector, names: AbstractSet[str]) -> bool:
    """Whether any of these metrics is the collector's."""
    own = {measure.name for measure in collector.measures()}
    begins = tuple(part.measures[0].name for part in collector.blocks if part.named_by is not None)
    return bool(own & names) or (bool(begins) and any(name.startswith(begins) for name in names))


def collectors_of_page(engine: Literal["postgres", "mysql"], names: AbstractSet[str]) -> list[Collector]:
    """The collectors that these metrics are of."""
    return [item for item in registry.collectors_of(engine) if item.elsewhere_of is None and shows(item, names)]


def main() -> int:
    """Run the command line over a registry in which these collectors have no interval, with nothing taken over."""
    names = os.environ[VARIABLE].split(",")
    declared = registry.collectors_by_name()
    moved = {
        name: replace(item, every=None, core_share=None, each_database=False) if name in names else item
        for name, item in declared.items()
    }
    registry.collectors_by_name = lambda: MappingProxyType(moved)  # type: ignore[assignment]
    equal = written._equal
    # Of lines that is a pair of labels and values, of labels the list of their columns.
    written._equal = lambda one, other: not isinstance(one, tuple) and equal(one, other)
    # Only now, so that it sees that registry.
    from exporter.cli import main as run  # noqa: PLC0415

    return run()


if __name__ == "__main__":
    sys.exit(main())
