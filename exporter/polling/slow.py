"""The slow tier: collectors with an interval of their own, spread over it by a hash of the server's name."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from exporter.polling.server import Watched
from exporter.polling.tasks import Task

log = logging.getLogger(__name__)

# They wait for servers, so there may be many: one server that is slow must not keep others waiting.
MAX_THREADS = 128
# How fast the first runs follow each other when the exporter starts with many servers.
FIRST_RUNS_PER_SECOND = 20.0
TICK_SECONDS = 0.5

# A server's name, and whether it is about rounds through its databases.
_Lane = tuple[str, bool]


class SlowTier:
    """Runs slow tasks when they are due. Those of one server take turns on its second session, which has a lock.

    Rounds through databases may take long, so they have threads of their own: what is due every few seconds does not
    wait for them, on that server or any other.
    """

    def __init__(self, servers: Iterable[Watched]) -> None:
        self._servers = list(servers)
        # When each task is due next on its grid, which what runs out of turn leaves alone; and the first of a lane,
        # so that most ticks need not look at the tasks of most servers.
        self._due: dict[tuple[str, str], float] = {}
        self._lanes: dict[_Lane, tuple[Watched, list[Task]]] = {}
        self._next: dict[_Lane, float] = {}
        # The run that each lane is busy with, and the lanes whose server asks for what is missing.
        self._busy: dict[_Lane, object] = {}
        self._asked: set[_Lane] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        threads = min(MAX_THREADS, max(1, len(self._servers)))
        self._pools: Mapping[bool, ThreadPoolExecutor] = {
            rounds: ThreadPoolExecutor(threads, "rounds" if rounds else "slow") for rounds in (False, True)
        }
        self._thread = threading.Thread(target=self._loop, name="slow tier", daemon=True)
        now = time.monotonic()
        span = len(self._servers) / FIRST_RUNS_PER_SECOND
        for watched in self._servers:
            first = now + span * _spread(watched.name)
            for task in watched.slow_tasks():
                self._due[watched.name, task.name] = first
                lane = (watched.name, task.collector.rounds)
                self._lanes.setdefault(lane, (watched, []))[1].append(task)
                self._next[lane] = first

    def start(self) -> None:
        """Start the clock."""
        self._thread.start()

    def stop(self) -> None:
        """Start nothing more."""
        self._stop.set()
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

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
                self._asked.update(((watched.name, False), (watched.name, True)))
        for lane, (watched, tasks) in self._lanes.items():
            asked = lane in self._asked
            if not asked and now < self._next[lane]:
                continue
            with self._lock:
                # What a busy lane has in hand may be the old server's; it is asked again when that is over.
                if lane in self._busy:
                    continue
            due = [
                task
                for task in tasks
                if self._due[watched.name, task.name] <= now or (asked and not watched.has_good(task))
            ]
            if due:
                self._start(watched, lane, due)
            self._asked.discard(lane)

    def _start(self, watched: Watched, lane: _Lane, due: list[Task]) -> None:
        token = object()
        with self._lock:
            self._busy[lane] = token
        try:
            self._pools[lane[1]].submit(self._run, watched, lane, due, token)
        except RuntimeError:
            # No thread can be had. It may be in the queue all the same; without its token it does nothing there.
            with self._lock:
                del self._busy[lane]
            raise

    def _run(self, watched: Watched, lane: _Lane, due: list[Task], token: object) -> None:
        with self._lock:
            if self._busy.get(lane) is not token:
                return
        try:
            watched.background(due)
        except Exception:
            log.exception("background work on %s", watched.name)
        finally:
            now = time.monotonic()
            for task in due:
                every = task.interval or 60.0
                key = (watched.name, task.name)
                behind = now - self._due[key]
                if behind >= 0:
                    self._due[key] += every * (1 + behind // every)
            self._next[lane] = min(self._due[watched.name, task.name] for task in self._lanes[lane][1])
            with self._lock:
                del self._busy[lane]


def _spread(name: str) -> float:
    """A number in [0, 1) that is the same for a name in every process."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
