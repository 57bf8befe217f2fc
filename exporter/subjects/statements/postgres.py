"""PostgreSQL: statements, their time and the slow ones, by database, from pg_stat_statements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress, count, repeat
from operator import ne
from typing import Any

from exporter.declare import Context, Rows
from exporter.engines.postgres.errors import identifier
from exporter.failure import Failure, Reason
from exporter.own_sessions import CONNECTION_LIMIT
from exporter.subjects.statements.measures import COLUMNS, slow_threshold
from exporter.subjects.statements.totals import Plain, Totals

# An account that may have no more connections than ours needs is ours alone, and its statements are no client's.
OWN = f"""
    userid = ANY (ARRAY(SELECT oid FROM pg_roles
                        WHERE rolname = current_user AND rolconnlimit BETWEEN 0 AND {CONNECTION_LIMIT}))"""


class PostgresStatements:
    """Accumulates what pg_stat_statements(false) shows.

    Takes a row for each database, with the columns database, dbid, (a third that does not matter,) userids, queryids,
    calls, times (total_exec_time) and longest (max_exec_time; both ms), since (Unix seconds, NULL before version 1.11
    of the extension): arrays with an element for each statement, NULL where there is none. Nested statements are not
    to be among them, where the extension tells them apart (from 1.9 on).
    Gives measures.COLUMNS: one row for each database.
    """

    def __init__(self) -> None:
        self._totals = Totals()
        self._version: tuple[int, ...] | None = None
        # The last reading: which databases and statements there were, in the server's order, and their numbers.
        self._known: list[tuple[Any, ...]] | None = None
        self._numbers: list[list[list[Any]]] = []

    def feed(self, rows: Rows, context: Context) -> Rows:
        """Take a reading in.

        Raises:
            Failure: The account may not see whose statements these are.
        """
        version = context.facts.extensions["pg_stat_statements"].version
        if version != self._version:
            # It says more of each statement than before, or of fewer of them: nothing began anew for that.
            self.rebase()
            self._version = version
        threshold = slow_threshold(context)
        known = [(row[0], row[1], row[3], row[4]) for row in rows.rows]
        if known == self._known:
            # As a rule no statement is new and few have run: looking at each one took five times as long.
            totals = self._totals.move(list(self._moved(rows, threshold * 1000)))
        else:
            readings = _readings(rows, threshold * 1000, context)
            totals = self._totals.take(readings, [str(row[0]) for row in rows.rows])
            self._known, self._numbers = known, [list(row[5:]) for row in rows.rows]
        return Rows(
            COLUMNS,
            [
                (name, total.calls, total.time / 1000, total.slow, "statements", threshold, None)
                for name, total in sorted(totals.items())
            ],
        )

    def rebase(self) -> None:
        """See `Accumulator`."""
        self._totals.rebase()
        self._known = None

    def _moved(self, rows: Rows, slow_at: float) -> Iterator[Plain]:
        """What is not as it was at the last reading, whose numbers become these."""
        for (database, dbid, _, userids, queryids, *now), last in zip(rows.rows, self._numbers, strict=True):
            for place in _places(last, now):
                numbers = [column[place] for column in now]
                for column, number in zip(last, numbers, strict=True):
                    column[place] = number
                calls, time, longest, since = numbers
                key = (userids[place], dbid, queryids[place])
                yield key, str(database), calls, time, longest, since, slow_at


def hidden(context: Context) -> Failure:
    """What is wrong where statements have no queryid."""
    return Failure(
        Reason.PERMISSION,
        "pg_stat_statements hides other roles' statements from this account",
        fix=f"GRANT pg_monitor TO {identifier(context.server.user or 'postgres')};",
    )


def _readings(rows: Rows, slow_at: float, context: Context) -> Iterator[Plain]:
    for database, dbid, _, userids, queryids, calls, times, longest, since in rows.rows:
        if calls is None:
            continue
        if None in queryids:
            raise hidden(context)
        keys = zip(userids, repeat(dbid), queryids, strict=False)
        yield from zip(keys, repeat(str(database)), calls, times, longest, since, repeat(slow_at), strict=False)


def _places(last: Sequence[Any], now: Sequence[Any]) -> set[int]:
    """Where the columns differ."""
    return {
        place
        for one, other in zip(last, now, strict=True)
        if one != other
        for place in compress(count(), map(ne, one, other))
    }
