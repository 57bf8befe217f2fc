"""What objects did of late, by counters that only grow: what was long ago counts less and less."""

from __future__ import annotations

from collections.abc import Mapping
from operator import add, sub
from typing import Any

# What an object did this long ago counts half of what it does now.
HALF_LIFE_SECONDS = 600.0

Key = tuple[Any, ...]
Numbers = tuple[float, ...]


class Recent:
    """Compares readings of all objects.

    Attributes:
        totals: What each counter of an object said last.
        scores: What the objects that moved did of late, by each of their counters; empty before there are two readings.
        readings: How many there were.
    """

    def __init__(self) -> None:
        self.totals: dict[Key, Numbers] = {}
        self.scores: dict[Key, Numbers] = {}
        self.readings = 0
        self._at = 0.0

    def take(self, totals: Mapping[Key, Numbers], now: float) -> None:
        """Take a reading in.

        Args:
            totals: The counters of all objects; all have equally many.
            now: Monotonic seconds at which they were read.
        """
        fading = 0.5 ** ((now - self._at) / HALF_LIFE_SECONDS)
        scores = {key: tuple(part * fading for part in score) for key, score in self.scores.items() if key in totals}
        if self.readings:
            for key, total in totals.items():
                before = self.totals.get(key)
                if total != before:
                    # All that a new object did it did lately; one whose statistics were reset did nothing.
                    moved = total if before is None else tuple(max(0.0, part) for part in map(sub, total, before))
                    scores[key] = tuple(map(add, scores[key], moved)) if key in scores else moved
        # What one reading missed, as of a database that was locked, comes back with what it did since, not with all it
        # ever did. As many are remembered as there are, the last ones.
        missed = [(key, total) for key, total in self.totals.items() if key not in totals]
        self.totals = dict(missed[-len(totals) :] if totals else ()) | dict(totals)
        self.scores, self._at = scores, now
        self.readings += 1

    def rebase(self) -> None:
        """Other statistics from here on."""
        self.totals, self.scores, self.readings = {}, {}, 0
