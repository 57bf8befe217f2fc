"""Waits for locks on each table, from performance_schema."""

from exporter.collectors.busiest import busiest
from exporter.collectors.mysql.packing import packed
from exporter.collectors.mysql.performance_schema import READABLE
from exporter.declare import Collector, Query, block, counter
from exporter.gates import mariadb, mysql

# The words of the server for kinds of locks.
_SQL_LOCKS = (
    "read_normal",
    "read_with_shared_locks",
    "read_high_priority",
    "read_no_insert",
    "write_normal",
    "write_allow_write",
    "write_concurrent_insert",
    "write_low_priority",
)
_EXTERNAL = ("read", "write")
_FIGURES = {"locks": "COUNT_STAR"} | {
    figure: sql
    for name, column in [*((name, name) for name in _SQL_LOCKS), *((name, f"{name}_external") for name in _EXTERNAL)]
    for figure, sql in (
        (f"count_{name}", f"COUNT_{column.upper()}"),
        (f"time_{name}", f"SUM_TIMER_{column.upper()} / 1e12"),
    )
}
_LABELS = {"schema": "object_schema", "name": "object_name"}

table_locks = Collector(
    name="mysql_table_locks",
    about="Waits for locks on each table and their time; the busiest of very many tables.",
    engine="mysql",
    every=300,
    timeout=15,
    share=0.1,
    default=False,
    when=(mysql(8) | mariadb(10, 6)) & READABLE,
    queries=(
        Query(
            mysql(8) | mariadb(10, 6),
            f"SELECT OBJECT_SCHEMA AS object_schema, OBJECT_NAME AS object_name, {packed(_FIGURES)} "
            "FROM performance_schema.table_lock_waits_summary_by_table "
            "WHERE OBJECT_SCHEMA NOT IN ('mysql', 'performance_schema', 'information_schema')",
            packed=tuple(_FIGURES),
        ),
    ),
    state=busiest("object_schema", "object_name", by=("locks",)),
    blocks=tuple(
        block(
            counter(
                f"mysql_perf_schema_{kind}_lock_waits_total",
                f"count_{name}",
                help=f"Waits for locks on the table {about}, by what the lock was for.",
                drop_in=True,
            ),
            counter(
                f"mysql_perf_schema_{kind}_lock_waits_seconds_total",
                f"time_{name}",
                help=f"Time in waits for locks on the table {about}, by what the lock was for.",
                drop_in=True,
            ),
            labels=_LABELS,
            fixed={"operation": name},
        )
        for kind, about, names in (
            ("sql", "in the server", _SQL_LOCKS),
            ("external", "in the storage engine", _EXTERNAL),
        )
        for name in names
    ),
    grants=("SELECT ON performance_schema.*",),
)
