"""Which of the statements in MySQL's histogram are connections of replicas that ended."""

from __future__ import annotations

import math
from dataclasses import dataclass

# The upper bound of the histogram's last bucket: there is none. Sums of time start again after it.
ENDLESS = 2**64 - 1


class Senders:
    """Takes connections that sent the binary log, and have ended, off what is new in the buckets.

    The server tells how many ended and how long they took together; of one that is its bucket, of several it is
    worked out. Only what is new is taken off, so that no count falls. The server counts a connection in its bucket a
    moment after its sum, or the bucket was read before the sum was: what is not found waits for the next reading.
    """

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None
        self._waiting: Ended | None = None

    def take_off(self, new: dict[int, int], count: int, time: int) -> None:
        """Take those that ended since the last reading off `new`, counts by upper bound in picoseconds.

        Args:
            new: What came into each bucket since the last reading.
            count: All that ended, as the server counts.
            time: Their time together, in picoseconds, starting from 0 again after 2^64.
        """
        last, self._last = self._last, (count, time)
        if self._waiting is not None:
            # What is still not found was lost in a TRUNCATE of the histogram.
            self._waiting.take_off(new)
            self._waiting = None
        if last is None or (count, time) == last:
            return
        if count >= last[0]:
            count, time = count - last[0], (time - last[1]) % (ENDLESS + 1)
        ended = Ended(count, time, time)
        ended.take_off(new)
        self._waiting = ended if ended.count else None

    def rebase(self) -> None:
        """See `Accumulator`."""
        self._last = self._waiting = None


@dataclass(slots=True)
class Ended:
    """Connections that ended: how many, and between what and what they took together, in picoseconds."""

    count: int
    least: int
    most: int

    def take_off(self, new: dict[int, int]) -> int:
        """Take those that are in the buckets off, the others stay; the least that these can have taken."""
        took = 0
        bounds = sorted(new)
        lows = dict(zip(bounds, [0, *bounds], strict=False))
        while self.count:
            # The longest of them took their mean or more.
            fits = [
                bound
                for bound in bounds
                if new[bound] and lows[bound] <= self.most and (bound * self.count >= self.least or bound == ENDLESS)
            ]
            if not fits:
                break
            mean = self.most / self.count
            bound = min(fits, key=lambda bound: _distance(mean, lows[bound], bound))
            new[bound] -= 1
            self.count -= 1
            # A bucket tells a duration within bounds, and so what is left for the others.
            self.least, self.most = max(0, self.least - bound), self.most - lows[bound]
            took += lows[bound]
        return took


def _distance(mean: float, low: int, high: int) -> float:
    """How far a mean is from a bucket, as a ratio's logarithm; 0 if it lies in it."""
    return max(0.0, math.log(max(low, 1) / max(mean, 1)), math.log(max(mean, 1) / high))
