"""Measures: one metric fed by one column."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from exporter.gates import ANY, Gate

Kind = Literal["counter", "gauge", "histogram", "summary", "untyped"]
Parse = Callable[[Any], "float | int | None"]

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
# What Prometheus allows; for names that come from elsewhere.
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")


# As many as one value of ours makes at most: 20 bounds, the end, sum and count; three quantiles, sum and count.
_SERIES: dict[Kind, int] = {"histogram": 23, "summary": 5}


class DeclarationError(ValueError):
    """A collector is declared wrongly; raised when its module is imported."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric fed by one column.

    Attributes:
        name: The metric's full name.
        kind: counter, gauge, histogram, summary or untyped. A histogram's column holds `(buckets, sum, count)`:
            buckets a sequence of (upper bound, cumulative count) without +Inf, sum or None where the server doesn't
            know it. A summary's column holds `(quantiles, sum, count)`: a sequence of (quantile, value).
        columns: Where the value is; the first of these that the result has (SHOW statements rename theirs).
        help: A sentence.
        when: On which servers the column exists.
        sql: What `{columns}` selects for the column, if not the column itself.
        parse: Turns a value that is neither number nor NULL into one; None is absent.
        drop_in: The name is an existing exporter's, so our naming rules don't apply to it.
    """

    name: str
    kind: Kind
    columns: tuple[str, ...]
    help: str
    when: Gate = ANY
    sql: str | None = None
    parse: Parse | None = None
    drop_in: bool = False

    @property
    def series(self) -> int:
        """How many series a value makes at most."""
        return _SERIES.get(self.kind, 1)

    def __post_init__(self) -> None:
        if not (NAME if self.drop_in else _NAME).match(self.name):
            raise DeclarationError(f"{self.name}: a metric's name is snake_case")
        if not self.columns:
            raise DeclarationError(f"{self.name}: name the column that feeds it")
        if not self.help.endswith("."):
            raise DeclarationError(f"{self.name}: its help is a sentence and ends with a full stop")
        if not self.drop_in and (self.kind == "counter") != self.name.endswith("_total"):
            raise DeclarationError(f"{self.name}: counters end with _total, and nothing else does")


def counter(
    name: str,
    *columns: str,
    help: str,  # noqa: A002 - the exposition format's word
    when: Gate = ANY,
    sql: str | None = None,
    parse: Parse | None = None,
    drop_in: bool = False,
) -> Measure:
    """A value that only grows, until the server or its statistics are reset."""
    return Measure(name, "counter", columns, help, when, sql, parse, drop_in)


def gauge(
    name: str,
    *columns: str,
    help: str,  # noqa: A002
    when: Gate = ANY,
    sql: str | None = None,
    parse: Parse | None = None,
    drop_in: bool = False,
) -> Measure:
    """A value that goes up and down."""
    return Measure(name, "gauge", columns, help, when, sql, parse, drop_in)


def untyped(name: str, column: str) -> Measure:
    """A value of which nobody says what it is; absent if it is no number."""
    return Measure(name, "untyped", (column,), "Unknown metric.", parse=number_or_none, drop_in=True)


def number_or_none(value: Any) -> float | int | None:
    """A value as a number, None if it is none."""
    if isinstance(value, int | float):
        return value
    try:
        return float(value)
    except (ValueError, TypeError):
        return None


def histogram(name: str, column: str, *, help: str, when: Gate = ANY) -> Measure:  # noqa: A002
    """A distribution; see Measure.kind for what its column holds."""
    return Measure(name, "histogram", (column,), help, when)


def summary(name: str, column: str, *, help: str, when: Gate = ANY, drop_in: bool = False) -> Measure:  # noqa: A002
    """Quantiles that the server works out, with sum and count; see Measure.kind for what its column holds."""
    return Measure(name, "summary", (column,), help, when, drop_in=drop_in)
