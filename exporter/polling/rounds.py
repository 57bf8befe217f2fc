"""Rounds through the databases of a server: each is entered once for all collectors that are due in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from exporter.declare import Query, Rows
from exporter.engines.base import Session
from exporter.engines.deadline import Deadline
from exporter.facts import Facts
from exporter.failure import ClosedDatabase, Failure, NoDatabase, Reason
from exporter.gates import Miss
from exporter.polling.opening import VISIT_STATEMENT_SECONDS
from exporter.polling.runs import Reading, cut, fetch
from exporter.polling.snapshot import Snapshot, State
from exporter.polling.tasks import Task

# A visit is short (see VISIT_STATEMENT_SECONDS): statements are begun in its first second only, and the next visit
# waits in front of a DROP DATABASE, not in its way.
BEGIN_SECONDS = 1.0
# When connecting: it is the whole server, not one of its databases.
_GONE = frozenset({Reason.CONNECT, Reason.DNS, Reason.STARTING, Reason.TIMEOUT})

SessionIn = Callable[[str], AbstractContextManager[Session]]


@dataclass(slots=True)
class Round:
    """What a round has brought.

    Attributes:
        outcomes: By task the rows of all databases put together.
        unread: The databases that no time was left for, which is a failure.
        entered: Those that let us in.
        closed: Those that did not, and why.
    """

    outcomes: dict[str, Reading | Snapshot] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()
    entered: set[str] = field(default_factory=set)
    closed: dict[str, Failure] = field(default_factory=dict)


class _Gathered:
    """What one task has from the databases visited so far."""

    def __init__(self, task: Task, query: Query) -> None:
        self.task = task
        self.query = query
        self.columns: tuple[str, ...] | None = None
        self.rows: list[tuple[Any, ...]] = []
        self.problem: Failure | None = None
        self.closed: Failure | None = None
        self.spent = 0.0

    def read(self, database: str, session: Session, facts: Facts, deadline: Deadline) -> None:
        time_left = deadline.within(min(self.task.timeout, VISIT_STATEMENT_SECONDS))
        started = time.monotonic()
        try:
            found, problem = cut(self.task, fetch(self.task, self.query, session, facts, time_left))
        finally:
            self.spent += time.monotonic() - started
        if problem is not None:
            self.failed(database, problem)
        self.columns = ("database", *found.columns)
        self.rows.extend((database, *row) for row in found.rows)

    def failed(self, database: str, failure: Failure) -> None:
        if self.problem is None:
            self.problem = _in(database, failure)

    def kept_out(self, database: str, failure: Failure) -> None:
        """It can't be entered, which is no failure of this task as long as it can read another."""
        if self.closed is None:
            self.closed = _in(database, failure)

    def cut_short(self, unread: int, all_of_them: int) -> None:
        if self.problem is None:
            self.problem = Failure(
                Reason.TIMEOUT,
                f"no time was left for {unread} of {all_of_them} databases; the next run begins with them",
                fix="give it a longer interval, of which half may be used, or fewer databases",
            )

    def outcome(self, started: float) -> Reading | Snapshot:
        if self.columns is not None:
            return Reading(Rows(self.columns, self.rows), self.problem, started, self.spent)
        if self.problem is not None:
            return self.task.fail(self.problem, started)
        if self.closed is not None:
            return replace(self.task.fail(self.closed, started), told=True)
        return Snapshot(self.task.name, State.OK, started, time.monotonic() - started)


def _in(database: str, failure: Failure) -> Failure:
    return Failure(failure.reason, f"in database {database}: {failure.message}", fix=failure.fix)


def read_each_database(
    tasks: Iterable[Task],
    databases: Mapping[str, Failure | None],
    session_in: SessionIn,
    facts: Facts,
    deadline: Deadline,
    *,
    first: frozenset[str] = frozenset(),
) -> Round:
    """Run the tasks' queries in every database, one short session after another.

    A database that fails leaves the others' series intact; a database that was dropped meanwhile is no failure, and
    one that can't be entered is a failure of those tasks alone that have read no other.

    Args:
        tasks: What to run.
        databases: Where; with the reason if it is known already that one can't be entered.
        session_in: Opens a session in a database.
        facts: What is known of the server.
        deadline: When all has to be over.
        first: The databases that the last round had no time for.
    """
    started = time.monotonic()
    done = Round()
    gathered: list[_Gathered] = []
    for task in tasks:
        query, miss = task.collector.query(facts), task.miss(facts)
        if miss is not None or query is None:
            done.outcomes[task.name] = task.unsupported(miss or Miss("needs another server"))
        else:
            gathered.append(_Gathered(task, query))
    order = sorted(databases, key=lambda name: name not in first)
    for place, database in enumerate(order, 1):
        here = [one for one in gathered if not (one.task.collector.elsewhere_of and database == facts.database)]
        refused = databases[database]
        if refused is not None:
            _kept_out(database, refused, here, done)
        elif not _visit(database, here, session_in, facts, deadline, done):
            done.unread = frozenset(order[place:])
            break
    if done.unread:
        for one in gathered:
            one.cut_short(len(done.unread), len(databases))
    done.outcomes |= {one.task.name: one.outcome(started) for one in gathered}
    return done


def _kept_out(database: str, failure: Failure, waiting: Iterable[_Gathered], done: Round) -> None:
    done.closed[database] = failure
    for one in waiting:
        one.kept_out(database, failure)


def _visit(
    database: str, waiting: list[_Gathered], session_in: SessionIn, facts: Facts, deadline: Deadline, done: Round
) -> bool:
    """Read what is due in one database; whether it is worth going on to the next."""
    while waiting:
        try:
            with session_in(database) as session:
                entered = time.monotonic()
                done.entered.add(database)
                while waiting and not session.closed and time.monotonic() - entered < BEGIN_SECONDS:
                    one = waiting.pop(0)
                    try:
                        one.read(database, session, facts, deadline)
                    except NoDatabase:
                        waiting.insert(0, one)
                        raise
                    except Failure as failure:
                        one.failed(database, failure)
        except NoDatabase as failure:
            for one in waiting:
                # One that is named has to be there.
                if one.task.collector.database is not None:
                    one.failed(database, failure)
            return True
        except ClosedDatabase as failure:
            _kept_out(database, failure, waiting, done)
            return not deadline.passed
        except Failure as failure:
            gone = failure.reason in _GONE
            for one in waiting:
                one.failed(database, failure)
            # The server has gone or is silent: to ask for each of its databases would be to wait for each.
            return not gone and not deadline.passed
    return not deadline.passed
