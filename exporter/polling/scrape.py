"""Scrapes: one flight per server at a time, joined by concurrent scrapes, which asks no more after its deadline."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from exporter.config.model import ServerConfig
from exporter.declare import Collector
from exporter.engines.base import Engine
from exporter.engines.deadline import Deadline
from exporter.failure import Failure, Reason
from exporter.polling.flight import Flight
from exporter.polling.server import Watched
from exporter.polling.snapshot import Snapshot, State

log = logging.getLogger(__name__)

MAX_THREADS = 64
# Servers that were down last time wait for each other, never in front of those that answer.
DOWN_THREADS = 256


class Scrapes:
    """All servers of a config, and the pool that their scrapes run in."""

    def __init__(
        self,
        servers: Iterable[ServerConfig],
        engines: Mapping[str, Engine],
        collectors: Iterable[Collector],
    ) -> None:
        collectors = list(collectors)
        self.servers = {config.name: Watched(config, engines[config.engine], collectors) for config in servers}
        self._flights: dict[str, Flight] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(min(MAX_THREADS, max(4, len(self.servers))), "scrape")
        self._down_pool = ThreadPoolExecutor(min(DOWN_THREADS, max(4, len(self.servers))), "scrape down")

    def start(self, name: str, deadline: Deadline) -> Flight:
        """Start the scrape of a server, or join the one that is under way or has just landed."""
        with self._lock:
            flight = self._flights.get(name)
            if flight is not None and flight.reusable():
                flight.extend(deadline)
                return flight
            flight = self._flights[name] = Flight(deadline)
        watched = self.servers[name]
        pool = self._down_pool if watched.sessions.up is False else self._pool
        try:
            pool.submit(self._fly, watched, flight)
        except RuntimeError:
            # The pools are shutting down, or no thread can be had; whoever finds it in the queue later leaves it there.
            flight.land()
        return flight

    def seconds_since(self, name: str) -> float:
        """Seconds since a server's last scrape began; infinite if there was none."""
        flight = self._flights.get(name)
        return time.monotonic() - flight.started if flight is not None else float("inf")

    def _fly(self, watched: Watched, flight: Flight) -> None:
        try:
            # Whoever had to wait for a thread or for an earlier flight until it was too late leaves the server alone:
            # it is not down because we are busy.
            late = flight.duration is not None or flight.deadline.passed
            if late or not watched.lock.acquire(timeout=flight.deadline.remaining()):
                return
            try:
                flight.flown = True
                watched.scrape(flight)
            finally:
                watched.lock.release()
        except Exception:
            log.exception("scrape of %s", watched.name)
        finally:
            flight.land()

    def outcomes(self, name: str, flight: Flight) -> list[Snapshot]:
        """What a page shows of a server: the flight's results, and what the slow tier last had.

        A run that has not ended by now is shown as timed out.
        """
        watched = self.servers[name]
        now = time.monotonic()
        late = Failure(Reason.TIMEOUT, "not done within the scrape's time")
        shown = []
        for task in watched.tasks.values():
            if task.every is None:
                done = flight.results.get(task.name)
                shown.append(done if done is not None else Snapshot.failed(task.name, late, now))
                continue
            latest = watched.latest.get(task.name)
            if not task.enabled:
                shown.append(Snapshot(task.name, State.DISABLED, now))
            elif latest is not None:
                shown.append(latest)
        return shown

    def close(self, seconds: float) -> None:
        """End: no new scrapes, and the sessions closed; those of scrapes that run beyond `seconds` are left open."""
        for pool in (self._pool, self._down_pool):
            pool.shutdown(wait=False, cancel_futures=True)
        deadline = Deadline.after(seconds)
        for watched in self.servers.values():
            # Each server's scrape may take the time that is left, all of them together no more.
            if watched.lock.acquire(timeout=deadline.remaining()):
                watched.close()
                watched.lock.release()
