"""The size of every schema, and of undo logs and temporary tables, from the sizes of InnoDB's files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from exporter.collectors.mysql import shared_tables
from exporter.collectors.mysql.remote_tables import FILE_NAME
from exporter.collectors.vocabulary import shared
from exporter.declare import Asking, Collector, Context, Query, Rows, block
from exporter.failure import Failure
from exporter.gates import granted, mariadb, mysql

# Files tell sizes as they are, without opening a table; they are named schema/table. Tables of other engines are added
# as the server states them, and every schema is listed, so that an empty one has size 0. On MySQL a schema's name may
# itself have a slash, so such names are taken apart here. Names differ by case and accents, which these views take for
# the same.
_REST = """
    UNION ALL
    SELECT 'table', TABLE_SCHEMA, SUM(DATA_LENGTH + INDEX_LENGTH), NULL, NULL, NULL FROM information_schema.TABLES
    WHERE {others}
    GROUP BY CAST(TABLE_SCHEMA AS BINARY)
    UNION ALL
    SELECT 'schema', SCHEMA_NAME, 0, NULL, NULL, NULL FROM information_schema.SCHEMATA
    WHERE SCHEMA_NAME NOT IN ('information_schema', 'performance_schema')
    UNION ALL
    {shared}"""
# Not those without files of their own, which may even lie on another server.
_OTHERS = """TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE')
    AND TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema')
    AND ENGINE NOT IN ('InnoDB', 'MEMORY', 'PERFORMANCE_SCHEMA', 'MRG_MYISAM', 'BLACKHOLE', 'FEDERATED', 'CONNECT',
                       'SPIDER', 'SEQUENCE')"""
# What the list says of a tablespace of several files is its first; FILES has the whole of it, once for each file.
FILE_SIZE = """IF(NAME = 'innodb_temporary', GREATEST(FILE_SIZE, COALESCE((
                   SELECT MAX(TOTAL_EXTENTS * EXTENT_SIZE)
                   FROM information_schema.FILES WHERE TABLESPACE_NAME = 'innodb_temporary'), 0)), FILE_SIZE)"""
_MYSQL = f"""
    SELECT part, owner AS name, SUM(size) AS bytes, NULL AS `table`, NULL AS piece, NULL AS row_format
    FROM (
        SELECT CASE WHEN SPACE_TYPE = 'Single' THEN 'file' WHEN SPACE_TYPE = 'Undo' THEN 'undo'
                    WHEN NAME = 'innodb_temporary' THEN 'temp' WHEN NAME = 'mysql' THEN 'table'
                    ELSE 'shared' END AS part,
               CASE WHEN SPACE_TYPE = 'Single' AND NAME NOT LIKE '%/%/%' THEN SUBSTRING_INDEX(NAME, '/', 1)
                    ELSE NAME END AS owner,
               {FILE_SIZE} AS size
        FROM information_schema.INNODB_TABLESPACES
    ) AS files
    GROUP BY part, CAST(owner AS BINARY)
    {_REST.format(others=_OTHERS, shared=shared_tables.MYSQL)}"""
_OF_SESSIONS = """
    UNION ALL
    SELECT 'temp', '', SUM(SIZE), NULL, NULL, NULL FROM information_schema.INNODB_SESSION_TEMP_TABLESPACES"""

# MariaDB has no dictionary: for a table's size it opens it, for its engine it reads its definition, and only names cost
# nothing, also as the condition that says which tables to look at. So from the names those of InnoDB's tables are
# taken away, views by their definition, and the few that are left are opened. Where many are left, to look for each of
# so many names would cost more than to look at every table.
_FEW = "IF(COUNT(*) > 500, NULL, COALESCE(GROUP_CONCAT(name), ''))"
_AMONG = "COALESCE(FIND_IN_SET({name}, ({names})), 1) > 0"
_NOT_INNODB = f"""
    SELECT {_FEW} FROM (
        SELECT name FROM (
            SELECT {FILE_NAME} AS name, 1 AS listed FROM information_schema.TABLES
            WHERE TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema')
            UNION ALL
            SELECT CAST(SUBSTRING_INDEX(NAME, '#P#', 1) AS BINARY), 0 FROM information_schema.INNODB_SYS_TABLES
        ) AS named
        GROUP BY name HAVING MIN(listed) = 1
    ) AS left_over"""
_TO_OPEN = f"""
    SELECT {_FEW} FROM (
        SELECT {FILE_NAME} AS name FROM information_schema.TABLES
        WHERE {_AMONG.format(name=FILE_NAME, names=_NOT_INNODB)} AND {_OTHERS}
    ) AS others"""
# MariaDB writes names as in the file system, and knows how to read them.
_MARIADB = f"""
    SELECT part, CONVERT(CONVERT(owner USING filename) USING utf8mb4) AS name, SUM(size) AS bytes,
           NULL AS `table`, NULL AS piece, NULL AS row_format
    FROM (
        SELECT CASE WHEN NAME LIKE '%/%' THEN 'file' WHEN NAME LIKE 'innodb\\_undo%' THEN 'undo'
                    WHEN NAME = 'innodb_temporary' THEN 'temp' ELSE 'shared' END AS part,
               CAST(SUBSTRING_INDEX(NAME, '/', 1) AS BINARY) AS owner, FILE_SIZE AS size
        FROM information_schema.INNODB_SYS_TABLESPACES
    ) AS files
    GROUP BY part, owner
    UNION ALL
    SELECT 'temp', '', CAST(VARIABLE_VALUE AS UNSIGNED), NULL, NULL, NULL FROM information_schema.GLOBAL_STATUS
    WHERE VARIABLE_NAME = 'TMP_SPACE_USED'
    {
    _REST.format(
        others=f"{_AMONG.format(name=FILE_NAME, names=_TO_OPEN)} AND {_OTHERS}",
        shared=shared_tables.MARIADB,
    )
}"""

# Without it the server leaves out tables and schemas instead of refusing: the sizes would be wrong, not absent.
SEES_TABLES = granted("REFERENCES", fix="GRANT REFERENCES ON *.* TO {account};") | granted("SELECT", fix="")

_CODE = re.compile(r"@([0-9a-f]{4})")


def schema_of(name: str, schemas: set[str]) -> str:
    """The schema in the name of a file: as it is, or as it is written in the file system."""
    decoded = _CODE.sub(lambda match: chr(int(match[1], 16)), name)
    for text in (name, decoded):
        parts = text.split("/")
        for length in range(len(parts), 0, -1):
            if (candidate := "/".join(parts[:length])) in schemas:
                return candidate
    return name.split("/", maxsplit=1)[0]


class Sizes(Asking):
    """Asks besides for the tables that have no file of their own, where there are some. Keeps nothing."""

    def ask(self, sql: str, answers: Sequence[Rows], context: Context) -> str | None:
        """See exporter.declare.Asking: files at first, then what else it takes."""
        if not answers:
            return sql
        return shared_tables.next_question(shared_tables.shared(answers[0]), answers[1:], context)

    def spares(self, answers: Sequence[Rows], failure: Failure) -> bool:  # noqa: ARG002
        """Without the further answers some schemas have no size."""
        return True

    def feed(self, rows: Rows, context: Context) -> Rows:  # noqa: ARG002
        """A row for each schema with what its files and tables have together, and one for each kind of the rest."""
        found = rows.dicts()
        schemas = {row["name"] for row in found if row["part"] == "schema"}
        sizes: dict[str, int] = {}
        rest: dict[str, int] = {}
        for row in found:
            if row["part"] in {"undo", "temp"}:
                rest[row["part"]] = rest.get(row["part"], 0) + (row["bytes"] or 0)
            elif row["part"] not in {"shared", "homeless"}:
                schema = schema_of(row["name"], schemas) if row["part"] == "file" else row["name"]
                sizes[schema] = sizes.get(schema, 0) + (row["bytes"] or 0)
        for schema, size in shared_tables.sizes(shared_tables.shared(rows), rows.further).items():
            if size is None:
                # Without it the size would be too small.
                sizes.pop(schema, None)
            elif schema in sizes:
                sizes[schema] += size
        out: list[dict[str, Any]] = [{"schema": name, "bytes": size} for name, size in sizes.items()]
        out += [{"kind": kind, "stored": size} for kind, size in rest.items()]
        return Rows.of(("schema", "bytes", "kind", "stored"), out)

    def rebase(self) -> None:
        """Nothing is kept."""


schema_sizes = Collector(
    name="mysql_schema_sizes",
    about="The size of every schema, of undo logs and of temporary tables, from the sizes of files.",
    engine="mysql",
    every=300,
    # Tables of other engines than InnoDB are opened one by one.
    core_share=0.005,
    timeout=60,
    when=(mysql(8) | mariadb(10, 6)) & SEES_TABLES,
    queries=(
        Query(mysql(8, 0, 13), _MYSQL + _OF_SESSIONS),
        Query(mysql(8), _MYSQL),
        Query(mariadb(10, 6), _MARIADB),
    ),
    state=Sizes,
    blocks=(
        block(
            shared("db_size_bytes", "bytes"),
            labels={"database": "schema"},
            merge="max",
        ),
        block(
            shared("db_storage_bytes", "stored"),
            labels=("kind",),
            merge="max",
        ),
    ),
    grants=("PROCESS", "REFERENCES", shared_tables.STATISTICS),
)
