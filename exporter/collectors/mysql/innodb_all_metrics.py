"""Every counter of InnoDB's own that is enabled."""

from __future__ import annotations

import re
from typing import Any

from exporter.collectors.mysql.values import not_negative
from exporter.declare import Collector, Context, Measure, Query, Rows, block, counter, gauge
from exporter.gates import mariadb, mysql

_PREFIX = "mysql_info_schema_innodb_metrics_"
_PAGE = re.compile(r"buffer_page_(read|written)_(.+)\Z")
_POOL = "buffer_pool_pages_"
_COLUMNS = ("counter", "gauge", "value", "read", "pages_read", "written", "pages_written", "state", "pages", "dirty")


def told(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """A row for each counter: under its own name, or in one of the families of pages."""
    return Rows.of(_COLUMNS, [found for row in rows.dicts() if (found := _told(row)) is not None])


def _told(row: dict[str, Any]) -> dict[str, Any] | None:
    name, value = row["name"], row["count"]
    if row["subsystem"] == "buffer_page_io":
        page = _PAGE.match(name)
        return {page[1]: page[2], f"pages_{page[1]}": value} if page else None
    if row["subsystem"] == "buffer" and name.startswith(_POOL):
        state = name.removeprefix(_POOL)
        if state == "total":  # the states together
            return None
        pages = not_negative(value)  # misc is below zero with compressed tables, as in the status
        return {"dirty": pages} if state == "dirty" else {"state": state, "pages": pages}
    full = f"{row['subsystem']}_{name}"
    if row["type"] in {"counter", "status_counter"}:
        return {"counter": f"{full}_total", "value": value}
    return {"gauge": full, "value": value}


def _pages(kind: str) -> Measure:
    return counter(f"{_PREFIX}buffer_page_{kind}_total", f"pages_{kind}", help=f"Pages {kind} by type.", drop_in=True)


# That of deadlocks is read at every scrape, by another collector.
_SQL = """
    SELECT NAME AS name, SUBSYSTEM AS subsystem, TYPE AS type, COUNT AS count FROM information_schema.INNODB_METRICS
    WHERE {}"""

innodb_all_metrics = Collector(
    name="mysql_innodb_metrics",
    about="Every counter of InnoDB's own that is enabled.",
    engine="mysql",
    every=60,
    default=False,
    when=mysql(8) | mariadb(10, 6),
    queries=(
        Query(mysql(8), _SQL.format("STATUS = 'enabled' AND NAME <> 'lock_deadlocks'")),
        Query(mariadb(10, 6), _SQL.format("ENABLED = 1")),
    ),
    rows=told,
    blocks=(
        block(counter(_PREFIX, "value", help="InnoDB's counter of this name.", drop_in=True), named_by="counter"),
        block(gauge(_PREFIX, "value", help="InnoDB's figure of this name.", drop_in=True), named_by="gauge"),
        block(_pages("read"), labels={"type": "read"}, merge="max"),
        block(_pages("written"), labels={"type": "written"}, merge="max"),
        block(
            gauge(f"{_PREFIX}buffer_pool_pages", "pages", help="Pages of the buffer pool by state.", drop_in=True),
            labels=("state",),
            merge="max",
        ),
        block(
            gauge(f"{_PREFIX}buffer_pool_dirty_pages", "dirty", help="Pages not yet on disk.", drop_in=True),
            merge="max",
        ),
    ),
    grants=("PROCESS",),
)
