"""Reads and writes of each table and each index, with the time they took, from performance_schema."""

from exporter.collectors.busiest import busiest
from exporter.collectors.mysql.packing import packed
from exporter.collectors.mysql.performance_schema import READABLE
from exporter.declare import Block, Collector, Query, block, counter
from exporter.gates import mariadb, mysql

_OPERATIONS = ("fetch", "insert", "update", "delete")
_TABLE = {"schema": "object_schema", "name": "object_name"}
_COUNTED = tuple(f"count_{operation}" for operation in _OPERATIONS)
_FIGURES = {
    name: sql
    for operation in _OPERATIONS
    for name, sql in (
        (f"count_{operation}", f"COUNT_{operation.upper()}"),
        (f"time_{operation}", f"SUM_TIMER_{operation.upper()} / 1e12"),
    )
}
# Rows are inserted into all indexes of a table, so the server counts that for none of them.
_INDEX_FIGURES = {
    name: f"IF(INDEX_NAME IS NULL, {sql}, NULL)" if name.endswith("_insert") else sql for name, sql in _FIGURES.items()
}


def _blocks(what: str, about: str, labels: dict[str, str]) -> tuple[Block, ...]:
    return tuple(
        block(
            counter(
                f"mysql_perf_schema_{what}_io_waits_total",
                f"count_{operation}",
                help=f"Rows that were read from and written to {about}, by operation.",
                drop_in=True,
            ),
            counter(
                f"mysql_perf_schema_{what}_io_waits_seconds_total",
                f"time_{operation}",
                help=f"Time in reads from and writes to {about}, by operation.",
                drop_in=True,
            ),
            labels=labels,
            fixed={"operation": operation},
        )
        for operation in _OPERATIONS
    )


table_io = Collector(
    name="mysql_table_io",
    about="Rows read, inserted, updated and deleted in each table, and their time; the busiest of very many tables.",
    engine="mysql",
    every=60,
    timeout=15,
    share=0.25,
    when=(mysql(8) | mariadb(10, 6)) & READABLE,
    queries=(
        Query(
            mysql(8) | mariadb(10, 6),
            f"SELECT OBJECT_SCHEMA AS object_schema, OBJECT_NAME AS object_name, {packed(_FIGURES)} "
            "FROM performance_schema.table_io_waits_summary_by_table "
            "WHERE OBJECT_SCHEMA NOT IN ('mysql', 'performance_schema')",
            packed=tuple(_FIGURES),
        ),
    ),
    state=busiest("object_schema", "object_name", by=_COUNTED),
    blocks=_blocks("table", "the table", _TABLE),
    grants=("SELECT ON performance_schema.*",),
)

index_io = Collector(
    name="mysql_index_io",
    about="Rows read, updated and deleted through each index, and their time; the busiest of very many indexes.",
    engine="mysql",
    # There are several indexes to a table, and nobody watches one by the second.
    every=300,
    timeout=30,
    share=0.25,
    when=(mysql(8) | mariadb(10, 6)) & READABLE,
    queries=(
        Query(
            mysql(8) | mariadb(10, 6),
            f"SELECT OBJECT_SCHEMA AS object_schema, OBJECT_NAME AS object_name, "
            f"IFNULL(INDEX_NAME, 'NONE') AS index_name, {packed(_INDEX_FIGURES)} "
            "FROM performance_schema.table_io_waits_summary_by_index_usage "
            "WHERE OBJECT_SCHEMA NOT IN ('mysql', 'performance_schema')",
            packed=tuple(_INDEX_FIGURES),
        ),
    ),
    state=busiest("object_schema", "object_name", "index_name", by=_COUNTED),
    blocks=_blocks("index", "the table through the index (NONE: through no index)", {**_TABLE, "index": "index_name"}),
    grants=("SELECT ON performance_schema.*",),
)
