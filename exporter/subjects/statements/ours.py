"""Which of the statements in MySQL's histogram are the exporter's own."""

from __future__ import annotations

from exporter.engines.mysql.lasted import LASTED
from exporter.subjects.statements.senders import Ended

_PICOSECONDS = 10**12
# The client waited at least as long as the server worked; the rest is the network, and our own reading of the rows.
_LEAST_SHARE = 0.5


class Ours:
    """Takes our own statements, but the quick ones, off what is new in the buckets.

    Of those in question it is the one that comes nearest to what the client has waited. What is not found waits for the
    next reading: the bucket may have been read before. Only what is new is taken off, so that no count falls.
    """

    def __init__(self) -> None:
        self._seen: int | None = None
        self._waiting: list[Ended] = []

    def take_off(self, new: dict[int, int], system: str) -> int:
        """Take those that ended since the last reading off `new`, counts by upper bound in picoseconds.

        Args:
            new: What came into each bucket since the last reading.
            system: The server's identifier.

        Returns:
            The least that the server can have taken for them, in picoseconds.
        """
        last = self._seen
        self._seen, lasted = LASTED.since(system, last or 0)
        if last is None:
            return 0
        found = [Ended(1, int(time * _LEAST_SHARE * _PICOSECONDS), int(time * _PICOSECONDS)) for time in lasted]
        # What was not found the last time, and still is not, the server has not recorded.
        took = sum(ended.take_off(new) for ended in (*self._waiting, *found))
        self._waiting = [ended for ended in found if ended.count]
        return took

    def pass_over(self, system: str) -> None:
        """Those that ended since the last reading are not in the buckets."""
        self._seen, _ = LASTED.since(system, self._seen or 0)
        self._waiting = []

    def rebase(self) -> None:
        """See `Accumulator`."""
        self._seen, self._waiting = None, []
