"""MySQL and MariaDB: where the slow log is, and from how long on a statement is in it."""

from __future__ import annotations

from pathlib import Path

from exporter.declare import Context, Rows
from exporter.failure import Failure, Reason
from exporter.subjects.logs.lines import LogParser
from exporter.subjects.logs.mysql_slow import SlowLog
from exporter.subjects.logs.reader import LogReader, Source
from exporter.subjects.logs.tally import Rules
from exporter.subjects.statements.measures import slow_threshold

SETTINGS = (
    "datadir", "log_output", "log_slow_rate_limit", "long_query_time", "slow_query_log", "slow_query_log_file",
)  # fmt: skip


def reader() -> LogReader:
    """What the collector keeps; takes rows of kind, name and value: settings."""
    return LogReader("mysql", _source, _parser)


def _parser(name: str, prefix: str) -> LogParser:  # noqa: ARG001 - there is one format, without a prefix
    return SlowLog()


def _source(rows: Rows, context: Context) -> Source:
    settings = {str(name).lower(): str(value) for name, value, *_ in rows.rows}
    said = context.server.log_settings()
    where = said.file
    if "FILE" not in settings.get("log_output", "FILE").upper():
        raise Failure(
            Reason.ERROR,
            f"log_output = {settings['log_output']}: the slow log is in no file",
            fix="SET GLOBAL log_output = 'FILE';",
        )
    if where is None:
        where = str(Path(settings["datadir"]) / settings["slow_query_log_file"])
    on = settings.get("slow_query_log") == "ON"
    # MariaDB writes one of so many and doesn't say so in the log; Percona Server does.
    times = int(settings.get("log_slow_rate_limit", 1)) if context.facts.flavor == "mariadb" else 1
    threshold = max(float(settings["long_query_time"]), slow_threshold(context)) if on else None
    return Source(where, "slow", Rules(threshold, times=max(1, times)))
