"""How often a collector of the slow tier runs: at its interval, or so seldom that the server can bear it."""

from __future__ import annotations

import logging
from collections import deque

log = logging.getLogger(__name__)

# What a run takes is what a quarter of the last ones took at most: while processors are busy most of them wait for one,
# and to wait is no work.
_WINDOW = 8
_QUICK = 4
# So many are enough to tell; the first one often takes longer.
_ENOUGH = 3


class Pace:
    """The interval of one collector on one server, which stretches where runs take the server long.

    Args:
        name: Of the collector and the server, for the log.
        every: Seconds from one run to the next, at least.
        core_share: What runs may take of one of the server's processors.

    Attributes:
        interval: Seconds from one run to the next.
    """

    def __init__(self, name: str, every: float, core_share: float) -> None:
        self.interval = every
        self._name = name
        self._every = every
        self._core_share = core_share
        self._took: deque[float] = deque(maxlen=_WINDOW)

    def account_for(self, took: float) -> None:
        """Take in how many seconds of the server's a run took."""
        self._took.append(took)
        if len(self._took) < _ENOUGH:
            return
        cost = sorted(self._took)[len(self._took) // _QUICK]
        before, self.interval = self.interval, max(self._every, cost / self._core_share)
        if before == self._every < self.interval:
            log.info(
                "%s runs every %.0f s instead of %.0f, since it takes the server %.0f ms",
                self._name,
                self.interval,
                self._every,
                cost * 1000,
            )

    def rebase(self) -> None:
        """Another server answers, to which it is nothing perhaps."""
        self._took.clear()
        self.interval = self._every
