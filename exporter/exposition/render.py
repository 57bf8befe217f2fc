"""Rows to sample lines: a pure function that writes each row's labels once for all of its metrics.

prometheus_client costs 14 to 18 times more per sample, and one value it can't print fails the whole page. Here a
value that can't be printed is left out and counted.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

# Labels with the places of their columns.
_Labels = tuple[tuple[str, int], ...]
# From so many rows on all columns at once cost less than each that is wanted.
_MANY = 100


@dataclass(frozen=True, slots=True)
class Family:
    """The sample lines of one metric from one run.

    Attributes:
        name: The metric's full name.
        kind: counter, gauge, histogram, summary or untyped.
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
    run = _Run(rows, server, engine, facts, budget, note, written or Written())
    run.written.begin()
    families = [family for part in blocks for family in run.families(part)]
    return Rendered(tuple(families), sum(family.series for family in families), dict(run.dropped))


class _Run:
    """The rendering of one result; `left` is what is left of its budget."""

    def __init__(
        self,
        rows: Rows,
        server: str,
        engine: str,
        facts: Facts | None,
        left: int | None,
        note: str,
        written: Written,
    ) -> None:
        self.dropped: Counter[str] = Counter()
        self.written = written
        self._rows = rows
        self._facts = facts
        self._left = left
        self._note = note
        self._native = server_label(server)
        self._shared = f'{self._native},engine="{escape(engine)}"'
        self._position = {column: index for index, column in enumerate(rows.columns)}
        # Blocks of one operation each have all the other labels in common.
        self._whole: dict[_Labels, list[str]] = {}
        self._columns: list[tuple[Any, ...]] = []

    def families(self, part: Block) -> Iterator[Family]:
        """Those of a block."""
        if self._facts is not None and not part.when.passes(self._facts):
            return
        missing = {label: column for label, column in part.labels.items() if column not in self._position}
        lacking = [column for label, column in missing.items() if label not in part.optional]
        if lacking:
            raise Failure(Reason.ERROR, f"the result has no column {lacking[0]}, which a label needs")
        measures = [*self._measures(part), *_others(part, self._position)]
        if not measures:
            return
        labels = tuple((label, self._position[column]) for label, column in part.labels.items() if label not in missing)
        end = "".join(f',{label}="{escape(value)}"' for label, value in part.fixed.items()) + "}"
        for suffix, rows in self._by_name(part):
            yield from self._together(part, suffix, rows, measures, labels, end)

    def _measures(self, part: Block) -> Iterator[tuple[Measure, int]]:
        for measure in part.measures:
            if self._facts is None or measure.when.passes(self._facts):
                index = next((self._position[column] for column in measure.columns if column in self._position), None)
                if index is not None:
                    yield measure, index

    def _by_name(self, part: Block) -> Iterable[tuple[str, Sequence[tuple[Any, ...]]]]:
        """What completes the names of a block's measures, with the rows it stands in."""
        rows = self._rows.rows
        if part.named_by is None:
            return [("", rows)]
        place = self._position.get(part.named_by)
        if place is None:
            raise Failure(Reason.ERROR, f"the result has no column {part.named_by}, which names need")
        groups: dict[str, list[tuple[Any, ...]]] = {}
        for row in rows:
            suffix = row[place]
            if suffix is None:
                continue
            if isinstance(suffix, str) and _SUFFIX.match(suffix):
                groups.setdefault(suffix, []).append(row)
            else:
                self.dropped["value"] += len(part.measures)
        return groups.items()

    def _together(
        self,
        part: Block,
        suffix: str,
        values: Sequence[tuple[Any, ...]],
        measures: Sequence[tuple[Measure, int]],
        labels: _Labels,
        end: str,
    ) -> Iterator[Family]:
        native = self._label_texts(values, labels, self._native)
        if len(values) > 1 and len(set(native)) < len(native):
            values, native = _unique(part, values, native, self.dropped, measures)
        width = sum(measure.series for measure, _ in measures)
        if self._left is not None and len(values) * width > self._left:
            fit = self._left // width
            self.dropped["budget"] += (len(values) - fit) * width
            values, native = values[:fit], native[:fit]
        shared: list[str] | None = None
        for measure, index in measures:
            texts = native
            if measure.name.startswith("db_") and not measure.drop_in:
                if shared is None:
                    shared = self._label_texts(values, labels, self._shared)
                texts = shared
            column = self._column(values, index)
            name = measure.name + suffix
            verbatim = self._rows.columns[index] in self._rows.verbatim
            if len(column) > 1:
                write = partial(_text, name, measure, texts, end, column, verbatim)
                place = (name, end, measure.kind, measure.parse)
                text, series, unprintable = self.written.again(place, (texts, column), write)
            else:
                text, series, unprintable = _text(name, measure, texts, end, column, verbatim)
            if unprintable:
                self.dropped["value"] += unprintable
            if text:
                if self._left is not None:
                    self._left -= series
                yield Family(name, measure.kind, measure.help + self._note, text, series)

    def _label_texts(self, rows: Sequence[tuple[Any, ...]], labels: _Labels, prefix: str) -> list[str]:
        """The labels of each row but for the end, beginning with the prefix."""
        if not labels or not rows:
            return [prefix] * len(rows)
        whole = rows is self._rows.rows and prefix is self._native
        if whole and labels in self._whole:
            return self._whole[labels]
        columns = [_texts(self._column(rows, index)) for _, index in labels]
        names = tuple(label for label, _ in labels)
        texts = self.written.again((prefix, names), columns, partial(_together, prefix, names, columns))
        if whole:
            self._whole[labels] = texts
        return texts

    def _column(self, rows: Sequence[tuple[Any, ...]], index: int) -> Sequence[Any]:
        if rows is not self._rows.rows or len(rows) < _MANY:
            return [row[index] for row in rows]
        if not self._columns:
            self._columns = list(zip(*rows, strict=True))
        return self._columns[index]


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
    return list(map("".join, zip(*parts, repeat('"'), strict=False)))


_ABSENT = type(None)
_PLAIN = {int, float, _ABSENT}
_WRITTEN = {str, _ABSENT}
_MERGES: dict[str, Callable[[Iterable[Any]], Any]] = {"sum": sum, "max": max, "min": min}


def _unique(
    part: Block,
    rows: Sequence[tuple[Any, ...]],
    labels: Sequence[str],
    dropped: Counter[str],
    measures: Sequence[tuple[Measure, int]],
) -> tuple[list[tuple[Any, ...]], list[str]]:
    """One row for each text of labels: two values that read the same would be the same series."""
    wanted = sorted({index for _, index in measures})
    groups: dict[str, list[tuple[Any, ...]]] = {}
    for label, row in zip(labels, rows, strict=True):
        for index in wanted:
            # What has no value makes no series.
            if row[index] is not None:
                groups.setdefault(label, []).append(row)
                break
    rest = sum(map(len, groups.values())) - len(groups)
    if part.merge == "drop":
        if rest:
            dropped["duplicate"] += rest * len(measures)
        return [group[0] for group in groups.values()], list(groups)
    merge = _MERGES[part.merge]
    merged = []
    for group in groups.values():
        if len(group) == 1:
            merged.append(group[0])
            continue
        together = list(group[0])
        for index in wanted:
            present = [_read(item[index]) for item in group if item[index] is not None]
            together[index] = merge(present) if present else None
        merged.append(tuple(together))
    return merged, list(groups)


def _read(value: Any) -> Any:
    """A number that came as the server wrote it, or as it is."""
    if isinstance(value, str):
        return int(value) if value.isdecimal() else float(value)
    return value


def _text(
    name: str, measure: Measure, labels: Sequence[str], end: str, values: Sequence[Any], verbatim: bool
) -> tuple[str, int, int]:
    """The lines of a metric, how many they are, and how many values could not be printed."""
    several = _SEVERAL.get(measure.kind)
    if several is None and measure.parse is None:
        kinds = set(map(type, values))
        if _ABSENT in kinds:
            labels = [label for label, value in zip(labels, values, strict=True) if value is not None]
            values = [value for value in values if value is not None]
        if verbatim:
            # What several rows were merged into is a number.
            merged = not kinds <= _WRITTEN
            texts = [value if type(value) is str else number(value) for value in values] if merged else values
            return _plain(name, labels, end, texts), len(values), 0
        # What Python writes as we would, which nearly all columns are, needs no look at each value.
        if kinds <= _PLAIN and (float not in kinds or all(map(math.isfinite, values))):
            return _plain(name, labels, end, map(repr, values)), len(values), 0
    dropped: Counter[str] = Counter()
    if several is not None:
        lines = _several_lines(several, name, labels, end, values, dropped)
    else:
        lines = _lines(name, measure.parse, labels, end, values, dropped)
    return "".join(lines), len(lines), dropped["value"]


def _plain(name: str, labels: Sequence[str], end: str, numbers: Iterable[str]) -> str:
    """The lines in one piece: to write each by itself, as f-strings do, takes up to twice as long."""
    if len(labels) == 1:
        return f"{name}{labels[0]}{end} {next(iter(numbers))}\n"
    parts = [""] * (5 * len(labels))
    parts[0::5] = repeat(name, len(labels))
    parts[1::5] = labels
    parts[2::5] = repeat(f"{end} ", len(labels))
    parts[3::5] = numbers
    parts[4::5] = repeat("\n", len(labels))
    return "".join(parts)


def _lines(
    name: str, parse: Parse | None, labels: Sequence[str], end: str, values: Sequence[Any], dropped: Counter[str]
) -> list[str]:
    lines: list[str] = []
    for label, raw in zip(labels, values, strict=True):
        try:
            value = parse(raw) if parse is not None else raw
            if value is not None:
                lines.append(f"{name}{label}{end} {number(value)}\n")
        except (ValueError, TypeError, OverflowError):
            dropped["value"] += 1
    return lines


def _several_lines(
    lines_of: Lines, name: str, labels: Sequence[str], end: str, values: Sequence[Any], dropped: Counter[str]
) -> list[str]:
    lines: list[str] = []
    for label, value in zip(labels, values, strict=True):
        if value is None:
            continue
        try:
            lines.extend(lines_of(name, label, end, *value))
        except (ValueError, TypeError, OverflowError):
            dropped["value"] += 1
    return lines


def _histogram_lines(name: str, label: str, end: str, buckets: Any, total: Any, count: Any) -> list[str]:
    before = end[:-1]
    # OpenMetrics wants bounds as floats: 1.0, not 1.
    lines = [f'{name}_bucket{label}{before},le="{float(bound)!r}"}} {number(below)}\n' for bound, below in buckets]
    lines.append(f'{name}_bucket{label}{before},le="+Inf"}} {number(count)}\n')
    # OpenMetrics has both or none; without them the last bucket still tells the count.
    return lines if total is None else lines + _sum_and_count(name, label, end, total, count)


def _summary_lines(name: str, label: str, end: str, quantiles: Any, total: Any, count: Any) -> list[str]:
    before = end[:-1]
    lines = [f'{name}{label}{before},quantile="{float(at)!r}"}} {number(value)}\n' for at, value in quantiles]
    return lines + _sum_and_count(name, label, end, total, count)


def _sum_and_count(name: str, label: str, end: str, total: Any, count: Any) -> list[str]:
    return [f"{name}_sum{label}{end} {number(total)}\n", f"{name}_count{label}{end} {number(count)}\n"]


Lines = Callable[..., list[str]]
# What a value of these makes several lines of.
_SEVERAL: Mapping[str, Lines] = {"histogram": _histogram_lines, "summary": _summary_lines}
