"""How far a standby is behind, which no single reading can tell."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from exporter.declare import Context, Rows

# Over four hours at a reading every 15 seconds.
_READINGS = 1000


@dataclass(slots=True)
class _End:
    """Where the sender's WAL ended from the first to the last reading of it, in monotonic seconds."""

    position: int
    first: float
    last: float


class ReplayClock:
    """Remembers when the WAL had got how far, to tell how old the WAL is that a standby replays now.

    The age of the last replayed transaction is never less than the lag, but is far more where the primary was idle
    or one long transaction writes: then only the time is known when the primary had got where the standby is now.
    """

    def __init__(self) -> None:
        self._ends: deque[_End] = deque(maxlen=_READINGS)

    def feed(self, rows: Rows, context: Context) -> Rows:
        """Add `lag`, seconds behind or None if unknown, and `native_lag`, which is 0 on a server that follows nobody.

        Args:
            rows: One row with is_replica (0 or 1), streaming (bool, None if nobody can tell), latest (position up to
                which the sender is known to have WAL), replayed (position) and replay_age (seconds since the last
                replayed transaction) and delay (seconds that it is told to keep).
            context: Of the run.
        """
        found = []
        for row in rows.dicts():
            lag = self._lag(row, context.now) if row["is_replica"] else None
            found.append(row | {"lag": lag, "native_lag": lag if row["is_replica"] else 0})
        return Rows.of((*rows.columns, "lag", "native_lag"), found)

    def rebase(self) -> None:
        """Forget everything: positions of another server mean nothing here."""
        self._ends.clear()

    def _lag(self, row: dict[str, Any], now: float) -> float | None:
        latest, replayed, age = row["latest"], row["replayed"], row["replay_age"]
        if row["streaming"] and latest is not None:
            self._note(now, latest)
            if replayed is not None and replayed >= latest:
                return 0.0
        if row["streaming"] is None and (replayed is None or latest is None or replayed >= latest):
            return None
        known = [seconds for seconds in (age, self._since(replayed, now, row["delay"] or 0)) if seconds is not None]
        return max(0.0, min(known)) if known else None

    def _note(self, now: float, position: int) -> None:
        if self._ends and position < self._ends[-1].position:
            self.rebase()
        if self._ends and position == self._ends[-1].position:
            self._ends[-1].last = now
        else:
            self._ends.append(_End(position, now, now))

    def _since(self, replayed: int | None, now: float, delay: float) -> float | None:
        """Seconds since the sender's WAL ended at `replayed`, taken to have grown evenly between two readings.

        A delayed standby replays all but the commit that it waits for, so it stands at the newer reading however old
        the commit is: there the older reading counts, and the lag is too high by the time between them at most.
        """
        if replayed is None:
            return None
        while len(self._ends) > 1 and self._ends[1].position <= replayed:
            self._ends.popleft()
        if not self._ends or self._ends[0].position > replayed:
            return None
        end = self._ends[0]
        then = end.last
        if len(self._ends) > 1 and not delay:
            following = self._ends[1]
            share = (replayed - end.position) / (following.position - end.position)
            then += (following.first - end.last) * share
        return now - then
