"""Our pages made wrong on purpose: what `compare` would not notice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from exporter.compare.deviations import Deviation, ignored_labels
from exporter.compare.pages import Labels, Page
from exporter.compare.series import OURS, Reading, compare

# More than exporters differ by in anything that is about themselves: sessions, locks, seconds of idling.
_SHIFT = 10_000.0

Series = Mapping[Labels, float]


@dataclass(frozen=True)
class Mutation:
    """Something wrong about our page.

    Attributes:
        metric: Of both.
        what: `metric gone`, `series gone` or `value changed`.
        labels: Of the series, as far as theirs has them.
    """

    metric: str
    what: str
    labels: Labels = frozenset()


def unnoticed(readings: Sequence[Reading], deviations: Sequence[Deviation], each: int | None = None) -> list[Mutation]:
    """What could go from our page of all that theirs has too, or could have another value, with nothing said.

    Of metrics with more than `each` series that many are tried.
    """
    found = []
    pages = [page for item in readings for page in (item.theirs, item.before, item.after)]
    for metric in sorted(set.intersection(*(set(page.metrics) for page in pages))):
        for mutation, change in _mutations(metric, readings, OURS | ignored_labels(deviations, metric), each):
            wrong = [_changed(item, metric, change) for item in readings]
            if not compare(wrong, deviations).unexplained():
                found.append(mutation)
    return found


Change = Callable[[Series], Series]


def _mutations(
    metric: str, readings: Sequence[Reading], apart: frozenset[str], each: int | None
) -> Iterator[tuple[Mutation, Change]]:
    """The metric away, and each series that theirs has too away or with another value."""
    yield Mutation(metric, "metric gone"), lambda _: {}
    written = set[str]().union(*(item.theirs.written[metric] for item in readings)) - apart

    def same(labels: Labels) -> Labels:
        return frozenset(pair for pair in labels if pair[0] in written)

    ours = [page.metrics[metric] for item in readings for page in (item.before, item.after)]
    # A series that comes and goes says nothing: it may be away where theirs has it.
    for labels in set.intersection(
        *({same(one) for one in item.theirs.metrics[metric]} for item in readings),
        *({same(one) for one in page} for page in ours),
    ):
        values = [value for page in ours for one, value in page.items() if same(one) == labels]
        if any(map(math.isfinite, values)):
            # What moves is right if theirs lies between two of ours.
            by = _SHIFT + 2 * (max(values) - min(values)) + 1e-6 * max(map(abs, values))
            yield Mutation(metric, "series gone", labels), _without(labels, same)
            yield Mutation(metric, "value changed", labels), _raised(labels, same, by)


def _without(labels: Labels, same: Callable[[Labels], Labels]) -> Change:
    return lambda page: {one: value for one, value in page.items() if same(one) != labels}


def _raised(labels: Labels, same: Callable[[Labels], Labels], by: float) -> Change:
    return lambda page: {one: value + by if same(one) == labels else value for one, value in page.items()}


def _changed(reading: Reading, metric: str, change: Change) -> Reading:
    def ours(page: Page) -> Page:
        changed = change(page.metrics[metric])
        rest = {name: found for name, found in page.metrics.items() if name != metric}
        return Page(page.kinds, {**rest, metric: changed} if changed else rest, page.written)

    # Of theirs one metric is enough.
    theirs = Page(reading.theirs.kinds, {metric: reading.theirs.metrics[metric]}, reading.theirs.written)
    return replace(reading, before=ours(reading.before), theirs=theirs, after=ours(reading.after))
