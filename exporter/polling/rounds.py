"""Rounds through the databases of a server: each is entered once for all collectors that are due in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from exporter.declare import Query, Rows
from exporter.engines.base import Session
from exporter.engines.deadline import Deadline
from exporter.facts import Facts
from exporter.failure import Failure, NoDatabase, Reason
from exporter.gates import Miss
from exporter.polling.runs import Reading, Task, cut, fetch
from exporter.polling.sessions import VISIT_STATEMENT_SECONDS
from exporter.polling.snapshot import Snapshot, State

# A visit is short (see VISIT_STATEMENT_SECONDS): statements are begun in its first second only, and the next visit
# waits in front of a DROP DATABASE, not in its way.
BEGIN_SECONDS = 1.0
# When connecting: it is the whole server, not one of its databases.
_GONE = frozenset({Reason.CONNECT, Reason.DNS, Reason.STARTING, Reason.TIMEOUT})

SessionIn = Callable[[str], AbstractContextManager[Session]]


class _Gathered:
    """What one task has from the databases visited so far."""

    def __init__(self, task: Task, query: Query) -> None:
        self.task = task
        self.query = query
        self.columns: tuple[str, ...] | None = None
        self.rows: list[tuple[Any, ...]] = []
        self.problem: Failure | None = None

    def read(self, database: str, session: Session, facts: Facts, deadline: Deadline) -> None:
        time_left = deadline.within(min(self.task.timeout, VISIT_STATEMENT_SECONDS))
        found, problem = cut(self.task, fetch(self.task, self.query, session, facts, time_left))
        if problem is not None:
            self.failed(database, problem)
        self.columns = ("database", *found.columns)
        self.rows.extend((database, *row) for row in found.rows)

    def failed(self, database: str, failure: Failure) -> None:
        if self.problem is None:
            self.problem = Failure(failure.reason, f"in database {database}: {failure.message}", fix=failure.fix)

    def cut_short(self, unread: int, all_of_them: int) -> None:
        if self.problem is None:
            self.problem = Failure(
                Reason.TIMEOUT,
                f"no time was left for {unread} of {all_of_them} databases; the next run begins with them",
                fix="give it a longer interval, of which half may be used, or fewer databases",
            )

    def outcome(self, started: float) -> Reading | Snapshot:
        if self.columns is not None:
            return Reading(Rows(self.columns, self.rows), self.problem, started)
        if self.problem is not None:
            return self.task.fail(self.problem, started)
        return Snapshot(self.task.name, State.OK, started, time.monotonic() - started)


def read_each_database(
    tasks: Iterable[Task],
    databases: Sequence[str],
    session_in: SessionIn,
    facts: Facts,
    deadline: Deadline,
) -> tuple[dict[str, Reading | Snapshot], frozenset[str]]:
    """Run the tasks' queries in every database, one short session after another.

    A database that fails leaves the others' series intact; a database that was dropped meanwhile is no failure.

    Returns:
        By task the rows put together; and the databases that no time was left for, which is a failure.
    """
    started = time.monotonic()
    outcomes: dict[str, Reading | Snapshot] = {}
    gathered: list[_Gathered] = []
    for task in tasks:
        query, miss = task.collector.query(facts), task.miss(facts)
        if miss is not None or query is None:
            outcomes[task.name] = task.unsupported(miss or Miss("needs another server"))
        else:
            gathered.append(_Gathered(task, query))
    unread: frozenset[str] = frozenset()
    for place, database in enumerate(databases, 1):
        here = [one for one in gathered if not (one.task.collector.elsewhere_of and database == facts.database)]
        if not _visit(database, here, session_in, facts, deadline):
            unread = frozenset(databases[place:])
            break
    if unread:
        for one in gathered:
            one.cut_short(len(unread), len(databases))
    return outcomes | {one.task.name: one.outcome(started) for one in gathered}, unread


def _visit(database: str, waiting: list[_Gathered], session_in: SessionIn, facts: Facts, deadline: Deadline) -> bool:
    """Read what is due in one database; whether it is worth going on to the next."""
    while waiting:
        try:
            with session_in(database) as session:
                entered = time.monotonic()
                while waiting and not session.closed and time.monotonic() - entered < BEGIN_SECONDS:
                    one = waiting.pop(0)
                    try:
                        one.read(database, session, facts, deadline)
                    except Failure as failure:
                        one.failed(database, failure)
        except NoDatabase as failure:
            for one in waiting:
                # One that is named has to be there.
                if one.task.collector.database is not None:
                    one.failed(database, failure)
            return True
        except Failure as failure:
            gone = failure.reason in _GONE
            for one in waiting:
                one.failed(database, failure)
            # The server has gone or is silent: to ask for each of its databases would be to wait for each.
            return not gone and not deadline.passed
    return not deadline.passed
