"""Totals that only grow, out of statement counters that a server resets, evicts and creates anew.

What is counted is what two readings show: what ran and was evicted between them stays unseen, and nothing is counted
twice. The first reading is the baseline, so that a restart of the exporter is not a spike.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Reading(NamedTuple):
    """What a server says of one statement.

    Attributes:
        key: What tells it from the others.
        database: Whose total it belongs to.
        calls: Executions so far.
        time: Time in them so far, in the server's unit.
        longest: The longest of them, in the same unit; None where the server doesn't keep it.
        since: When the server began to count, if it says so.
        slow_at: From how long on a call is slow, in the same unit; None leaves this statement out of that count.
    """

    key: Hashable
    database: str
    calls: int
    time: float
    longest: float | None = None
    since: float | None = None
    slow_at: float | None = None


# A Reading without its names: thousands of them come every few seconds, and nearly all are only compared.
Plain = tuple[Hashable, str, int, float, float | None, float | None, float | None]


@dataclass(slots=True)
class Total:
    """What one database has done since the exporter began to look: calls, time in the server's unit, slow calls."""

    calls: int = 0
    time: float = 0
    slow: int = 0


class Totals:
    """Totals by database, and the last reading that the next one is compared with.

    Args:
        time_wraps: The server's sum of times starts from 0 again after 2^64 (picoseconds: 213 days), so that a fallen
            sum is no sign of a reset; that one interval's time is left out.
    """

    def __init__(self, *, time_wraps: bool = False) -> None:
        self._time_wraps = time_wraps
        self._last: dict[Hashable, Plain] | None = None
        self._totals: dict[str, Total] = {}

    def take(self, readings: Iterable[Plain], databases: Iterable[str] = ()) -> Mapping[str, Total]:
        """Count what is new in a reading of all statements.

        Args:
            readings: Every statement that the server has, as a Reading or a tuple of the same values; those with one
                key are added up.
            databases: Databases that exist, whether or not they have statements.

        Returns:
            The totals of `databases` and of those in `readings`; any other is forgotten.
        """
        last = self._last or {}
        current: dict[Hashable, Plain] = {}
        moved: list[Hashable] = []
        for reading in readings:
            key = reading[0]
            before = last.get(key)
            if key in current:
                current[key] = _together(Reading(*current[key]), Reading(*reading))
                moved.append(key)
            elif before == reading:
                # Most are as they were. The old one is kept, so that not all of them are there twice for a while.
                current[key] = before
            else:
                current[key] = reading
                moved.append(key)
        names = {reading[1] for reading in current.values()}.union(databases)
        self._totals = {name: self._totals.get(name) or Total() for name in names}
        if self._last is not None:
            for key in dict.fromkeys(moved):
                before = last.get(key)
                self._count(Reading(*before) if before is not None else None, Reading(*current[key]))
        self._last = current
        return self._totals

    def move(self, readings: Iterable[Plain]) -> Mapping[str, Total]:
        """Count what is new where the server has the same statements as at the last reading, and of some of them more.

        Args:
            readings: Those that are not as they were, as for `take`.

        Returns:
            As of `take`, for the same databases as last time.
        """
        last = self._last or {}
        for reading in readings:
            key = reading[0]
            self._count(Reading(*last[key]), Reading(*reading))
            last[key] = reading
        return self._totals

    def rebase(self) -> None:
        """Forget the last reading, keep the totals: the next reading is a baseline."""
        self._last = None

    def _count(self, before: Reading | None, now: Reading) -> None:
        calls, time, longest = now.calls, now.time, now.longest
        if before is not None and not self._began_anew(before, now):
            calls -= before.calls
            if not calls:
                return
            time = max(0, time - before.time)
            # Unchanged, the longest call is an old one. Fallen, it was reset, and what it says is new.
            longest = longest if longest != before.longest else None
        total = self._totals[now.database]
        total.calls += calls
        total.time += time
        total.slow += _slow(calls, time, longest, now.slow_at)

    def _began_anew(self, before: Reading, now: Reading) -> bool:
        # Of several statements together the first one's; with a clock that was set back a new one seems the first.
        later = (now.since or 0) > (before.since or 0)
        if now.calls < before.calls or later:
            return True
        # A server whose sums don't wrap keeps calls and time in step: as many calls
        # with another sum can only be of a new entry.
        same = now.calls == before.calls
        return not self._time_wraps and (now.time < before.time or (same and now.time != before.time))


def _slow(calls: int, time: float, longest: float | None, slow_at: float | None) -> int:
    """How many of these calls were slow, as far as their sum and their longest can tell."""
    if slow_at is None or not calls:
        return 0
    if time / calls >= slow_at:
        return calls
    return 1 if longest is not None and longest >= slow_at else 0


def _together(one: Reading, other: Reading) -> Reading:
    longest = [reading.longest for reading in (one, other) if reading.longest is not None]
    return one._replace(
        calls=one.calls + other.calls, time=one.time + other.time, longest=max(longest) if longest else None
    )


class Unsteady:
    """Sums that the server adds up over sessions while these end: what one has done may be missing in one reading.

    Such a fall is no reset, after which all would count again: it is taken for one only where the next reading has it,
    too.
    """

    def __init__(self) -> None:
        self._last: dict[Hashable, tuple[int, int]] = {}
        self._fallen: set[Hashable] = set()

    def steady(self, key: Hashable, calls: int, time: int) -> tuple[int, int]:
        """Calls and time of this reading, or of the last one that was whole; times start from 0 again after 2^64."""
        last = self._last.get(key, (0, 0))
        if key not in self._fallen and (calls < last[0] or 0 < last[1] - time < 2**63):
            self._fallen.add(key)
            return last
        self._fallen.discard(key)
        self._last[key] = calls, time
        return calls, time

    def rebase(self) -> None:
        """See `Accumulator`."""
        self._last.clear()
        self._fallen.clear()
