"""What a server's collectors last said, what is shown of it, and which of them are left alone for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from exporter.config.model import ServerConfig
from exporter.declare import STALE_INTERVALS
from exporter.facts import Facts
from exporter.failure import Failure, Reason
from exporter.polling.backoff import Breaker
from exporter.polling.runs import Reading, rendered, taken_in
from exporter.polling.sessions import Sessions
from exporter.polling.snapshot import Snapshot, State
from exporter.polling.tasks import SOFT, Task

log = logging.getLogger(__name__)

# Of a server's series, what those of tables, indexes and other objects may be together.
OBJECTS_SHARE = 0.95


class Outcomes:
    """The outcomes of one server's tasks.

    Attributes:
        latest: The outcome of each task's last run.
        good: The last outcome of each slow task that had series.
    """

    def __init__(self, config: ServerConfig, tasks: Mapping[str, Task], sessions: Sessions) -> None:
        self.latest: dict[str, Snapshot] = {}
        self.good: dict[str, Snapshot] = {}
        self._config = config
        self._tasks = tasks
        self._sessions = sessions
        self._intervals = {name: task.interval for name, task in tasks.items()}
        # What is kept of a server, and whose it is, change together, and what is rendered has the room that all others
        # leave: that is one lock, under which scrapes take in what they read, too. What the background reads may take
        # its time to be taken in, and has a lock of its own before that one: no scrape waits for it.
        self._taking_in = threading.Lock()
        self._keeping = threading.RLock()
        self._breakers = {name: Breaker() for name in tasks}
        self._failed: dict[str, Snapshot] = {}
        self._noticed: set[str] = set()

    def served(self, task: Task) -> Snapshot | None:
        """What a scrape shows of a slow task: its last good outcome until that is stale."""
        # By the interval that it was taken with: while the next run is taken in, its pace may be another.
        good, every = self.good.get(task.name), self._intervals[task.name]
        if good is None or every is None or not _holds(good, every, time.monotonic()):
            return None
        return good

    def has_good(self, task: Task) -> bool:
        """Whether a slow task's last run worked and still holds."""
        latest = self.latest.get(task.name)
        return task.name in self.good and latest is not None and latest.state is not State.FAILED

    def keep(
        self,
        task: Task,
        reading: Reading | Snapshot,
        generation: int,
        facts: Facts,
        results: dict[str, Snapshot] | None = None,
    ) -> None:
        """Make a reading an outcome, unless the server it was read from answers no more."""
        with self._keeping if task.every is None else self._taking_in:
            if generation != self._sessions.generation:
                raise Failure(Reason.CONNECT, "another server answered meanwhile")
            budget = self.budget(task)
            if isinstance(reading, Reading):
                reading = taken_in(task, reading, self._config, facts, budget)
            with self._keeping:
                if isinstance(reading, Reading):
                    # Meanwhile a scrape may have taken some of the room.
                    budget = budget if task.every is None else self.budget(task)
                    reading = rendered(task, reading, self._config, facts, budget)
                self.record(task, reading, results)

    def record(self, task: Task, snapshot: Snapshot, results: dict[str, Snapshot] | None = None) -> None:
        """Keep an outcome; with `results`, those of a flight, its text is theirs alone."""
        before = self.latest.get(task.name)
        self._tell(task, before, snapshot)
        if snapshot.doubtful and not (before and before.doubtful):
            # Once, since what the facts don't tell either is not to be learnt by asking for them at each scrape.
            self._sessions.doubt()
        if snapshot.state is State.OK:
            self._breakers[task.name].succeeded()
        elif snapshot.reason and not (snapshot.families or snapshot.told) and self._sessions.up is not False:
            # What failed in one database of several is not left alone, since it would take the others with it; and a
            # database that lets nobody in may do so again.
            self._breakers[task.name].failed()
            self._failed[task.name] = snapshot
        # What a scrape found is the flight's; to keep its text until the next one has found as much would cost double.
        self._intervals[task.name] = task.interval
        self.latest[task.name] = snapshot if results is None else replace(snapshot, families=())
        if task.every is not None and (snapshot.state is State.OK or snapshot.families):
            self.good[task.name] = snapshot
        if results is not None:
            results[task.name] = snapshot

    def record_all(self, tasks: Iterable[Task], like: Snapshot, results: dict[str, Snapshot] | None = None) -> None:
        """Keep one and the same outcome of several tasks."""
        for task in tasks:
            outcome = Snapshot(
                task.name,
                State.DISABLED if not task.enabled else like.state,
                like.at,
                reason=like.reason if task.enabled else None,
                message=like.message if task.enabled else "",
                fix=like.fix,
            )
            self.latest[task.name] = outcome
            if results is not None:
                results[task.name] = outcome

    def suspended(self, task: Task) -> Snapshot | None:
        """Why a task is left alone for now; that the server was away meanwhile is not the reason."""
        return self._failed.get(task.name) if self._breakers[task.name].remaining() > 0 else None

    def forget(self) -> None:
        """Drop what is of the server that answered before."""
        with self._taking_in, self._keeping:
            self.good.clear()
            for breaker in self._breakers.values():
                breaker.succeeded()
            for task in self._tasks.values():
                if task.state is not None:
                    task.state.rebase()
                if task.pace is not None:
                    task.pace.rebase()

    def reprobe(self) -> None:
        """Give what the old facts ruled out another chance."""
        for name, last in list(self.latest.items()):
            if last.state is State.UNSUPPORTED or last.reason in SOFT:
                self._breakers[name].succeeded()

    def last_duration(self, task: Task) -> float:
        """Seconds that a task's last run took."""
        last = self.latest.get(task.name)
        return last.duration if last else 0.0

    def budget(self, task: Task) -> int:
        """Series that a task may have: what the others leave, and never so many that these get none."""
        others = self._series_of_all_but(task.name)
        most, whole = self._config.max_series // 2, self._config.max_series
        if task.collector.share is not None:
            most, whole = int(whole * task.collector.share), int(whole * OBJECTS_SHARE)
        return max(0, min(most, whole - others))

    def _series_of_all_but(self, name: str) -> int:
        # For each of all tasks this looks at all others, so it asks as little as it can: through `served` it took
        # 1.2 ms of a scrape.
        now, series = time.monotonic(), 0
        for other, every in self._intervals.items():
            shown = self.latest.get(other) if every is None else self.good.get(other)
            if shown is not None and other != name and (every is None or _holds(shown, every, now)):
                series += shown.series
        return series

    def _tell(self, task: Task, before: Snapshot | None, now: Snapshot) -> None:
        """Log what is new: a failure once, and its end."""
        failure = self._sessions.failure
        # That the server is down has been said; every collector saying it again helps nobody.
        known = now.told or (self._sessions.up is False and failure is not None and now.reason == failure.reason)
        if now.reason is not None and not (before and before.reason == now.reason) and not known:
            level = logging.WARNING if now.state is State.FAILED else logging.INFO
            fix = f"; to mend it: {now.fix}" if now.fix else ""
            log.log(level, "%s: collector %s: %s: %s%s", self._config.name, task.name, now.reason, now.message, fix)
        elif now.state is State.UNSUPPORTED and task.by_name and task.name not in self._noticed:
            self._noticed.add(task.name)
            log.info("%s: collector %s is unsupported here: %s", self._config.name, task.name, now.message)
        elif before and before.state is State.FAILED and now.state is State.OK:
            log.info("%s: collector %s works again", self._config.name, task.name)


def _holds(good: Snapshot, every: float, now: float) -> bool:
    return now - good.at <= STALE_INTERVALS * every
