"""What is different here on purpose: each difference with its cause in the other exporter's source, and its proof."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Literal

from exporter.gates import ANY, Gate

# A metric or series of theirs is missing here; there are more series of it; a label, the value, the type is another.
Aspect = Literal["missing", "more", "label", "value", "type"]


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
        labels: Only series whose labels have these values; `*` stands for anything, an empty value for no label.
        value: Only series for which theirs has this value.
        ignore: Labels that can't be compared; the series are matched by the others.
        provoked: Whether a pair of servers shows it that is up and works; else the test above alone makes it happen.
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
    ignore: tuple[str, ...] = ()
    provoked: bool = True

    def covers(self, aspect: Aspect, metric: str, labels: Iterable[tuple[str, str]] = (), value: object = None) -> bool:
        """Whether a difference is this one; `value` is theirs."""
        given = dict(labels)
        return (
            aspect in self.aspects
            and self.is_about(metric)
            and (self.value is None or _same(self.value, value))
            and all(fnmatchcase(given.get(label, ""), pattern) for label, pattern in self.labels.items())
        )

    def is_about(self, metric: str) -> bool:
        """Whether the metric is one of these."""
        return any(fnmatchcase(metric, pattern) for pattern in self.metrics)


def of(engine: str) -> Sequence[Deviation]:
    """All that differs from the exporter of an engine: postgres or mysql."""
    # They are written in the words of this module.
    from exporter.compare.deviations import mysql, postgres  # noqa: PLC0415

    return {"postgres": postgres.DEVIATIONS, "mysql": mysql.DEVIATIONS}[engine]


def find(
    deviations: Iterable[Deviation],
    aspect: Aspect,
    metric: str,
    labels: Iterable[tuple[str, str]] = (),
    value: object = None,
) -> Deviation | None:
    """The first deviation that a difference is."""
    return next((item for item in deviations if item.covers(aspect, metric, labels, value)), None)


def ignored_labels(deviations: Sequence[Deviation], metric: str) -> frozenset[str]:
    """Labels of a metric that can't be compared."""
    return frozenset(label for item in deviations if item.ignore and item.is_about(metric) for label in item.ignore)


def _same(one: float, other: object) -> bool:
    return isinstance(other, int | float) and (one == other or (math.isnan(one) and math.isnan(other)))
