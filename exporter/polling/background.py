"""Work in the background: slow collectors on the second session, and rounds through a server's databases."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

from exporter.config.model import ServerConfig
from exporter.engines.base import Engine, Session
from exporter.engines.deadline import Deadline
from exporter.facts import Facts
from exporter.failure import ClosedDatabase, Failure, Reason
from exporter.hooks import TakesTurns
from exporter.polling.closed import Closed
from exporter.polling.outcomes import Outcomes
from exporter.polling.rounds import read_each_database
from exporter.polling.runs import read
from exporter.polling.sessions import Sessions, Side
from exporter.polling.snapshot import Snapshot, State
from exporter.polling.tasks import Task

# Background work is not under a scrape's deadline; its own keeps a dead path from holding a thread.
BACKGROUND_SECONDS = 60.0
# A scrape may wait that long behind background work that has to borrow its session.
QUICK_SECONDS = 1.0
# The second session is kept where some of its work comes again within this time.
SOON_SECONDS = 30.0

# What goes through databases together: the interval, and the database if it is only one.
_Kind = tuple[float, str]
# The main session, for whoever holds its lock.
Main = Callable[[Deadline], tuple[Session, Facts]]


class Background:
    """The background work of one server.

    Attributes:
        closed: Its databases that don't let us in.
    """

    def __init__(
        self,
        config: ServerConfig,
        engine: Engine,
        tasks: Iterable[Task],
        sessions: Sessions,
        outcomes: Outcomes,
        main: Main,
        main_lock: threading.Lock,
    ) -> None:
        self.closed = Closed(config.name)
        self._config = config
        self._engine = engine
        self._sessions = sessions
        self._outcomes = outcomes
        self._main = main
        self._main_lock = main_lock
        self._unread: dict[_Kind, frozenset[str]] = {}
        running = [task for task in tasks if task.enabled]
        self._standing_in = [(task, task.state) for task in running if isinstance(task.state, TakesTurns)]
        # Where samples have a session all the time, a third one all the time would leave none of the account's for
        # `check` beside us.
        self._soon_again = (
            engine.tells_open_sessions
            and not any(task.samples is not None for task in running)
            and any(
                task.every is not None and task.every <= SOON_SECONDS and not task.collector.rounds for task in running
            )
        )

    def run(self, tasks: Sequence[Task]) -> None:
        """Run slow tasks one after another on the second session; never raises."""
        if self._config.paused:
            self._outcomes.record_all(tasks, Snapshot("", State.PAUSED, time.monotonic()))
            return
        waiting: list[Task] = []
        rounds: dict[_Kind, list[Task]] = {}
        for task in tasks:
            if not task.enabled:
                self._outcomes.record(task, Snapshot(task.name, State.DISABLED, time.monotonic()))
            elif self._outcomes.suspended(task) is not None:
                continue
            elif task.collector.rounds:
                rounds.setdefault((task.every or 0.0, task.collector.database or ""), []).append(task)
            else:
                waiting.append(task)
        for kind in sorted(rounds):
            self._round(kind, rounds[kind])
        if waiting:
            self._one_by_one(waiting)
            self._one_by_one(self._overtaken({task.name for task in tasks}))

    def _overtaken(self, done: AbstractSet[str]) -> list[Task]:
        """Tasks whose turn it is now, or is no more: shown as of their last run, there would be two sources or none."""
        return [
            task
            for task, state in self._standing_in
            if task.name not in done and state.overtaken and self._outcomes.suspended(task) is None
        ]

    def _one_by_one(self, waiting: list[Task]) -> None:
        while waiting:
            started = time.monotonic()
            try:
                with self._sessions.side(Deadline.after(BACKGROUND_SECONDS), keep=self._soon_again) as side:
                    while waiting and not side.session.closed:
                        self._run_slow(waiting.pop(0), side)
            except Failure as failure:
                if failure.reason is Reason.TOO_MANY_CONNECTIONS:
                    waiting = self._run_on_main(waiting)
                # Nobody lets us in: to try again for every task would be to wait for each.
                for task in waiting:
                    self._outcomes.record(task, task.fail(failure, started))
                return

    def _run_on_main(self, tasks: Iterable[Task]) -> list[Task]:
        """Run on the main session what is known to be quick, since a full server has no second one for us.

        Returns:
            The tasks that were not run.
        """
        left = []
        for task in tasks:
            last = self._outcomes.latest.get(task.name)
            good = self._outcomes.good.get(task.name)
            quick = (last is not None and last.state is State.UNSUPPORTED) or (
                good is not None and good.duration < QUICK_SECONDS
            )
            if not (quick and self._sessions.has_main and self._main_lock.acquire(timeout=QUICK_SECONDS)):
                left.append(task)
                continue
            started = time.monotonic()
            deadline = Deadline.after(task.timeout)
            try:
                session, facts = self._main(deadline)
                self._outcomes.keep(task, read(task, session, facts, deadline), self._sessions.generation, facts)
            except Failure as failure:
                self._outcomes.record(task, task.fail(failure, started))
                self._sessions.cut(failure)
            finally:
                self._main_lock.release()
        return left

    def _run_slow(self, task: Task, side: Side) -> None:
        # Each task has its own time: one that hangs does not use up the others'.
        deadline = Deadline.after(max(BACKGROUND_SECONDS, task.timeout))
        started = time.monotonic()
        try:
            self._outcomes.keep(task, read(task, side.session, side.facts, deadline), side.generation, side.facts)
        except Failure as failure:
            self._outcomes.record(task, task.fail(failure, started))
            side.session.close()
            if failure.reason is Reason.TIMEOUT:
                self._sessions.end(side.session)

    def _round(self, kind: _Kind, tasks: Sequence[Task]) -> None:
        """Run tasks of one interval in every database, or in the one that all of them name."""
        started = time.monotonic()
        try:
            databases, facts, generation = self._databases(tasks[0].collector.database)
        except Failure as failure:
            for task in tasks:
                self._outcomes.record(task, task.fail(failure, started))
            return
        whole = Deadline.after(max(BACKGROUND_SECONDS, (tasks[0].every or 0.0) / 2))
        # Those that a run had no time for come first in the next, so that none is left out for ever.
        first = self._unread.get(kind, frozenset())
        done = read_each_database(
            tasks, databases, lambda name: self._sessions.side_in(name, whole), facts, whole, first=first
        )
        self._unread[kind] = done.unread
        if generation == self._sessions.generation:
            named = tasks[0].collector.database is not None
            listed = self.closed.failures.keys() | databases.keys() if named else databases
            self.closed.update(listed, done.entered, done.closed)
        for task in tasks:
            try:
                self._outcomes.keep(task, done.outcomes.pop(task.name), generation, facts)
            except Failure as failure:
                self._outcomes.record(task, task.fail(failure, started))

    def _databases(self, named: str | None) -> tuple[dict[str, Failure | None], Facts, int]:
        """Where a round goes: to the one named, or to all that the config lets us look into; facts and generation."""
        deadline = Deadline.after(BACKGROUND_SECONDS)
        try:
            with self._sessions.side(deadline) as (session, facts, generation):
                return self._listed(named, session), facts, generation
        except ClosedDatabase as closed:
            # Is the one full that we are connected to, others may let us in; with a wrong password nobody will.
            full = closed.reason is Reason.TOO_MANY_CONNECTIONS
            if not (full and self._sessions.has_main and self._main_lock.acquire(timeout=QUICK_SECONDS)):
                raise
        try:
            session, facts = self._main(Deadline.after(self._config.timeouts.statement))
            return self._listed(named, session), facts, self._sessions.generation
        finally:
            self._main_lock.release()

    def _listed(self, named: str | None, session: Session) -> dict[str, Failure | None]:
        if named is not None:
            return {named: None}
        found = self._engine.databases(session, Deadline.after(BACKGROUND_SECONDS))
        return {name: closed for name, closed in found.items() if self._config.databases.matches(name)}
