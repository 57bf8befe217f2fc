"""Rows to sample lines: a pure function that writes each row's labels once for all of its metrics.

prometheus_client costs 14 to 18 times more per sample, and one value it can't print fails the whole page. Here a
value that can't be printed is left out and counted.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

from exporter.declare import NAME, Block, Collector, Context, Kind, Measure, Parse, Rows, untyped
from exporter.exposition.written import Written
from exporter.facts import Facts
from exporter.failure import Failure, Reason

# What a name may be completed by: what the name of a metric may hold.
_SUFFIX = re.compile(r"[a-zA-Z0-9_]+\Z")


@dataclass(frozen=True, slots=True)
class Family:
    """The sample lines of one metric from one run.

    Attributes:
        name: The metric's full name.
        kind: counter, gauge, histogram or untyped.
        help: One line.
        text: The lines, each ended by a newline.
        series: How many series they are.
    """

    name: str
    kind: Kind
    help: str
    text: str
    series: int


@dataclass(frozen=True, slots=True)
class Rendered:
    """What came out of rows.

    Attributes:
        families: In the order of their declaration.
        series: How many series they hold.
        dropped: Series left out, by reason: `duplicate`, `value` or `budget`.
    """

    families: tuple[Family, ...]
    series: int
    dropped: Mapping[str, int]


def escape(value: str) -> str:
    """A label value, as the text formats and OpenMetrics want it."""
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return value


def server_label(server: str) -> str:
    """The first label of every series about a server; series of a page are found again by it."""
    return f'{{server="{escape(server)}"'


def number(value: Any) -> str:
    """A value as text.

    Raises:
        ValueError, TypeError: It is not a number.
    """
    if type(value) is int:
        return str(value)
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, str | bytes):
        raise TypeError("text is not a number")
    as_float = float(value)
    if math.isfinite(as_float):
        return repr(as_float)
    if math.isnan(as_float):
        return "NaN"
    return "+Inf" if as_float > 0 else "-Inf"


def render(
    collector: Collector, rows: Rows, context: Context, budget: int | None = None, written: Written | None = None
) -> Rendered:
    """The families of one run.

    Args:
        collector: Whose rows these are.
        rows: What its query, hook or accumulator gave.
        context: Of the run.
        budget: At most that many series; rows that come later are left out.
        written: What this collector's last run on this server has written.

    Raises:
        Failure: The result lacks a column that a label needs.
    """
    name = context.server.name
    engine, facts = collector.engine, context.facts
    return render_blocks(collector.blocks, rows, name, engine, facts, budget, collector.note, written)


def render_blocks(
    blocks: Iterable[Block],
    rows: Rows,
    server: str,
    engine: str,
    facts: Facts | None,
    budget: int | None = None,
    note: str = "",
    written: Written | None = None,
) -> Rendered:
    """Like `render`, for blocks that belong to no collector; without facts every gate counts as open."""
    written = written or Written()
    written.begin()
    dropped: Counter[str] = Counter()
    families: list[Family] = []
    left = budget
    for part in blocks:
        if facts is not None and not part.when.passes(facts):
            continue
        for suffix, some in _by_name(part, rows, dropped):
            for family in _block(part, some, server, engine, facts, left, dropped, note, suffix, written):
                families.append(family)
                if left is not None:
                    left -= family.series
    return Rendered(tuple(families), sum(family.series for family in families), dict(dropped))


def _by_name(part: Block, rows: Rows, dropped: Counter[str]) -> Iterable[tuple[str, Rows]]:
    """What completes the names of a block's measures, with the rows it stands in."""
    if part.named_by is None:
        return [("", rows)]
    if part.named_by not in rows.columns:
        raise Failure(Reason.ERROR, f"the result has no column {part.named_by}, which names need")
    place = rows.columns.index(part.named_by)
    groups: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows.rows:
        suffix = row[place]
        if suffix is None:
            continue
        if isinstance(suffix, str) and _SUFFIX.match(suffix):
            groups.setdefault(suffix, []).append(row)
        else:
            dropped["value"] += len(part.measures)
    return [(suffix, Rows(rows.columns, group)) for suffix, group in groups.items()]


def _block(
    part: Block,
    rows: Rows,
    server: str,
    engine: str,
    facts: Facts | None,
    budget: int | None,
    dropped: Counter[str],
    note: str,
    suffix: str,
    written: Written,
) -> Iterable[Family]:
    position = {column: index for index, column in enumerate(rows.columns)}
    missing = [column for column in part.labels.values() if column not in position]
    if missing:
        raise Failure(Reason.ERROR, f"the result has no column {missing[0]}, which a label needs")
    measures = [
        (measure, index)
        for measure in part.measures
        if (facts is None or measure.when.passes(facts))
        and (index := next((position[column] for column in measure.columns if column in position), None)) is not None
    ]
    measures += _others(part, position)
    if not measures:
        return
    labels = [(label, position[column]) for label, column in part.labels.items()]
    values = rows.rows
    native = _label_texts(values, labels, server_label(server), written)
    if len(set(native)) < len(native):
        values, native = _unique(part, values, native, dropped, measures)
    if budget is not None and len(values) * len(measures) > budget:
        fit = max(0, budget // len(measures))
        dropped["budget"] += (len(values) - fit) * len(measures)
        values, native = values[:fit], native[:fit]
    shared: list[str] | None = None
    for measure, index in measures:
        texts = native
        if measure.name.startswith("db_") and not measure.drop_in:
            if shared is None:
                shared = _label_texts(values, labels, f'{server_label(server)},engine="{escape(engine)}"', written)
            texts = shared
        column = [row[index] for row in values]
        name = measure.name + suffix
        write = partial(_text, name, measure, texts, column)
        text, series, unprintable = written.again((name, measure.kind, measure.parse), (texts, column), write)
        if unprintable:
            dropped["value"] += unprintable
        if text:
            yield Family(name, measure.kind, measure.help + note, text, series)


def _others(part: Block, position: Mapping[str, int]) -> list[tuple[Measure, int]]:
    """Metrics out of the columns that nobody has declared, where the block wants them."""
    if not part.others:
        return []
    known = {*part.labels.values(), *part.ignored, *(column for item in part.measures for column in item.columns)}
    return [
        (untyped(part.others + column, column), index)
        for column, index in position.items()
        if column not in known and NAME.match(part.others + column)
    ]


def _label_texts(
    rows: Sequence[tuple[Any, ...]], labels: Sequence[tuple[str, int]], prefix: str, written: Written
) -> list[str]:
    if not labels or not rows:
        return [prefix + "}"] * len(rows)
    columns = [_texts([row[index] for row in rows]) for _, index in labels]
    names = tuple(label for label, _ in labels)
    return written.again((prefix, names), columns, partial(_together, prefix, names, columns))


def _texts(values: Sequence[Any]) -> list[str]:
    return ["" if value is None else value if type(value) is str else str(value) for value in values]


def _together(prefix: str, labels: Sequence[str], columns: Sequence[list[str]]) -> list[str]:
    # Column by column, so that no row costs a call: what stands before each value, the value, and the end.
    parts: list[Iterable[str]] = []
    before = prefix
    for label, texts in zip(labels, columns, strict=True):
        together = "".join(texts)
        escaped = texts if escape(together) is together else map(escape, texts)
        parts += [repeat(f'{before},{label}="'), escaped]
        before = '"'
    return list(map("".join, zip(*parts, repeat('"}'), strict=False)))


_ABSENT = type(None)
_PLAIN = {int, float, _ABSENT}
_MERGES: dict[str, Callable[[Iterable[Any]], Any]] = {"sum": sum, "max": max, "min": min}


def _unique(
    part: Block,
    rows: Sequence[tuple[Any, ...]],
    labels: Sequence[str],
    dropped: Counter[str],
    measures: Sequence[tuple[Measure, int]],
) -> tuple[list[tuple[Any, ...]], list[str]]:
    """One row for each text of labels: two values that read the same would be the same series."""
    groups: dict[str, list[tuple[Any, ...]]] = {}
    for label, row in zip(labels, rows, strict=True):
        groups.setdefault(label, []).append(row)
    if part.merge == "drop":
        dropped["duplicate"] += (len(rows) - len(groups)) * len(measures)
        return [group[0] for group in groups.values()], list(groups)
    merge = _MERGES[part.merge]
    merged = []
    for group in groups.values():
        together = list(group[0])
        for index in {index for _, index in measures}:
            present = [item[index] for item in group if item[index] is not None]
            together[index] = merge(present) if present else None
        merged.append(tuple(together))
    return merged, list(groups)


def _text(name: str, measure: Measure, labels: Sequence[str], values: Sequence[Any]) -> tuple[str, int, int]:
    """The lines of a metric, how many they are, and how many values could not be printed."""
    dropped: Counter[str] = Counter()
    if measure.kind == "histogram":
        lines = _histogram_lines(name, labels, values, dropped)
    else:
        lines = _lines(name, measure.parse, labels, values, dropped)
    return "".join(lines), len(lines), dropped["value"]


def _lines(
    name: str, parse: Parse | None, labels: Sequence[str], values: Sequence[Any], dropped: Counter[str]
) -> list[str]:
    kinds = set(map(type, values))
    if _ABSENT in kinds:
        labels = [label for label, value in zip(labels, values, strict=True) if value is not None]
        values = [value for value in values if value is not None]
    # What Python writes as we would, which nearly all columns are, needs no look at each value.
    if parse is None and kinds <= _PLAIN and (float not in kinds or all(map(math.isfinite, values))):
        return [f"{name}{label} {value}\n" for label, value in zip(labels, values, strict=True)]
    lines: list[str] = []
    for label, raw in zip(labels, values, strict=True):
        try:
            value = parse(raw) if parse is not None else raw
            if value is not None:
                lines.append(f"{name}{label} {number(value)}\n")
        except (ValueError, TypeError, OverflowError):
            dropped["value"] += 1
    return lines


def _histogram_lines(name: str, labels: Sequence[str], values: Sequence[Any], dropped: Counter[str]) -> list[str]:
    lines: list[str] = []
    for label, value in zip(labels, values, strict=True):
        if value is None:
            continue
        try:
            buckets, total, count = value
            # OpenMetrics wants bounds as floats: 1.0, not 1.
            mine = [f'{name}_bucket{label[:-1]},le="{float(bound)!r}"}} {number(below)}\n' for bound, below in buckets]
            mine.append(f'{name}_bucket{label[:-1]},le="+Inf"}} {number(count)}\n')
            if total is not None:
                # OpenMetrics has both or none; without them the last bucket still tells the count.
                mine.append(f"{name}_sum{label} {number(total)}\n")
                mine.append(f"{name}_count{label} {number(count)}\n")
        except (ValueError, TypeError, OverflowError):
            dropped["value"] += 1
            continue
        lines.extend(mine)
    return lines
