"""MySQL and MariaDB: where the slow log is, and from how long on a statement is in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from exporter.declare import Context, Rows
from exporter.failure import Failure, Reason
from exporter.subjects.logs.lines import LogParser
from exporter.subjects.logs.mysql_slow import SlowLog
from exporter.subjects.logs.reader import LogReader, Source
from exporter.subjects.logs.tally import Rules
from exporter.subjects.statements.measures import slow_threshold
from exporter.subjects.statements.status import left_out

SETTINGS = (
    "datadir", "log_output", "log_slow_always_query_time", "log_slow_disabled_statements", "log_slow_filter",
    "log_queries_not_using_indexes", "log_slow_rate_limit", "log_throttle_queries_not_using_indexes", "long_query_time",
    "min_examined_row_limit", "slow_query_log",
    "slow_query_log_always_write_time", "slow_query_log_file",
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
    return Source(where, "slow", rules(settings, context))


def rules(settings: Mapping[str, str], context: Context) -> Rules:
    """How entries are to be taken, with these of SETTINGS."""
    # MariaDB writes one of so many and doesn't say so in the log; Percona Server does.
    times = max(1, int(settings.get("log_slow_rate_limit", 1))) if context.facts.flavor == "mariadb" else 1
    # MariaDB's since 11.7, and Percona Server's.
    said = settings.get("log_slow_always_query_time", settings.get("slow_query_log_always_write_time"))
    always = float(said) if said is not None else None
    if settings.get("slow_query_log") != "ON":
        return Rules(None, times=times, always=always)
    hidden = list(_left_out(settings))
    if not hidden:
        return Rules(max(float(settings["long_query_time"]), slow_threshold(context)), times=times, always=always)
    untold = Failure(
        Reason.ERROR,
        f"the server's slow log {'; it '.join(what for what, _ in hidden)}",
        fix=" ".join(f"SET GLOBAL {fix};" for _, fix in hidden),
    )
    return Rules(None, times=times, untold=untold, always=always)


def _left_out(settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What keeps slow statements out of the log, and the setting that mends it."""
    calls = "call" in settings.get("log_slow_disabled_statements", "").lower().split(",")
    yield from left_out(int(settings.get("min_examined_row_limit", 0)), calls_unlogged=calls)
    # MySQL: what used no index is held back also where it took long.
    most = int(settings.get("log_throttle_queries_not_using_indexes", 0))
    if most and settings.get("log_queries_not_using_indexes") == "ON":
        yield (
            f"leaves out slow statements without an index beyond {most} a minute",
            "log_throttle_queries_not_using_indexes = 0",
        )
    # MariaDB and Percona Server: how a statement has to have run; an empty one lets all in. On MariaDB every statement
    # that the query cache didn't answer is a miss, whether there is a cache or not.
    wanted = settings.get("log_slow_filter", "").lower()
    if wanted and "query_cache_miss" not in wanted.split(","):
        yield "leaves slow statements out by how they ran", "log_slow_filter = DEFAULT"
