"""Series of single statements: a quick look at all of them, all numbers of those chosen, and texts of new ones."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from operator import add
from typing import Any, ClassVar

from exporter.collectors.recent import Key, Numbers
from exporter.declare import Context, Rows
from exporter.failure import Failure
from exporter.gates import ANY, Gate
from exporter.subjects.statements.selection import Selection
from exporter.subjects.statements.texts import Texts, cut

log = logging.getLogger(__name__)

# So many statements are looked through in every run; of more, as a rule every fourth run chooses anew.
QUICK_STATEMENTS = 1000
EVERY_RUN = 4
# After texts were read, none are for this many times as long as that took.
TEXTS_PAUSE = 1000


@dataclass(frozen=True)
class Number:
    """What a server has of each statement: SQL, a sentence, and the servers that have it."""

    sql: str
    help: str
    when: Gate = ANY


class Tracked(ABC):
    """The Asking state that engines have of single statements; what is asked is the engine's.

    The collector's query is the quick look: the columns of the key, then calls, time and I/O, numbers or NULL.
    Gives the rows of the statements chosen by the look before (at first by this one), with the columns that `numbers`
    asked for, of which `shaped` makes what is shown, and
    `digest_text`, only with `text: label`;
    `text` and `known`, which are the text and 1 with `text: info`, else NULL.

    Attributes:
        left_out: How many statements were not chosen.
        leader: Who, if anybody, has chosen those among which this one chooses, as soon as that is known.
    """

    name: ClassVar[str]
    """The collector's."""
    key: ClassVar[tuple[str, ...]]
    """The columns that tell statements apart; the last one also says which text a statement has."""
    shown_as: ClassVar[tuple[str, ...]] = ()
    """Further columns of what is shown that become labels, which are there where no statement is."""
    largest: ClassVar[frozenset[str]] = frozenset()
    """Columns of which the largest counts where a statement has several rows; the others are summed."""
    texts_every: ClassVar[float] = 0.0
    """Seconds between two readings of texts at most, where these cost more than those of a few statements; less, as far
    as they take no more than a thousandth of the time."""
    texts_in: ClassVar[frozenset[str]] = frozenset({"info", "label"})
    """The values of `statements.text` with which texts are shown, and so are read."""
    looks_every: ClassVar[int] = EVERY_RUN
    """Of very many statements, every so many runs chooses anew."""
    most: ClassVar[int | None] = None
    """Statements at most, unless the config has a limit for this collector."""

    def __init__(self) -> None:
        self.leader: Sequence[Tracked] = ()
        self._selection = Selection()
        self._texts = Texts()
        self._runs_left = 0
        self.left_out = 0
        self._texts_at = 0.0
        self._texts_wait = 0.0

    @abstractmethod
    def numbers(self, statements: Sequence[Key], context: Context) -> str:
        """SQL for the columns of the key and what is to be shown, of these statements; further ones are left out."""

    @abstractmethod
    def texts(self, ids: Sequence[Hashable], context: Context) -> str:
        """SQL for the text of each of these, as two columns: the last one of the key, and the text."""

    def look(self, sql: str, context: Context) -> str:  # noqa: ARG002 - for engines that know more
        """SQL for the quick look, of the collector's query."""
        return sql

    def totals(self, looked: Rows, context: Context) -> dict[Key, Numbers]:  # noqa: ARG002
        """Calls, time and I/O of the statements that may have series, of the quick look."""
        if not looked.rows:
            return {}
        width = len(self.key)
        columns = list(zip(*looked.rows, strict=True))
        keys: list[Key] = list(zip(*columns[:width], strict=True))
        numbers: list[Numbers] = list(zip(*map(_floats, columns[width:]), strict=True))
        totals = dict(zip(keys, numbers, strict=True))
        if len(totals) < len(keys):
            # The same statement may have several rows, as MySQL's digests do at times.
            totals = {}
            for key, own in zip(keys, numbers, strict=True):
                totals[key] = tuple(map(add, totals[key], own)) if key in totals else own
        return totals

    @abstractmethod
    def readable(self, text: str, context: Context) -> str:
        """What may be shown of a text, before it is cut: no literals, and nothing that could hold a password."""

    def shaped(self, rows: Rows) -> Rows:
        """What is shown of the rows that `numbers` brought, a row for each statement."""
        return rows

    def ask(self, sql: str, answers: Sequence[Rows], context: Context) -> str | None:
        """See exporter.declare.Asking."""
        looks = self._looks()
        if looks and not answers:
            return self.look(sql, context)
        chosen = self._selection.chosen or self._first(answers[0], context)
        rest = answers[1:] if looks else answers
        if not rest:
            return self.numbers(chosen, context) if chosen else None
        if len(rest) == 1 and context.server.statements.text in self.texts_in:
            unknown = self._texts.unknown(_ids(self._of(chosen, rest[0])))
            if unknown and time.monotonic() - self._texts_at >= self._texts_wait:
                # Until it has worked: what fails is not asked for at once again.
                self._texts_at, self._texts_wait = time.monotonic(), self.texts_every
                return self.texts(unknown, context)
        return None

    def spares(self, answers: Sequence[Rows], failure: Failure) -> bool:
        """See exporter.declare.Asking: numbers are shown without texts."""
        if len(answers) < (2 if self._looks() else 1):
            return False
        log.warning("%s: texts of statements can't be read: %s", self.name, failure.message)
        return True

    def feed(self, rows: Rows, context: Context) -> Rows:
        """Take a reading in; give the rows of the statements that it asked for."""
        answers = [rows, *rows.further]
        chosen = self._selection.chosen
        if self._looks():
            looked = answers.pop(0)
            totals = self.totals(looked, context)
            self._selection.take(totals, self._room(context), context.now, self._among())
            self.left_out = len(totals) - len(self._selection.chosen)
            chosen = chosen or self._selection.chosen
            few = len(totals) <= QUICK_STATEMENTS or self._selection.fresh
            self._runs_left = 0 if few else self.looks_every - 1
        else:
            self._runs_left -= 1
        if not answers:
            return Rows((*self.key, *self.shown_as, "text", "known"), [])
        numbers, *texts = answers
        found = self._of(chosen, numbers)
        if texts:
            self._texts_wait = min(self.texts_every, (time.monotonic() - self._texts_at) * TEXTS_PAUSE)
        for told in texts:
            most = context.server.statements.text_bytes
            known = {
                one: None if text is None else cut(self.readable(str(text), context), most) for one, text in told.rows
            }
            self._texts.keep(self._texts.unknown(_ids(found)), known)
        return self._with_texts(self.shaped(Rows(numbers.columns, list(found.values()))), context)

    def rebase(self) -> None:
        """Another server, or this one after a restart, has other statements."""
        self._selection = Selection()
        self._texts = Texts()
        self._runs_left = 0
        self._texts_wait = 0.0

    def _looks(self) -> bool:
        return not self._selection.chosen or self._runs_left == 0

    def _room(self, context: Context) -> int:
        own = context.server.collectors.get(self.name)
        if own is not None and own.limit is not None:
            return own.limit
        wanted = context.server.statements.limit
        return wanted if self.most is None else min(self.most, wanted)

    def _first(self, looked: Rows, context: Context) -> tuple[Key, ...]:
        """Those that `feed` will choose if this is the first look."""
        selection = Selection()
        selection.take(self.totals(looked, context), self._room(context), context.now, self._among())
        return selection.chosen

    def _among(self) -> frozenset[Key] | None:
        chosen = [key for leader in self.leader for key in leader._selection.chosen]
        return frozenset(chosen) if chosen else None

    def _of(self, chosen: Sequence[Key], numbers: Rows) -> dict[Key, tuple[Any, ...]]:
        """One row for each statement that was asked for and is there."""
        width = len(self.key)
        wanted = frozenset(chosen)
        found: dict[Key, tuple[Any, ...]] = {}
        for row in numbers.rows:
            key = row[:width]
            if key in wanted:
                found[key] = self._together(numbers.columns, found[key], row) if key in found else row
        return found

    def _together(self, columns: Sequence[str], one: Sequence[Any], other: Sequence[Any]) -> tuple[Any, ...]:
        width = len(self.key)
        parts = zip(columns[width:], one[width:], other[width:], strict=True)
        return (*one[:width], *(_merged(name in self.largest, *values) for name, *values in parts))

    def _with_texts(self, rows: Rows, context: Context) -> Rows:
        mode = context.server.statements.text
        place = rows.columns.index(self.key[-1])
        texts = self._texts.of(row[place] for row in rows.rows)
        found = [texts.get(row[place]) for row in rows.rows]
        columns: dict[str, list[Any]] = {"digest_text": found} if mode == "label" else {}
        shows = found if mode == "info" else [None] * len(found)
        columns |= {"text": shows, "known": [None if text is None else 1 for text in shows]}
        more = zip(*columns.values(), strict=True)
        return Rows((*rows.columns, *columns), [(*row, *own) for row, own in zip(rows.rows, more, strict=True)])


def _floats(values: Sequence[Any]) -> list[float]:
    return [float(value or 0) for value in values]


def _ids(found: Mapping[Key, object]) -> list[Hashable]:
    """What identifies the texts of these statements."""
    return [key[-1] for key in found]


def _merged(largest: bool, one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other) if largest else one + other
