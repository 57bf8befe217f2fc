"""PostgreSQL: statements, their time and the slow ones, by database, from pg_stat_statements."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from exporter.declare import Context, Rows
from exporter.failure import Failure, Reason
from exporter.subjects.statements.measures import COLUMNS, slow_threshold
from exporter.subjects.statements.totals import Reading, Totals


class PostgresStatements:
    """Accumulates what pg_stat_statements(false) shows.

    Takes the columns database, userid, dbid, queryid, toplevel, calls, total_exec_time and max_exec_time (ms), since
    (Unix seconds, NULL before version 1.11 of the extension); a database without statements has NULL calls.
    Gives measures.COLUMNS: one row for each database.
    """

    def __init__(self) -> None:
        self._totals = Totals()

    def feed(self, rows: Rows, context: Context) -> Rows:
        """Take a reading in.

        Raises:
            Failure: The account may not see whose statements these are.
        """
        threshold = slow_threshold(context)
        databases = [sys.intern(str(row[0])) for row in rows.rows if row[5] is None]
        totals = self._totals.take(_readings(rows, threshold * 1000, context.server.user or "postgres"), databases)
        return Rows(
            COLUMNS,
            [
                (name, total.calls, total.time / 1000, total.slow, "statements", threshold, None)
                for name, total in sorted(totals.items())
            ],
        )

    def rebase(self) -> None:
        """Another server answers."""
        self._totals.rebase()


def _readings(rows: Rows, slow_at: float, user: str) -> Iterator[Reading]:
    for database, userid, dbid, queryid, toplevel, calls, time, longest, since in rows.rows:
        if calls is None:
            continue
        if queryid is None:
            raise Failure(
                Reason.PERMISSION,
                "pg_stat_statements hides other roles' statements from this account",
                fix=f'GRANT pg_monitor TO "{user}";',
            )
        # A statement inside a function is part of the client's statement, which is slow itself if this one is.
        at = None if toplevel is False else slow_at
        yield Reading((userid, dbid, queryid, toplevel), sys.intern(str(database)), calls, time, longest, since, at)
