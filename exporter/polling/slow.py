"""The slow tier: collectors with an interval of their own, spread over it by a hash of the server's name."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from exporter.polling.runs import Task
from exporter.polling.server import Watched

log = logging.getLogger(__name__)

MAX_THREADS = 4
# How fast the first runs follow each other when the exporter starts with many servers.
FIRST_RUNS_PER_SECOND = 20.0
TICK_SECONDS = 0.5


class SlowTier:
    """Runs slow tasks when they are due, those of one server never two at a time on its second session."""

    def __init__(self, servers: Iterable[Watched]) -> None:
        self._servers = list(servers)
        self._due: dict[tuple[str, str], float] = {}
        self._busy: set[tuple[str, bool]] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(MAX_THREADS, "slow")
        self._thread = threading.Thread(target=self._loop, name="slow tier", daemon=True)
        now = time.monotonic()
        span = len(self._servers) / FIRST_RUNS_PER_SECOND
        for watched in self._servers:
            first = now + span * _spread(watched.name)
            for task in watched.slow_tasks():
                self._due[watched.name, task.name] = first

    def start(self) -> None:
        """Start the clock."""
        self._thread.start()

    def stop(self) -> None:
        """Start nothing more."""
        self._stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _loop(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            try:
                self._tick(time.monotonic())
            except Exception:
                # Nothing ends the clock but the end: not even that no thread can be had right now.
                if not self._stop.is_set():
                    log.exception("the slow tier")

    def _tick(self, now: float) -> None:
        for watched in self._servers:
            if watched.sessions.changed.is_set():
                # Another server answers, or it is back: don't let what is missing wait for its interval.
                watched.sessions.changed.clear()
                for task in watched.slow_tasks():
                    if not watched.has_good(task):
                        self._due[watched.name, task.name] = min(now, self._due[watched.name, task.name])
            due = [task for task in watched.slow_tasks() if self._due[watched.name, task.name] <= now]
            # A round of very many databases must not keep what is due every few seconds waiting.
            for rounds in (False, True):
                self._start(watched, rounds, [task for task in due if task.collector.each_database is rounds])

    def _start(self, watched: Watched, rounds: bool, due: list[Task]) -> None:
        lane = (watched.name, rounds)
        with self._lock:
            if not due or lane in self._busy:
                return
            self._busy.add(lane)
        try:
            self._pool.submit(self._run, watched, lane, due)
        except RuntimeError:
            with self._lock:
                self._busy.discard(lane)
            raise

    def _run(self, watched: Watched, lane: tuple[str, bool], due: list[Task]) -> None:
        try:
            watched.background(due)
        except Exception:
            log.exception("background work on %s", watched.name)
        finally:
            now = time.monotonic()
            for task in due:
                every = task.every or 60.0
                key = (watched.name, task.name)
                # Keep to the grid of the first run, so that the servers stay spread.
                behind = now - self._due[key]
                self._due[key] += every * (1 + behind // every)
            with self._lock:
                self._busy.discard(lane)


def _spread(name: str) -> float:
    """A number in [0, 1) that is the same for a name in every process."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
