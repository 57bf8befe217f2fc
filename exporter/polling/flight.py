"""One scrape of one server, which concurrent scrapes share."""

from __future__ import annotations

import time
from concurrent.futures import Future

from exporter.engines.deadline import Deadline
from exporter.polling.snapshot import Snapshot

# A second scrape within this time of a landing gets the first one's result.
REUSE_SECONDS = 1.0


class Flight:
    """The runs of one scrape.

    Attributes:
        deadline: When it has to be over.
        flown: Whether it has begun; a flight that came too late to begin says nothing about its server.
        answered: Whether the server has answered the connect and the ping.
        results: Outcomes so far, by collector; grows while the flight is under way.
        future: Done when it has landed.
        duration: Seconds it took; None while it is under way.
    """

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.started = time.monotonic()
        self.flown = False
        self.answered = False
        self.results: dict[str, Snapshot] = {}
        self.future: Future[None] = Future()
        # Many scrapes wait for it; none of them can cancel it for the others.
        self.future.set_running_or_notify_cancel()
        self.duration: float | None = None

    def reusable(self) -> bool:
        """Whether a scrape that comes now may have this one's result, or wait for it."""
        now = time.monotonic()
        if self.duration is None:
            # After that it asks no more, but to end on the server what was cut off may take it some seconds.
            return now < self.deadline.at
        # That a server did not answer is worth asking again.
        return self.answered and now - self.started - self.duration < REUSE_SECONDS

    def extend(self, deadline: Deadline) -> None:
        """Somebody joins who has more time."""
        if deadline.at > self.deadline.at:
            self.deadline = deadline

    def land(self) -> None:
        """Tell everybody who waits that it is over; once is enough."""
        if self.duration is None:
            self.duration = time.monotonic() - self.started
            self.future.set_result(None)
