"""InnoDB tables without a file of their own, in the system tablespace or a general one: which, and how large."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from exporter.declare import Context, Rows

# More are not opened for their size, which then nobody tells.
MOST_OPENED = 500
STATISTICS = "SELECT ON mysql.innodb_index_stats"

# Rows of part, name (of the schema), bytes (NULL), table, piece and row_format; a partition is a table for itself.
# INNODB_TABLES says it too, and reads the definition of every table for that: with 10,000 of them 10 s, each time. So
# from the names of tables and partitions those of files are taken away: all that the dictionary knows at once. Grouped,
# since each name would be looked for in the whole list otherwise, which took minutes.
_PIECE = "LOWER(CONCAT('#p#', PARTITION_NAME, COALESCE(CONCAT('#sp#', SUBPARTITION_NAME), '')))"
MYSQL = f"""
    SELECT 'homeless', MAX(owner), NULL, MAX(named), MAX(piece), MAX(format)
    FROM (
        SELECT CAST(CONCAT(TABLE_SCHEMA, '/', TABLE_NAME) AS BINARY) AS file, 1 AS listed,
               TABLE_SCHEMA AS owner, TABLE_NAME AS named, '' AS piece, ROW_FORMAT AS format
        FROM information_schema.TABLES
        WHERE ENGINE = 'InnoDB' AND TABLE_SCHEMA <> 'mysql' AND CREATE_OPTIONS NOT LIKE '%partitioned%'
        UNION ALL
        SELECT CAST(CONCAT(TABLE_SCHEMA, '/', TABLE_NAME, {_PIECE}) AS BINARY), 1,
               TABLE_SCHEMA, TABLE_NAME, {_PIECE}, NULL
        FROM information_schema.PARTITIONS WHERE PARTITION_NAME IS NOT NULL
        UNION ALL
        SELECT CAST(IF(LOCATE('#P#', CAST(NAME AS BINARY)) > 0,
                       CONCAT(SUBSTRING_INDEX(NAME, '#P#', 1),
                              LOWER(SUBSTRING(NAME, 1 + CHAR_LENGTH(SUBSTRING_INDEX(NAME, '#P#', 1))))),
                       NAME) AS BINARY), 0, NULL, NULL, NULL, NULL
        FROM information_schema.INNODB_TABLESPACES_BRIEF
    ) AS names
    GROUP BY file HAVING MIN(listed) = 1"""
# MariaDB has the system tablespace alone, lists its tables without reading a definition, and writes names as in the
# file system, but for the sign of a partition.
MARIADB = """
    SELECT 'homeless', CONVERT(CONVERT(CAST(SUBSTRING_INDEX(NAME, '/', 1) AS BINARY) USING filename) USING utf8mb4),
           NULL, CONVERT(CONVERT(CAST(REPLACE(SUBSTRING_INDEX(NAME, '/', -1), '#', '@0023') AS BINARY) USING filename)
                   USING utf8mb4), '', ROW_FORMAT
    FROM information_schema.INNODB_SYS_TABLES WHERE SPACE = 0 AND NAME LIKE '%/%'"""

# The server's own statistics, which it keeps in a table; rows of part, name, table, bytes.
_PAGES = """
    SELECT 'pages' AS part, database_name AS name, table_name AS `table`,
           SUM(stat_value) * @@GLOBAL.innodb_page_size AS bytes
    FROM mysql.innodb_index_stats WHERE stat_name = 'size' AND database_name IN ({schemas})
    GROUP BY database_name, table_name"""
# What a full-text index has is in hidden tables beside its own, of which MariaDB lists the names.
_FULLTEXT = """
    UNION ALL
    SELECT 'untold', TABLE_SCHEMA, TABLE_NAME, NULL FROM information_schema.STATISTICS
    WHERE INDEX_TYPE = 'FULLTEXT' AND SEQ_IN_INDEX = 1 AND TABLE_SCHEMA IN ({schemas})"""
# Names are looked at first, so that only these tables are opened.
_OPENED = f"""
    SELECT 'opened' AS part, TABLE_SCHEMA AS name,
           CONCAT(TABLE_NAME, IF(PARTITION_NAME IS NULL, '', {_PIECE})) AS `table`, DATA_LENGTH + INDEX_LENGTH AS bytes
    FROM information_schema.PARTITIONS
    WHERE CAST(CONCAT(CONVERT(TABLE_SCHEMA USING utf8mb4), '/', CONVERT(TABLE_NAME USING utf8mb4)) AS BINARY)
          IN ({{tables}})"""


@dataclass(frozen=True, slots=True)
class Shared:
    """A table, or a partition of one, in a shared tablespace.

    Attributes:
        schema: Its schema.
        table: Its name, and that of the partition as InnoDB adds it, in lower case.
        compressed: Its pages are smaller than those of the server.
    """

    schema: str
    table: str
    compressed: bool


def shared(rows: Rows) -> list[Shared]:
    """Those that MYSQL or MARIADB list."""
    return [
        Shared(row["name"], known_as(row["table"] + row["piece"]), row["row_format"] == "Compressed")
        for row in rows.dicts()
        if row["part"] == "homeless"
    ]


def known_as(table: str) -> str:
    """A table's name with its partition's in lower case: some versions write it so, others as it was given."""
    place = table.lower().find("#p#")
    return table if place < 0 else table[:place] + table[place:].lower()


def _binary(names: Iterable[str]) -> str:
    return ", ".join(f"x'{name.encode().hex()}'" for name in sorted(set(names)))


def next_question(tables: Sequence[Shared], answers: Sequence[Rows], context: Context) -> str | None:
    """What to ask for their sizes, `answers` being those to questions of this kind; None if it is enough."""
    if not tables or STATISTICS not in context.facts.grants:
        return None
    if not answers:
        schemas = ", ".join(f"CONVERT(x'{name.encode().hex()}' USING utf8mb4)" for name in {t.schema for t in tables})
        return (_PAGES + (_FULLTEXT if context.facts.flavor != "mariadb" else "")).format(schemas=schemas)
    known, untold = _answered(answers)
    left = [t for t in tables if (t.schema, t.table) not in untold and _size(t, known) is None and not _helper(t)]
    if len(answers) > 1 or not 0 < len(left) <= MOST_OPENED:
        return None
    return _OPENED.format(tables=_binary(f"{t.schema}/{_whole(t.table)}" for t in left))


def _whole(table: str) -> str:
    return table.partition("#p#")[0]


def _helper(table: Shared) -> bool:
    return table.table.startswith("FTS_0")


Known = dict[tuple[str, str, str], int]


def _answered(answers: Sequence[Rows]) -> tuple[Known, set[tuple[str, str]]]:
    known: Known = {}
    untold: set[tuple[str, str]] = set()
    for row in (row for answer in answers for row in answer.dicts()):
        if row["part"] == "untold":
            untold.add((row["name"], row["table"]))
        elif row["bytes"] is not None:
            known[row["part"], row["name"], known_as(row["table"])] = int(row["bytes"])
    return known, untold


def _size(table: Shared, known: Known) -> int | None:
    # Statistics count pages, and how large those of a compressed table are is not among them.
    pages = None if table.compressed else known.get(("pages", table.schema, table.table))
    return known.get(("opened", table.schema, table.table)) if pages is None else pages


def sizes(tables: Sequence[Shared], answers: Sequence[Rows]) -> dict[str, int | None]:
    """What each schema has in shared tablespaces, in bytes; None where that of one of its tables is not told."""
    known, untold = _answered(answers)
    out: dict[str, int | None] = {}
    for table in tables:
        size = None if (table.schema, table.table) in untold else _size(table, known)
        before = out.get(table.schema, 0)
        out[table.schema] = None if size is None or before is None else before + size
    return out
