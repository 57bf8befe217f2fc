"""Which indexes of a server cost more than they give, of rows that index_findings asks for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from exporter.collectors.mysql.shared_tables import known_as
from exporter.declare import Context, Rows

# What was not used since the server started is unused once that is long enough ago to say so, and the definition of its
# table, which is as young as its youngest index.
WEEK = 7 * 86400
_SHOWN = 100
LARGEST = 200

Table = tuple[str, str]
Name = tuple[str, str, str]
# Its name or expression, the characters that are in the index if not all, and A or D for the direction.
_Column = tuple[str, int | None, str | None]


@dataclass
class _Index:
    name: Name
    unique: bool
    kind: str
    visible: bool
    columns: list[_Column] = field(default_factory=list)


class Findings:
    """A row for each kind with how many and how large, and one for each of the largest.

    A kind that nobody knows of this server is not there. A size that is not known is NULL, and a sum of sizes is
    that of those that are known, NULL if none is.
    """

    def __init__(self) -> None:
        self._used: frozenset[Name] = frozenset()
        # When the reads of a table were seen to have begun anew, in monotonic seconds.
        self._anew: dict[Table, float] = {}

    def feed(self, rows: Rows, context: Context) -> Rows:
        """See exporter.declare.Accumulator."""
        parts: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in rows.dicts():
            parts[row["part"]].append(row)
        if parts["uptime"]:
            self._notice(parts, context.now)
        return _found(parts, self._anew.keys(), context)

    def rebase(self) -> None:
        """Another server, or this one after a restart, counts reads from the start."""
        self._used, self._anew = frozenset(), {}

    def _notice(self, parts: Mapping[str, list[dict[str, Any]]], now: float) -> None:
        """Whether reads of a table have begun anew since the last look: then an index that was used is not.

        Somebody may have emptied the table of reads, or changed this table's definition. The look may be hours late, so
        however few are lost and however many are in use again already, what is left of their table tells nothing yet.
        """
        unused = {_name(row) for row in parts["unused"]}
        self._anew = {table: at for table, at in self._anew.items() if now - at < WEEK}
        self._anew |= {name[:2]: now for name in self._used & unused}
        # Nothing is told of a table that nobody has opened yet: what was used stays so until there is another word.
        used = self._used - unused | {_name(row) for row in parts["used"]}
        self._used = frozenset(used & {_name(row) for row in parts["index"]})


def _found(parts: Mapping[str, list[dict[str, Any]]], anew: Collection[Table], context: Context) -> Rows:
    indexes: dict[Name, _Index] = {}
    for row in sorted(parts["index"], key=lambda row: row["place"]):
        name = _name(row)
        index = indexes.setdefault(name, _Index(name, not row["several"], row["type"], row["visible"] == 1))
        index.columns.append((row["column"], row["length"], row["direction"]))
    kinds: dict[str, list[Name]] = {"duplicate": [], "redundant": []}
    if any(row["length"] >= WEEK for row in parts["uptime"]):
        kinds["unused"] = _unused(indexes.values(), parts, anew)
    for kind, index in _needless(indexes.values()):
        kinds[kind].append(index.name)
    sizes = _sizes(parts, _page(context))
    return Rows.of(
        ("kind", "findings", "all_bytes", "schema", "table", "index", "one", "bytes"), list(_told(kinds, sizes))
    )


def largest(rows: Rows, context: Context) -> Rows:
    """Every index whose size is known, with schema, table, index and bytes, LARGEST of them at most."""
    parts: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows.dicts():
        parts[row["part"]].append(row)
    sizes = sorted(_sizes(parts, _page(context)).items(), key=lambda item: (-item[1], item[0]))
    return Rows(("schema", "table", "index", "bytes"), [(*name, size) for name, size in sizes[:LARGEST]])


def _page(context: Context) -> int:
    return int(context.facts.settings.get("innodb_page_size", 0))


def _name(row: dict[str, Any]) -> Name:
    return row["schema"], row["table"], row["index"]


def _unused(
    indexes: Iterable[_Index], parts: Mapping[str, list[dict[str, Any]]], anew: Collection[Table]
) -> list[Name]:
    unused = {_name(row) for row in parts["unused"]}
    references = {(row["schema"], row["table"], row["column"]) for row in parts["reference"]}
    young = {(row["schema"], row["table"]) for row in parts["young"] if row["length"] < WEEK} | set(anew)
    return [
        index.name
        for index in indexes
        # Searches of a text are not counted, and nobody may take away the index of a foreign key, on
        # either side of it.
        if index.name in unused
        and not index.unique
        and index.kind != "FULLTEXT"
        and (*index.name[:2], index.columns[0][0]) not in references
        and index.name[:2] not in young
    ]


def _sizes(parts: Mapping[str, list[dict[str, Any]]], page: int) -> dict[Name, int]:
    """What indexes have in bytes, in all partitions together, where the size of their pages is known."""
    compressed: dict[tuple[str, str], int | None] = {}
    for row in sorted(parts["compressed"], key=lambda row: row["length"] or 0):
        compressed[row["schema"], known_as(row["table"])] = row["length"]
    sizes: defaultdict[Name, int] = defaultdict(int)
    unknown: set[Name] = set()
    for row in parts["pages"]:
        # Statistics tell the partitions of a table apart, each is a table for itself.
        piece = known_as(row["table"])
        table = piece.partition("#p#")[0]
        name = (row["schema"], table, row["index"])
        # Those of a shared tablespace have no file by which their pages were known.
        size = compressed.get((row["schema"], piece), compressed.get((row["schema"], table), page))
        sizes[name] += row["length"] * (size or 0)
        if not size:
            unknown.add(name)
    return {name: size for name, size in sizes.items() if name not in unknown}


def _needless(indexes: Iterable[_Index]) -> Iterator[tuple[str, _Index]]:
    tables: defaultdict[tuple[str, str], list[_Index]] = defaultdict(list)
    for index in indexes:
        tables[index.name[:2]].append(index)
    for several in tables.values():
        # Of equal ones the unique stays, else the first by name. One that is hidden replaces none that is seen.
        ordered = sorted(several, key=lambda index: (not index.unique, not index.visible, index.name))
        for place, index in enumerate(ordered):
            if index.unique:
                continue
            if any(_same(other, index) and _replaces(other, index) for other in ordered[:place]):
                yield "duplicate", index
            elif index.kind == "BTREE" and any(_begins(other, index) and _replaces(other, index) for other in ordered):
                yield "redundant", index


def _replaces(other: _Index, index: _Index) -> bool:
    return other.kind == index.kind and (other.visible or not index.visible)


def _same(other: _Index, index: _Index) -> bool:
    # It is read from either end.
    return index.columns in (other.columns, _reversed(other.columns))


def _begins(other: _Index, index: _Index) -> bool:
    """Whether it has the columns of the index before others, or prefixes of them whole."""
    beginning = other.columns[: len(index.columns)]
    if len(beginning) < len(index.columns) or _same(other, index):
        return False
    return any(all(map(_holds, columns, index.columns)) for columns in (beginning, _reversed(beginning)))


def _holds(column: _Column, part: _Column) -> bool:
    (name, length, direction), (of, least, its) = column, part
    return (name, direction) == (of, its) and (length is None or (least is not None and least <= length))


def _reversed(columns: Sequence[_Column]) -> list[_Column]:
    other = {"A": "D", "D": "A"}
    return [(name, length, other.get(str(direction))) for name, length, direction in columns]


def _told(kinds: Mapping[str, list[Name]], sizes: Mapping[Name, int]) -> Iterator[dict[str, Any]]:
    for kind, names in kinds.items():
        known = [sizes[name] for name in names if name in sizes]
        told = known or (sizes and not names)
        yield {"kind": kind, "findings": len(names), "all_bytes": sum(known) if told else None}
    named = [(kind, name, sizes.get(name)) for kind, names in kinds.items() for name in names]
    named.sort(key=lambda item: (-(item[2] or 0), item[:2]))
    for kind, (schema, table, index), size in named[:_SHOWN]:
        yield {"kind": kind, "schema": schema, "table": table, "index": index, "one": 1, "bytes": size}
