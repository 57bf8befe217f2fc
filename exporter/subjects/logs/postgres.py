"""PostgreSQL: where its log is, in which format, and from how long on a statement is in it."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.declare import Context, Rows
from exporter.failure import Failure, Reason
from exporter.subjects.logs.lines import LogParser
from exporter.subjects.logs.postgres_csv import CSVLog
from exporter.subjects.logs.postgres_json import JSONLog
from exporter.subjects.logs.postgres_stderr import StderrLog
from exporter.subjects.logs.postgres_theirs import TOO_HIGH, untold
from exporter.subjects.logs.reader import LogReader, Source
from exporter.subjects.logs.tally import Rules
from exporter.subjects.statements.measures import slow_threshold

SETTINGS = (
    "auto_explain.log_level", "auto_explain.log_min_duration", "auto_explain.sample_rate", "data_directory",
    "lc_messages", "log_destination", "log_directory", "log_duration", "log_line_prefix",
    "log_min_duration_statement", "log_min_messages", "logging_collector",
)  # fmt: skip
# From how long on a statement is in the log: the first alone, if it is on.
THRESHOLDS = (
    "log_min_duration_statement", "log_duration", "auto_explain.log_min_duration", "auto_explain.sample_rate",
    "auto_explain.log_level",
)  # fmt: skip

# What the server's log collector calls its files, by what log_destination is called; the first that it has is read.
ENDINGS = {"jsonlog": ("json", "*.json"), "csvlog": ("csv", "*.csv"), "stderr": ("stderr", "*.log")}
_BY_SUFFIX = {".json": "json", ".csv": "csv"}
_FIX = "name the file in the config: slow_log: {file: /var/log/postgresql/postgresql-18-main.log}"


@dataclass(frozen=True, slots=True)
class Told:
    """What the server says of its log, as rows of kind, name and value.

    Attributes:
        settings: `setting`: SETTINGS by name.
        databases: `database`: those that exist.
        own: `own`: those of THRESHOLDS that were set for our role or database, with the statement that ends it.
        theirs: `theirs`: those of HIDING that were set for any: `name=value`, and the statement up to RESET.
    """

    settings: Mapping[str, str]
    databases: frozenset[str]
    own: Mapping[str, str]
    theirs: Sequence[tuple[str, str]]

    @classmethod
    def of(cls, rows: Rows) -> Told:
        """Take rows apart; those of other kinds are passed over."""
        found: dict[str, list[tuple[str, str]]] = {}
        for kind, name, value, *_ in rows.rows:
            found.setdefault(kind, []).append((str(name), str(value)))
        of = {kind: found.get(kind, []) for kind in ("setting", "database", "own", "theirs")}
        return cls(dict(of["setting"]), frozenset(name for name, _ in of["database"]), dict(of["own"]), of["theirs"])


def reader() -> LogReader:
    """What the collector keeps; takes the rows of Told."""
    return LogReader("postgres", _source, parser)


def parser(name: str, prefix: str) -> LogParser:
    """A parser of a format; `prefix` is log_line_prefix."""
    if name == "json":
        return JSONLog()
    return CSVLog() if name == "csv" else StderrLog(prefix)


def _source(rows: Rows, context: Context) -> Source:
    server = Told.of(rows)
    settings = server.settings
    said = context.server.log_settings()
    if said.file is None:
        where, found = _where(settings)
    else:
        where = said.file
        found = _BY_SUFFIX.get(Path(where).suffix) or _of_directory(where, settings)
    form = found if said.format == "auto" else said.format
    if said.file is not None and Path(where).is_dir():
        where = _in_directory(where, form, settings)
    prefix = said.line_prefix if said.line_prefix is not None else settings.get("log_line_prefix", "")
    return Source(where, form, rules(server, context), prefix)


def rules(server: Told, context: Context) -> Rules:
    """How events are to be taken."""
    settings, databases = server.settings, server.databases
    threshold, plans = _threshold(settings)
    unknown = [name for name in _ruling(settings) if name in server.own]
    if unknown:
        # A session can't see what others have for a setting that is its own.
        problem = Failure(
            Reason.ERROR,
            f"{', '.join(unknown)} of the exporter's own session: that of others can't be seen",
            fix="; ".join(server.own[name] for name in unknown) + "; the exporter's session is renewed within an hour",
        )
        return Rules(None, plans=plans, databases=databases, untold=problem)
    if settings.get("log_min_messages") in TOO_HIGH:
        problem = Failure(
            Reason.ERROR,
            f"log_min_messages = {settings['log_min_messages']} keeps slow statements out of the log",
            fix="ALTER SYSTEM SET log_min_messages = 'warning'; SELECT pg_reload_conf();",
        )
        return Rules(None, plans=plans, databases=databases, untold=problem)
    if threshold is None:
        return Rules(None, plans=plans, databases=databases)
    slow = max(threshold, slow_threshold(context))
    hidden = untold(server.theirs, settings, slow)
    return Rules(slow if hidden is None else None, plans=plans, databases=databases, untold=hidden)


def _ruling(settings: Mapping[str, str]) -> tuple[str, ...]:
    return THRESHOLDS[:1] if float(settings.get(THRESHOLDS[0], -1)) >= 0 else THRESHOLDS


def _where(settings: Mapping[str, str]) -> tuple[str, str]:
    directory, data = settings.get("log_directory"), settings.get("data_directory")
    if directory is None or data is None:
        raise Failure(Reason.PERMISSION, "the account may not see where the log is", fix=_FIX)
    if settings.get("logging_collector") != "on":
        raise Failure(Reason.ERROR, "logging_collector is off, so the server can't say where its log is", fix=_FIX)
    destinations = settings.get("log_destination", "")
    for name, (form, files) in ENDINGS.items():
        if name in destinations:
            return str(Path(glob.escape(str(Path(data) / directory))) / files), form
    raise Failure(Reason.ERROR, f"log_destination = {destinations}: that can't be read", fix=_FIX)


def _of_directory(where: str, settings: Mapping[str, str]) -> str:
    if not Path(where).is_dir():
        return "stderr"
    destinations = settings.get("log_destination", "")
    return next((form for name, (form, _) in ENDINGS.items() if name in destinations), "stderr")


def _in_directory(where: str, form: str, settings: Mapping[str, str]) -> str:
    """The files of a format in a directory, as a glob: the server writes each entry once for each format."""
    destinations = settings.get("log_destination", "")
    if form == "stderr" and "csvlog" not in destinations and "jsonlog" not in destinations:
        # Then there are no others, and its files may have any name.
        return where
    return str(Path(glob.escape(where)) / next(files for name, files in ENDINGS.values() if name == form))


def _threshold(settings: Mapping[str, str]) -> tuple[float | None, bool]:
    """From how many seconds on a statement is in the log, and whether auto_explain alone puts it there."""
    milliseconds = float(settings.get("log_min_duration_statement", -1))
    if milliseconds >= 0:
        return milliseconds / 1000, False
    if settings.get("log_duration") == "on":
        return 0.0, False
    explained = float(settings.get("auto_explain.log_min_duration", -1))
    every = float(settings.get("auto_explain.sample_rate", 1)) == 1
    # Any other level may be too low for the log, and is the one of what clients RAISE.
    if explained >= 0 and every and settings.get("auto_explain.log_level", "log") == "log":
        return explained / 1000, True
    return None, False
