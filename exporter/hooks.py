"""What a collector gets and gives when it does more than declare: rows, what it may know besides, and state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from exporter.config.model import ServerConfig
    from exporter.facts import Facts
    from exporter.failure import Failure


@dataclass(frozen=True, slots=True)
class Rows:
    """A result: column names and tuples in the same order. A missing value is None.

    Attributes:
        columns: Their names.
        rows: The tuples.
        further: The results of what was asked after it; see Asking.
        verbatim: Columns whose numbers are texts, as the server wrote them: for the page, which shows them so.
        problem: Of what a state or hook gives: why something is missing that should be there. The collector has failed
            then, and the rows are shown all the same.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]
    further: tuple[Rows, ...] = ()
    problem: Failure | None = None
    verbatim: frozenset[str] = frozenset()

    def dicts(self) -> list[dict[str, Any]]:
        """The rows by column name, for hooks that rewrite them."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    @staticmethod
    def of(columns: Sequence[str], dicts: Sequence[Mapping[str, Any]]) -> Rows:
        """Rows from mappings; a key that is not there is None."""
        return Rows(tuple(columns), [tuple(item.get(column) for column in columns) for item in dicts])


@dataclass(frozen=True, slots=True)
class Context:
    """What a hook may know besides the rows.

    Attributes:
        server: The server's configuration.
        facts: What is true of the server.
        now: Monotonic seconds at which the rows were read.
        room: Rows that the series budget and the config's limit have room for; later ones are left out and counted.
            None: all of them.
    """

    server: ServerConfig
    facts: Facts
    now: float
    room: int | None = None


Hook = Callable[[Rows, Context], Rows]


class Accumulator(Protocol):
    """State that a collector keeps for one server between its runs."""

    def feed(self, rows: Rows, context: Context) -> Rows:
        """Take a reading in; give the rows that are to be exported."""

    def rebase(self) -> None:
        """Forget the last reading, keep what was counted.

        Another server answers from here on, or this one was restarted or has changed its role.
        """


@runtime_checkable
class TakesTurns(Accumulator, Protocol):
    """State that counts only while something else does not, such as the log of slow statements."""

    @property
    def overtaken(self) -> bool:
        """Whether that has changed since the last reading, so that the next one should come at once."""


@runtime_checkable
class Asking(Accumulator, Protocol):
    """State that says itself what is asked of the server, one statement after the other, as the answers come."""

    def ask(self, sql: str, answers: Sequence[Rows], context: Context) -> str | None:
        """The next statement, None if the answers are enough for `feed`; the first is never None.

        Nothing that is shown may change by it: a reading that fails halfway is never fed, and the next begins anew.

        Args:
            sql: The collector's query for this server.
            answers: What was answered in this run so far. The first is what `feed` gets, with the others in `further`.
            context: As of `feed`, but for the room.

        Returns:
            A statement in which `{schema:NAME}` stands for what it does in a Query.
        """

    def spares(self, answers: Sequence[Rows], failure: Failure) -> bool:  # noqa: ARG002 - for those who can
        """Whether these answers are enough for `feed`, though the next statement failed; never if there are none."""
        return False


class Samples(Protocol):
    """What one server's samples of a collector add up to. Not for two threads at once.

    Attributes:
        last: Monotonic seconds of the last sample, None before the first.
    """

    last: float | None

    def take(self, rows: Rows, now: float) -> float | None:
        """Take in a sample that was read at `now`, in monotonic seconds.

        Returns:
            Seconds that the server says the query took it, None if it doesn't say.
        """

    def rows(self, now: float) -> Rows:
        """The rows that are to be exported at `now`."""
