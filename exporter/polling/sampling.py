"""The clock of the samplers: one for all servers, each of which has a thread while it is asked."""

from __future__ import annotations

import heapq
import logging
import random
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from exporter.polling.sampler import Sampler

log = logging.getLogger(__name__)

# They wait for servers, so there may be many: one that hangs must not keep others waiting.
MAX_THREADS = 128
# After something that should not happen.
_PAUSE_SECONDS = 5.0


class Sampling:
    """Takes samples when they are due, those of one server one after another."""

    def __init__(self, samplers: Iterable[Sampler]) -> None:
        self._samplers = list(samplers)
        now = time.monotonic()
        # When each sampler that nobody is busy with is due, by its place in the list.
        self._due = [(now + random.random(), place) for place in range(len(self._samplers))]  # noqa: S311
        heapq.heapify(self._due)
        # Which turn of each sampler is under way.
        self._turns = [0] * len(self._samplers)
        self._wake = threading.Condition()
        self._over = False
        self._pool = ThreadPoolExecutor(min(MAX_THREADS, max(1, len(self._samplers))), "sample")
        self._thread = threading.Thread(target=self._loop, name="sampling", daemon=True)

    def start(self) -> None:
        """Start the clock."""
        if self._samplers:
            self._thread.start()

    def stop(self) -> None:
        """Start nothing more."""
        with self._wake:
            self._over = True
            self._wake.notify()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _loop(self) -> None:
        while True:
            with self._wake:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if not self._over and (wait is None or wait > 0):
                    self._wake.wait(wait)
                if self._over:
                    return
                if not self._due or self._due[0][0] > time.monotonic():
                    continue
                due, place = heapq.heappop(self._due)
            try:
                self._pool.submit(self._run, due, place, self._turns[place])
            except RuntimeError:
                # The end has come, or no thread can be had just now. This turn may be in the queue all the same.
                self._turns[place] += 1
                self._again(time.monotonic() + _PAUSE_SECONDS, place)

    def _run(self, due: float, place: int, turn: int) -> None:
        if turn != self._turns[place]:
            return
        wait = _PAUSE_SECONDS
        try:
            wait = self._samplers[place].sample()
        except Exception:
            log.exception("a sample")
        finally:
            # From when it was due and not from now, so that the interval is what it is said to be.
            self._again(max(due + wait, time.monotonic()), place)

    def _again(self, due: float, place: int) -> None:
        with self._wake:
            heapq.heappush(self._due, (due, place))
            if self._due[0] == (due, place):
                self._wake.notify()
