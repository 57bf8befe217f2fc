"""How often a collector of the slow tier runs: at its interval, or so seldom that the server can bear it."""

from __future__ import annotations

import logging
from collections import deque

log = logging.getLogger(__name__)

# What a run takes is what the quickest of the last ones took: where processors are busy a run waits for one, and that
# is no work.
_WINDOW = 4
# For the same reason the interval grows by steps: a server that is busy for moments is not left alone for long.
_STEP = 2.0


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
        cost = min(self._took)
        wanted = max(self._every, cost / self._core_share)
        before, self.interval = self.interval, min(wanted, self.interval * _STEP)
        if before == self._every < self.interval:
            log.info("%s comes more seldom than every %g s: it took %.0f ms", self._name, self._every, cost * 1000)

    def rebase(self) -> None:
        """Another server answers, or this one after a restart, to which it is nothing perhaps."""
        self._took.clear()
        self.interval = self._every
