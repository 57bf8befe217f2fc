"""One execution of one collector on one server: gate, query, hook, rows to lines."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from exporter.config.model import CollectorSettings, DatabaseFilter, ServerConfig
from exporter.declare import Accumulator, Asking, Collector, Context, Query, Rows, Samples
from exporter.engines.base import Session
from exporter.engines.deadline import Deadline
from exporter.exposition.render import render
from exporter.exposition.written import Written
from exporter.facts import Facts
from exporter.failure import Failure, Reason, Undefined
from exporter.gates import Miss
from exporter.polling.pace import Pace
from exporter.polling.snapshot import Snapshot, State
from exporter.statement import statement, with_schemas

log = logging.getLogger(__name__)

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


@dataclass(frozen=True, slots=True)
class Reading:
    """What a server answered.

    Attributes:
        rows: The result.
        problem: What went wrong in a part of its databases, or with a part of the rows.
        started: Monotonic seconds at which it was asked.
        spent: Seconds that this took, where others were read by turns with it; None: all since it was asked.
        suspended: Why it is not asked any more for a while, though it has been.
    """

    rows: Rows
    problem: Failure | None
    started: float
    spent: float | None = None
    suspended: str = ""


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


def arranged(query: Query, rows: Rows) -> Rows:
    """What the server sent for a query, as the rows that it stands for.

    Raises:
        Failure: It is not what the query says.
    """
    if query.packed:
        return unpacked(rows, query.packed)
    return pivoted(rows) if query.pivot else rows


def pivoted(rows: Rows) -> Rows:
    """Name and value rows as one row whose columns are the names in lower case, numbers as numbers."""
    columns, values = [], []
    for name, value, *_ in rows.rows:
        columns.append(str(name).lower())
        values.append(_number(value))
    return Rows(tuple(columns), [tuple(values)])


def unpacked(rows: Rows, names: tuple[str, ...]) -> Rows:
    """The last column's numbers as columns of these names.

    Raises:
        Failure: They are not as many.
    """
    found = [(*row[:-1], *_parts(row[-1])) for row in rows.rows]
    columns = (*rows.columns[:-1], *names)
    if any(len(row) != len(columns) for row in found):
        raise Failure(Reason.ERROR, f"the server packed other numbers than {', '.join(names)}")
    return Rows(columns, found, verbatim=frozenset(names))


def _parts(text: str) -> list[str] | list[str | None]:
    parts = text.split(" ")
    return [part or None for part in parts] if "" in parts else parts


def _number(value: Any) -> Any:
    # Python takes an underscore for part of a number.
    if not isinstance(value, str) or "_" in value:
        return value
    try:
        return int(value)
    except ValueError:
        pass
    try:
        return float(value)
    except ValueError:
        return value


def fetch(task: Task, query: Query, session: Session, facts: Facts, deadline: Deadline) -> Rows:
    """The rows of a task's query.

    Raises:
        Failure: It did not work; with `broken` the session is of no more use.
    """
    sql = statement(task.collector, query, facts, task.settings.limit)
    with task.cost.of(session), _paced(task, session):
        try:
            if query.user_defined:
                rows = session.run_user_defined(sql, deadline, task.collector.label_columns)
            elif isinstance(task.state, Asking):
                rows = asked(task.state, sql, session, Context(task.server, facts, time.monotonic()), deadline)
            else:
                rows = session.run(sql, deadline)
        except Failure as failure:
            if failure.reason is not Reason.LOCK or failure.broken or not query.lockless:
                raise
            # Somebody locked what it looked at closely; without looking closely at anything it needs no lock.
            rows = session.run(statement(task.collector, query, facts, 0), deadline)
        except Exception as error:
            # One value that the driver can't read must not take the rest of the scrape along.
            log.exception("reading what %s asked for", task.name)
            raise Failure(Reason.ERROR, f"{type(error).__name__} while reading; see the log", broken=True) from None
    return arranged(query, rows)


@contextmanager
def _paced(task: Task, session: Session) -> Iterator[None]:
    """Account for what a run takes the server, where that rules how often it comes."""
    if task.pace is None:
        yield
        return
    started, before = time.monotonic(), session.statements
    try:
        yield
    except Failure as failure:
        # What ran out of time has cost at least that, and would each time.
        if failure.reason is Reason.TIMEOUT:
            task.pace.account_for(time.monotonic() - started)
        raise
    # The way to the server and back costs it nothing.
    on_the_way = (session.statements - before) * session.round_trip
    task.pace.account_for(time.monotonic() - started - on_the_way)


def asked(state: Asking, sql: str, session: Session, context: Context, deadline: Deadline) -> Rows:
    """The answers to all that a collector's state asks, `sql` being its query.

    Raises:
        Failure: One of the statements did not work that is needed.
    """
    answers: list[Rows] = []
    while (further := state.ask(sql, answers, context)) is not None:
        try:
            answers.append(session.run(with_schemas(further, context.facts), deadline))
        except Failure as failure:
            if failure.broken or not answers or not state.spares(answers, failure):
                raise
            break
    return replace(answers[0], further=tuple(answers[1:]))


def read(task: Task, session: Session, facts: Facts, deadline: Deadline) -> Reading | Snapshot:
    """Run a task's query; a snapshot instead of a reading tells why there is none.

    Raises:
        Failure: The session is broken.
    """
    started = time.monotonic()
    query = task.collector.query(facts)
    miss = task.miss(facts)
    if miss is not None or query is None:
        return task.unsupported(miss or Miss("needs another server"))
    if task.databases is not None and not task.databases.matches(facts.database):
        return Snapshot(task.name, State.OK, started)
    try:
        rows = fetch(task, query, session, facts, deadline.within(task.timeout))
        return Reading(*cut(task, rows), started)
    except Failure as failure:
        if failure.broken:
            raise
        return task.fail(failure, started)


def cut(task: Task, rows: Rows) -> tuple[Rows, Failure | None]:
    """No more rows of a user's query than it may have; that some were left out is a failure, with the others shown."""
    limit = task.limit
    if not task.collector.user_defined or limit is None or len(rows.rows) <= limit:
        return rows, None
    failure = Failure(Reason.ERROR, f"it gives more than {limit} rows, and the rest is left out", fix="raise its limit")
    return Rows(rows.columns, rows.rows[:limit]), failure


def taken_in(task: Task, reading: Reading, config: ServerConfig, facts: Facts, budget: int) -> Reading | Snapshot:
    """A reading after hook and accumulator, a bug in which fails this collector alone.

    Args:
        budget: Series that there seems to be room for; what is left out is left out by `rendered`.
    """
    if task.collector.rows is None and task.state is None:
        return reading
    rows, started, begun = reading.rows, reading.started, time.monotonic()
    try:
        context = Context(config, facts, started, _bounded(task, budget, facts) // _width(task, facts))
        if task.collector.rows is not None:
            rows = task.collector.rows(rows, context)
        if task.state is not None:
            rows = task.state.feed(rows, context)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in it becomes its outcome
        return _failed(task, error, started)
    spent = None if reading.spent is None else reading.spent + time.monotonic() - begun
    return replace(reading, rows=rows, spent=spent)


def rendered(task: Task, reading: Reading, config: ServerConfig, facts: Facts, budget: int) -> Snapshot:
    """What was taken in, as a snapshot of no more series than the budget."""
    rows, started = reading.rows, reading.started
    begun = started if reading.spent is None else time.monotonic() - reading.spent
    written = task.written if task.every is None else None
    try:
        page = render(task.collector, rows, Context(config, facts, started), _bounded(task, budget, facts), written)
    except Exception as error:  # noqa: BLE001 - as above
        return _failed(task, error, started)
    for reason, count in page.dropped.items():
        task.dropped[reason] = task.dropped.get(reason, 0) + count
    problem = reading.problem or rows.problem
    return Snapshot(
        task.name,
        State.SUSPENDED if reading.suspended else State.OK if problem is None else State.FAILED,
        started,
        time.monotonic() - begun,
        families=page.families,
        series=page.series,
        dropped=page.dropped,
        reason=problem.reason if problem else None,
        message=problem.message if problem else reading.suspended,
        fix=problem.fix if problem else None,
    )


def _bounded(task: Task, budget: int, facts: Facts) -> int:
    """The budget of a task, which is less where its SQL does not limit what the config does."""
    if task.settings.limit is None or task.collector.limit is not None:
        return budget
    return min(budget, task.settings.limit * _width(task, facts))


def _width(task: Task, facts: Facts) -> int:
    return max(1, task.collector.width(facts))


def _failed(task: Task, error: Exception, started: float) -> Snapshot:
    if isinstance(error, Failure):
        return task.fail(error, started)
    log.error("collector %s on %s", task.name, task.server.name, exc_info=error)
    return task.fail(Failure(Reason.ERROR, f"{type(error).__name__} in the collector; see the log"), started)
