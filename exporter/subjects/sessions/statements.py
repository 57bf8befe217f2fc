"""Active sessions by statement: series of the busiest of late, and the seconds of all the others together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import nlargest
from typing import Any

from exporter.collectors.busiest import STICKY
from exporter.collectors.recent import HALF_LIFE_SECONDS

# Each has a series for each class of waits.
MOST_STATEMENTS = 20
# Of so many it is known what they did of late, and where the series of those that have none any more ended.
MOST_REMEMBERED = 1000
OTHERS = "(others)"

# The database, and what the server tells statements of it apart by; None where it names none.
Key = tuple[str, Any]
# By class.
Seconds = dict[str, float]


class Statements:
    """Shares the seconds of sessions out to the series of single statements and one of all the others in a database.

    Each second is on the pages exactly once, so that the rates of all series of a database and class add up to that of
    its sessions. Who has a series changes with a page and at no other time: a statement has one from the page on which
    it says 0, or what it said when it was last shown, and what it did before then is the others'. So is what it did
    since the last page on which it is shown, which nobody has seen.

    Who has a series has to be beaten by twice as much active time of late.
    """

    def __init__(self, most: int, classes: Sequence[str]) -> None:
        """`most` statements have series; `classes` are those that each has from the beginning."""
        self._most = most
        self._classes = classes
        self._shown: dict[Key, Seconds] = {}
        # Of those that are shown, what is not on a page yet.
        self._new: dict[Key, Seconds] = {}
        self._others: dict[str, Seconds] = {}
        # What those said last that are not shown any more, who left first first.
        self._left: dict[Key, Seconds] = {}
        # Active seconds of late, up to the page before and since.
        self._recent: dict[Key, float] = {}
        self._paged: float | None = None

    def know(self, database: str) -> None:
        """From now on there is this database."""
        if database not in self._others:
            self._others[database] = self._nothing()

    def forget(self, database: str) -> None:
        """There is nothing of this database any more."""
        self._others.pop(database, None)
        for kept in (self._shown, self._new, self._left, self._recent):
            for key in [key for key in kept if key[0] == database]:
                del kept[key]

    def add(self, key: Key, wait_class: str, seconds: float) -> None:
        """Sessions of a database that is known were seen at work on a statement, which stands for so many seconds."""
        self._recent[key] = self._recent.get(key, 0.0) + seconds
        if len(self._recent) > 2 * MOST_REMEMBERED + self._most:
            self._shorten()
        whose = self._new.setdefault(key, {}) if key in self._shown else self._others[key[0]]
        whose[wait_class] = whose.get(wait_class, 0.0) + seconds

    def page(self, now: float) -> Iterator[tuple[str, str, Any, float]]:
        """What a page shows that is made at `now`: database, class, statement and seconds."""
        # The clock began with the machine, and fades nothing on the first page.
        since = 0.0 if self._paged is None else max(0.0, now - self._paged)
        fading = 0.5 ** (since / HALF_LIFE_SECONDS)
        self._recent = {key: seconds * fading for key, seconds in self._recent.items()}
        self._paged = now
        chosen = nlargest(self._most, self._recent, key=self._right)
        leaving = self._shown.keys() - set(chosen)
        for key, seconds in self._new.items():
            _add(self._others[key[0]] if key in leaving else self._shown[key], seconds)
        self._new = {}
        for key in leaving:
            self._left[key] = self._shown.pop(key)
        for key in chosen:
            if key not in self._shown:
                self._shown[key] = self._left.pop(key) if key in self._left else self._nothing()
        self._shorten()
        for key in list(self._left)[: max(0, len(self._left) - MOST_REMEMBERED)]:
            del self._left[key]
        for (database, statement), seconds in self._shown.items():
            for wait_class, value in seconds.items():
                yield database, wait_class, statement, value
        for database, seconds in self._others.items():
            for wait_class, value in seconds.items():
                yield database, wait_class, OTHERS, value

    def _right(self, key: Key) -> tuple[float, bool]:
        shown = key in self._shown
        return self._recent[key] * (STICKY if shown else 1.0), shown

    def _shorten(self) -> None:
        """Forget those with the least, but nobody who is shown."""
        if len(self._recent) > MOST_REMEMBERED:
            kept = {*nlargest(MOST_REMEMBERED, self._recent, key=self._right), *self._shown}
            self._recent = {key: seconds for key, seconds in self._recent.items() if key in kept}

    def _nothing(self) -> Seconds:
        return dict.fromkeys(self._classes, 0.0)


def _add(to: Seconds, more: Seconds) -> None:
    for wait_class, seconds in more.items():
        to[wait_class] = to.get(wait_class, 0.0) + seconds
