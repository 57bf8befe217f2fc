"""Values of postgres_exporter's user-defined queries: what it makes of a column, and what its manual promises."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from exporter.declare import Context, Parse, Rows
from exporter.queries.build import label_texts, number_or_fail

_DURATION = re.compile(r"([+-]?)((?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+")
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_MILLISECONDS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}

number: Parse = number_or_fail


def milliseconds(value: Any) -> float | int | None:
    """A number as it is, or a duration such as 1m30s in milliseconds. Raises ValueError."""
    text = value.strip() if isinstance(value, str) else ""
    if not _DURATION.fullmatch(text):
        return number_or_fail(value)
    found = sum(float(amount) * _MILLISECONDS[unit] for amount, unit in _PART.findall(text))
    return -found if text.startswith("-") else found


def mapped(mapping: Mapping[str, float]) -> Parse:
    """What a text stands for; a number that stands for nothing is itself. Raises ValueError."""

    def parse(value: Any) -> float | int | None:
        if value is None:
            return None
        found = mapping.get(str(value).lower() if isinstance(value, bool) else str(value))
        return number_or_fail(value) if found is None else found

    return parse


def hook(labels: frozenset[str], histograms: Sequence[str]) -> Callable[[Rows, Context], Rows]:
    """Rewrites labels, and puts the four columns of each histogram together."""
    texts = label_texts(labels)

    def rewrite(rows: Rows, context: Context) -> Rows:
        rows = texts(rows, context)
        places = {name: index for index, name in enumerate(rows.columns)}
        whole = [name for name in histograms if all(part in places for part in _parts(name))]
        if not histograms:
            return rows
        written = []
        for row in rows.rows:
            values = list(row)
            for name in histograms:
                if name in places:
                    parts = [row[places[part]] for part in _parts(name)] if name in whole else None
                    values[places[name]] = _histogram(*parts) if parts else None
            written.append(tuple(values))
        return Rows(rows.columns, written)

    return rewrite


def _parts(name: str) -> tuple[str, ...]:
    return name, f"{name}_bucket", f"{name}_sum", f"{name}_count"


def _histogram(bounds: Any, counts: Any, total: Any, count: Any) -> object:
    """(buckets, sum, count); None where a part of it is not there or is no number."""
    try:
        found = sorted(zip(map(float, _array(bounds)), map(int, map(float, _array(counts))), strict=False))
        if total is None or count is None:
            return None
        # The last bucket, of all, is the count itself.
        return [(bound, below) for bound, below in found if bound != float("inf")], float(total), int(float(count))
    except (ValueError, TypeError):
        return None


def _array(value: Any) -> Sequence[Any]:
    if isinstance(value, str):
        return value.strip("{}").split(",") if value.strip("{}") else ()
    if isinstance(value, Sequence):
        return value
    raise TypeError("is not an array")
