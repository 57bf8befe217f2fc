"""How far a standby is behind, which no single reading can tell."""

from __future__ import annotations

from collections import deque
from typing import Any

from exporter.declare import Context, Rows

# Over four hours at a reading every 15 seconds.
_READINGS = 1000


class ReplayClock:
    """Remembers when the WAL had got how far, to tell how old the WAL is that a standby replays now.

    The age of the last replayed transaction is never less than the lag, but is far more where the primary was idle
    or one long transaction writes: then only the time is known when the primary had got where the standby is now.
    """

    def __init__(self) -> None:
        # (monotonic seconds, position) as announced by the sender; positions rise.
        self._ends: deque[tuple[float, int]] = deque(maxlen=_READINGS)

    def feed(self, rows: Rows, context: Context) -> Rows:
        """Add `lag`: seconds behind, 0 on a server that follows nobody, None if unknown.

        Args:
            rows: One row with is_replica (0 or 1), streaming (bool), latest (position up to which the sender is known
                to have WAL), replayed (position) and replay_age (seconds since the last replayed transaction).
            context: Of the run.
        """
        return Rows.of((*rows.columns, "lag"), [row | {"lag": self._lag(row, context.now)} for row in rows.dicts()])

    def rebase(self) -> None:
        """Forget everything: positions of another server mean nothing here."""
        self._ends.clear()

    def _lag(self, row: dict[str, Any], now: float) -> float | None:
        if not row["is_replica"]:
            return 0.0
        latest, replayed, age = row["latest"], row["replayed"], row["replay_age"]
        if row["streaming"] and latest is not None:
            self._note(now, latest)
            if replayed is not None and replayed >= latest:
                return 0.0
        known = [seconds for seconds in (age, self._since(replayed, now)) if seconds is not None]
        return max(0.0, min(known)) if known else None

    def _note(self, now: float, latest: int) -> None:
        if self._ends and latest < self._ends[-1][1]:
            self.rebase()
        if self._ends and latest == self._ends[-1][1]:
            self._ends.pop()
        self._ends.append((now, latest))

    def _since(self, replayed: int | None, now: float) -> float | None:
        """Seconds since the sender's WAL ended at `replayed`, taken to have grown evenly between two readings."""
        if replayed is None:
            return None
        while len(self._ends) > 1 and self._ends[1][1] <= replayed:
            self._ends.popleft()
        if not self._ends or self._ends[0][1] > replayed:
            return None
        then, end = self._ends[0]
        if len(self._ends) > 1:
            later, further = self._ends[1]
            then += (later - then) * (replayed - end) / (further - end)
        return now - then
