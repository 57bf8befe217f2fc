"""A server under watch: its collectors, and what runs at a scrape."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence

from exporter.config.model import ServerConfig
from exporter.declare import Collector
from exporter.engines.base import Engine, Session
from exporter.engines.deadline import Deadline
from exporter.facts import Facts
from exporter.failure import Failure, Reason
from exporter.polling.background import Background
from exporter.polling.closed import Closed
from exporter.polling.flight import Flight
from exporter.polling.outcomes import Outcomes
from exporter.polling.runs import read
from exporter.polling.sampler import Sampler
from exporter.polling.sessions import Sessions
from exporter.polling.snapshot import Snapshot, State
from exporter.polling.tasks import Task
from exporter.subjects.logs.choice import counting_slow
from exporter.subjects.statements.following import following
from exporter.tailor import without

# To connect anew in less would fail for our own haste.
_RECONNECT_SECONDS = 0.5


def _all(collectors: Iterable[Collector], config: ServerConfig) -> list[Collector]:
    """Those of its engine and those of its own queries, before which a metric of the same name steps aside."""
    replaced = frozenset(measure.name for own in config.own for measure in own.measures())
    linked = counting_slow(following(collectors), config)
    declared = without((item for item in linked if item.engine == config.engine), replaced)
    return [*declared, *config.own]


class Watched:
    """One server of the config.

    Attributes:
        config: Its configuration.
        engine: Its engine.
        sessions: Its sessions, and what they know of it.
        tasks: Its collectors, by name.
        outcomes: What they last said.
        sampler: Takes the samples of the collector that is sampled; None if it is switched off, or all work is.
        scrapes: Flights so far.
        lock: Held by whoever has the main session: the flight that is under way, as a rule.
    """

    def __init__(self, config: ServerConfig, engine: Engine, collectors: Iterable[Collector]) -> None:
        self.config = config
        self.engine = engine
        self.sessions = Sessions(config, engine, self._forget)
        self.tasks = {item.name: Task.of(item, config) for item in _all(collectors, config)}
        self.outcomes = Outcomes(config, self.tasks, self.sessions)
        self.scrapes = 0
        self.lock = threading.Lock()
        self.sampler = next(
            (
                Sampler(task, task.samples, config, self.sessions)
                for task in self.tasks.values()
                if task.samples is not None and task.enabled and not config.paused
            ),
            None,
        )
        if self.sampler is not None:
            self.sessions.end_with(self.sampler.make_room)
        self._background = Background(
            config, engine, self.tasks.values(), self.sessions, self.outcomes, self._main, self.lock
        )
        self._facts: Facts | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.config.name

    @property
    def closed(self) -> Closed:
        """Its databases that don't let us in."""
        return self._background.closed

    @property
    def latest(self) -> Mapping[str, Snapshot]:
        """The outcome of each task's last run."""
        return self.outcomes.latest

    @property
    def good(self) -> Mapping[str, Snapshot]:
        """The last outcome of each slow task that had series."""
        return self.outcomes.good

    def served(self, task: Task) -> Snapshot | None:
        """What a scrape shows of a slow task: its last good outcome until that is stale."""
        return self.outcomes.served(task)

    def has_good(self, task: Task) -> bool:
        """Whether a slow task's last run worked and still holds."""
        return self.outcomes.has_good(task)

    def slow_tasks(self) -> list[Task]:
        """The tasks that run in the background."""
        return [task for task in self.tasks.values() if task.every is not None]

    def scrape(self, flight: Flight) -> None:
        """Run what runs at a scrape, ours first, then a user's, cheapest first.

        Each outcome is in the flight as soon as it is there. Not for two threads at once.
        """
        results, outcomes = flight.results, self.outcomes
        self.scrapes += 1
        tasks = [task for task in self.tasks.values() if task.every is None]
        if self.config.paused:
            outcomes.record_all(tasks, Snapshot("", State.PAUSED, time.monotonic()), results)
            return
        try:
            session, facts = self._main(flight.deadline)
        except Failure as failure:
            # It may be up and not have told what has to be known of it.
            flight.answered = self.sessions.up is True
            outcomes.record_all(tasks, Snapshot.failed("", failure, time.monotonic()), results)
            return
        flight.answered = True
        reconnected = over = False
        # A user's query may end the session that all of them share, so ours come before.
        for task in sorted(tasks, key=lambda task: (task.collector.user_defined, outcomes.last_duration(task))):
            if not task.enabled:
                outcomes.record(task, Snapshot(task.name, State.DISABLED, time.monotonic()), results)
                continue
            if self.sampler is not None and task is self.sampler.task:
                outcomes.keep(task, self.sampler.reading(facts), self.sessions.generation, facts, results)
                continue
            suspended = outcomes.suspended(task)
            if suspended is not None:
                results[task.name] = suspended
                continue
            if over or flight.deadline.passed:
                late = Failure(Reason.TIMEOUT, "the scrape's time was over before its turn came")
                results[task.name] = Snapshot.failed(task.name, late, time.monotonic())
                continue
            started = time.monotonic()
            try:
                reading = read(task, session, facts, flight.deadline)
                outcomes.keep(task, reading, self.sessions.generation, facts, results)
            except Failure as failure:
                outcomes.record(task, task.fail(failure, started), results)
                self.sessions.cut(failure)
                if failure.reason is Reason.TIMEOUT and flight.deadline.remaining() < _RECONNECT_SECONDS:
                    # It has answered, and is not down because a statement used up the scrape's time.
                    over = True
                    continue
                try:
                    if reconnected:
                        # It answers every ping; but no scrape has the time for a third session.
                        raise
                    session, facts = self._main(flight.deadline)
                    reconnected = True
                except Failure as again:
                    left = [other for other in tasks if other.name not in results]
                    outcomes.record_all(left, Snapshot.failed("", again, time.monotonic()), results)
                    return

    def background(self, tasks: Sequence[Task]) -> None:
        """Run slow tasks one after another on the second session; never raises."""
        self._background.run(tasks)

    def sample(self) -> None:
        """Take a sample and note what comes of it, where nobody else takes them."""
        facts = self.sessions.facts
        if self.sampler is not None and facts is not None:
            self.sampler.sample()
            self.outcomes.keep(self.sampler.task, self.sampler.reading(facts), self.sessions.generation, facts)

    def _main(self, deadline: Deadline) -> tuple[Session, Facts]:
        session, facts = self.sessions.main(deadline)
        if facts is not self._facts:
            self._facts = facts
            self.outcomes.reprobe()
        return session, facts

    def _forget(self) -> None:
        """Drop what is of the server that answered before."""
        self.outcomes.forget()
        self.closed.forget()

    def close(self) -> None:
        """Close its sessions."""
        if self.sampler is not None:
            self.sampler.close()
        self.sessions.close()
