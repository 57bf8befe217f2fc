"""What only the text of SHOW ENGINE INNODB STATUS tells: queries inside InnoDB, in its queue, and read views; before
MySQL 8.0.30 also how much redo log there is since the last checkpoint.
"""

from __future__ import annotations

import re

from exporter.collectors.mysql.history import checkpoint_age
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.gates import mariadb, mysql

_FIGURES = {
    "inside": re.compile(r"(\d+) queries inside InnoDB"),
    "queued": re.compile(r"(\d+) queries in queue"),
    "views": re.compile(r"(\d+) read views open inside InnoDB"),
    "written": re.compile(r"^Log sequence number\s+(\d+)", re.MULTILINE),
    "kept": re.compile(r"^Last checkpoint at\s+(\d+)", re.MULTILINE),
}


def read(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """One row with the figures; what the text doesn't say is NULL."""
    text = "\n".join(str(row["status"]) for row in rows.dicts())
    found = {name: int(match[1]) for name, line in _FIGURES.items() if (match := line.search(text))}
    if "written" in found and "kept" in found:
        found["age"] = found["written"] - found["kept"]
    return Rows.of((*_FIGURES, "age"), [found])


innodb_status = Collector(
    name="mysql_innodb_status",
    about="Queries inside InnoDB and in its queue, open read views, before MySQL 8.0.30 the age of the checkpoint.",
    engine="mysql",
    every=60,
    default=False,
    when=mysql(8) | mariadb(10, 6),
    queries=(Query(mysql(8) | mariadb(10, 6), "SHOW ENGINE INNODB STATUS"),),
    rows=read,
    blocks=(
        block(
            gauge("mysql_engine_innodb_queries_inside_innodb", "inside", help="Queries inside InnoDB.", drop_in=True),
            gauge("mysql_engine_innodb_queries_in_queue", "queued", help="Queries that wait to enter.", drop_in=True),
            gauge("mysql_engine_innodb_read_views_open_inside_innodb", "views", help="Read views.", drop_in=True),
            checkpoint_age("age", mysql(8, below=(8, 0, 30))),
        ),
    ),
    grants=("PROCESS",),
)
