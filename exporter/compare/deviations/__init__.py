"""What is different here on purpose: each difference with its cause in the other exporter's source, and its proof."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Literal

from exporter.compare.pages import Page
from exporter.facts import Facts, Identity, Role
from exporter.gates import ANY, Gate

# A metric or series of theirs is missing here; there are more series of it; a label, the value, the type is another.
Aspect = Literal["missing", "more", "label", "value", "type"]


@dataclass(frozen=True)
class Difference:
    """Something of theirs that is not here, or is shown differently.

    Attributes:
        aspect: In what it differs.
        metric: Its name.
        labels: Of the series; empty if it is about the metric as a whole.
        theirs: What theirs shows, in words or as a number; None if it shows nothing.
        ours: What is shown here.
        label: The label that only one of them has, if it is about that.
        gone: Whether ours has nothing of the metric at all.
        deviation: Why it is meant to be so; None if it is not.
    """

    aspect: Aspect
    metric: str
    labels: Mapping[str, str]
    theirs: str | float | None
    ours: str | float | None
    label: str = ""
    gone: bool = False
    deviation: Deviation | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Deviation:
    """One difference that is meant.

    Attributes:
        metrics: Their names; `*` stands for anything.
        aspects: In what they differ.
        theirs: What the other exporter shows.
        ours: What is shown here.
        why: Why that is right.
        source: Where in the other exporter's source the cause lies, and what it does there.
        test: The test that ours is right, as pytest names it.
        when: On which servers it shows.
        labels: Only series whose labels have these values; `*` stands for anything, an empty value for no label, `|` is
            between several, and `!` in front says none of them.
        value: Only series that have this value there, or here if theirs does not have them.
        holds: Only series for whose two values, theirs and ours, this is true; what one does not have counts as 0.
        times: Only series whose value there is ours times that of this metric for the same labels, which is more than
            one, but for what happens between two looks.
        kinds: Only a type that is this there and that here; `|` is between several.
        only: Labels that it is about, where a label differs.
        partly: Only as long as ours has other series of the metric.
        where: Only if this is true of the two pages, theirs and ours.
        ignore: Labels that can't be compared; the series are matched by the others.
        provoked: Whether a pair of servers shows it that is up and works; else the test above alone makes it happen.
        shown: On which servers of the pair.
    """

    metrics: tuple[str, ...]
    aspects: tuple[Aspect, ...]
    theirs: str
    ours: str
    why: str
    source: str
    test: str
    when: Gate = ANY
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    value: float | None = None
    holds: Callable[[float, float], bool] | None = None
    times: str = ""
    kinds: tuple[str, str] = ("*", "*")
    only: tuple[str, ...] = ()
    partly: bool = False
    where: Callable[[Page, Page], bool] | None = None
    ignore: tuple[str, ...] = ()
    provoked: bool = True
    shown: Gate = ANY

    def covers(self, found: Difference, theirs: Page, ours: Page) -> bool:
        """Whether a difference of two pages is this one."""
        return (
            found.aspect in self.aspects
            and self.is_about(found.metric)
            and (self.value is None or _same(self.value, found.ours if found.theirs is None else found.theirs))
            and (self.holds is None or found.aspect in ("label", "type") or _both(self.holds, found))
            and (not self.times or any(_is_times(factor, found) for factor in _told(self.times, found, theirs, ours)))
            and (found.aspect != "type" or all(map(_matches, (str(found.theirs), str(found.ours)), self.kinds)))
            and (not found.label or found.label in (*self.only, *self.ignore))
            and not (self.partly and found.gone)
            and all(_matches(found.labels.get(label, ""), patterns) for label, patterns in self.labels.items())
            and (self.where is None or self.where(theirs, ours))
        )

    def is_about(self, metric: str) -> bool:
        """Whether the metric is one of these."""
        return any(fnmatchcase(metric, pattern) for pattern in self.metrics)


def of(engine: str) -> Sequence[Deviation]:
    """All that differs from the exporter of an engine: postgres or mysql."""
    # They are written in the words of this module.
    from exporter.compare.deviations import mysql, postgres  # noqa: PLC0415

    return {"postgres": postgres.DEVIATIONS, "mysql": mysql.DEVIATIONS}[engine]


def applying(deviations: Iterable[Deviation], ours: Page) -> list[Deviation]:
    """Those that can show on the server that our page is about; all, if it does not say what server that is."""
    labels = next((dict(labels) for labels in ours.metrics.get("db_info", ())), None)
    if labels is None or labels.get("role") not in [*Role]:
        return list(deviations)
    flavor, version = labels.get("flavor", ""), labels.get("version", "")
    facts = Facts(
        engine="postgres" if flavor == "postgres" else "mysql",
        flavor=flavor,
        version=tuple(map(int, re.findall(r"\d+", version)[:3])),
        version_text=version,
        identity=Identity("", 0.0, Role(labels["role"])),
        database="",
    )
    return [item for item in deviations if item.when.passes(facts)]


def within(most: float) -> Callable[[float, float], bool]:
    """Two values are that far apart at most."""
    return lambda theirs, ours: abs(theirs - ours) <= most


def ignored_labels(deviations: Sequence[Deviation], metric: str) -> frozenset[str]:
    """Labels of a metric that can't be compared."""
    return frozenset(label for item in deviations if item.ignore and item.is_about(metric) for label in item.ignore)


def _matches(value: str, patterns: str) -> bool:
    if patterns.startswith("!"):
        return not _matches(value, patterns[1:])
    return any(fnmatchcase(value, pattern) for pattern in patterns.split("|"))


def _both(holds: Callable[[float, float], bool], found: Difference) -> bool:
    theirs, ours = (0.0 if value is None else value for value in (found.theirs, found.ours))
    return isinstance(theirs, int | float) and isinstance(ours, int | float) and holds(theirs, ours)


def _told(metric: str, found: Difference, *pages: Page) -> Iterator[float]:
    """What the pages say of a metric for the labels of a difference."""
    for page in pages:
        for labels, value in page.metrics.get(metric, {}).items():
            if found.labels.items() <= dict(labels).items():
                yield value


def _is_times(factor: float, found: Difference) -> bool:
    return factor > 1 and _both(lambda theirs, ours: math.isclose(theirs, factor * ours, rel_tol=0.01), found)


def _same(one: float, other: object) -> bool:
    return isinstance(other, int | float) and (one == other or (math.isnan(one) and math.isnan(other)))
