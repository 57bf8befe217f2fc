"""Where the head of a line ends that PostgreSQL's log_line_prefix and a severity make, and what is in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import prod
from typing import NamedTuple, Protocol

from exporter.subjects.logs.line_prefix import Part, parts, pattern
from exporter.subjects.logs.postgres_entry import SEVERITIES

# What follows an entry as a part of it, with a prefix of its own.
PARTS = frozenset({"DETAIL", "HINT", "QUERY", "CONTEXT", "LOCATION", "STATEMENT", "BACKTRACE"})
_WORDS = "|".join(sorted(SEVERITIES | PARTS))
_SEVERITY = re.compile(rf"(?P<severity>{_WORDS}):  ")
# A prefix is in the beginning of a line, however long the line is.
_CHARACTERS = 2048
# In so many ways the names of a prefix may share a line among each other, at most, where an expression tries them all.
_MOST_WAYS = 2**21
_SPACE = re.compile(r"\s")


class Head(NamedTuple):
    """What is in front of a line's text.

    Attributes:
        fields: Of backend, database, pid, sqlstate, session and query_id those that the prefix has.
        severity: A word of SEVERITIES or PARTS.
        end: Where the text begins.
    """

    fields: Mapping[str, str | None]
    severity: str
    end: int


class Heads(Protocol):
    """Finds the heads of lines."""

    def find(self, line: str) -> Head | None:
        """The head of a line; None if it has none, or if nobody can tell where it ends.

        A client's name for itself may look like an entry, and its statement like the end of a prefix.
        """


def heads(prefix: str) -> Heads:
    """What finds heads with this log_line_prefix."""
    made = parts(prefix)
    # Of a name before a text as many ends are possible as there is room for that text in it.
    afters = (max(1, part.length) for part in [*made[1:], Part("")])
    if prod(part.most // after + 1 for part, after in zip(made, afters, strict=False) if part.free) <= _MOST_WAYS:
        return ByExpression(prefix)
    return ByPlaces(made)


class ByExpression:
    """By a regular expression, which is the quickest, but tries all ways in which names can share a line."""

    def __init__(self, prefix: str) -> None:
        self._shortest = re.compile(pattern(prefix) + _SEVERITY.pattern, re.DOTALL)
        longest = pattern(prefix, longest=True) + _SEVERITY.pattern
        self._longest = re.compile(longest, re.DOTALL) if longest != self._shortest.pattern else None

    def find(self, line: str) -> Head | None:
        """See Heads."""
        # Most lines that have none have no word either.
        if not _SEVERITY.search(line, 0, _CHARACTERS):
            return None
        found = self._shortest.match(line, 0, _CHARACTERS)
        if not found:
            return None
        if self._longest and _SEVERITY.search(line, found.end(), _CHARACTERS):
            other = self._longest.match(line, 0, _CHARACTERS)
            if not other or other.end() != found.end():
                return None
        fields = found.groupdict()
        return Head(fields, fields["severity"], found.end())


class ByPlaces:
    """By the places where each part of the prefix can end: the work is that of a part times that of a line."""

    def __init__(self, made: Iterable[Part]) -> None:
        self._parts = list(made)
        # Processes that are no session's end here, if anywhere.
        self._short = sum(not part.tail for part in self._parts)

    def find(self, line: str) -> Head | None:
        """See Heads."""
        line = line[:_CHARACTERS]
        ends = {found.start(): found for found in _SEVERITY.finditer(line)}
        if not ends:
            return None
        reached = [{0}]
        for part in self._parts:
            reached.append(_ends(part, line, reached[-1]))
        found = [(count, end) for count in {self._short, len(self._parts)} for end in reached[count] & ends.keys()]
        if len({end for _, end in found}) != 1:
            return None
        count, end = max(found)
        return Head(self._fields(line, reached[:count], end), ends[end]["severity"], ends[end].end())

    def _fields(self, line: str, reached: list[set[int]], end: int) -> dict[str, str | None]:
        """Of the ways to that end the one in which later parts are as long as can be."""
        fields: dict[str, str | None] = {}
        for part, places in reversed(list(zip(self._parts, reached, strict=False))):
            begin = next(place for place in sorted(places) if _fits(part, line, place, end))
            if part.name:
                fields[part.name] = line[begin:end].strip() if part.padded else line[begin:end]
            end = begin
        return fields


def _ends(part: Part, line: str, begins: Iterable[int]) -> set[int]:
    """Where a part can end that begins at one of these places."""
    ends: set[int] = set()
    if part.free:
        done = 0
        for begin in sorted(begins):
            end = min(begin + part.most, len(line))
            space = _SPACE.search(line, begin, end) if part.word else None
            end = space.start() if space else end
            ends.update(range(max(begin, done), end + 1))
            done = end + 1
        return ends
    for begin in begins:
        found = part.expression.match(line, begin)
        if found:
            ends.update(end for end in range(begin, found.end() + 1) if _fits(part, line, begin, end))
    return ends


def _fits(part: Part, line: str, begin: int, end: int) -> bool:
    """Whether a part can be just that."""
    if part.free:
        return begin <= end <= begin + part.most and not (part.word and _SPACE.search(line, begin, end))
    return part.expression.fullmatch(line, begin, end) is not None
