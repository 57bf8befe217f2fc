"""One execution of one collector on one server: gate, query, hook, rows to lines."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from exporter.config.model import ServerConfig
from exporter.declare import Asking, Context, Query, Rows
from exporter.engines.base import Session
from exporter.engines.deadline import Deadline
from exporter.exposition.render import render
from exporter.facts import Facts
from exporter.failure import Failure, Reason
from exporter.gates import Miss
from exporter.polling.shapes import arranged
from exporter.polling.snapshot import Snapshot, State
from exporter.polling.tasks import Task
from exporter.statement import statement, with_schemas

log = logging.getLogger(__name__)


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
