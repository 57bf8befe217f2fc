"""MySQL's histogram of all statements, and the slow ones counted by it."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import accumulate

from exporter.declare import Context, Rows
from exporter.subjects.statements.blind import blindness
from exporter.subjects.statements.measures import COLUMNS, slow_threshold
from exporter.subjects.statements.ours import Ours
from exporter.subjects.statements.senders import ENDLESS, Senders
from exporter.subjects.statements.totals import Reading, Totals, Unsteady

PICOSECONDS = 10**12
# The server has 450 bounds, about 4.7 % apart: of them those nearest to these are enough for people and for rules.
_WANTED = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800,
)  # fmt: skip


class MySQLHistogram:
    """Accumulates performance_schema.events_statements_histogram_global, less what is no work of clients.

    Takes the columns kind, bound, count and time (picoseconds), where kind is
    `bucket` for BUCKET_TIMER_HIGH and COUNT_BUCKET, without a time;
    `client` for the count and time of all statements of clients, since the histogram has no sum;
    `sender` for those of connections that send the binary log, which the histogram holds too once they end. Both come
    from events_statements_summary_global_by_event_name;
    `ours` if our own statements are in the histogram, too, unless an administrator has left them out; no figures. All
    but the quick ones are taken off, and off the sum the time that their buckets stand for.
    Gives one row of measures.COLUMNS, none without buckets.
    """

    def __init__(self) -> None:
        self._events = Unsteady()
        self._sum = Totals(time_wraps=True)
        self._senders = Senders()
        self._ours = Ours()
        self._buckets = Buckets()
        self._counts: dict[int, int] = {}
        # Picoseconds that our own statements took, and of all statements without them.
        self._own_time = self._time = 0.0

    def feed(self, rows: Rows, context: Context) -> Rows:
        """Take a reading of all buckets in.

        Raises:
            Failure: The server does not record the statements of clients; see `blind`.
        """
        if blind := blindness({row[0] for row in rows.rows}):
            raise blind
        now = {int(bound): int(count) for kind, bound, count, _ in rows.rows if kind == "bucket"}
        if now.keys() <= {ENDLESS}:
            # A server that only speaks as MySQL does may have the table without a row.
            return Rows(COLUMNS, [])
        sums = {
            kind: self._events.steady(kind, int(count), int(time))
            for kind, _, count, time in rows.rows
            if kind in {"client", "sender"}
        }
        time = self._sum.take([Reading("", "", *sums.get("client", (0, 0)))])[""].time
        new = self._buckets.take(now)
        self._senders.take_off(new, *sums.get("sender", (0, 0)))
        if any(kind == "ours" for kind, *_ in rows.rows):
            self._own_time += self._ours.take_off(new, context.facts.identity.system)
        else:
            self._ours.pass_over(context.facts.identity.system)
        # The sum was read before the buckets, and may have less of ours yet.
        self._time = max(self._time, time - self._own_time)
        for bound, count in new.items():
            self._counts[bound] = self._counts.get(bound, 0) + count
        bounds = sorted(self._counts)
        below = dict(zip(bounds, accumulate(self._counts[bound] for bound in bounds), strict=True))
        count = sum(self._counts.values())
        own = tuple(bound for bound in bounds if bound != ENDLESS)
        wanted = slow_threshold(context) * PICOSECONDS
        # The bound below ours: a little too much is counted, but nothing that is slow goes unseen.
        threshold = max((bound for bound in own if bound <= wanted), default=own[0])
        buckets = [(bound / PICOSECONDS, below[bound]) for bound in _chosen(own)]
        slow = count - below[threshold]
        told = (buckets, self._time / PICOSECONDS, count)
        return Rows(COLUMNS, [(None, None, None, slow, "histogram", threshold / PICOSECONDS, told)])

    def rebase(self) -> None:
        """See `Accumulator`: the next reading is a baseline."""
        self._events.rebase()
        self._sum.rebase()
        self._senders.rebase()
        self._ours.rebase()
        self._buckets.rebase()


class Buckets:
    """What is new in the buckets from one reading to the next, over truncations.

    Without one no bucket falls. The server copies the buckets one after the other, and so it resets them: a reading
    in which one has fallen may have some as they were before, and others anew. What those that have not fallen have
    grown by is certain then; the rest comes with the next reading, which has nothing from before. So nothing counts
    twice, and all does but what such a reading caught, and some where the table is truncated again before the next
    reading. Only of what ends between the reset of its bucket and the copy, microseconds apart, nobody can tell that it
    is new.
    """

    def __init__(self) -> None:
        self._last: dict[int, int] | None = None
        # How much of what is in each bucket since it was reset is counted.
        self._counted: dict[int, int] = {}

    def take(self, now: dict[int, int]) -> dict[int, int]:
        """What is new in a reading, by bucket; nothing in the first."""
        last = now if self._last is None else self._last
        counted = now if self._last is None else self._counted
        fallen = {bound for bound, count in now.items() if count < last.get(bound, 0)}
        new = {bound: count if bound in fallen else count - counted.get(bound, 0) for bound, count in now.items()}
        self._last, self._counted = now, dict(new) if fallen else now
        return new

    def rebase(self) -> None:
        """See `Accumulator`: the next reading is a baseline."""
        self._last = None


@lru_cache(maxsize=8)
def _chosen(own: tuple[int, ...]) -> list[int]:
    return sorted({min(own, key=lambda bound: abs(math.log(bound / PICOSECONDS / wanted))) for wanted in _WANTED})
