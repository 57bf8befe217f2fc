"""A server under watch: its two sessions, its facts, and what its collectors last said."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from exporter.config.model import ServerConfig
from exporter.declare import Collector
from exporter.engines.base import Engine, Session
from exporter.engines.deadline import Deadline
from exporter.facts import Facts, Identity
from exporter.failure import Failure, Reason
from exporter.polling.backoff import Backoff, Breaker
from exporter.polling.flight import Flight
from exporter.polling.runs import SOFT, Cost, Task, budgets, run, run_each_database
from exporter.polling.snapshot import Snapshot, State

log = logging.getLogger(__name__)

# A privilege granted or an extension created is noticed within this time.
FACTS_SECONDS = 300.0
# A backend's caches only grow, so a session is not kept for ever.
SESSION_SECONDS = (1800.0, 3600.0)
# Background work is not under a scrape's deadline; its own keeps a dead path from holding a thread.
BACKGROUND_SECONDS = 60.0
# Three intervals without a good run, and a slow collector's series are dropped.
STALE_INTERVALS = 3.0
_AUTH_BACKOFF_SECONDS = 60.0
_CONNECT_BACKOFF_SECONDS = 5.0


class _TooSoon(Failure):
    """The server failed a moment ago and is left alone for now."""

    @staticmethod
    def after(failure: Failure) -> _TooSoon:
        """The same words in an exception of its own: one that is raised again and again keeps every traceback."""
        return _TooSoon(failure.reason, failure.message, fix=failure.fix, broken=True)


class Watched:
    """One server of the config.

    Attributes:
        config: Its configuration.
        tasks: Its collectors, by name.
        facts: What is known of it; None before the first contact and while nothing has answered.
        up: Whether the last connect and ping worked; None before the first.
        failure: Why not.
        identity_changes: Times that another server answered.
        scrapes: Flights so far.
        upkeep: What connecting, pinging and learning have cost.
        latest: The outcome of each task's last run.
        good: The last outcome of each slow task that had series.
    """

    def __init__(self, config: ServerConfig, engine: Engine, collectors: Iterable[Collector]) -> None:
        self.config = config
        self.engine = engine
        self.tasks = {item.name: Task.of(item, config) for item in collectors if item.engine == engine.name}
        self.facts: Facts | None = None
        self.up: bool | None = None
        self.failure: Failure | None = None
        self.identity_changes = 0
        self.scrapes = 0
        self.upkeep = Cost()
        self.latest: dict[str, Snapshot] = {}
        self.good: dict[str, Snapshot] = {}
        self.changed = threading.Event()
        self.lock = threading.Lock()
        self._side_lock = threading.Lock()
        self._main: Session | None = None
        self._main_until = 0.0
        self._learned = 0.0
        self._open: set[int] = set()
        self._backoff = Backoff(0.5, _CONNECT_BACKOFF_SECONDS)
        self._breakers = {name: Breaker() for name in self.tasks}

    # -- what the page asks ------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its name."""
        return self.config.name

    @property
    def connections(self) -> int:
        """Sessions that are open now."""
        return len(self._open)

    @property
    def tls(self) -> str | None:
        """Protocol and cipher of the main session, None if it is not encrypted or not open."""
        return self._main.tls if self._main is not None else None

    def slow_tasks(self) -> list[Task]:
        """The tasks that run in the background."""
        return [task for task in self.tasks.values() if task.every is not None]

    def served(self, task: Task) -> Snapshot | None:
        """What a scrape shows of a slow task: its last good outcome until that is stale."""
        good = self.good.get(task.name)
        if good is None or task.every is None or time.monotonic() - good.at > STALE_INTERVALS * task.every:
            return None
        return good

    def has_good(self, task: Task) -> bool:
        """Whether a slow task's last run worked and still holds."""
        latest = self.latest.get(task.name)
        return task.name in self.good and latest is not None and latest.state is not State.FAILED

    # -- the scrape --------------------------------------------------------------------------------

    def scrape(self, flight: Flight) -> None:
        """Run what runs at a scrape, cheapest first; each outcome is in the flight as soon as it is there.

        Not for two threads at once.
        """
        deadline, results = flight.deadline, flight.results
        self.scrapes += 1
        tasks = [task for task in self.tasks.values() if task.every is None]
        if self.config.paused:
            self._record_all(tasks, results, Snapshot("", State.PAUSED, time.monotonic()))
            return
        try:
            session, facts = self.ready(deadline)
        except Failure as failure:
            self._record_all(tasks, results, Snapshot.failed("", failure, time.monotonic()))
            return
        flight.answered = True
        reconnected = False
        for task in sorted(tasks, key=self._last_duration):
            if not task.enabled:
                self._record(task, Snapshot(task.name, State.DISABLED, time.monotonic()), results)
                continue
            suspended = self._suspended(task)
            if suspended is not None:
                results[task.name] = suspended
                continue
            if deadline.passed:
                late = Failure(Reason.TIMEOUT, "the scrape's time was over before its turn came")
                results[task.name] = Snapshot.failed(task.name, late, time.monotonic())
                continue
            started = time.monotonic()
            try:
                self._record(task, run(task, session, self.config, facts, deadline, self._budget(task)), results)
            except Failure as failure:
                self._record(task, task.fail(failure, started), results)
                self._close_main()
                if reconnected:
                    self._down(failure)
                    self._record_missing(tasks, results, failure)
                    return
                reconnected = True
                try:
                    session, facts = self.ready(deadline)
                except Failure as again:
                    self._record_missing(tasks, results, again)
                    return

    def ready(self, deadline: Deadline) -> tuple[Session, Facts]:
        """The main session, after a ping that tells who answers.

        Raises:
            Failure: Nobody does; the server counts as down from here on.
        """
        try:
            return self._ready(deadline)
        except _TooSoon:
            # Nothing was tried, so nothing failed: the wait goes on and does not start over.
            raise
        except Failure as failure:
            self._close_main()
            self._down(failure)
            raise

    def _ready(self, deadline: Deadline) -> tuple[Session, Facts]:
        if self._main is not None and (self._main.closed or time.monotonic() > self._main_until):
            self._close_main()
        if self._main is not None:
            try:
                identity = self._identify(self._main, deadline)
            except Failure as failure:
                self._close_main()
                # A silent server stays silent to a second try; a session that was cut off deserves one.
                if failure.reason is Reason.TIMEOUT:
                    raise
            else:
                return self._main, self._meet(self._main, identity, deadline)
        self._wait_for_turn(deadline)
        session = self._connect(deadline)
        self._main = session
        self._main_until = time.monotonic() + random.uniform(*SESSION_SECONDS)  # noqa: S311 - spreads load
        return session, self._meet(session, self._identify(session, deadline), deadline)

    def _wait_for_turn(self, deadline: Deadline) -> None:
        wait = self._backoff.remaining()
        if wait <= 0:
            return
        if self.failure is not None and wait > deadline.remaining() / 2:
            raise _TooSoon.after(self.failure)
        time.sleep(wait)

    def _connect(self, deadline: Deadline, database: str | None = None) -> Session:
        started = time.monotonic()
        try:
            session = self.engine.connect(
                self.config,
                deadline.within(self.config.timeouts.connect),
                database=database,
                facts=self.facts,
            )
        finally:
            self.upkeep.seconds += time.monotonic() - started
        self._open.add(id(session))
        return session

    def _disconnect(self, session: Session) -> None:
        session.close()
        self._open.discard(id(session))

    def _close_main(self) -> None:
        if self._main is not None:
            self._disconnect(self._main)
            self._main = None

    def _identify(self, session: Session, deadline: Deadline) -> Identity:
        started = time.monotonic()
        try:
            # As long as a collector may take, so that the server's own limit need not be set anew for each.
            return self.engine.identify(session, deadline.within(self.config.timeouts.statement))
        finally:
            self.upkeep.queries += 1
            self.upkeep.seconds += time.monotonic() - started

    def _meet(self, session: Session, identity: Identity, deadline: Deadline) -> Facts:
        """Compare who answers with whom we knew; learn the facts if they differ or are old."""
        known = self.facts
        same = known is not None and known.identity.same_server(identity)
        if known is not None and same and time.monotonic() - self._learned < FACTS_SECONDS:
            facts = known
        else:
            if known is not None and not same:
                self._forget(known.identity, identity)
            started = time.monotonic()
            try:
                facts = self.engine.learn(
                    session,
                    identity,
                    self.config,
                    deadline.within(self.config.timeouts.statement),
                )
            finally:
                self.upkeep.queries += 1
                self.upkeep.seconds += time.monotonic() - started
            self._learned = time.monotonic()
            self.facts = facts
            self._reprobe()
        if not same or self.up is False:
            self.changed.set()
        if self.up is not True:
            log.info("%s is up: %s %s, %s", self.name, facts.flavor, facts.version_text, facts.role)
        self.up = True
        self.failure = None
        self._backoff.succeeded()
        return facts

    def _forget(self, old: Identity, new: Identity) -> None:
        another = old.system != new.system or old.role != new.role or new.start_time < old.start_time - 2.5
        if another:
            self.identity_changes += 1
            log.warning(
                "%s: another server answers, or it changed its role from %s to %s", self.name, old.role, new.role
            )
        else:
            log.info("%s was restarted", self.name)
        self.facts = None
        self.good.clear()
        for breaker in self._breakers.values():
            breaker.succeeded()
        for task in self.tasks.values():
            if task.state is not None:
                task.state.rebase()

    def _reprobe(self) -> None:
        """Give what the old facts ruled out another chance."""
        for name, last in self.latest.items():
            if last.state is State.UNSUPPORTED or last.reason in SOFT:
                self._breakers[name].succeeded()

    def _down(self, failure: Failure) -> None:
        if self.up is not False or self.failure is None or self.failure.reason != failure.reason:
            log.warning("%s is down: %s: %s", self.name, failure.reason, failure.message)
        self.up = False
        self.failure = failure
        self._backoff.failed(_AUTH_BACKOFF_SECONDS if failure.reason is Reason.AUTH else None)

    # -- the slow tier -----------------------------------------------------------------------------

    def background(self, tasks: Sequence[Task]) -> None:
        """Run slow tasks one after another on a second, short-lived session; never raises."""
        deadline = Deadline.after(BACKGROUND_SECONDS)
        if self.config.paused:
            self._record_all(tasks, {}, Snapshot("", State.PAUSED, time.monotonic()))
            return
        with self._side_lock:
            session: Session | None = None
            refused: Failure | None = None
            try:
                for task in tasks:
                    if not task.enabled:
                        self._record(task, Snapshot(task.name, State.DISABLED, time.monotonic()))
                        continue
                    if self._suspended(task) is not None:
                        continue
                    started = time.monotonic()
                    # Each task has its own time: one that hangs does not use up the others'.
                    deadline = Deadline.after(BACKGROUND_SECONDS)
                    try:
                        if refused is not None:
                            raise _TooSoon.after(refused)
                        if session is not None and session.closed:
                            self._disconnect(session)
                            session = None
                        if session is None:
                            session, facts = self._side(deadline)
                        self._record(task, self._run_slow(task, session, facts, deadline))
                    except Failure as failure:
                        self._record(task, task.fail(failure, started))
                        if session is None:
                            # Nobody lets us in: to try again for every task would be to wait for each.
                            refused = failure
                        else:
                            self._disconnect(session)
                            session = None
            finally:
                if session is not None:
                    self._disconnect(session)

    def _side(self, deadline: Deadline) -> tuple[Session, Facts]:
        if self._backoff.remaining() > 0 and self.failure is not None:
            raise _TooSoon.after(self.failure)
        session = self._connect(deadline)
        try:
            identity = self._identify(session, deadline)
            facts = self.facts
            if facts is None:
                facts = self.engine.learn(session, identity, self.config, deadline)
                if self.facts is None:
                    self.facts, self._learned = facts, time.monotonic()
            elif not facts.identity.same_server(identity):
                raise Failure(Reason.CONNECT, "another server answers; the next scrape will learn which")
        except Failure:
            self._disconnect(session)
            raise
        return session, facts

    def _run_slow(self, task: Task, session: Session, facts: Facts, deadline: Deadline) -> Snapshot:
        budget = self._budget(task)
        if not task.collector.each_database:
            return run(task, session, self.config, facts, deadline, budget)
        databases = [name for name in self.engine.databases(session, deadline) if self.config.databases.matches(name)]
        # The side session steps aside, so that there is never a third one.
        self._disconnect(session)

        every = task.every or BACKGROUND_SECONDS
        whole = Deadline.after(max(BACKGROUND_SECONDS, every / 2))

        @contextmanager
        def session_in(database: str) -> Iterator[Session]:
            there = self._connect(whole, database)
            try:
                yield there
            finally:
                self._disconnect(there)

        return run_each_database(task, databases, session_in, self.config, facts, whole, budget)

    # -- bookkeeping -------------------------------------------------------------------------------

    def _last_duration(self, task: Task) -> float:
        last = self.latest.get(task.name)
        return last.duration if last else 0.0

    def _budget(self, task: Task) -> int:
        used = {name: snapshot.series for name, snapshot in self.latest.items()}
        return budgets(self.tasks, self.config.max_series, used, task.name)

    def _suspended(self, task: Task) -> Snapshot | None:
        wait = self._breakers[task.name].remaining()
        last = self.latest.get(task.name)
        return last if wait > 0 else None

    def _record(self, task: Task, snapshot: Snapshot, results: dict[str, Snapshot] | None = None) -> None:
        before = self.latest.get(task.name)
        failed_now = snapshot.reason is not None and not (before and before.reason == snapshot.reason)
        # That the server is down has been said; every collector saying it again helps nobody.
        known = self.up is False and self.failure is not None and snapshot.reason == self.failure.reason
        if failed_now and not known:
            level = logging.WARNING if snapshot.state is State.FAILED else logging.INFO
            fix = f"; to mend it: {snapshot.fix}" if snapshot.fix else ""
            log.log(level, "%s: collector %s: %s: %s%s", self.name, task.name, snapshot.reason, snapshot.message, fix)
        elif before and before.state is State.FAILED and snapshot.state is State.OK:
            log.info("%s: collector %s works again", self.name, task.name)
        if snapshot.state is State.OK:
            self._breakers[task.name].succeeded()
        elif snapshot.reason is not None and not snapshot.families and self.up is not False:
            # What failed in one database of several is not left alone, since it would take the others with it.
            self._breakers[task.name].failed()
        self.latest[task.name] = snapshot
        if task.every is not None and (snapshot.state is State.OK or snapshot.families):
            self.good[task.name] = snapshot
        if results is not None:
            results[task.name] = snapshot

    def _record_all(self, tasks: Iterable[Task], results: dict[str, Snapshot], like: Snapshot) -> None:
        for task in tasks:
            outcome = Snapshot(
                task.name,
                State.DISABLED if not task.enabled else like.state,
                like.at,
                reason=like.reason if task.enabled else None,
                message=like.message if task.enabled else "",
                fix=like.fix,
            )
            self.latest[task.name] = results[task.name] = outcome

    def _record_missing(self, tasks: Iterable[Task], results: dict[str, Snapshot], failure: Failure) -> None:
        left = [task for task in tasks if task.name not in results]
        self._record_all(left, results, Snapshot.failed("", failure, time.monotonic()))

    def close(self) -> None:
        """Close the main session; the side one closes itself."""
        self._close_main()
