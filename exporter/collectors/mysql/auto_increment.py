"""How far the automatic numbers of tables have come, against the most that their columns hold."""

from __future__ import annotations

from functools import cache

from exporter.collectors.mysql.remote_tables import LOCAL_MARIADB, LOCAL_MYSQL
from exporter.collectors.mysql.schema_sizes import SEES_TABLES
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.gates import mariadb, mysql

# Joined here: to join the two in SQL, the server reads the definition of every table once for each column.
_SQL = """
    SELECT 'column' AS part, TABLE_SCHEMA AS `schema`, TABLE_NAME AS `table`, COLUMN_NAME AS `column`,
           COLUMN_TYPE AS type, NULL AS next
    FROM information_schema.COLUMNS WHERE EXTRA LIKE '%auto_increment%'
    UNION ALL
    SELECT 'table', TABLE_SCHEMA, TABLE_NAME, NULL, NULL, AUTO_INCREMENT
    FROM information_schema.TABLES WHERE {local} AND AUTO_INCREMENT IS NOT NULL"""
_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}


@cache
def most(column_type: str) -> int | None:
    """The largest number that a column of this type holds; None for types that are no integers."""
    bits = _BITS.get(column_type.partition("(")[0].split()[0])
    if bits is None:
        return None
    return int(2 ** (bits if "unsigned" in column_type else bits - 1)) - 1


def joined(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """A row for each column, those nearest to their end first: those are shown where there is no room for all."""
    # MySQL tells no number of a table that it can't open, and takes it for one that has one.
    following = {
        (schema, table): number
        for part, schema, table, _, _, number in rows.rows
        if part == "table" and number is not None
    }
    found = [
        (schema, table, column, following[schema, table], top)
        for part, schema, table, column, kind, _ in rows.rows
        if part == "column" and (schema, table) in following and (top := most(kind)) is not None
    ]
    found.sort(key=lambda row: row[3] / row[4], reverse=True)
    return Rows(("schema", "table", "column", "next", "most"), found)


auto_increment = Collector(
    name="mysql_auto_increment",
    about="The next automatic number of each table and the largest its column holds; the fullest of very many.",
    engine="mysql",
    every=900,
    timeout=60,
    share=0.05,
    # For each table the server reads its definition, and opens it for its figures.
    tables=10_000,
    when=(mysql(8) | mariadb(10, 6)) & SEES_TABLES,
    queries=(
        Query(mysql(8), _SQL.format(local=LOCAL_MYSQL)),
        Query(mariadb(10, 6), _SQL.format(local=LOCAL_MARIADB)),
    ),
    rows=joined,
    blocks=(
        block(
            gauge(
                "mysql_info_schema_auto_increment_column",
                "next",
                help="The number that the next row will have.",
                drop_in=True,
            ),
            gauge(
                "mysql_info_schema_auto_increment_column_max",
                "most",
                help="The largest number that the column holds.",
                drop_in=True,
            ),
            labels=("schema", "table", "column"),
        ),
    ),
    grants=("REFERENCES",),
)
