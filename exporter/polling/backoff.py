"""How long to leave something alone that keeps failing: exponential, with full jitter."""

from __future__ import annotations

import random
import time


class Backoff:
    """After each failure in a row the next try waits a random part of an interval that doubles.

    Full jitter, so that many servers that went away together do not come back together.
    """

    def __init__(self, first: float, cap: float, *, after: int = 1) -> None:
        """Wait up to `first`, then up to `cap` seconds, once `after` failures have come in a row."""
        self._first = first
        self._cap = cap
        self._after = after
        self._failures = 0
        self._until = 0.0

    def failed(self, cap: float | None = None) -> None:
        """Note a failure; `cap` overrides the longest wait for this one."""
        self._failures += 1
        beyond = self._failures - self._after
        if beyond >= 0:
            # The exponent is bounded so that years of failures don't overflow a float.
            longest = min(cap if cap is not None else self._cap, self._first * 2.0 ** min(beyond, 32))
            self._until = time.monotonic() + random.uniform(0, longest)  # noqa: S311 - spreads load, guards nothing

    def succeeded(self) -> None:
        """Note a success: the next failure starts over."""
        self._failures = 0
        self._until = 0.0

    def remaining(self) -> float:
        """Seconds until the next try."""
        return max(0.0, self._until - time.monotonic())


class Breaker(Backoff):
    """Three failures in a row suspend a collector on a server, for up to half a minute and later up to 15."""

    def __init__(self) -> None:
        super().__init__(30.0, 900.0, after=3)
