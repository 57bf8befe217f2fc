"""Deadlines, and the watchdog that enforces them where drivers can't: by shutting the socket down.

Keepalives, TCP timeouts and server-side limits don't end a wait on a path that acknowledges and stays silent;
a shutdown of the socket does, at once, for psycopg and PyMySQL alike.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from exporter.failure import Failure, Reason

log = logging.getLogger(__name__)

MORE_THREADS = "raise the limit on processes and threads (ulimit -u; TasksMax= of systemd; pids of a container)"


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock by which something has to be over."""

    at: float

    @staticmethod
    def after(seconds: float) -> Deadline:
        """The moment that many seconds from now."""
        return Deadline(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds left, not below zero."""
        return max(0.0, self.at - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return time.monotonic() >= self.at

    def within(self, seconds: float) -> Deadline:
        """The earlier of this deadline and one that many seconds from now."""
        return Deadline(min(self.at, time.monotonic() + seconds))


class Guard:
    """One guarded wait; `fired` tells whether the watchdog ended it."""

    __slots__ = ("at", "fd", "fired", "over")

    def __init__(self, at: float, fd: int) -> None:
        self.at = at
        self.fd = fd
        self.fired = False
        self.over = False


class Watchdog:
    """One thread that shuts down the sockets of waits that outlive their deadline."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._heap: list[tuple[float, int, Guard]] = []
        self._count = 0
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def guard(self, fd: int, deadline: Deadline) -> Iterator[Guard]:
        """Guard a blocking call on the socket `fd`, which stays the caller's.

        Raises:
            Failure: The watchdog itself can't be started.
        """
        guard = Guard(deadline.at, fd)
        with self._wake:
            if self._thread is None:
                self._thread = self._started()
            self._count += 1
            heapq.heappush(self._heap, (guard.at, self._count, guard))
            if self._heap[0][2] is guard:
                self._wake.notify()
        try:
            yield guard
        finally:
            # Under the lock, so that the watchdog never touches a number that the system has given away again.
            with self._wake:
                guard.over = True

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise Failure(Reason.ERROR, f"no wait can be guarded: {error}", fix=MORE_THREADS) from None
        return thread

    def _watch(self) -> None:
        while True:
            try:
                self._end_next()
            except Exception:
                # One wait is not ended; without this thread none ever would be.
                log.exception("the watchdog")

    def _end_next(self) -> None:
        """End the next wait whose deadline passes, or find that another one comes before it."""
        with self._wake:
            while self._heap and self._heap[0][2].over:
                heapq.heappop(self._heap)
            if not self._heap:
                self._wake.wait()
                return
            wait = self._heap[0][0] - time.monotonic()
            if wait > 0:
                self._wake.wait(wait)
                return
            guard = heapq.heappop(self._heap)[2]
            guard.fired = True
            _shut_down(guard.fd)


def _shut_down(fd: int) -> None:
    # On the descriptor itself, which stays the driver's: a duplicate can't be had when descriptors have run out.
    with contextlib.suppress(OSError):
        borrowed = socket.socket(fileno=fd)
        try:
            borrowed.shutdown(socket.SHUT_RDWR)
        finally:
            borrowed.detach()


WATCHDOG = Watchdog()
