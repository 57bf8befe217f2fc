"""Our pages made wrong on purpose: what `compare` would not notice."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from exporter.compare.deviations import Deviation, ignored_labels
from exporter.compare.pages import Labels, Page
from exporter.compare.series import Reading, added_labels, compare

# More than exporters differ by in anything that is about themselves: sessions, locks, seconds of idling.
_SHIFT = 10_000.0

Series = Mapping[Labels, float]


@dataclass(frozen=True)
class Mutation:
    """Something wrong about our page.

    Attributes:
        metric: Of both.
        what: `metric gone`, `type changed`, `series gone` or `value changed`.
        labels: Of the series, as far as theirs has them.
    """

    metric: str
    what: str
    labels: Labels = frozenset()


def unnoticed(readings: Sequence[Reading], deviations: Sequence[Deviation], each: int = 1) -> list[Mutation]:
    """What could go from our page of all that theirs has too, or could be another, with nothing said.

    Of the metrics for which nothing but the type is excused one of `each` is tried.
    """
    pages = [page for item in readings for page in (item.theirs, item.before, item.after)]
    metrics = sorted(set.intersection(*(set(page.metrics) for page in pages)))
    excused = [item for item in deviations if item.aspects != ("type",)]
    plain = [metric for metric in metrics if not any(item.is_about(metric) for item in excused)]
    metrics = sorted({*metrics} - {*plain} | {*plain[::each]})
    return [mutation for metric in metrics for mutation in _Metric(metric, readings, deviations).unnoticed()]


Change = Callable[[Series], Series]


class _Metric:
    """One metric; what is done to one series is found by its labels, so it is done to many at once."""

    def __init__(self, metric: str, readings: Sequence[Reading], deviations: Sequence[Deviation]) -> None:
        self.metric = metric
        self.readings = readings
        self.deviations = deviations
        written = set[str]().union(*(item.theirs.written[metric] for item in readings))
        self.compared = written - added_labels(written) - ignored_labels(deviations, metric)
        pages = [page for item in readings for page in (item.before, item.after)]
        self.rest = {
            id(page): {name: found for name, found in page.metrics.items() if name != metric} for page in pages
        }
        self.ours = [page.metrics[metric] for page in pages]

    def unnoticed(self) -> Iterator[Mutation]:
        if not self._noticed(lambda _: {}):
            yield Mutation(self.metric, "metric gone")
        kind = self.readings[-1].after.kind(self.metric)
        if not self._noticed(dict, "gauge" if kind == "counter" else "counter"):
            yield Mutation(self.metric, "type changed")
        shifts = self._shifts()
        named = sorted(shifts, key=sorted)
        # Half of them stay, so that a metric is never gone as a whole.
        for part in (named[::2], named[1::2]):
            gone = frozenset(part)
            yield from self._left("series gone", part, lambda page, gone=gone: self._without(page, gone))
        for sign in (1, -1):
            yield from self._left("value changed", named, lambda page, sign=sign: self._shifted(page, shifts, sign))

    def _shifts(self) -> dict[Labels, float]:
        """By how much each value is to be another; of what always is on both pages, since the rest may be away."""
        always = set.intersection(
            *({self._same(one) for one in item.theirs.metrics[self.metric]} for item in self.readings),
            *({self._same(one) for one in page} for page in self.ours),
        )
        found: dict[Labels, list[float]] = {labels: [] for labels in always}
        for page in self.ours:
            for one, value in page.items():
                if math.isfinite(value) and self._same(one) in found:
                    found[self._same(one)].append(value)
        # What moves is right if theirs lies between two of ours.
        return {
            labels: _SHIFT + 2 * (max(values) - min(values)) + 1e-6 * max(map(abs, values))
            for labels, values in found.items()
            if values
        }

    def _same(self, labels: Labels) -> Labels:
        return frozenset(pair for pair in labels if pair[0] in self.compared)

    def _without(self, page: Series, gone: frozenset[Labels]) -> Series:
        return {one: value for one, value in page.items() if self._same(one) not in gone}

    def _shifted(self, page: Series, shifts: Mapping[Labels, float], sign: int) -> Series:
        return {one: value + sign * shifts.get(self._same(one), 0) for one, value in page.items()}

    def _left(self, what: str, changed: Sequence[Labels], change: Change) -> Iterator[Mutation]:
        said = self._noticed(change) if changed else []
        for labels in changed:
            # Of a label that ours does not have nothing is said.
            if not any(one <= labels for one in said):
                yield Mutation(self.metric, what, labels)

    def _noticed(self, change: Change, kind: str | None = None) -> list[Labels]:
        """The labels of what is said about our page with a change, no labels for the metric as a whole."""
        wrong = [self._changed(item, change, kind) for item in self.readings]
        return [frozenset(found.labels.items()) for found in compare(wrong, self.deviations).unexplained()]

    def _changed(self, reading: Reading, change: Change, kind: str | None) -> Reading:
        def ours(page: Page) -> Page:
            changed = change(page.metrics[self.metric])
            rest = self.rest[id(page)]
            kinds = page.kinds if kind is None else {**page.kinds, self.metric: kind}
            return Page(kinds, ChainMap({self.metric: changed}, rest) if changed else rest, page.written)

        # Of theirs one metric is enough.
        one = {self.metric: reading.theirs.metrics[self.metric]}
        theirs = Page(reading.theirs.kinds, one, reading.theirs.written)
        return replace(reading, before=ours(reading.before), theirs=theirs, after=ours(reading.after))
