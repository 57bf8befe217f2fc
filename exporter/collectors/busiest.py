"""Which objects are shown where not all fit: the busiest of late, without a change at every whim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from operator import itemgetter

from exporter.collectors.recent import Key, Recent
from exporter.declare import Accumulator, Context, Rows

# Who is not shown has to be that much busier than one who is.
STICKY = 2.0


class Busiest:
    """Puts the rows that are to be shown first, if there is no room for all; the renderer leaves out the rest.

    Until there are two readings to compare, it goes by what the objects have done since their statistics began.
    """

    def __init__(self, key: tuple[str, ...], activity: tuple[str, ...]) -> None:
        """`key` names the columns that tell objects apart, `activity` the counters that say how busy one is."""
        self._key = key
        self._activity = activity
        self._shown: frozenset[Key] = frozenset()
        self._recent = Recent()

    def feed(self, rows: Rows, context: Context) -> Rows:
        """The same rows, in the order of their right to be shown if that matters."""
        room = context.room
        if room is None or len(rows.rows) <= room:
            self.rebase()
            self._shown = frozenset()
            return rows
        key_of = itemgetter(*(rows.columns.index(column) for column in self._key))
        counters = [rows.columns.index(column) for column in self._activity]
        by_key = {key_of(row): row for row in rows.rows}
        # Numbers may be texts, as the server wrote them.
        totals = {key: (sum(float(row[index] or 0) for index in counters),) for key, row in by_key.items()}
        self._recent.take(totals, context.now)
        order = sorted(by_key, key=self._right, reverse=True)
        self._shown = frozenset(order[:room])
        return replace(rows, rows=[by_key[key] for key in order])

    def rebase(self) -> None:
        """Other statistics from here on; who is shown stays."""
        self._recent.rebase()

    def _right(self, key: Key) -> tuple[float, bool, float]:
        shown = key in self._shown
        (score,) = self._recent.scores.get(key, (0.0,))
        return score * (STICKY if shown else 1.0), shown, self._recent.totals[key][0]


def busiest(*key: str, by: tuple[str, ...]) -> Callable[[], Accumulator]:
    """What `state=` of a collector takes; see `Busiest`."""
    return lambda: Busiest(key, by)
