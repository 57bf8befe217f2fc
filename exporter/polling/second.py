"""The place of a server's second session: one at a time has it, and a session may be kept there for the next one."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from exporter.engines.base import Session
from exporter.engines.deadline import Deadline
from exporter.facts import Facts
from exporter.failure import Failure, Reason
from exporter.polling.opening import Opener

# To log in costs as much as to ask, but who only keeps what is open never learns that the address has moved.
KEPT_SECONDS = 60.0
# On a server on which something hangs to log in may take too long, too; so it is tried to end a session for so long.
ENDING_SECONDS = 60.0


class Second:
    """Where the second session is opened, kept and closed, and where sessions that were cut off are ended.

    What is kept makes room for whatever else needs the place, so that there are never three sessions but for one that
    was cut off and has not ended yet: while there is one, whoever has the third makes room.

    Attributes:
        make_room: Closes the third session at once; who has it does not open it while there is one to be ended.
    """

    def __init__(self, opener: Opener) -> None:
        self.make_room: Callable[[], None] = lambda: None
        self._opener = opener
        self._lock = threading.Lock()
        self._kept: Session | None = None
        self._until = 0.0
        self._over = False
        # With the moment until which it is tried.
        self._doomed: deque[tuple[Session, float]] = deque()

    @property
    def ending(self) -> bool:
        """Whether a session that was cut off has yet to be ended on the server, where it counts until then."""
        return any(time.monotonic() < until for _, until in self._doomed.copy())

    @contextmanager
    def place(self, deadline: Deadline) -> Iterator[None]:
        """Have the place alone, and empty.

        Raises:
            Failure: Somebody else had it all the time.
        """
        with self._had(deadline):
            self._clear()
            yield

    @contextmanager
    def borrowed(self, deadline: Deadline) -> Iterator[None]:
        """Have the place alone, with the session that is kept there, if any: `kept` takes it.

        Raises:
            Failure: Somebody else had it all the time.
        """
        with self._had(deadline):
            yield

    def kept(self) -> Session | None:
        """The session that was kept, unless it has ended or is too old; it is the caller's now."""
        session, self._kept = self._kept, None
        if session is None or (not session.closed and time.monotonic() < self._until):
            return session
        self._opener.disconnect(session)
        return None

    def opened(self, deadline: Deadline, facts: Facts | None) -> Session:
        """A new session in the place that the caller has.

        Raises:
            Failure: It can't be had.
        """
        session = self._opener.connect_patiently(deadline, facts)
        self._until = time.monotonic() + KEPT_SECONDS
        return session

    def leave(self, session: Session, *, keep: bool) -> None:
        """Give the place back, with the session in it for the next one or without."""
        if keep and not session.closed and not self._over:
            self._kept = session
        else:
            self._opener.disconnect(session)

    def end(self, session: Session) -> None:
        """End on the server what a session that was cut off may still be running there.

        That takes this place: right now, or before whoever has it lets somebody else have it; and again whenever
        somebody had it, if it can't be ended at once.
        """
        self._doomed.append((session, time.monotonic() + ENDING_SECONDS))
        self.make_room()
        self._end_doomed()

    def drop(self) -> None:
        """Close what is kept, if nobody has it just now."""
        if self._lock.acquire(blocking=False):
            try:
                self._clear()
            finally:
                self._lock.release()

    def close(self) -> None:
        """Keep nothing any more; whoever uses the session closes it."""
        self._over = True
        self.drop()

    @contextmanager
    def _had(self, deadline: Deadline) -> Iterator[None]:
        if not self._lock.acquire(timeout=deadline.remaining()):
            raise Failure(Reason.TIMEOUT, "other work in the background had the second session all the time")
        try:
            yield
        finally:
            self._lock.release()
            self._end_doomed()

    def _end_doomed(self) -> None:
        # Whoever adds one, and whoever gives the place back, looks here: one of them finds the lock free.
        left = False
        while self._doomed and not left and self._lock.acquire(blocking=False):
            try:
                if self._doomed:
                    self._clear()
                    session, until = self._doomed[0]
                    try:
                        left = not self._opener.kill(session) and time.monotonic() < until
                    finally:
                        if not left:
                            self._doomed.popleft()
            finally:
                self._lock.release()

    def _clear(self) -> None:
        if self._kept is not None:
            self._opener.disconnect(self._kept)
            self._kept = None
