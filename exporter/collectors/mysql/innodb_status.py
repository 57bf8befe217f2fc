"""What only the text of SHOW ENGINE INNODB STATUS tells: queries and read views, semaphores, hash index, memory; before
MySQL 8.0.30 also how much redo log there is since the last checkpoint.
"""

from __future__ import annotations

import re

from exporter.collectors.mysql.history import checkpoint_age
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.gates import INNODB, mariadb, mysql

# Each pool's hash index has some tables, and each has a line; the others stand there once.
_FIGURES = {
    "inside": re.compile(r"(\d+) queries inside InnoDB"),
    "queued": re.compile(r"(\d+) queries in queue"),
    "views": re.compile(r"(\d+) read views open inside InnoDB"),
    "written": re.compile(r"^Log sequence number\s+(\d+)", re.MULTILINE),
    "kept": re.compile(r"^Last checkpoint at\s+(\d+)", re.MULTILINE),
    "cells": re.compile(r"^Hash table size (\d+), node heap has \d+ buffer", re.MULTILINE),
    "heap": re.compile(r"^Hash table size \d+, node heap has (\d+) buffer", re.MULTILINE),
    "free": re.compile(r"^Ibuf: size \d+, free list len (\d+), seg size \d+", re.MULTILINE),
    "segment": re.compile(r"^Ibuf: size \d+, free list len \d+, seg size (\d+)", re.MULTILINE),
    "memory": re.compile(r"^Total large memory allocated (\d+)", re.MULTILINE),
    "dictionary": re.compile(r"^Dictionary memory allocated (\d+)", re.MULTILINE),
}
_STATEMENTS = re.compile(r"\n(?:LATEST [A-Z ]+|TRANSACTIONS)\n")
_SEMAPHORE = re.compile(r"^--Thread \d+ has waited at .* for (\d+(?:\.\d+)?)\s+seconds the semaphore", re.MULTILINE)


def read(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """One row with the figures; what the text doesn't say is NULL."""
    text = "\n".join(str(row["status"]) for row in rows.dicts())
    # In between are statements, in which clients may say anything.
    semaphores, told = _STATEMENTS.split(text, maxsplit=1)[0], text.rpartition("\nFILE I/O\n")[2]
    found: dict[str, float] = {}
    for name, line in _FIGURES.items():
        if values := line.findall(told):
            found[name] = sum(map(int, values))
    if "written" in found and "kept" in found:
        found["age"] = found["written"] - found["kept"]
    if "\nSEMAPHORES\n" in semaphores:
        waits = [float(seconds) for seconds in _SEMAPHORE.findall(semaphores)]
        found |= {"waits": len(waits), "longest": max(waits, default=0)}
    return Rows.of((*_FIGURES, "age", "waits", "longest"), [found])


# Its own on MySQL alone: MariaDB has neither a change buffer nor such semaphores, and its hash index is in SHOW STATUS.
_MYSQL = mysql(8)

innodb_status = Collector(
    name="mysql_innodb_status",
    about="Queries inside InnoDB and in its queue, open read views, waits for semaphores, hash index and memory, from "
    "SHOW ENGINE INNODB STATUS; before MySQL 8.0.30 the age of the checkpoint.",
    engine="mysql",
    every=60,
    default=False,
    when=(mysql(8) | mariadb(10, 6)) & INNODB,
    queries=(Query(mysql(8) | mariadb(10, 6), "SHOW ENGINE INNODB STATUS"),),
    rows=read,
    blocks=(
        block(
            gauge("mysql_engine_innodb_queries_inside_innodb", "inside", help="Queries inside InnoDB.", drop_in=True),
            gauge("mysql_engine_innodb_queries_in_queue", "queued", help="Queries that wait to enter.", drop_in=True),
            gauge("mysql_engine_innodb_read_views_open_inside_innodb", "views", help="Read views.", drop_in=True),
            checkpoint_age("age", mysql(8, below=(8, 0, 30))),
            gauge(
                "mysql_engine_innodb_semaphore_waits",
                "waits",
                help="Threads that wait for a mutex or latch of InnoDB and are asleep by now.",
                when=_MYSQL,
            ),
            gauge(
                "mysql_engine_innodb_semaphore_wait_longest_seconds",
                "longest",
                help="How long one of them has waited at most, 0 if none does; after 600 s the server ends itself.",
                when=_MYSQL,
            ),
            gauge(
                "mysql_engine_innodb_hash_index_cells",
                "cells",
                help="Cells of the adaptive hash index.",
                when=_MYSQL,
            ),
            gauge(
                "mysql_engine_innodb_hash_index_pages",
                "heap",
                help="Pages of the buffer pool that hold its entries.",
                when=_MYSQL,
            ),
            gauge(
                "mysql_engine_innodb_change_buffer_free_pages",
                "free",
                help="Pages of the change buffer's segment that are free.",
                when=_MYSQL,
            ),
            gauge(
                "mysql_engine_innodb_change_buffer_segment_pages",
                "segment",
                help="Pages of the change buffer's segment.",
                when=_MYSQL,
            ),
            gauge("mysql_engine_innodb_memory_bytes", "memory", help="Memory that InnoDB has allocated at large."),
            gauge("mysql_engine_innodb_dictionary_memory_bytes", "dictionary", help="Of its dictionary of tables."),
        ),
    ),
    grants=("PROCESS",),
)
