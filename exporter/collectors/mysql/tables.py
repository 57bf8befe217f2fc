"""Rows and sizes of each table as the server states them, which it has to open the tables for."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.collectors.mysql.remote_tables import LOCAL_MARIADB, LOCAL_MYSQL
from exporter.collectors.mysql.schema_sizes import SEES_TABLES
from exporter.collectors.mysql.schemas import INTERNAL
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import mariadb, mysql

_SERVERS = mysql(8) | mariadb(10, 6)
_OTHERS = f"TABLE_SCHEMA NOT IN ({INTERNAL})"
_COUNT = "SELECT COUNT(*) FROM information_schema.TABLES WHERE {which}"
# Names cost nothing. Where they are too many, no table is opened.
_SQL = """
    SELECT TABLE_SCHEMA AS `schema`, TABLE_NAME AS `table`, TABLE_TYPE AS type, COALESCE(ENGINE, 'NONE') AS engine,
           COALESCE(ROW_FORMAT, 'NONE') AS row_format, COALESCE(CREATE_OPTIONS, 'NONE') AS create_options,
           VERSION AS version, TABLE_ROWS AS counted, DATA_LENGTH AS data_length, INDEX_LENGTH AS index_length,
           DATA_FREE AS data_free, NULL AS left_out
    FROM information_schema.TABLES
    WHERE {which} AND IF(TABLE_NAME IS NULL, 0, ({count}) <= {{limit}}) AND {local}
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
           IF(({count}) <= {{limit}}, 0, ({count}))"""
_TABLE = ("schema", "table")
_COMPONENTS = ("data_length", "index_length", "data_free")


def _sql(which: str, local: str) -> str:
    return _SQL.format(which=which, count=_COUNT.format(which=which), local=local)


def tables_of(schemas: Sequence[str] = ()) -> Collector:
    """The collector for the tables of some schemas; of all but the server's own if none is named."""
    names = ", ".join("'" + name.replace("\\", "\\\\").replace("'", "''") + "'" for name in schemas)
    which = f"TABLE_SCHEMA IN ({names})" if schemas else _OTHERS
    return Collector(
        name="mysql_tables",
        about="Rows, sizes and formats of each table; of none where there are more tables than its limit.",
        engine="mysql",
        every=900,
        timeout=60,
        limit=1000,
        share=0.05,
        default=False,
        when=_SERVERS & SEES_TABLES,
        queries=(Query(mysql(8), _sql(which, LOCAL_MYSQL)), Query(mariadb(10, 6), _sql(which, LOCAL_MARIADB))),
        blocks=(
            # First, since tables take what room there is.
            block(
                gauge(
                    "mysql_tables_left_out",
                    "left_out",
                    help="Tables of which nothing is read, since there are more than the collector's limit; else 0.",
                ),
                merge="max",
            ),
            block(
                gauge(
                    "mysql_info_schema_table_version",
                    "version",
                    help="The version of the format of the table's definition.",
                    drop_in=True,
                ),
                labels=(*_TABLE, "type", "engine", "row_format", "create_options"),
            ),
            block(
                gauge("mysql_info_schema_table_rows", "counted", help="Rows, estimated.", drop_in=True),
                labels=_TABLE,
            ),
            *(
                block(
                    gauge(
                        "mysql_info_schema_table_size",
                        component,
                        help="Bytes of the table: of its rows, of its other indexes, and free in its file.",
                        drop_in=True,
                    ),
                    labels=_TABLE,
                    fixed={"component": component},
                )
                for component in _COMPONENTS
            ),
        ),
        grants=("REFERENCES",),
    )


tables = tables_of()
