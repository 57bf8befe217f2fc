"""What a log's events add up to, by database and by statement."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from exporter.failure import Failure
from exporter.subjects.logs.events import Error, Event, Statement, TemporaryFile
from exporter.subjects.logs.fingerprint import fingerprint
from exporter.subjects.logs.measures import BOUNDS, COLUMNS
from exporter.subjects.statements.lexer import Dialect

# Statements that are remembered; of those that aren't shown the ones that came longest ago are forgotten first.
_MOST_STATEMENTS = 2000
# Databases, where the server doesn't tell which there are; further ones count as unknown.
_MOST_DATABASES = 500
# Classes of SQLSTATE that PostgreSQL itself has. RAISE takes any, and each would be a series.
_CLASSES = frozenset({
    "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22", "23", "24", "25",
    "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40", "42", "44", "53", "54", "55", "57",
    "58", "72", "F0", "HV", "P0", "XX",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rules:
    """How events are to be taken, as far as the server's settings matter.

    Attributes:
        threshold: From how many seconds on a statement is slow; None: the log can't tell, and none is counted.
        plans: Whether auto_explain's entries are the only ones that tell of slow statements.
        times: For how many executions each entry stands, besides what it says itself.
        databases: Those that exist; None: not known. Others are counted as unknown.
        always: From how many seconds on each one is in a log of samples, and stands for itself alone; None: none is.
        untold: Why the log can't tell which statements are slow, where it has some; None: it has none.
    """

    threshold: float | None
    plans: bool = False
    times: int = 1
    databases: frozenset[str] | None = None
    untold: Failure | None = None
    always: float | None = None


@dataclass(slots=True)
class _Database:
    durations: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0
    slow: int = 0
    lock_seconds: float = 0.0
    rows_examined: int = 0
    rows_sent: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    # Classes of them that were shown.
    told: set[str] = field(default_factory=set)
    deadlocks: int = 0
    files: int = 0
    file_bytes: int = 0


@dataclass(slots=True)
class _Statement:
    text: str
    # PostgreSQL's own number; 0 if there are several. Before 18 lists of other lengths have others.
    query_id: int | None = None
    executions: int = 0
    seconds: float = 0.0
    lock_seconds: float = 0.0
    rows_examined: int = 0
    rows_sent: int = 0


class Tally:
    """Counts events. Not for two threads at once.

    Attributes:
        shown: Databases and fingerprints of the statements that are shown: their counters never fall.

    Args:
        dialect: Whose statements these are.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.shown: frozenset[tuple[str, str]] = frozenset()
        self._dialect = dialect
        self._databases: dict[str, _Database] = {"": _Database()}
        self._statements: OrderedDict[tuple[str, str], _Statement] = OrderedDict()

    def add(self, events: Iterable[Event], rules: Rules) -> None:
        """Take events in."""
        for event in events:
            database = self._database(event.database, rules)
            if isinstance(event, Statement):
                self._statement(database, event, rules)
            elif isinstance(event, Error):
                found = self._databases[database]
                kind = event.sqlstate[:2]
                kind = kind if not kind or kind in _CLASSES else "other"
                found.errors[kind] = found.errors.get(kind, 0) + 1
                found.deadlocks += event.deadlock
            elif isinstance(event, TemporaryFile):
                self._databases[database].files += 1
                self._databases[database].file_bytes += event.size

    def by_database(self, rules: Rules) -> Iterator[tuple[Any, ...]]:
        """Rows of measures.COLUMNS about databases, those that exist and have nothing in the log too."""
        for name in rules.databases or ():
            self._databases.setdefault(name, _Database())
        for name, found in sorted(self._databases.items()):
            if name and rules.databases is not None and name not in rules.databases:
                # It was dropped.
                del self._databases[name]
                for key in [key for key in self._statements if key[0] == name]:
                    del self._statements[key]
                continue
            yield _row(
                database=name,
                source="log",
                slow=found.slow if rules.threshold is not None else None,
                durations=_histogram(found),
                lock_seconds=found.lock_seconds,
                rows_examined=found.rows_examined,
                rows_sent=found.rows_sent,
                deadlocks=found.deadlocks,
                temporary_files=found.files,
                temporary_bytes=found.file_bytes,
            )
            for kind, count in sorted(found.errors.items()):
                # From 0 on, of which nothing would be seen in a series that begins with what it has counted.
                yield _row(database=name, sqlstate_class=kind, errors=count if kind in found.told else 0)
            found.told.update(found.errors)
        yield _row(source="log", threshold=rules.threshold)

    def by_statement(self) -> Iterator[tuple[Any, ...]]:
        """Rows of measures.COLUMNS about statements."""
        for (database, name), found in self._statements.items():
            yield _row(
                database=database,
                fingerprint=name,
                executions=found.executions,
                seconds=found.seconds,
                statement_lock_seconds=found.lock_seconds,
                statement_rows_examined=found.rows_examined,
                statement_rows_sent=found.rows_sent,
                queryid=str(found.query_id or ""),
                query=found.text,
                info=1,
            )

    def _database(self, name: str | None, rules: Rules) -> str:
        if not name or (rules.databases is not None and name not in rules.databases):
            return ""
        if name not in self._databases:
            if len(self._databases) > _MOST_DATABASES and rules.databases is None:
                return ""
            self._databases[name] = _Database()
        return name

    def _statement(self, database: str, event: Statement, rules: Rules) -> None:
        if event.step in {"parse", "bind"} or (event.step == "plan") != rules.plans:
            return
        slow = rules.threshold is not None and event.seconds >= rules.threshold
        if event.step == "bare" and not slow:
            # log_duration has one for every statement.
            return
        sampled = rules.always is None or event.seconds < rules.always
        times = event.times * rules.times if sampled else 1
        found = self._databases[database]
        found.durations[bisect_left(BOUNDS, event.seconds)] += times
        found.seconds += event.seconds * times
        found.lock_seconds += (event.lock_seconds or 0.0) * times
        found.rows_examined += (event.rows_examined or 0) * times
        found.rows_sent += (event.rows_sent or 0) * times
        if not slow:
            return
        found.slow += times
        if event.text:
            self._execution(database, event, times)

    def _execution(self, database: str, event: Statement, times: int) -> None:
        name, text = fingerprint(event.text, self._dialect)
        found = self._statements.get((database, name))
        if found is None:
            found = self._statements[database, name] = _Statement(text)
            if len(self._statements) > _MOST_STATEMENTS:
                self._forget_one()
        else:
            self._statements.move_to_end((database, name))
        if event.query_id is not None:
            # A label that goes to and fro would be new series each time.
            found.query_id = event.query_id if found.query_id in {None, event.query_id} else 0
        found.executions += times
        found.seconds += event.seconds * times
        found.lock_seconds += (event.lock_seconds or 0.0) * times
        found.rows_examined += (event.rows_examined or 0) * times
        found.rows_sent += (event.rows_sent or 0) * times

    def _forget_one(self) -> None:
        """The one that came longest ago and isn't shown: the newest, where all others are."""
        for key in list(islice(self._statements, len(self.shown) + 1)):
            if key not in self.shown:
                del self._statements[key]
                return
            # Whoever comes next need not look at it again.
            self._statements.move_to_end(key)


def _histogram(found: _Database) -> tuple[list[tuple[float, int]], float, int]:
    total, buckets = 0, []
    for bound, count in zip(BOUNDS, found.durations, strict=False):
        total += count
        buckets.append((bound, total))
    return buckets, found.seconds, total + found.durations[-1]


def _row(**values: Any) -> tuple[Any, ...]:
    return tuple(values.get(column) for column in COLUMNS)
