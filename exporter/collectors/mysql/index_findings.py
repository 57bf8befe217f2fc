"""Indexes that cost more than they give: unused, duplicate, or the beginning of another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from exporter.collectors.mysql.performance_schema import READABLE
from exporter.collectors.mysql.schema_sizes import SEES_TABLES
from exporter.collectors.mysql.schemas import INTERNAL
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.gates import Gate, granted, mariadb, mysql

KINDS = ("unused", "duplicate", "redundant")
# What was not used since the server started is unused once that is long enough ago to say so.
_WEEK = 7 * 86400
_SHOWN = 100
_SIZES: Gate = granted("SELECT ON mysql.innodb_index_stats", fix="")

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
                  WHERE NAME = 'global_instrumentation' AND ENABLED = 'YES')"""
_BYTES = """
    UNION ALL
    SELECT 'size', database_name, table_name, index_name, NULL, stat_value * @@GLOBAL.innodb_page_size,
           NULL, NULL, NULL, NULL, NULL
    FROM mysql.innodb_index_stats WHERE stat_name = 'size'"""

Name = tuple[str, str, str]


@dataclass
class _Index:
    name: Name
    unique: bool
    kind: str
    visible: bool
    columns: list[tuple[Any, ...]] = field(default_factory=list)


def found(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """A row for each kind with how many and how large, and one for each of the largest; see `KINDS`.

    A kind that nobody knows of this server is not there. A size that is not known is NULL, and a sum of sizes is
    that of those that are known, NULL if none is.
    """
    indexes: dict[Name, _Index] = {}
    references: set[tuple[str, str, str]] = set()
    unused: set[Name] = set()
    sizes: defaultdict[Name, float] = defaultdict(float)
    uptime: float | None = None
    for row in sorted(rows.dicts(), key=lambda row: row["place"] or 0):
        name = (row["schema"], row["table"], row["index"])
        if row["part"] == "index":
            index = indexes.setdefault(name, _Index(name, not row["several"], row["type"], row["visible"] == 1))
            index.columns.append((row["column"], row["length"], row["direction"]))
        elif row["part"] == "reference":
            references.add((row["schema"], row["table"], row["column"]))
        elif row["part"] == "unused":
            unused.add(name)
        elif row["part"] == "size":
            # Each partition has its own.
            sizes[row["schema"], row["table"].partition("#P#")[0].partition("#p#")[0], row["index"]] += row["length"]
        else:
            uptime = row["length"]
    plain = [index for index in indexes.values() if not index.unique]
    kinds: dict[str, list[Name]] = {"duplicate": [], "redundant": []}
    if uptime is not None and uptime >= _WEEK:
        kinds["unused"] = [
            index.name
            for index in plain
            # Searches of a text are not counted, and nobody may take away the index of a foreign key.
            if index.name in unused
            and index.kind != "FULLTEXT"
            and (*index.name[:2], index.columns[0][0]) not in references
        ]
    for kind, index in _needless(indexes.values()):
        kinds[kind].append(index.name)
    return Rows.of(
        ("kind", "findings", "all_bytes", "schema", "table", "index", "one", "bytes"), list(_told(kinds, sizes))
    )


def _needless(indexes: Any) -> Iterator[tuple[str, _Index]]:
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


def _told(kinds: dict[str, list[Name]], sizes: dict[Name, float]) -> Iterator[dict[str, Any]]:
    for kind, names in kinds.items():
        known = [sizes[name] for name in names if name in sizes]
        yield {"kind": kind, "findings": len(names), "all_bytes": sum(known) if sizes else None}
    named = [(kind, name, sizes.get(name)) for kind, names in kinds.items() for name in names]
    named.sort(key=lambda item: (-(item[2] or 0), item[:2]))
    for kind, (schema, table, index), size in named[:_SHOWN]:
        yield {"kind": kind, "schema": schema, "table": table, "index": index, "one": 1, "bytes": size}


def _queries() -> Iterator[Query]:
    for servers, expression, visible in (
        (mysql(8, 0, 13), "EXPRESSION", "IS_VISIBLE = 'YES'"),
        (mysql(8), "NULL", "IS_VISIBLE = 'YES'"),
        (mariadb(10, 6), "NULL", "IGNORED = 'NO'"),
    ):
        indexes = _INDEXES.format(expression=expression, visible=visible)
        yield Query(servers & READABLE & _SIZES, indexes + _UNUSED + _BYTES)
        yield Query(servers & READABLE, indexes + _UNUSED)
        yield Query(servers & _SIZES, indexes + _BYTES)
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
                "seven days ago (needs performance_schema, which counts no searches of texts: FULLTEXT is never "
                "among them); duplicate, the same as another; redundant, the beginning of another.",
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
    grants=("REFERENCES",),
)
