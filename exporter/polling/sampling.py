"""The clock of the samplers: one for all servers, each of which has a thread while it is asked."""

from __future__ import annotations

import heapq
import logging
import random
import threading
import time
from collections.abc import Iterable

from exporter.polling.sampler import Sampler

log = logging.getLogger(__name__)

# They wait for servers, so there may be many: one that hangs must not keep others waiting.
MAX_THREADS = 128
# After something that should not happen.
_PAUSE_SECONDS = 5.0


class Sampling:
    """Takes samples when they are due, those of one server one after another.

    The thread that waits for the next to be due takes it itself, and leaves the waiting to another: to wake a thread
    costs as much as a sample.
    """

    def __init__(self, samplers: Iterable[Sampler]) -> None:
        self._samplers = list(samplers)
        now = time.monotonic()
        # When each sampler that nobody is busy with is due, by its place in the list.
        self._due = [(now + random.random(), place) for place in range(len(self._samplers))]  # noqa: S311
        heapq.heapify(self._due)
        # Held by the thread that waits for what is due; the others that are free wait for it.
        self._clock = threading.Lock()
        self._wake = threading.Condition()
        self._threads = 0
        self._free = 0
        self._over = False

    def start(self) -> None:
        """Start the clock."""
        if self._samplers:
            with self._wake:
                self._more()

    def stop(self) -> None:
        """Start nothing more."""
        with self._wake:
            self._over = True
            self._wake.notify()

    def _more(self) -> None:
        """Start a thread; under the lock."""
        threading.Thread(target=self._work, name=f"sample_{self._threads}", daemon=True).start()
        self._threads += 1
        self._free += 1

    def _work(self) -> None:
        while True:
            with self._clock:
                turn = self._next()
            if turn is None:
                return
            due, place = turn
            wait = _PAUSE_SECONDS
            try:
                wait = self._samplers[place].sample()
            except Exception:
                log.exception("a sample")
            with self._wake:
                # From when it was due and not from now, so that the interval is what it is said to be.
                heapq.heappush(self._due, (max(due + wait, time.monotonic()), place))
                self._free += 1
                self._wake.notify()

    def _next(self) -> tuple[float, int] | None:
        """When the next sample was due, and whose it is, once it is; None at the end."""
        with self._wake:
            while not self._over:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    self._free -= 1
                    if self._free == 0 and self._threads < min(MAX_THREADS, len(self._samplers)):
                        try:
                            self._more()
                        except RuntimeError:
                            # No thread can be had just now: the others wait for this sample.
                            log.debug("no further thread for samples")
                    return heapq.heappop(self._due)
                self._wake.wait(wait)
            return None
