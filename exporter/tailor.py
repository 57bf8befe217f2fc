"""Collectors as one exporter wants them: without some of their metrics, or with some under another name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from exporter.declare import Collector


def tailored(collectors: Iterable[Collector], name: Callable[[str], str | None]) -> list[Collector]:
    """The collectors with the metrics that `name` gives a name, under that name; without those left with no metric."""
    made = []
    for collector in collectors:
        blocks = []
        for part in collector.blocks:
            named = [(measure, name(measure.name)) for measure in part.measures]
            measures = tuple(replace(measure, name=new) for measure, new in named if new is not None)
            if measures:
                blocks.append(part if measures == part.measures else replace(part, measures=measures))
        if tuple(blocks) == collector.blocks:
            made.append(collector)
        elif blocks:
            made.append(replace(collector, blocks=tuple(blocks)))
    return made


def without(collectors: Iterable[Collector], names: frozenset[str]) -> list[Collector]:
    """The collectors without the metrics of these names."""
    return tailored(collectors, lambda name: None if name in names else name) if names else list(collectors)
