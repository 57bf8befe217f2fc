"""A collector as one server runs it: its settings, its state, and what it has cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from exporter.config.model import CollectorSettings, DatabaseFilter, ServerConfig
from exporter.declare import Accumulator, Collector, Samples
from exporter.engines.base import Session
from exporter.exposition.written import Written
from exporter.facts import Facts
from exporter.failure import Failure, Reason, Undefined
from exporter.gates import Miss
from exporter.polling.pace import Pace
from exporter.polling.snapshot import Snapshot, State

DEFAULT_SETTINGS = CollectorSettings()
# The account can't read it, or it isn't installed: no failure unless the collector was asked for by name.
SOFT = frozenset({Reason.PERMISSION, Reason.MISSING_EXTENSION})


@dataclass(slots=True)
class Cost:
    """What the exporter has asked of a server for one collector, or for its own upkeep.

    Attributes:
        queries: Statements sent.
        seconds: Time that we waited for them.
    """

    queries: int = 0
    seconds: float = 0.0
    # Scrapes and the background add to the same one, and a sum that loses a part would be a counter that falls.
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, queries: int, seconds: float) -> None:
        """Account for statements and the time that they took."""
        with self._lock:
            self.queries += queries
            self.seconds += seconds

    @contextmanager
    def of(self, session: Session) -> Iterator[None]:
        """Account for what is asked over a session meanwhile."""
        started, before = time.monotonic(), session.statements
        try:
            yield
        finally:
            self.add(session.statements - before, time.monotonic() - started)


@dataclass(slots=True)
class Task:
    """A collector as one server runs it.

    Attributes:
        collector: What to run.
        settings: From the config.
        state: What the collector keeps between runs, if it keeps something.
        server: The server's configuration.
        databases: Which databases it may show, where it reads the connected one as one of many.
        samples: What its samples add up to, if it is sampled.
        pace: How often it runs, if that depends on what it costs the server.
        cost: What it has cost so far.
        dropped: Series left out so far, by reason.
        written: What its last run has written, if it runs at the scrape; in the background it is not worth its memory.
    """

    collector: Collector
    settings: CollectorSettings
    state: Accumulator | None
    server: ServerConfig
    databases: DatabaseFilter | None = None
    samples: Samples | None = None
    pace: Pace | None = None
    cost: Cost = field(default_factory=Cost)
    dropped: dict[str, int] = field(default_factory=dict)
    written: Written = field(default_factory=Written, repr=False, compare=False)

    @staticmethod
    def of(collector: Collector, config: ServerConfig) -> Task:
        """The task of a collector on a server."""
        settings = config.collectors.get(collector.name, DEFAULT_SETTINGS)
        if collector.elsewhere_of:
            settings = settings.over(config.collectors.get(collector.elsewhere_of, DEFAULT_SETTINGS))
        databases = config.databases if collector.elsewhere is not None else None
        # Who says how often has weighed what it costs.
        pace = None
        if collector.every is not None and collector.core_share is not None and settings.every is None:
            pace = Pace(f"{config.name}: collector {collector.name}", collector.every, collector.core_share)
        return Task(
            collector,
            settings,
            collector.state() if collector.state else None,
            config,
            databases,
            collector.sampled(settings.limit or collector.limit) if collector.sampled else None,
            pace,
        )

    @property
    def name(self) -> str:
        """The collector's name."""
        return self.collector.name

    @property
    def every(self) -> float | None:
        """Seconds between runs in the background, None if it runs at the scrape or is sampled."""
        if self.samples is not None:
            return None
        return self.settings.every if self.settings.every is not None else self.collector.every

    @property
    def interval(self) -> float | None:
        """Seconds from one run in the background to the next: `every`, or more where runs take the server long."""
        return self.every if self.pace is None else self.pace.interval

    @property
    def timeout(self) -> float:
        """Seconds that one run may take: as the config says of it, as it was declared, or as any statement."""
        said = (self.settings.timeout, self.collector.timeout, self.server.timeouts.statement)
        return next(seconds for seconds in said if seconds is not None)

    @property
    def limit(self) -> int | None:
        """Rows that it may give."""
        return self.settings.limit if self.settings.limit is not None else self.collector.limit

    @property
    def enabled(self) -> bool:
        """Whether the config wants it to run."""
        return self.collector.default if self.settings.enabled is None else self.settings.enabled

    @property
    def by_name(self) -> bool:
        """Whether the config asks for it by name, which makes `unsupported` a failure."""
        return self.settings.enabled is True

    def miss(self, facts: Facts) -> Miss | None:
        """Why it can't run on a server with these facts, None if it can."""
        closed = self.collector.when.miss(facts)
        if closed is not None:
            return closed
        most = self.collector.tables
        if most is not None and not self.by_name and (facts.tables is None or facts.tables > most):
            fix = f"collectors: {{{self.name}: true}} in the config, where the server can bear it"
            unknown = ", and nobody could count them" if facts.tables is None else ""
            return Miss(f"steps down above {most} tables{unknown}", Reason.TOO_MANY_TABLES, fix)
        misses = [query.when.miss(facts) for query in self.collector.queries]
        if None in misses:
            return None
        # Of several closed gates the one that can be opened is worth telling.
        found = [miss for miss in misses if miss]
        return next((miss for miss in found if miss.fix), found[0])

    def unsupported(self, miss: Miss) -> Snapshot:
        """The outcome where the server does not offer it."""
        # Whoever moves here with all the flags of another exporter has not asked for what a version doesn't have.
        failed = self.by_name and (miss.fix is not None or not self.settings.by_flag)
        state = State.FAILED if failed else State.UNSUPPORTED
        # What no one can mend here, such as a version, is no failure with a reason.
        reason = miss.reason if failed or miss.fix else None
        return Snapshot(self.name, state, time.monotonic(), reason=reason, message=miss.text, fix=miss.fix)

    def fail(self, failure: Failure, started: float) -> Snapshot:
        """The outcome of a failure."""
        duration = time.monotonic() - started
        doubtful = isinstance(failure, Undefined) and not self.collector.user_defined
        # An extension that was moved or made anew is not mended by CREATE EXTENSION; one that was dropped is found so.
        fix = failure.fix if not doubtful else None
        # What the config defines, it asks for.
        if failure.reason in SOFT and not self.by_name and not self.collector.user_defined:
            return Snapshot(
                self.name,
                State.UNSUPPORTED,
                started,
                duration,
                reason=failure.reason,
                message=failure.message,
                fix=fix,
                doubtful=doubtful,
            )
        snapshot = replace(Snapshot.failed(self.name, failure, started, duration), fix=fix, doubtful=doubtful)
        known = (failure.fix or "").startswith("in database ")
        if self.collector.user_defined and failure.reason is Reason.PERMISSION and not known:
            # What our own queries need is no help here.
            return replace(snapshot, fix="let the exporter's account read what the query reads")
        return snapshot
