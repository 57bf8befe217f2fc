"""MySQL and MariaDB: statements, their time and the slow ones, from the digests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from exporter.declare import Context, Rows
from exporter.own_sessions import OWN_SCHEMA
from exporter.subjects.statements.blind import blindness
from exporter.subjects.statements.histogram import PICOSECONDS
from exporter.subjects.statements.measures import COLUMNS, slow_threshold
from exporter.subjects.statements.status import StatusCounter
from exporter.subjects.statements.totals import Reading, Totals, Unsteady

# What Digests gives besides: statements that found no room in the digest table.
DIGEST_COLUMNS = (*COLUMNS, "overflow")
# For so long a database that is listed nowhere keeps its total without digests.
KEPT_SECONDS = 3600.0


class Digests:
    """Accumulates performance_schema.events_statements_summary_by_digest.

    Takes the columns kind, database, digest, calls, time and longest (picoseconds), and since (Unix seconds: when the
    first of these statements was first seen), where kind is
    `schema` for a schema that exists, without numbers;
    `digest` for digests, one by one or in sum (longest NULL); digest is NULL for what found no room in the table;
    `undigested` for executions that the server gives no digest, by event, whose name is in digest; they have no
    database, and as one sum of unlike statements are left out where slow ones are estimated;
    `status`, where slow statements are to be counted too: calls is Slow_queries, time is long_query_time, or NULL where
    the server counts by other things than time alone.
    Gives DIGEST_COLUMNS: a row for each schema, one for the server.
    """

    def __init__(self) -> None:
        self._events = Unsteady()
        self._totals = Totals(time_wraps=True)
        self._overflow = Totals()
        self._status = StatusCounter()
        # Databases that are no schema the account sees, and when they last had digests.
        self._unlisted: dict[str, float] = {}

    def feed(self, rows: Rows, context: Context) -> Rows:
        """Take a reading in.

        Raises:
            Failure: The server makes no digests of the statements of clients, and counts no slow ones instead.
        """
        threshold = slow_threshold(context)
        blind = blindness({row[0] for row in rows.rows})
        status = next((row for row in rows.rows if row[0] == "status"), None)
        # The server's own count is exact, where it counts from our threshold on or below.
        by_status = status is not None and status[4] is not None and int(status[4]) <= threshold * PICOSECONDS
        if blind and not by_status:
            raise blind
        estimate = status is not None and not by_status
        schemas = [_name(row[1]) for row in rows.rows if row[0] == "schema"]
        self._keep({_name(row[1]) for row in rows.rows if row[0] == "digest"}.difference(schemas), context.now)
        readings = self._readings(rows, threshold * PICOSECONDS if estimate else None)
        totals = self._totals.take(readings, [*schemas, *self._unlisted])
        overflow = sum(int(row[3]) for row in rows.rows if row[0] == "digest" and row[2] is None)
        unseen: int | None = self._overflow.take([Reading("", "", overflow, 0)])[""].calls
        if status is None or not by_status:
            # What others count is theirs: the next reading of it is a baseline.
            self._status.rebase()
        found: list[tuple[Any, ...]] = [
            (name, total.calls, total.time / PICOSECONDS)
            + ((total.slow, "statements", threshold) if estimate else (None, None, None))
            + (None, None)
            for name, total in sorted(totals.items())
        ]
        slow: tuple[Any, ...] = (None, None, None)
        if status is not None and by_status:
            self._status.take(int(status[3]))
            slow = (self._status.total, "status", int(status[4]) / PICOSECONDS)
        if blind:
            # What stands still would look as if nobody asked anything.
            found, unseen = [], None
        found.append((None, None, None, *slow, None, unseen))
        return Rows(DIGEST_COLUMNS, found)

    def rebase(self) -> None:
        """See `Accumulator`."""
        self._events.rebase()
        self._totals.rebase()
        self._overflow.rebase()
        self._status.rebase()

    def _readings(self, rows: Rows, slow_at: float | None) -> Iterator[Reading]:
        for kind, database, digest, calls, time, longest, since in rows.rows:
            if kind == "undigested":
                yield Reading((database, digest), _name(database), *self._events.steady(digest, int(calls), int(time)))
            elif kind == "digest":
                longest_ever = None if longest is None else int(longest)
                # Our own are slow for nobody.
                at = None if digest is None or database == OWN_SCHEMA else slow_at
                began = None if since is None else float(since)
                yield Reading((database, digest), _name(database), int(calls), int(time), longest_ever, began, at)

    def _keep(self, unlisted: set[str], now: float) -> None:
        """A TRUNCATE takes the digests of a database that goes on; one that was dropped may go. "" is none, and stays.

        Args:
            unlisted: Those that have digests now.
            now: Monotonic seconds.
        """
        seen = self._unlisted | dict.fromkeys(unlisted, now)
        self._unlisted = {name: at for name, at in seen.items() if name == "" or now - at < KEPT_SECONDS}


def _name(database: Any) -> str:
    return "" if database is None else sys.intern(str(database))
