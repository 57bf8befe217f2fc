"""The binary log: its files and their size."""

from __future__ import annotations

from typing import Any

from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.gates import mariadb, mysql, setting


def summed(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """One row for all files."""
    files = rows.dicts()
    row: dict[str, Any] = {
        "kind": "binlog",
        "files": len(files),
        "bytes": sum(file["file_size"] or 0 for file in files),
        "number": _number(files[-1]["log_name"]) if files else None,
    }
    return Rows.of(tuple(row), [row])


def _number(name: str) -> int | None:
    digits = name.rpartition(".")[2]
    return int(digits) if digits.isdecimal() else None


binlog = Collector(
    name="mysql_binlog",
    about="Files and size of the binary log.",
    engine="mysql",
    # The server looks at every file.
    every=60,
    when=(mysql(8) | mariadb(10, 6)) & setting("log_bin", "ON", fix="log_bin in my.cnf, and a restart"),
    queries=(Query(mysql(8) | mariadb(10, 6), "SHOW BINARY LOGS"),),
    rows=summed,
    blocks=(
        block(
            gauge("mysql_binlog_size_bytes", "bytes", help="Bytes of all files of the binary log.", drop_in=True),
            gauge("mysql_binlog_files", "files", help="Files of the binary log.", drop_in=True),
            gauge("mysql_binlog_file_number", "number", help="The number of the newest file.", drop_in=True),
        ),
        block(shared("db_storage_bytes", "bytes"), labels=("kind",)),
    ),
    grants=("REPLICATION CLIENT",),
)
