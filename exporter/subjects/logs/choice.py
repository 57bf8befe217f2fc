"""Which collector counts a server's slow statements: one at a time, and the log before all others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from exporter.config.model import SLOW_LOG_COLLECTORS, CollectorSettings, ServerConfig
from exporter.declare import STALE_INTERVALS, Accumulator, Collector, Context, Rows
from exporter.subjects.logs.reader import Counting
from exporter.subjects.logs.turn import Turn
from exporter.subjects.statements.measures import SLOW

_COUNTED = frozenset(measure.name for measure in SLOW.measures)
_LOGS = frozenset(SLOW_LOG_COLLECTORS.values())
_OF_SLOW = ("slow", "source", "threshold")


def counting_slow(collectors: Iterable[Collector], config: ServerConfig) -> list[Collector]:
    """The collectors of a server: with its log configured, others count slow statements only while the log does not.

    The log's come first: who counts from now on should know how things are now.
    """
    collectors = list(collectors)
    if not config.reads_log:
        return collectors
    [log] = [name for (engine, over_sql), name in SLOW_LOG_COLLECTORS.items() if _reads(config, engine, over_sql)]
    every = config.collectors.get(log, CollectorSettings()).every
    every = every or next((item.every for item in collectors if item.name == log), None) or 0.0
    turn = Turn(STALE_INTERVALS * every)
    logs, others = [], []
    for item in collectors:
        if item.name in _LOGS:
            assert item.state is not None
            logs.append(replace(item, state=partial(_told, item.state, turn)))
        elif item.state is not None and any(measure.name in _COUNTED for measure in item.measures()):
            others.append(replace(item, state=partial(_standing_in, item.state, turn)))
        else:
            others.append(item)
    return [*logs, *others]


def _reads(config: ServerConfig, engine: str, over_sql: bool) -> bool:
    return config.engine == engine and config.log_settings().over_sql == over_sql


def _told(make: Callable[[], Accumulator], turn: Turn) -> Accumulator:
    state = make()
    assert isinstance(state, Counting)
    state.turn = turn
    return state


def _standing_in(make: Callable[[], Accumulator], turn: Turn) -> Accumulator:
    return StandIn(make(), turn)


class StandIn:
    """Shows what another state counts of slow statements, as long as the log does not count them.

    What came before the log fell silent is the log's. That it did is known a while later only, so what came meanwhile
    is kept until then. The first reading in its turn shows what was shown in the last, since of a series that was not
    there nobody sees by how much it has grown.

    Args:
        counts: Gives rows with the columns of exporter.subjects.statements.measures; all else in them stays.
        turn: Whose turn it is.
    """

    def __init__(self, counts: Accumulator, turn: Turn) -> None:
        self._counts = counts
        self._turn = turn
        # By database and source: what the other had counted up to where we have, and what we have.
        self._before: dict[tuple[Any, Any], int] = {}
        self._shown: dict[tuple[Any, Any], int] = {}
        self._ours = False
        self._at: float | None = None

    @property
    def overtaken(self) -> bool:
        """Whether the turn has changed since the last reading, which is what is shown until the next."""
        return self._at is not None and self._ours == self._turn.log_counts

    def feed(self, rows: Rows, context: Context) -> Rows:
        """Take a reading in."""
        rows = self._counts.feed(rows, context)
        ours, log_counted = self._turn.asked(context.now)
        database, slow, source, threshold = (rows.columns.index(name) for name in ("database", *_OF_SLOW))
        now = {(row[database], row[source]): row[slow] for row in rows.rows if row[slow] is not None}
        # A server may have two sources that take turns; what is not there now goes on where it was.
        sources = {key[1] for key in now}
        before, shown = (
            {key: count for key, count in counts.items() if key[1] not in sources}
            for counts in (self._before, self._shown)
        )
        if not ours and (self._at is None or log_counted > self._at):
            self._before = before | now
        elif ours and self._ours:
            for key, count in now.items():
                self._shown[key] = self._shown.get(key, 0) + count - self._before.get(key, 0)
            self._before = before | now
        # What a database had that is gone is of no use to another one of its name.
        self._shown = shown | {key: self._shown.get(key, 0) for key in now}
        self._ours, self._at = ours, context.now
        changed = []
        for row in rows.rows:
            values = list(row)
            if row[slow] is not None:
                values[slow] = self._shown[row[database], row[source]]
            if not ours:
                values[slow] = values[source] = values[threshold] = None
            changed.append(tuple(values))
        return replace(rows, rows=changed)

    def rebase(self) -> None:
        """See `Accumulator`: what was counted stays."""
        self._counts.rebase()
