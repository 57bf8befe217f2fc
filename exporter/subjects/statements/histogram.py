"""MySQL's histogram of all statements, and the slow ones counted by it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from exporter.declare import Context, Rows
from exporter.subjects.statements.measures import COLUMNS, slow_threshold

PICOSECONDS = 10**12
# The server has 450 bounds, about 4.7 % apart: of them those nearest to these are enough for people and for rules.
_WANTED = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800,
)  # fmt: skip
# The upper bound of the last bucket: there is none.
_ENDLESS = 2**64 - 1


class MySQLHistogram:
    """Accumulates performance_schema.events_statements_histogram_global.

    Takes the columns bound (BUCKET_TIMER_HIGH, picoseconds) and count (COUNT_BUCKET).
    Gives one row of measures.COLUMNS. Of the sum of durations the table knows nothing.
    """

    def __init__(self) -> None:
        self._last: dict[int, int] | None = None
        self._counts: dict[int, int] = {}

    def feed(self, rows: Rows, context: Context) -> Rows:
        """Take a reading of all buckets in."""
        now = {int(bound): int(count) for bound, count in rows.rows}
        for bound, count in now.items():
            before = count if self._last is None else self._last.get(bound, 0)
            # Fewer than before: the table was truncated, and what is there came since.
            new = count - before if count >= before else count
            self._counts[bound] = self._counts.get(bound, 0) + new
        self._last = now
        count = sum(self._counts.values())
        threshold = _bound_for(slow_threshold(context), self._counts)
        slow = count - _below(self._counts, threshold)
        return Rows(
            COLUMNS,
            [(None, None, None, slow, "histogram", threshold / PICOSECONDS, (merged(self._counts), None, count))],
        )

    def rebase(self) -> None:
        """Another server answers: the next reading is a baseline."""
        self._last = None


def merged(counts: Mapping[int, int]) -> list[tuple[float, int]]:
    """The server's buckets (upper bound in picoseconds to count) as at most 20 of (seconds, cumulative count)."""
    own = [bound for bound in counts if bound != _ENDLESS]
    if not own:
        return []
    chosen = sorted({min(own, key=lambda bound: abs(math.log(bound / PICOSECONDS / want))) for want in _WANTED})
    return [(bound / PICOSECONDS, _below(counts, bound)) for bound in chosen]


def _bound_for(seconds: float, counts: Mapping[int, int]) -> int:
    own = [bound for bound in counts if bound != _ENDLESS]
    return min((bound for bound in own if bound >= seconds * PICOSECONDS), default=max(own))


def _below(counts: Mapping[int, int], limit: int) -> int:
    return sum(count for bound, count in counts.items() if bound <= limit)
