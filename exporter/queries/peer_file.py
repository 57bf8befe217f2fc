"""postgres_exporter's user-defined queries (queries.yaml) as collectors: its names, labels and values."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from exporter.config.document import Document, read_document
from exporter.config.errors import Problem, read_failure
from exporter.config.queries import statement
from exporter.config.sentences import unknown
from exporter.declare import NAME, Block, Collector, DeclarationError, Measure, Parse, Query
from exporter.gates import ANY, Gate
from exporter.queries import peer_values
from exporter.queries.build import ELSEWHERE_SECONDS
from exporter.queries.version_range import version_range

USAGES = ("LABEL", "COUNTER", "GAUGE", "DISCARD", "HISTOGRAM", "MAPPEDMETRIC", "DURATION")
_ENTRY = frozenset({"query", "metrics", "master", "cache_seconds", "runonserver"})
_COLUMN = frozenset({"usage", "description", "metric_mapping"})
_LIMIT = 100_000
# There is none there; a scrape has its own.
_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class PeerFile:
    """What a file gave.

    Attributes:
        collectors: One for each entry that is sound.
        problems: What is wrong with the others.
        failure: Why it could not be read, or nothing.
        digest: Its SHA-256 in hexadecimal digits, empty if it could not be read.
    """

    collectors: tuple[Collector, ...] = ()
    problems: tuple[Problem, ...] = ()
    failure: str = ""
    digest: str = ""


def read_queries_file(
    path: str,
    metrics: frozenset[str] = frozenset(),
    fixed: frozenset[str] = frozenset(),
    *,
    each_database: bool = False,
) -> PeerFile:
    """Read a file.

    Args:
        path: Of the file.
        metrics: The names of our own metrics; a column that no entry mentions doesn't become one of them.
        fixed: Those which an entry can't replace.
        each_database: Whether entries without `master: true` run in every database.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        return PeerFile(failure=read_failure(error, path))
    return _read(text, path, metrics, fixed, each_database)


# Servers may be many, and their files the same.
@lru_cache(maxsize=64)
def _read(text: str, path: str, metrics: frozenset[str], fixed: frozenset[str], each_database: bool) -> PeerFile:
    document = read_document(text, path, Path(path).parent, {}, frozenset())
    data = document.data
    made: list[Collector] = []
    if data is not None and not isinstance(data, dict):
        document.report((), "must be a mapping: the name of the metrics, and below it query and metrics")
    for namespace, entry in data.items() if isinstance(data, dict) else ():
        collector = _Entry(document, namespace, entry, metrics, fixed).collector(each_database=each_database)
        if collector is None:
            continue
        if any(collector.name == other.name for other in made):
            document.report((namespace,), "is called like another entry but for its case; rename one", at_key=True)
            continue
        made += [one for one in (collector, collector.derived()) if one is not None]
    return PeerFile(tuple(made), tuple(document.problems), "", hashlib.sha256(text.encode()).hexdigest())


class _Entry:
    """One entry: a query and what becomes of its columns."""

    def __init__(
        self, document: Document, namespace: str, entry: Any, metrics: frozenset[str], fixed: frozenset[str]
    ) -> None:
        self.document = document
        self.namespace = namespace
        self.entry = entry
        self.metrics = metrics
        self.fixed = fixed

    def report(self, message: str, *at: str | int, at_key: bool = False) -> None:
        self.document.report((self.namespace, *at), message, at_key=at_key)

    def collector(self, *, each_database: bool) -> Collector | None:
        """The collector, or None if something is wrong with the entry, which is then reported."""
        before = len(self.document.problems)
        if not NAME.match(self.namespace):
            self.report("is no beginning of a metric's name: use letters, digits and _", at_key=True)
        if not isinstance(self.entry, dict):
            self.report("must be a mapping with query and metrics")
            return None
        self._keys(self.entry, _ENTRY)
        sql, gate = self._query(), self._gate()
        every, master = self._seconds(), self._flag("master")
        columns = self._columns()
        measures = tuple(self._measures(columns))
        rounds = each_database and not master
        unsound = any(place[:1] == (self.namespace,) for place in self.document.unsound)
        if len(self.document.problems) > before or unsound:
            return None
        try:
            return self._made(sql, gate, columns, measures, every, rounds)
        except DeclarationError as error:
            self.report(str(error), at_key=True)
        return None

    def _made(
        self, sql: str, gate: Gate, columns: Mapping[str, Any], measures: tuple[Measure, ...], every: float,
        rounds: bool,
    ) -> Collector:  # fmt: skip
        labels = {name: name for name, column in columns.items() if column["usage"] == "LABEL"}
        histograms = [name for name, column in columns.items() if column["usage"] == "HISTOGRAM"]
        parts = {f"{name}{part}" for name in histograms for part in ("_bucket", "_sum", "_count")}
        start = f"{self.namespace}_"
        ours = {name.removeprefix(start) for name in self.metrics if name.startswith(start)}
        # Where every database is visited its name comes as a column.
        ignored = {*columns, *parts, *ours} | ({"database"} if rounds else set())
        return Collector(
            name="user_" + self.namespace.lower().replace(":", "_"),
            about=f"{self.namespace} of {self.document.source}.",
            engine="postgres",
            queries=(Query(gate, sql, user_defined=True),),
            blocks=(Block(measures, labels, others=start, ignored=frozenset(ignored)),),
            rows=peer_values.hook(frozenset(labels), tuple(histograms)),
            every=every or None,
            timeout=_TIMEOUT,
            limit=_LIMIT,
            each_database=rounds and every > 0,
            elsewhere=ELSEWHERE_SECONDS if rounds and not every else None,
        )

    def _keys(self, mapping: dict[str, Any], known: frozenset[str], *at: str | int) -> None:
        for key in mapping:
            if key not in known:
                self.report(unknown("key", str(key), known), *at, key, at_key=True)

    def _query(self) -> str:
        sql = self.entry.get("query")
        if not isinstance(sql, str):
            self.report("needs a query: one statement of SQL as text", "query")
            return ""
        try:
            return statement(sql)
        except ValueError as error:
            self.report(str(error), "query")
        return ""

    def _gate(self) -> Gate:
        wanted = self.entry.get("runonserver")
        if wanted in (None, ""):
            return ANY
        try:
            return version_range(str(wanted))
        except ValueError as error:
            self.report(str(error), "runonserver")
        return ANY

    def _seconds(self) -> float:
        seconds = self.entry.get("cache_seconds") or 0
        if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 0:
            self.report("must be a whole number of seconds", "cache_seconds")
            return 0.0
        return float(seconds)

    def _flag(self, key: str) -> bool:
        value = self.entry.get(key) or False
        if not isinstance(value, bool):
            self.report("must be true or false", key)
        return value is True

    def _columns(self) -> dict[str, dict[str, Any]]:
        """The columns by name; a later mention wins, as there."""
        found: dict[str, dict[str, Any]] = {}
        listed = self.entry.get("metrics") or []
        if not isinstance(listed, list):
            self.report("must be a list: '- column:' and below it usage and description", "metrics")
            return found
        for index, item in enumerate(listed):
            if not isinstance(item, dict):
                self.report("must be a column's name with usage and description below it", "metrics", index)
                continue
            for name, column in item.items():
                if self._sound(column, "metrics", index, name):
                    found[name] = {**column, "at": ("metrics", index, name)}
        return found

    def _sound(self, column: Any, *at: str | int) -> bool:
        if not isinstance(column, dict):
            self.report("needs usage and description below it", *at)
            return False
        self._keys(column, _COLUMN, *at)
        usage = column.get("usage")
        if usage not in USAGES:
            close = difflib.get_close_matches(str(usage).upper(), USAGES, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            self.report(f"must be one of {', '.join(USAGES)}{hint}", *at, "usage")
            return False
        if column.get("metric_mapping") is not None and not _is_mapping(column["metric_mapping"]):
            self.report("must be a mapping of texts to numbers", *at, "metric_mapping")
            return False
        return True

    def _measures(self, columns: Mapping[str, Any]) -> list[Measure]:
        made = []
        for name, column in columns.items():
            usage, parse = column["usage"], peer_values.number
            metric, kind = f"{self.namespace}_{name}", "gauge"
            if usage in ("LABEL", "DISCARD"):
                continue
            if usage == "DURATION":
                metric, parse = f"{metric}_milliseconds", peer_values.milliseconds
            elif usage == "MAPPEDMETRIC":
                parse = peer_values.mapped(column.get("metric_mapping") or {})
            elif usage in ("COUNTER", "HISTOGRAM"):
                kind = usage.lower()
            made.append(self._measure(metric, kind, name, column, None if kind == "histogram" else parse))
        return [measure for measure in made if measure is not None]

    def _measure(
        self, metric: str, kind: Any, name: str, column: Mapping[str, Any], parse: Parse | None
    ) -> Measure | None:
        if metric in self.fixed:
            self.report(
                f"{metric} is a metric of the exporter, which no file can replace; rename it",
                *column["at"],
                at_key=True,
            )
            return None
        if not NAME.match(metric):
            self.report("is no part of a metric's name: use letters, digits and _", *column["at"], at_key=True)
            return None
        text = " ".join(str(column.get("description") or f"{name} of {self.namespace}").split())
        text = text if text.endswith(".") else f"{text}."
        return Measure(metric, kind, (name,), text, parse=parse, drop_in=True)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(number, int | float) and not isinstance(number, bool) for number in value.values()
    )
