"""Compares two exporters' series: those of one page have to be on the other, with the same value or between two."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from exporter.compare.background import age
from exporter.compare.deviations import Aspect, Deviation, Difference, ignored_labels
from exporter.compare.pages import Labels, Page

# What ours has on every series about a server; some of theirs have it with another name in it.
SERVER = "server"
# What ours has on `db_*` besides; some metrics of theirs have a label of this name, which says something else.
ENGINE = "engine"

Values = dict[Labels, list[float]]


@dataclass(frozen=True)
class Reading:
    """One page of theirs, and ours from before and after it.

    Attributes:
        before: Ours.
        theirs: Theirs.
        after: Ours again.
        seconds: From when theirs had answered until ours was read again.
        connected: The database that ours is connected to, if that is known.
    """

    before: Page
    theirs: Page
    after: Page
    seconds: float = math.inf
    connected: str | None = None


@dataclass(frozen=True)
class Moved:
    """A value that says nothing, as ours is from before.

    Attributes:
        metric: Its name.
        labels: Of the series.
        theirs: What theirs shows.
        ours: What is shown here.
        age: Seconds since ours was read.
    """

    metric: str
    labels: Mapping[str, str]
    theirs: float
    ours: float
    age: float


@dataclass
class Comparison:
    """What came out.

    Attributes:
        differences: All of them, deliberate ones too.
        metrics: Metrics of theirs that were compared.
        series: Series of theirs that were compared.
        passing: Series of theirs that came and went meanwhile and were not.
        absent: Metrics of theirs of which ours has nothing at all.
        moved: Other values, which ours has read in the background before theirs answered each time.
    """

    differences: list[Difference] = field(default_factory=list)
    metrics: int = 0
    series: int = 0
    passing: int = 0
    absent: set[str] = field(default_factory=set)
    moved: list[Moved] = field(default_factory=list)

    def unexplained(self) -> list[Difference]:
        """Those that nobody has said a reason for."""
        return [item for item in self.differences if item.deviation is None]

    def deliberate(self) -> list[Difference]:
        """Those with a reason."""
        return [item for item in self.differences if item.deviation is not None]


def compare(readings: Sequence[Reading], deviations: Sequence[Deviation]) -> Comparison:
    """Compare series by series; what differs has to do so in every reading, since servers are at work."""
    result = Comparison()
    for metric in sorted({name for reading in readings for name in reading.theirs.metrics}):
        _Metric(metric, readings, deviations, result).compare()
        result.metrics += 1
    return result


def added_labels(theirs: Collection[str]) -> frozenset[str]:
    """Labels that ours adds to a metric, and that are no part of the comparison, by those that theirs has on it."""
    return frozenset({SERVER} if ENGINE in theirs else {SERVER, ENGINE})


class _Metric:
    """One metric of theirs over all readings."""

    def __init__(
        self, metric: str, readings: Sequence[Reading], deviations: Sequence[Deviation], result: Comparison
    ) -> None:
        self.metric = metric
        self.readings = readings
        self.deviations = deviations
        self.result = result
        self.pages = [page for reading in readings for page in (reading.before, reading.after)]
        self.theirs = set[str]().union(*(reading.theirs.labels(metric) for reading in readings))
        self.ours = set[str]().union(*(page.labels(metric) for page in self.pages))
        self.ignored = ignored_labels(deviations, metric) & (self.theirs | self.ours)
        self.present = present = any(metric in page.metrics for page in self.pages)
        # A label that only one of them has does not make two series of one. One that is there and empty is not lacking:
        # its values are compared, as they are when a session or slot has none.
        here = set[str]().union(*(page.written.get(metric, ()) for page in self.pages)) if present else self.theirs
        there = set[str]().union(*(reading.theirs.written.get(metric, ()) for reading in readings))
        apart = self.ignored | added_labels(there)
        self.lacking = self.theirs - here - apart
        self.besides = self.ours - there - apart
        self.shared = (self.theirs | self.ours) - self.lacking - self.besides - apart
        self.values = [
            (self._values(reading.before), self._values(reading.theirs), self._values(reading.after))
            for reading in readings
        ]

    def compare(self) -> None:
        shown = [set(theirs) for _, theirs, _ in self.values]
        steady, every = set.intersection(*shown), set.union(*shown)
        self.result.series += len(steady)
        self.result.passing += len(every - steady)
        if self.present:
            self._metric()
        elif all(shown):
            self.result.absent.add(self.metric)
            if not steady:
                self._add("missing", {}, "series that come and go", None)
        for labels in sorted(steady, key=sorted):
            self._series(labels)
        ours = [set(before) & set(after) for before, _, after in self.values]
        for labels in sorted(set.intersection(*ours) - every, key=sorted):
            self._add("more", dict(labels), None, self.values[-1][2][labels][0])

    def _metric(self) -> None:
        theirs = self.readings[-1].theirs.kind(self.metric)
        ours = next(page.kind(self.metric) for page in reversed(self.pages) if self.metric in page.metrics)
        if theirs != ours:
            self._add("type", {}, theirs, ours)
        for label in sorted(self.lacking):
            self._add("label", {}, f"has the label {label}", "has not", label)
        for label in sorted(self.besides):
            self._add("label", {}, f"has no label {label}", "has it besides", label)
        for label in sorted(self.ignored):
            self._add("label", {}, f"label {label}", "is not comparable", label)

    def _series(self, labels: Labels) -> None:
        found = [(before.get(labels), theirs[labels], after.get(labels)) for before, theirs, after in self.values]
        if any(_agree(*values) for values in found):
            return
        before, theirs, after = found[-1]
        before, after = before or after or [], after or before or []
        if not after:
            for value in theirs:
                self._add("missing", dict(labels), value, None)
        elif len(theirs) > len(after):
            self._add("missing", dict(labels), f"{len(theirs)} series", f"{len(after)} series")
        elif len(before) != len(after):
            self._value(labels, theirs[0], after[0])
        else:
            # Where ours has more of them, theirs has to be among them.
            ours = [*zip(before, after, strict=True)]
            for place, value in enumerate(theirs):
                mine = ours if len(theirs) < len(after) else ours[place : place + 1]
                if not any(_between(one, value, other) for one, other in mine):
                    self._value(labels, value, _nearest(value, [bound for pair in mine for bound in pair]))
            if len(theirs) < len(after):
                self._add("more", dict(labels), f"{len(theirs)} series", f"{len(after)} series")

    def _value(self, labels: Labels, theirs: float, ours: float) -> None:
        ages = [(age(item.after, self.metric, labels, item.connected), item.seconds) for item in self.readings]
        earlier = all(seconds is not None and seconds > since for seconds, since in ages)
        # A counter of theirs can't be behind one that was read earlier.
        kind = self.readings[-1].after.kind(self.metric)
        if earlier and ages[-1][0] is not None and (kind != "counter" or theirs > ours):
            self.result.moved.append(Moved(self.metric, dict(labels), theirs, ours, ages[-1][0]))
        else:
            self._add("value", dict(labels), theirs, ours)

    def _add(
        self,
        aspect: Aspect,
        labels: Mapping[str, str],
        theirs: str | float | None,
        ours: str | float | None,
        label: str = "",
    ) -> None:
        found = Difference(aspect, self.metric, labels, theirs, ours, label, not self.present)
        last = self.readings[-1]
        deviation = next((item for item in self.deviations if item.covers(found, last.theirs, last.after)), None)
        self.result.differences.append(replace(found, deviation=deviation))

    def _values(self, page: Page) -> Values:
        found: Values = {}
        for labels, value in page.metrics.get(self.metric, {}).items():
            found.setdefault(frozenset(pair for pair in labels if pair[0] in self.shared), []).append(value)
        return {labels: sorted(values) for labels, values in found.items()}


def _agree(before: list[float] | None, theirs: list[float], after: list[float] | None) -> bool:
    """Whether theirs lies between ours from before and after; what came or went meanwhile has only one of them."""
    before, after = before or after or [], after or before or []
    if not len(before) == len(theirs) == len(after):
        return False
    return all(_between(*values) for values in zip(before, theirs, after, strict=True))


def _nearest(value: float, bounds: Sequence[float]) -> float:
    """By how far it is another: what moves is not so by what it moved between our two readings."""
    return min(reversed(bounds), key=lambda bound: abs(bound - value))


def _between(one: float, value: float, other: float) -> bool:
    if math.isnan(value):
        return math.isnan(one) and math.isnan(other)
    low, high = min(one, other), max(one, other)
    # Numbers are written with more or fewer digits.
    rounding = 1e-9 * max(abs(low), abs(high)) + 1e-6
    return low <= value <= high or low - rounding <= value <= high + rounding
