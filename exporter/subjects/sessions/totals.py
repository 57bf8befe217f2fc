"""Seconds of active sessions, added up from samples of which sessions are active and what they wait for."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.collectors.vocabulary import shared
from exporter.declare import Block, Rows, block, counter
from exporter.gates import Gate
from exporter.subjects.sessions.statements import MOST_STATEMENTS, OTHERS, Statements

# A sample stands for the time since the last one, but never for more than this: nobody knows what was in between.
MOST_SECONDS = 5.0
# Databases that are remembered. Beyond, those make room of which no session was seen for so long, and as long as there
# are none, further ones are counted as one: counters that come and go are of no use.
MOST_DATABASES = 2_000
FORGOTTEN_SECONDS = 3600.0

COLUMNS = ("database", "wait_class", "statement", "seconds", "of_statement", "unobserved")


def blocks(prefix: str, statement: str, when: Gate) -> tuple[Block, ...]:
    """What comes out of COLUMNS; statements are told apart by the label `statement`, on servers where that is known.

    It is the label of the engine's single statements, so the metric has the engine's prefix and is none of `db_*`.
    """
    return (
        block(
            shared("db_active_session_seconds_total", "seconds"),
            labels=("database", "wait_class"),
            merge="sum",
        ),
        block(
            counter(
                f"{prefix}_active_session_statement_seconds_total",
                "of_statement",
                help="The time of active sessions by statement too, for those with the most of it of late; the id is "
                "empty where the server names none, as before a statement is parsed. `(others)` is the time of the "
                "rest, and of each statement before it has a series, which begins with 0: rates add up to those of "
                "db_active_session_seconds_total.",
            ),
            labels={"database": "database", "wait_class": "wait_class", statement: "statement"},
            merge="sum",
            when=when,
        ),
        block(shared("db_active_session_unobserved_seconds_total", "unobserved"), merge="max"),
    )


@dataclass(slots=True)
class _Database:
    """When a session of it was last seen, and the sum of each class."""

    seen: float
    seconds: dict[str, float]


class ActiveSessions:
    """The sum of all samples of one server since the exporter began to look.

    Takes rows with the columns database (NULL: none), statement (what the server tells them apart by, NULL: not known),
    sessions (how many), took (seconds that the server says the query took it, NULL: not known) and what `classify`
    reads of a row: the class of what these sessions wait for, None if they are not active. A row without sessions
    (NULL) has `took` alone.
    Gives COLUMNS: a row for each database and class, one for each of these and each statement that is shown, and one
    with the time that no sample stands for.
    """

    def __init__(
        self,
        classes: Sequence[str],
        classify: Callable[[Mapping[str, Any]], str | None],
        most_statements: int | None = None,
    ) -> None:
        """`classes` are those that a database has from the beginning, with 0."""
        self.last: float | None = None
        self._classes = classes
        self._classify = classify
        # By when they were last seen.
        self._databases: OrderedDict[str, _Database] = OrderedDict()
        self._statements = Statements(most_statements or MOST_STATEMENTS, classes)
        self._unobserved = 0.0
        self._shown = 0.0

    def take(self, rows: Rows, now: float) -> float | None:
        """Take a sample in; see Samples."""
        # Sessions without a database: where nobody is connected the sum of all is 0, and not unknown.
        found: dict[str, Counter[tuple[str, Any]]] = {"": Counter()}
        took: float | None = None
        for row in rows.dicts():
            if row["took"] is not None:
                took = max(took or 0.0, float(row["took"]))
            if row["sessions"] is not None:
                # A database of which only idle sessions are seen has its series too: a counter that begins with what
                # it has counted already loses that to rate().
                active = found.setdefault(row["database"] or "", Counter())
                waits_for = self._classify(row)
                if waits_for is not None:
                    active[waits_for, row["statement"]] += int(row["sessions"])
        # A sample that could not be read to its end has changed nothing.
        since = 0.0 if self.last is None else max(0.0, now - self.last)
        stands_for = min(since, MOST_SECONDS)
        self._unobserved += since - stands_for
        self._see(found, now)
        for database, active in found.items():
            counted_as = self._of(database, now)
            seconds = self._databases[counted_as].seconds
            for (waits_for, statement), sessions in active.items():
                seconds[waits_for] = seconds.get(waits_for, 0.0) + sessions * stands_for
                self._statements.add((counted_as, statement), waits_for, sessions * stands_for)
        self.last = now
        return took

    def rows(self, now: float) -> Rows:
        """The sums so far, and the time that no sample stands for, up to `now`; see Samples."""
        if self.last is None:
            return Rows(COLUMNS, [])
        # The next sample will stand for the rest. One that is on its way was asked for before this moment, and will
        # stand for some of what is shown now.
        self._shown = max(self._shown, self._unobserved + max(0.0, now - self.last - MOST_SECONDS))
        found: list[tuple[Any, ...]] = [(None, None, None, None, None, self._shown)]
        found += [
            (name, wait_class, None, value, None, None)
            for name, database in self._databases.items()
            for wait_class, value in database.seconds.items()
        ]
        found += [(*whose, None, value, None) for *whose, value in self._statements.page(now)]
        return Rows(COLUMNS, found)

    def _see(self, databases: Iterable[str], now: float) -> None:
        """Note who is there before anybody has to make room."""
        for name in databases:
            known = self._databases.get(name)
            if known is not None:
                known.seen = now
                self._databases.move_to_end(name)

    def _of(self, name: str, now: float) -> str:
        """As which database this one is counted."""
        known = self._databases.get(name)
        if known is None and len(self._databases) >= MOST_DATABASES and name != OTHERS:
            oldest = next(iter(self._databases))
            if now - self._databases[oldest].seen < FORGOTTEN_SECONDS:
                return self._of(OTHERS, now)
            del self._databases[oldest]
            self._statements.forget(oldest)
        if known is None:
            self._databases[name] = _Database(now, dict.fromkeys(self._classes, 0.0))
            self._statements.know(name)
        elif name == OTHERS:
            self._see((name,), now)
        return name
