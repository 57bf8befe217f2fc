"""A server under watch: its collectors at the scrape and in the background, and what they last said."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from exporter.config.model import ServerConfig
from exporter.declare import Collector
from exporter.engines.base import Engine, Session
from exporter.engines.deadline import Deadline
from exporter.facts import Facts
from exporter.failure import ClosedDatabase, Failure, Reason
from exporter.polling.backoff import Breaker
from exporter.polling.closed import Closed
from exporter.polling.flight import Flight
from exporter.polling.rounds import read_each_database
from exporter.polling.runs import SOFT, Reading, Task, finish, read
from exporter.polling.sessions import Sessions, Side
from exporter.polling.snapshot import Snapshot, State
from exporter.tailor import without

log = logging.getLogger(__name__)

# Background work is not under a scrape's deadline; its own keeps a dead path from holding a thread.
BACKGROUND_SECONDS = 60.0
# Of a server's series, what those of tables, indexes and other objects may be together.
OBJECTS_SHARE = 0.95
# A scrape may wait that long behind background work that has to borrow its session.
QUICK_SECONDS = 1.0
# Three intervals without a good run, and a slow collector's series are dropped.
STALE_INTERVALS = 3.0
# The second session is kept where some of its work comes again within this time.
SOON_SECONDS = 30.0

# What goes through databases together: the interval, and the database if it is only one.
_Kind = tuple[float, str]


def _holds(good: Snapshot, every: float, now: float) -> bool:
    return now - good.at <= STALE_INTERVALS * every


def _all(collectors: Iterable[Collector], config: ServerConfig) -> list[Collector]:
    """Those of its engine and those of its own queries, before which a metric of the same name steps aside."""
    replaced = frozenset(measure.name for own in config.own for measure in own.measures())
    declared = without((item for item in collectors if item.engine == config.engine), replaced)
    return [*declared, *config.own]


class Watched:
    """One server of the config.

    Attributes:
        config: Its configuration.
        engine: Its engine.
        sessions: Its sessions, and what they know of it.
        tasks: Its collectors, by name.
        scrapes: Flights so far.
        latest: The outcome of each task's last run.
        good: The last outcome of each slow task that had series.
        closed: Its databases that don't let us in.
        lock: Held by whoever has the main session: the flight that is under way, as a rule.
    """

    def __init__(self, config: ServerConfig, engine: Engine, collectors: Iterable[Collector]) -> None:
        self.config = config
        self.engine = engine
        self.sessions = Sessions(config, engine, self._forget)
        self.tasks = {item.name: Task.of(item, config) for item in _all(collectors, config)}
        self._intervals = {name: task.every for name, task in self.tasks.items()}
        self._soon_again = engine.tells_open_sessions and any(
            task.enabled and task.every is not None and task.every <= SOON_SECONDS and not task.collector.rounds
            for task in self.tasks.values()
        )
        self.scrapes = 0
        self.latest: dict[str, Snapshot] = {}
        self.good: dict[str, Snapshot] = {}
        self.closed = Closed(config.name)
        self.lock = threading.Lock()
        # What is kept of a server, and whose it is, change together.
        self._keeping = threading.RLock()
        self._breakers = {name: Breaker() for name in self.tasks}
        self._failed: dict[str, Snapshot] = {}
        self._noticed: set[str] = set()
        self._facts: Facts | None = None
        self._unread: dict[_Kind, frozenset[str]] = {}

    @property
    def name(self) -> str:
        """Its name."""
        return self.config.name

    def slow_tasks(self) -> list[Task]:
        """The tasks that run in the background."""
        return [task for task in self.tasks.values() if task.every is not None]

    def served(self, task: Task) -> Snapshot | None:
        """What a scrape shows of a slow task: its last good outcome until that is stale."""
        good = self.good.get(task.name)
        if good is None or task.every is None or not _holds(good, task.every, time.monotonic()):
            return None
        return good

    def has_good(self, task: Task) -> bool:
        """Whether a slow task's last run worked and still holds."""
        latest = self.latest.get(task.name)
        return task.name in self.good and latest is not None and latest.state is not State.FAILED

    def scrape(self, flight: Flight) -> None:
        """Run what runs at a scrape, ours first, then a user's, cheapest first.

        Each outcome is in the flight as soon as it is there. Not for two threads at once.
        """
        results = flight.results
        self.scrapes += 1
        tasks = [task for task in self.tasks.values() if task.every is None]
        if self.config.paused:
            self._record_all(tasks, Snapshot("", State.PAUSED, time.monotonic()), results)
            return
        try:
            session, facts = self._main(flight.deadline)
        except Failure as failure:
            # It may be up and not have told what has to be known of it.
            flight.answered = self.sessions.up is True
            self._record_all(tasks, Snapshot.failed("", failure, time.monotonic()), results)
            return
        flight.answered = True
        reconnected = False
        # A user's query may end the session that all of them share, so ours come before.
        for task in sorted(tasks, key=lambda task: (task.collector.user_defined, self._last_duration(task))):
            if not task.enabled:
                self._record(task, Snapshot(task.name, State.DISABLED, time.monotonic()), results)
                continue
            suspended = self._suspended(task)
            if suspended is not None:
                results[task.name] = suspended
                continue
            if flight.deadline.passed:
                late = Failure(Reason.TIMEOUT, "the scrape's time was over before its turn came")
                results[task.name] = Snapshot.failed(task.name, late, time.monotonic())
                continue
            started = time.monotonic()
            try:
                reading = read(task, session, facts, flight.deadline)
                self._keep(task, reading, self.sessions.generation, facts, results)
            except Failure as failure:
                self._record(task, task.fail(failure, started), results)
                self.sessions.cut(failure)
                try:
                    if reconnected:
                        # It answers every ping; but no scrape has the time for a third session.
                        raise
                    session, facts = self._main(flight.deadline)
                    reconnected = True
                except Failure as again:
                    left = [other for other in tasks if other.name not in results]
                    self._record_all(left, Snapshot.failed("", again, time.monotonic()), results)
                    return

    def background(self, tasks: Sequence[Task]) -> None:
        """Run slow tasks one after another on the second session; never raises."""
        if self.config.paused:
            self._record_all(tasks, Snapshot("", State.PAUSED, time.monotonic()))
            return
        waiting: list[Task] = []
        rounds: dict[_Kind, list[Task]] = {}
        for task in tasks:
            if not task.enabled:
                self._record(task, Snapshot(task.name, State.DISABLED, time.monotonic()))
            elif self._suspended(task) is not None:
                continue
            elif task.collector.rounds:
                rounds.setdefault((task.every or 0.0, task.collector.database or ""), []).append(task)
            else:
                waiting.append(task)
        for kind in sorted(rounds):
            self._round(kind, rounds[kind])
        while waiting:
            started = time.monotonic()
            try:
                with self.sessions.side(Deadline.after(BACKGROUND_SECONDS), keep=self._soon_again) as side:
                    while waiting and not side.session.closed:
                        self._run_slow(waiting.pop(0), side)
            except Failure as failure:
                if failure.reason is Reason.TOO_MANY_CONNECTIONS:
                    waiting = self._run_on_main(waiting)
                # Nobody lets us in: to try again for every task would be to wait for each.
                for task in waiting:
                    self._record(task, task.fail(failure, started))
                return

    def _main(self, deadline: Deadline) -> tuple[Session, Facts]:
        session, facts = self.sessions.main(deadline)
        if facts is not self._facts:
            self._facts = facts
            self._reprobe()
        return session, facts

    def _run_on_main(self, tasks: Iterable[Task]) -> list[Task]:
        """Run on the main session what is known to be quick, since a full server has no second one for us.

        Returns:
            The tasks that were not run.
        """
        left = []
        for task in tasks:
            last = self.latest.get(task.name)
            good = self.good.get(task.name)
            quick = (last is not None and last.state is State.UNSUPPORTED) or (
                good is not None and good.duration < QUICK_SECONDS
            )
            if not (quick and self.sessions.has_main and self.lock.acquire(timeout=QUICK_SECONDS)):
                left.append(task)
                continue
            started = time.monotonic()
            deadline = Deadline.after(task.timeout)
            try:
                session, facts = self._main(deadline)
                self._keep(task, read(task, session, facts, deadline), self.sessions.generation, facts)
            except Failure as failure:
                self._record(task, task.fail(failure, started))
                self.sessions.cut(failure)
            finally:
                self.lock.release()
        return left

    def _run_slow(self, task: Task, side: Side) -> None:
        # Each task has its own time: one that hangs does not use up the others'.
        deadline = Deadline.after(max(BACKGROUND_SECONDS, task.timeout))
        started = time.monotonic()
        try:
            self._keep(task, read(task, side.session, side.facts, deadline), side.generation, side.facts)
        except Failure as failure:
            self._record(task, task.fail(failure, started))
            side.session.close()
            if failure.reason is Reason.TIMEOUT:
                self.sessions.end(side.session)

    def _round(self, kind: _Kind, tasks: Sequence[Task]) -> None:
        """Run tasks of one interval in every database, or in the one that all of them name."""
        started = time.monotonic()
        try:
            databases, facts, generation = self._databases(tasks[0].collector.database)
        except Failure as failure:
            for task in tasks:
                self._record(task, task.fail(failure, started))
            return
        whole = Deadline.after(max(BACKGROUND_SECONDS, (tasks[0].every or 0.0) / 2))
        # Those that a run had no time for come first in the next, so that none is left out for ever.
        first = self._unread.get(kind, frozenset())
        done = read_each_database(
            tasks, databases, lambda name: self.sessions.side_in(name, whole), facts, whole, first=first
        )
        self._unread[kind] = done.unread
        named = tasks[0].collector.database is not None
        listed = self.closed.failures.keys() | databases.keys() if named else databases
        self.closed.update(listed, done.entered, done.closed)
        for task in tasks:
            try:
                self._keep(task, done.outcomes.pop(task.name), generation, facts)
            except Failure as failure:
                self._record(task, task.fail(failure, started))

    def _databases(self, named: str | None) -> tuple[dict[str, Failure | None], Facts, int]:
        """Where a round goes: to the one named, or to all that the config lets us look into; facts and generation."""
        deadline = Deadline.after(BACKGROUND_SECONDS)
        try:
            with self.sessions.side(deadline) as (session, facts, generation):
                return self._listed(named, session), facts, generation
        except ClosedDatabase:
            # The one that we are connected to lets no second session in. The others may.
            if not (self.sessions.has_main and self.lock.acquire(timeout=QUICK_SECONDS)):
                raise
        try:
            session, facts = self._main(Deadline.after(self.config.timeouts.statement))
            return self._listed(named, session), facts, self.sessions.generation
        finally:
            self.lock.release()

    def _listed(self, named: str | None, session: Session) -> dict[str, Failure | None]:
        if named is not None:
            return {named: None}
        found = self.engine.databases(session, Deadline.after(BACKGROUND_SECONDS))
        return {name: closed for name, closed in found.items() if self.config.databases.matches(name)}

    def _keep(
        self,
        task: Task,
        reading: Reading | Snapshot,
        generation: int,
        facts: Facts,
        results: dict[str, Snapshot] | None = None,
    ) -> None:
        """Make a reading an outcome, unless the server it was read from answers no more."""
        with self._keeping:
            if generation != self.sessions.generation:
                raise Failure(Reason.CONNECT, "another server answered meanwhile")
            if isinstance(reading, Reading):
                reading = finish(task, reading, self.config, facts, self._budget(task))
            self._record(task, reading, results)

    def _forget(self) -> None:
        """Drop what is of the server that answered before."""
        with self._keeping:
            self.good.clear()
            self.closed.forget()
            for breaker in self._breakers.values():
                breaker.succeeded()
            for task in self.tasks.values():
                if task.state is not None:
                    task.state.rebase()

    def _reprobe(self) -> None:
        """Give what the old facts ruled out another chance."""
        for name, last in list(self.latest.items()):
            if last.state is State.UNSUPPORTED or last.reason in SOFT:
                self._breakers[name].succeeded()

    def _last_duration(self, task: Task) -> float:
        last = self.latest.get(task.name)
        return last.duration if last else 0.0

    def _budget(self, task: Task) -> int:
        """Series that a task may have: what the others leave, and never so many that these get none."""
        others = self._series_of_all_but(task.name)
        most, whole = self.config.max_series // 2, self.config.max_series
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

    def _suspended(self, task: Task) -> Snapshot | None:
        """Why a task is left alone for now; that the server was away meanwhile is not the reason."""
        return self._failed.get(task.name) if self._breakers[task.name].remaining() > 0 else None

    def _record(self, task: Task, snapshot: Snapshot, results: dict[str, Snapshot] | None = None) -> None:
        self._tell(task, self.latest.get(task.name), snapshot)
        if snapshot.state is State.OK:
            self._breakers[task.name].succeeded()
        elif snapshot.reason is not None and not (snapshot.families or snapshot.told) and self.sessions.up is not False:
            # What failed in one database of several is not left alone, since it would take the others with it; and a
            # database that lets nobody in may do so again.
            self._breakers[task.name].failed()
            self._failed[task.name] = snapshot
        # What a scrape found is the flight's; to keep its text until the next one has found as much would cost double.
        self.latest[task.name] = snapshot if results is None else replace(snapshot, families=())
        if task.every is not None and (snapshot.state is State.OK or snapshot.families):
            self.good[task.name] = snapshot
        if results is not None:
            results[task.name] = snapshot

    def _record_all(self, tasks: Iterable[Task], like: Snapshot, results: dict[str, Snapshot] | None = None) -> None:
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

    def _tell(self, task: Task, before: Snapshot | None, now: Snapshot) -> None:
        """Log what is new: a failure once, and its end."""
        failure = self.sessions.failure
        # That the server is down has been said; every collector saying it again helps nobody.
        known = now.told or (self.sessions.up is False and failure is not None and now.reason == failure.reason)
        if now.reason is not None and not (before and before.reason == now.reason) and not known:
            level = logging.WARNING if now.state is State.FAILED else logging.INFO
            fix = f"; to mend it: {now.fix}" if now.fix else ""
            log.log(level, "%s: collector %s: %s: %s%s", self.name, task.name, now.reason, now.message, fix)
        elif now.state is State.UNSUPPORTED and task.by_name and task.name not in self._noticed:
            self._noticed.add(task.name)
            log.info("%s: collector %s is unsupported here: %s", self.name, task.name, now.message)
        elif before and before.state is State.FAILED and now.state is State.OK:
            log.info("%s: collector %s works again", self.name, task.name)

    def close(self) -> None:
        """Close its sessions."""
        self.sessions.close()
