"""Indexes that cost more than they give: unused, duplicate, or the beginning of another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from exporter.collectors.mysql.performance_schema import READABLE
from exporter.collectors.mysql.schema_sizes import SEES_TABLES
from exporter.collectors.mysql.schemas import INTERNAL
from exporter.collectors.mysql.shared_tables import known_as
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.gates import Gate, granted, mariadb, mysql

KINDS = ("unused", "duplicate", "redundant")
# What was not used since the server started is unused once that is long enough ago to say so, and the definition of its
# table, which is as young as its youngest index.
_WEEK = 7 * 86400
_SHOWN = 100
_SIZES: Gate = granted("SELECT ON mysql.innodb_index_stats", fix="") & granted("PROCESS", fix="")

# Put together here: in SQL each of these views would be looked through for each index of another.
_INDEXES = f"""
    SELECT 'index' AS part, TABLE_SCHEMA AS `schema`, TABLE_NAME AS `table`, INDEX_NAME AS `index`,
           COALESCE(COLUMN_NAME, {{expression}}) AS `column`, SUB_PART AS length, NON_UNIQUE AS several,
           INDEX_TYPE AS type, SEQ_IN_INDEX AS place, COLLATION AS direction, {{visible}} AS visible
    FROM information_schema.STATISTICS WHERE TABLE_SCHEMA NOT IN ({INTERNAL})
    UNION ALL
    SELECT 'reference', TABLE_SCHEMA, TABLE_NAME, NULL, COLUMN_NAME, NULL, NULL, NULL, ORDINAL_POSITION, NULL,
           NULL
    FROM information_schema.KEY_COLUMN_USAGE
    WHERE REFERENCED_TABLE_NAME IS NOT NULL AND ORDINAL_POSITION = 1 AND TABLE_SCHEMA NOT IN ({INTERNAL})
    UNION ALL
    SELECT 'reference', REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, NULL, REFERENCED_COLUMN_NAME, NULL, NULL, NULL,
           ORDINAL_POSITION, NULL, NULL
    FROM information_schema.KEY_COLUMN_USAGE
    WHERE REFERENCED_TABLE_NAME IS NOT NULL AND ORDINAL_POSITION = 1 AND TABLE_SCHEMA NOT IN ({INTERNAL})"""
# Where reads are not counted at all, as some switch off for its cost, nothing is known to be unused.
_UNUSED = f"""
    UNION ALL
    SELECT 'unused', OBJECT_SCHEMA, OBJECT_NAME, INDEX_NAME, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM performance_schema.table_io_waits_summary_by_index_usage
    WHERE INDEX_NAME IS NOT NULL AND COUNT_STAR = 0 AND OBJECT_SCHEMA NOT IN ({INTERNAL})
    UNION ALL
    SELECT 'uptime', NULL, NULL, NULL, NULL, VARIABLE_VALUE + 0, NULL, NULL, NULL, NULL, NULL
    FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Uptime'
      AND EXISTS (SELECT 1 FROM performance_schema.setup_instruments
                  WHERE NAME = 'wait/io/table/sql/handler' AND ENABLED = 'YES')
      AND EXISTS (SELECT 1 FROM performance_schema.setup_consumers
                  WHERE NAME = 'global_instrumentation' AND ENABLED = 'YES')
    UNION ALL
    SELECT 'young', TABLE_SCHEMA, TABLE_NAME, NULL, NULL, TIMESTAMPDIFF(SECOND, CREATE_TIME, NOW()),
           NULL, NULL, NULL, NULL, NULL
    FROM information_schema.TABLES
    WHERE CREATE_TIME > NOW() - INTERVAL {_WEEK} SECOND AND TABLE_SCHEMA NOT IN ({INTERNAL})"""
# In pages, and with the size of those of compressed tables, by the name of the file.
_PAGES = """
    UNION ALL
    SELECT 'pages', database_name, table_name, index_name, NULL, stat_value, NULL, NULL, NULL, NULL, NULL
    FROM mysql.innodb_index_stats WHERE stat_name = 'size'"""
_COMPRESSED_MYSQL = """
    UNION ALL
    SELECT 'compressed', SUBSTRING_INDEX(NAME, '/', 1), SUBSTRING(NAME, 2 + CHAR_LENGTH(SUBSTRING_INDEX(NAME, '/', 1))),
           NULL, NULL, ZIP_PAGE_SIZE, NULL, NULL, NULL, NULL, NULL
    FROM information_schema.INNODB_TABLESPACES WHERE ZIP_PAGE_SIZE > 0 AND SPACE_TYPE = 'Single'
    UNION ALL
    SELECT 'compressed', TABLE_SCHEMA, TABLE_NAME, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM information_schema.TABLES WHERE ENGINE = 'InnoDB' AND ROW_FORMAT = 'Compressed'"""
_COMPRESSED_MARIADB = """
    UNION ALL
    SELECT 'compressed',
           CONVERT(CONVERT(CAST(REPLACE(SUBSTRING_INDEX(NAME, '/', 1), '#', '@0023') AS BINARY) USING filename)
                   USING utf8mb4),
           CONVERT(CONVERT(CAST(REPLACE(SUBSTRING_INDEX(NAME, '/', -1), '#', '@0023') AS BINARY) USING filename)
                   USING utf8mb4),
           NULL, NULL, ZIP_PAGE_SIZE, NULL, NULL, NULL, NULL, NULL
    FROM information_schema.INNODB_SYS_TABLES WHERE ZIP_PAGE_SIZE > 0"""

Name = tuple[str, str, str]


@dataclass
class _Index:
    name: Name
    unique: bool
    kind: str
    visible: bool
    columns: list[tuple[Any, ...]] = field(default_factory=list)


def found(rows: Rows, context: Context) -> Rows:
    """A row for each kind with how many and how large, and one for each of the largest; see `KINDS`.

    A kind that nobody knows of this server is not there. A size that is not known is NULL, and a sum of sizes is
    that of those that are known, NULL if none is.
    """
    parts: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows.dicts():
        parts[row["part"]].append(row)
    indexes: dict[Name, _Index] = {}
    for row in sorted(parts["index"], key=lambda row: row["place"]):
        name = _name(row)
        index = indexes.setdefault(name, _Index(name, not row["several"], row["type"], row["visible"] == 1))
        index.columns.append((row["column"], row["length"], row["direction"]))
    kinds: dict[str, list[Name]] = {"duplicate": [], "redundant": []}
    if any(row["length"] >= _WEEK for row in parts["uptime"]):
        kinds["unused"] = _unused(indexes.values(), parts)
    for kind, index in _needless(indexes.values()):
        kinds[kind].append(index.name)
    sizes = _sizes(parts, int(context.facts.settings.get("innodb_page_size", 0)))
    return Rows.of(
        ("kind", "findings", "all_bytes", "schema", "table", "index", "one", "bytes"), list(_told(kinds, sizes))
    )


def _name(row: dict[str, Any]) -> Name:
    return row["schema"], row["table"], row["index"]


def _unused(indexes: Iterable[_Index], parts: Mapping[str, list[dict[str, Any]]]) -> list[Name]:
    unused = {_name(row) for row in parts["unused"]}
    references = {(row["schema"], row["table"], row["column"]) for row in parts["reference"]}
    young = {(row["schema"], row["table"]) for row in parts["young"] if row["length"] < _WEEK}
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
            if any(other.columns == index.columns and _replaces(other, index) for other in ordered[:place]):
                yield "duplicate", index
            elif index.kind == "BTREE" and any(_begins(other, index) and _replaces(other, index) for other in ordered):
                yield "redundant", index


def _replaces(other: _Index, index: _Index) -> bool:
    return other.kind == index.kind and (other.visible or not index.visible)


def _begins(other: _Index, index: _Index) -> bool:
    return len(other.columns) > len(index.columns) and other.columns[: len(index.columns)] == index.columns


def _told(kinds: Mapping[str, list[Name]], sizes: Mapping[Name, int]) -> Iterator[dict[str, Any]]:
    for kind, names in kinds.items():
        known = [sizes[name] for name in names if name in sizes]
        told = known or (sizes and not names)
        yield {"kind": kind, "findings": len(names), "all_bytes": sum(known) if told else None}
    named = [(kind, name, sizes.get(name)) for kind, names in kinds.items() for name in names]
    named.sort(key=lambda item: (-(item[2] or 0), item[:2]))
    for kind, (schema, table, index), size in named[:_SHOWN]:
        yield {"kind": kind, "schema": schema, "table": table, "index": index, "one": 1, "bytes": size}


def _queries() -> Iterator[Query]:
    for servers, expression, visible, compressed in (
        (mysql(8, 0, 13), "EXPRESSION", "IS_VISIBLE = 'YES'", _COMPRESSED_MYSQL),
        (mysql(8), "NULL", "IS_VISIBLE = 'YES'", _COMPRESSED_MYSQL),
        (mariadb(10, 6), "NULL", "IGNORED = 'NO'", _COMPRESSED_MARIADB),
    ):
        indexes = _INDEXES.format(expression=expression, visible=visible)
        sizes = _PAGES + compressed
        yield Query(servers & READABLE & _SIZES, indexes + _UNUSED + sizes)
        yield Query(servers & READABLE, indexes + _UNUSED)
        yield Query(servers & _SIZES, indexes + sizes)
        yield Query(servers, indexes)


index_findings = Collector(
    name="mysql_index_findings",
    about="Unused, duplicate and redundant indexes: how many, how large, and the largest by name.",
    engine="mysql",
    every=900,
    timeout=60,
    # For each table the server reads its definition, and opens it for its figures.
    tables=10_000,
    when=(mysql(8) | mariadb(10, 6)) & SEES_TABLES,
    queries=tuple(_queries()),
    rows=found,
    blocks=(
        block(
            gauge(
                "mysql_index_findings",
                "findings",
                help="Indexes by kind, unique ones left alone: unused since the server started, which was at least "
                "seven days ago, as was the last change of its table's definition (needs performance_schema, which "
                "counts no searches of texts: FULLTEXT is never among them); duplicate, the same as another; "
                "redundant, the beginning of another.",
            ),
            gauge("mysql_index_findings_bytes", "all_bytes", help="Size of the indexes of a kind."),
            labels=("kind",),
            merge="max",
        ),
        block(
            gauge("mysql_index_finding_info", "one", help="1; the index of a finding, the largest alone."),
            gauge(
                "mysql_index_finding_size_bytes",
                "bytes",
                help="Size of the index; the largest alone, absent where it is not known.",
            ),
            labels=("schema", "table", "index", "kind"),
            merge="max",
        ),
    ),
    grants=("PROCESS", "REFERENCES"),
)
