"""MySQL and MariaDB: the slow log in the table mysql.slow_log, for servers that log into tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from exporter.declare import Asking, Context, Rows
from exporter.failure import Failure, Reason
from exporter.statement import filled
from exporter.subjects.logs.events import Statement
from exporter.subjects.logs.mysql import rules
from exporter.subjects.logs.mysql_slow import REPLICATION
from exporter.subjects.logs.positions import Position, PositionFile
from exporter.subjects.logs.reader import Counting, positions
from exporter.subjects.logs.tally import Rules

# Rows of one run. The table has no index: each run reads all of it on the server.
MOST_ROWS = 2000
# Who is killed while they are being counted has lost no more than that.
_ROWS_AT_ONCE = 200


class SlowLogTable(Counting, Asking):
    """Reads the rows that were added to the table since the last run; the first run begins at its end.

    Takes rows of kind, name, value, database, seconds, locked, sent, examined and user: `setting`; `count` (rows of
    the table, if `counted` was 1); `first` (what its first row is, NULL if there is none); `entry`, `most` of them
    after the first `offset`, in the order in which they were added.
    """

    def __init__(self) -> None:
        super().__init__("mysql")
        self._next: int | None = None
        self._first = ""
        self._read = 0
        # Whether the run that is under way asked for anything of the table.
        self._asked = False
        self._at_end = False
        self._kept: PositionFile | None = None
        self._another = False

    def rebase(self) -> None:
        """Another server answers, or the same one after a restart: its table's first row tells."""
        super().rebase()
        self._another = True

    def ask(self, sql: str, answers: Sequence[Rows], context: Context) -> str | None:
        """See exporter.declare.Asking: one statement, with how many rows to leave out in it."""
        if self._kept is None:
            self._kept = positions(context)
            position = self._kept.read()
            if position is not None and position.where == _where(context):
                self._next, self._first = position.offset, position.head
        if answers:
            return None
        # The first run only looks at how many rows there are.
        wanted = self._next is not None and not self.busy
        self._asked = wanted or self._next is None
        return filled(
            sql,
            {
                "counted": 1 if self._next is None else 0,
                "offset": self._next or 0,
                "most": MOST_ROWS if wanted else 0,
            },
        )

    def feed(self, rows: Rows, context: Context) -> Rows:
        """Count what was added.

        Raises:
            Failure: The server doesn't log into the table.
        """
        settings = {str(name).lower(): str(value) for kind, name, value, *_ in rows.rows if kind == "setting"}
        if "TABLE" not in settings.get("log_output", "").upper():
            raise Failure(
                Reason.ERROR,
                f"log_output = {settings.get('log_output')}: the slow log is in no table",
                fix="SET GLOBAL log_output = 'TABLE';",
            )
        current = rules(settings, context)
        self._at_end = False
        # That there are no rows means something only where some were asked for.
        if self._asked and not self.busy:
            self._take(rows, current, context)
        failed = self.look()
        at_end = self.ended_well and self._at_end
        return self.rows(current, context, (self._read, 0, None), at_end=at_end, failed=failed)

    def _take(self, rows: Rows, current: Rules, context: Context) -> None:
        [first] = ["" if value is None else str(value) for kind, _, value, *_ in rows.rows if kind == "first"]
        entries = [row for row in rows.rows if row[0] == "entry"]
        same, known = first == self._first, bool(self._first)
        added: list[tuple[Any, ...]] = []
        at_end = False
        if self._next is None:
            [following] = [int(name) for kind, name, *_ in rows.rows if kind == "count"]
        elif self._another and not same:
            # Its rows are counted next time.
            self._next, self._first = None, first
            return
        elif known and not same:
            # It was emptied, or another one put in its place.
            following = 0
        else:
            added = entries
            following = self._next + len(entries)
            at_end = len(entries) < MOST_ROWS
        position = Position(_where(context), 0, 0, following, first, 0, 0)
        self.begin(lambda: self._count(added, position, current))
        # Only now: where no thread can be had, the same rows are asked for again.
        self._next, self._first, self._another = following, first, False
        self._read += len(added)
        self._at_end = at_end

    def _count(self, entries: list[tuple[Any, ...]], position: Position, current: Rules) -> None:
        assert self._kept is not None
        for at in range(0, max(1, len(entries)), _ROWS_AT_ONCE):
            some = entries[at : at + _ROWS_AT_ONCE]
            left = max(0, len(entries) - at - len(some))
            with suppress(OSError):
                # Before they are counted: who is killed counts none of them twice. That it can't be kept is told in
                # the end, when all are counted.
                self._kept.write(replace(position, offset=position.offset - left))
            self.add(_events(some), current)
        self._kept.write(position)


def _where(context: Context) -> str:
    """Whose table: another server's position is of no use."""
    return f"table of {context.facts.identity.system}"


def _events(rows: list[tuple[Any, ...]]) -> Iterator[Statement]:
    for _, _, text, database, seconds, locked, sent, examined, user in rows:
        # A command has its name for a text here.
        if REPLICATION.match(f"# administrator command: {text}") or str(user).startswith(
            ("system user", "[SQL_", "SQL_")
        ):
            continue
        yield Statement(
            str(database) if database else None,
            str(text or ""),
            _seconds(str(seconds)),
            lock_seconds=_seconds(str(locked)),
            rows_sent=int(sent),
            rows_examined=int(examined),
        )


def _seconds(time: str) -> float:
    hours, minutes, seconds = time.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
