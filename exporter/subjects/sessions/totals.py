"""Seconds of active sessions, added up from samples of who is active and what he waits for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from exporter.collectors.vocabulary import shared
from exporter.declare import Rows, block

# A sample stands for the time since the last one, but never for more than this: nobody knows what was in between.
MOST_SECONDS = 5.0
# Databases that are remembered. Beyond, those are forgotten of which no session was seen for the longest time.
MOST_DATABASES = 2_000

COLUMNS = ("database", "wait_class", "seconds", "unobserved")
BLOCKS = (
    block(
        shared("db_active_session_seconds_total", "seconds"),
        labels=("database", "wait_class"),
        merge="sum",
    ),
    block(shared("db_active_session_unobserved_seconds_total", "unobserved"), merge="max"),
)


class ActiveSessions:
    """The sum of all samples of one server since the exporter began to look.

    Takes rows with the columns database (NULL: none), sessions (how many), took (seconds that the server says the
    query took it, NULL: not known) and what `classify` reads of a row: the class of what these sessions wait for, None
    if they are not active. A row without sessions (NULL) has `took` alone.
    Gives COLUMNS: a row for each database and class, and one with the time that no sample stands for.
    """

    def __init__(self, classes: Sequence[str], classify: Callable[[Mapping[str, Any]], str | None]) -> None:
        """`classes` are those that a database has from the beginning, with 0."""
        self.last: float | None = None
        self._classes = classes
        self._classify = classify
        self._seconds: OrderedDict[str, dict[str, float]] = OrderedDict()
        self._unobserved = 0.0

    def take(self, rows: Rows, now: float) -> float | None:
        """Take a sample in; see Samples."""
        since = 0.0 if self.last is None else max(0.0, now - self.last)
        stands_for = min(since, MOST_SECONDS)
        self._unobserved += since - stands_for
        self.last = now
        # Sessions without a database: where nobody is connected the sum of all is 0, and not unknown.
        self._of("")
        took: float | None = None
        for row in rows.dicts():
            if row["took"] is not None:
                took = max(took or 0.0, float(row["took"]))
            if row["sessions"] is not None:
                # A database of which only idle sessions are seen has its series too: a counter that begins with what
                # it has counted already loses that to rate().
                seconds = self._of(row["database"] or "")
                waits_for = self._classify(row)
                if waits_for is not None:
                    seconds[waits_for] = seconds.get(waits_for, 0.0) + int(row["sessions"]) * stands_for
        return took

    def rows(self, now: float) -> Rows:
        """The sums so far, and the time that no sample stands for, up to `now`; see Samples."""
        if self.last is None:
            return Rows(COLUMNS, [])
        # The next sample will stand for the rest.
        unobserved = self._unobserved + max(0.0, now - self.last - MOST_SECONDS)
        found: list[tuple[Any, ...]] = [(None, None, None, unobserved)]
        found += [
            (database, wait_class, value, None)
            for database, seconds in self._seconds.items()
            for wait_class, value in seconds.items()
        ]
        return Rows(COLUMNS, found)

    def _of(self, database: str) -> dict[str, float]:
        seconds = self._seconds.get(database)
        if seconds is None:
            if len(self._seconds) >= MOST_DATABASES:
                self._seconds.popitem(last=False)
            seconds = self._seconds[database] = dict.fromkeys(self._classes, 0.0)
        self._seconds.move_to_end(database)
        return seconds
