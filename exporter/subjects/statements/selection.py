"""Which statements have series of their own: the foremost of late by several measures, and who is in stays."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from heapq import nlargest

from exporter.collectors.busiest import STICKY
from exporter.collectors.recent import Key, Numbers, Recent

# Calls, time, and what was read and written.
CALLS, TIME, IO = range(3)


def _mean(numbers: Numbers) -> float:
    # Of less than one call of late, the time that is left of it: a single long one fades as the others do.
    return numbers[TIME] / max(numbers[CALLS], 1.0)


_CRITERIA: tuple[Callable[[Numbers], float], ...] = (
    lambda numbers: numbers[TIME],
    lambda numbers: numbers[CALLS],
    lambda numbers: numbers[IO],
    _mean,
)
_NOTHING = (0.0, 0.0, 0.0)


class Selection:
    """Chooses as many statements as there is room for.

    A quarter each are those with the most time, the most calls, the most I/O and the longest mean of late; the room
    that is left, since one statement is often in several quarters, goes by time. A statement that is shown in one of
    these five gives way only to one with twice as much. Until there are two readings to compare, all that was ever done
    counts.

    A statement whose last part of the key is None is the server's row for all that it has no room for: it is always in.

    Attributes:
        chosen: The statements, the foremost by time first.
    """

    def __init__(self) -> None:
        self.chosen: tuple[Key, ...] = ()
        self._recent = Recent()
        self._quarters: tuple[frozenset[Key], ...] = (frozenset(),) * len(_CRITERIA)
        self._rest: frozenset[Key] = frozenset()

    def take(self, totals: Mapping[Key, Numbers], room: int, now: float, among: Container[Key] | None = None) -> None:
        """Choose anew.

        Args:
            totals: Calls, time and I/O of all statements so far.
            room: For how many statements.
            now: Monotonic seconds at which these were read.
            among: Of these alone; None: of all.
        """
        self._recent.take(totals, now)
        fixed = [key for key in totals if key[-1] is None][:room]
        room -= len(fixed)
        others = [key for key in totals if key[-1] is not None and (among is None or key in among)]
        # As a rule few have moved lately, of very many.
        moved = others
        if not self.fresh:
            scores = self._recent.scores
            moved = [key for key in scores if key[-1] is not None and (among is None or key in among)]
        self._quarters = tuple(
            frozenset(self._foremost(moved, criterion, shown, room // len(_CRITERIA)))
            for criterion, shown in zip(_CRITERIA, self._quarters, strict=True)
        )
        members: frozenset[Key] = frozenset().union(*self._quarters)
        # Who did nothing lately has a right only to room that nobody else wants.
        left = [key for key in moved if key not in members]
        if len(left) < room - len(members):
            left = [key for key in others if key not in members]
        self._rest = frozenset(self._foremost(left, _CRITERIA[0], self._rest, room - len(members)))
        self.chosen = (*fixed, *sorted(members | self._rest, key=self._time, reverse=True))

    @property
    def fresh(self) -> bool:
        """Whether there are no two readings yet to compare."""
        return self._recent.readings < 2

    def _foremost(
        self, keys: Iterable[Key], criterion: Callable[[Numbers], float], shown: frozenset[Key], most: int
    ) -> list[Key]:
        scores, totals = self._recent.scores, self._recent.totals
        basis = totals if self.fresh else scores

        def right(key: Key) -> tuple[float, bool, float]:
            score = criterion(basis.get(key, _NOTHING))
            return (score * STICKY, True, 0.0) if key in shown else (score, False, criterion(totals[key]))

        return nlargest(most, keys, key=right)

    def _time(self, key: Key) -> tuple[float, float]:
        return self._recent.scores.get(key, _NOTHING)[TIME], self._recent.totals[key][TIME]
