"""A server's slow log, as a collector keeps it: read on a thread of its own, shown as far as it has been read."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from exporter.collectors.busiest import Busiest
from exporter.config.model import SLOW_LOG_COLLECTORS, Statements
from exporter.declare import Context, Rows
from exporter.failure import Failure, Reason
from exporter.subjects.logs.events import Event
from exporter.subjects.logs.files import Files
from exporter.subjects.logs.follow import Follower
from exporter.subjects.logs.lines import LogParser
from exporter.subjects.logs.measures import COLUMNS
from exporter.subjects.logs.positions import NotKeptError, PositionFile
from exporter.subjects.logs.tally import Rules, Tally
from exporter.subjects.logs.threads import WORKING, on_a_thread
from exporter.subjects.logs.turn import Turn
from exporter.subjects.statements.lexer import Dialect
from exporter.subjects.statements.texts import cut

log = logging.getLogger(__name__)

# Of one log in one turn; what is left is the next one's.
_MOST_BYTES = 64 * 1024 * 1024
_TURN_SECONDS = 10.0
# After each piece the thread rests as long as the piece took: a burst takes half of a core at most, and scrapes come
# in between.
_MOST_REST_SECONDS = 0.05
# A log without a burst is read within this time, and shown at once.
_WAIT_SECONDS = 0.2
# Who has read nothing for so long in a turn hangs: on a file system that is away, or on a pipe.
_HANGS_SECONDS = 60.0
# Events that are counted at once: scrapes wait for them, and each may have a long text.
_AT_ONCE = 25
# Statements shown, unless the config says otherwise.
SHOWN = 50
_LEFT_KEPT = 4
_NO_RULES = Rules(None)

# Where the server logs none.
_FIX: dict[Dialect, str] = {
    "postgres": "ALTER SYSTEM SET log_min_duration_statement = '1s'; SELECT pg_reload_conf();",
    "mysql": "SET GLOBAL slow_query_log = ON;",
}

# Of a row: its database and fingerprint.
_STATEMENT = itemgetter(COLUMNS.index("database"), COLUMNS.index("fingerprint"))
_QUERY = COLUMNS.index("query")


class Counting:
    """What every way of reading a log has in common: a tally, and a thread on which it grows.

    Attributes:
        tally: What was counted.
        lock: Held by whoever adds to it or reads it.
        turn: Whether it is the log's to count slow statements.

    Args:
        dialect: Whose statements these are.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.tally = Tally(dialect)
        self.turn = Turn()
        self._nothing = Failure(Reason.ERROR, "the server logs no slow statements", fix=_FIX[dialect])
        # Whoever reads adds a piece's events under it.
        self.lock = threading.Lock()
        self._busiest = Busiest(("database", "fingerprint"), ("seconds",))
        self._turn: Future[None] | None = None
        # The last turn that has ended: that it failed is told until another one ends well.
        self._ended: Future[None] | None = None
        # Whether all was read in that one, though perhaps it could not be kept how far.
        self._all_read = True
        # When something was last read in the one that is under way.
        self._progress = 0.0

    @property
    def busy(self) -> bool:
        """Whether the last turn is still under way."""
        return self._turn is not None and not self._turn.done()

    @property
    def ended_well(self) -> bool:
        """Whether the last turn is over and nothing went wrong in it: what it left behind is final."""
        return self._turn is not None and self._turn.done() and self._turn.exception() is None

    def begin(self, turn: Callable[[], None]) -> None:
        """Begin a turn of reading, unless one is under way.

        Raises:
            Failure: No thread can be had for it.
        """
        if self.busy:
            return
        self._ended = self._turn
        self._progress = time.monotonic()
        self._turn = on_a_thread(turn)

    def look(self, where: str = "the log") -> Failure | None:
        """Wait a moment for the end of the turn.

        Returns:
            That a file could not be read or written in the last turn that has ended; what else there was was read.

        Raises:
            Failure: The turn that is under way hangs.
        """
        if self._turn is None:
            return None
        wait([self._turn], _WAIT_SECONDS)
        if self._turn.done():
            self._ended = self._turn
        elif time.monotonic() - self._progress > _HANGS_SECONDS:
            raise Failure(Reason.TIMEOUT, f"for {_HANGS_SECONDS:.0f} s nothing could be read of {where}")
        self._all_read = True
        if self._ended is not None:
            try:
                self._ended.result()
            except OSError as error:
                self._all_read = isinstance(error, NotKeptError)
                return _failure(error, where)
        return None

    def add(self, events: Iterable[Event], rules: Rules) -> None:
        """Count events; for the thread that reads."""
        left = iter(events)
        while True:
            with WORKING:
                began = self._progress = time.monotonic()
                some = list(islice(left, _AT_ONCE))
                if not some:
                    return
                counts = self._counts(rules, began)
                with self.lock:
                    self.tally.add(some, counts)
                time.sleep(min(_MOST_REST_SECONDS, time.monotonic() - began))

    def rows(
        self,
        rules: Rules,
        context: Context,
        counts: tuple[int | None, int | None, int | None],
        *,
        at_end: bool,
        failed: Failure | None = None,
    ) -> Rows:
        """What has been counted.

        Args:
            rules: As they are now.
            context: Of the run.
            counts: Lines, lines not understood, and bytes behind.
            at_end: Whether the last turn of reading has ended well, and there was no more to read.
            failed: What `look` found.
        """
        # Only what is still read of a log that fails is a word of it: else one that can't be read kept its turn.
        shown = self._counts(rules, context.now if self._all_read else None, at_end=at_end)
        limit = _limit(context)
        with self.lock:
            about = list(self.tally.by_database(shown))
            statements = Rows(COLUMNS, list(self.tally.by_statement()))
            busiest = self._busiest.feed(statements, replace(context, room=limit))
            self.tally.shown = frozenset(map(_STATEMENT, busiest.rows[:limit]))
        about.append((*[None] * (len(COLUMNS) - len(counts)), *counts))
        # Then others count slow statements, who know less of them.
        problem = (rules.untold or self._nothing) if rules.threshold is None else None
        found = [_with_text(row, context.server.statements) for row in busiest.rows[:limit]]
        return Rows(COLUMNS, [*about, *found], problem=failed or problem)

    def _counts(self, rules: Rules, now: float | None, *, at_end: bool = False) -> Rules:
        """The rules, by which no statement is slow while the log is not the one to count those.

        Args:
            now: When it was heard of; None: it was not.
            at_end: See Turn.heard.
        """
        if rules.threshold is None:
            self.turn.silent()
        elif now is not None:
            self.turn.heard(now, at_end=at_end)
        return rules if self.turn.log_counts else replace(rules, threshold=None)

    def rebase(self) -> None:
        """See `Accumulator`: where the log is comes with the next reading, and what was counted stays."""
        self._busiest.rebase()


def _with_text(row: tuple[Any, ...], statements: Statements) -> tuple[Any, ...]:
    """A row of a statement with as much of its text as the config wants."""
    text = "" if statements.text == "none" else cut(row[_QUERY] or "", statements.text_bytes)
    return (*row[:_QUERY], text, *row[_QUERY + 1 :])


def _limit(context: Context) -> int:
    """How many statements to show: what the config says of the collector, and no more than there is room for."""
    server = context.server
    settings = server.collectors.get(SLOW_LOG_COLLECTORS[server.engine, server.log_settings().over_sql])
    most = SHOWN if settings is None or settings.limit is None else settings.limit
    return most if context.room is None else min(most, context.room)


def positions(context: Context) -> PositionFile:
    """Where the position in a server's log is kept."""
    directory = context.server.state_dir
    return PositionFile(Path(directory) if directory else None, context.server.name)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a log is and how it is to be read.

    Attributes:
        where: A file, a directory or a glob.
        format: json, csv, stderr or slow.
        prefix: PostgreSQL's log_line_prefix.
        rules: How its events are to be taken.
    """

    where: str
    format: str
    rules: Rules
    prefix: str = ""


# From a server's settings, as the collector's query has them, to where its log is. May raise Failure.
Find = Callable[[Rows, Context], Source]
# Makes parsers of a format; the second argument is log_line_prefix.
MakeParser = Callable[[str, str], LogParser]


class LogReader(Counting):
    """Reads a log's files on while it is asked about it."""

    def __init__(self, dialect: Dialect, find: Find, make_parser: MakeParser) -> None:
        super().__init__(dialect)
        self._find = find
        self._make_parser = make_parser
        self._source: Source | None = None
        self._follower: Follower | None = None
        # Of places where the log was before, how far it was read there: the server may come back to one.
        self._left: dict[Source, Follower] = {}

    def feed(self, rows: Rows, context: Context) -> Rows:
        """Begin a turn of reading, if none is under way; what has been read so far.

        Args:
            rows: The server's settings.
            context: Of the run.

        Raises:
            Failure: The log can't be found, or hangs.
        """
        source = self._find(rows, context)
        self.begin(lambda: self._read(source, context))
        failed = self.look(source.where)
        follower = self._follower
        if follower is None:
            return self.rows(source.rules, context, (None, None, None), at_end=False, failed=failed)
        # In this order: a turn that ends meanwhile has left something.
        at_end = self.ended_well and not follower.behind
        counts = (follower.lines, follower.not_understood, follower.behind)
        if self.busy or follower.found or failed is not None:
            return self.rows(source.rules, context, counts, at_end=at_end, failed=failed)
        missing = Failure(Reason.ERROR, f"{source.where}: there is no such file")
        nothing = replace(source.rules, threshold=None)
        return replace(self.rows(nothing, context, counts, at_end=False), problem=missing)

    def _read(self, source: Source, context: Context) -> None:
        follower = self._follow(source, context)
        for events in follower.turn(_MOST_BYTES, _TURN_SECONDS):
            self.add(events, source.rules)
        if not self.turn.log_counts:
            # What others have counted is not to come up when it is the log's turn again.
            self.add(follower.last(), source.rules)

    def _follow(self, source: Source, context: Context) -> Follower:
        same = self._source is not None and replace(source, rules=self._source.rules) == self._source
        if self._follower is None or not same:
            before, key = self._follower, replace(source, rules=_NO_RULES)
            if before is not None and self._source is not None:
                self._leave(before, self._source)
            log.info("%s: the log is read from %s, as %s", context.server.name, source.where, source.format)
            self._follower = self._left.pop(key, None) or Follower(
                Files(source.where),
                lambda: self._make_parser(source.format, source.prefix),
                positions(context),
                before.looked if before is not None else None,
            )
            if before is not None:
                # Counters go on.
                self._follower.lines, self._follower.not_understood = before.lines, before.not_understood
        self._source = source
        return self._follower

    def _leave(self, follower: Follower, source: Source) -> None:
        """Count what was still written to a log before the server went on elsewhere, as far as it is there to read."""
        looked = follower.looked
        with suppress(OSError):
            for events in follower.turn(_MOST_BYTES, _TURN_SECONDS):
                self.add(events, source.rules)
        self.add(follower.last(), source.rules)
        follower.close()
        # The server has left it since the turn before this one.
        follower.looked = looked
        while len(self._left) >= _LEFT_KEPT:
            del self._left[next(iter(self._left))]
        self._left[replace(source, rules=_NO_RULES)] = follower


def _failure(error: OSError, where: str) -> Failure:
    denied = error.errno in {errno.EACCES, errno.EPERM}
    place = error.filename or where
    message = f"{place}: {error.strerror or error}"
    verb = "read"
    if isinstance(error, NotKeptError):
        message, verb = f"how far the log was read can't be kept: {message}", "write"
    fix = f"let the user that runs the exporter {verb} {place}" if denied else None
    return Failure(Reason.PERMISSION if denied else Reason.ERROR, message, fix=fix)
