"""MySQL and MariaDB: statements and slow ones, from the server's status counters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from exporter.declare import Context, Rows
from exporter.failure import Failure, Reason
from exporter.subjects.statements.measures import COLUMNS, slow_threshold


class StatusCounter:
    """What a status counter has grown by since the first reading.

    A fall adds nothing: FLUSH GLOBAL STATUS (MariaDB) takes off what sessions did that have ended, and not what those
    did that are open, so that nobody knows how much of what is left came since.

    Attributes:
        total: What it has grown by.
    """

    def __init__(self) -> None:
        self.total = 0
        self._last: int | None = None

    def take(self, now: int) -> None:
        """Count what is new in a reading."""
        self.total += max(now - self._last, 0) if self._last is not None else 0
        self._last = now

    def rebase(self) -> None:
        """The next reading is a baseline."""
        self._last = None


class Questions:
    """Accumulates the status counter Questions, given in a column of that name. Gives one row of COLUMNS."""

    def __init__(self) -> None:
        self._counter = StatusCounter()

    def feed(self, rows: Rows, context: Context) -> Rows:  # noqa: ARG002 - the protocol's
        """Take a reading in."""
        ((questions,),) = rows.rows
        self._counter.take(int(questions))
        return Rows(COLUMNS, [(None, self._counter.total, None, None, None, None, None)])

    def rebase(self) -> None:
        """See `Accumulator`."""
        self._counter.rebase()


class SlowQueries:
    """Accumulates the status counter Slow_queries, given in a column of that name beside the settings that rule it:
    long_query_time (s), log_queries_not_using_indexes, min_examined_row_limit, and calls_unlogged (MariaDB).

    Gives one row of COLUMNS.
    """

    def __init__(self) -> None:
        self._counter = StatusCounter()

    def feed(self, rows: Rows, context: Context) -> Rows:
        """Take a reading in.

        Raises:
            Failure: The server counts from a higher threshold than ours, or by other things than time.
        """
        reading = rows.dicts()[0]
        used, threshold = float(reading["long_query_time"]), slow_threshold(context)
        wrong = list(_wrong(reading, threshold))
        if wrong:
            # What the server counts meanwhile is another thing: the next reading that is right is a baseline.
            self._counter.rebase()
            raise Failure(
                Reason.MISSING_EXTENSION,
                f"the server {'; it '.join(what for what, _ in wrong)}",
                fix="; ".join(f"SET GLOBAL {fix}" for _, fix in wrong)
                + "; or performance_schema=ON in the configuration and a restart of the server",
            )
        self._counter.take(int(reading["slow_queries"]))
        return Rows(COLUMNS, [(None, None, None, self._counter.total, "status", used, None)])

    def rebase(self) -> None:
        """See `Accumulator`."""
        self._counter.rebase()


def _wrong(reading: dict[str, Any], threshold: float) -> Iterator[tuple[str, str]]:
    """What makes Slow_queries another count than that of slow statements, and the setting that mends it.

    Measured on MySQL 9.7 and MariaDB 10.11 and 11.8. Neither the switch of the slow log, nor log_slow_filter,
    log_slow_rate_limit or log_slow_admin_statements changes the counter.
    """
    used = float(reading["long_query_time"])
    if used > threshold:
        yield (
            f"counts statements as slow from {used:g} s on, which is more than our {threshold:g} s",
            f"long_query_time = {threshold:g}",
        )
    if int(reading["log_queries_not_using_indexes"]):
        yield "counts fast statements without an index as slow", "log_queries_not_using_indexes = OFF"
    unlogged = bool(int(reading.get("calls_unlogged") or 0))
    yield from left_out(int(reading["min_examined_row_limit"]), calls_unlogged=unlogged)


def left_out(min_examined_row_limit: int, *, calls_unlogged: bool) -> Iterator[tuple[str, str]]:
    """What keeps slow statements out of Slow_queries and of the slow log alike, and the setting that mends it."""
    if min_examined_row_limit:
        yield "leaves slow statements out that read few rows", "min_examined_row_limit = 0"
    if calls_unlogged:
        yield "leaves slow calls of procedures out", "log_slow_disabled_statements = 'sp'"
