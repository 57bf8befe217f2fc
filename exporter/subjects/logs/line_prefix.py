"""PostgreSQL's log_line_prefix, part by part and as a regular expression."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

_MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
_ZONE = r"\S{1,63}"
_NUMBER = r"\d{1,20}"
# Kinds of processes and of commands.
_WORDS = r"\S{0,63}?(?: \S{1,63}?){0,3}?"
# What a client chooses may hold anything, but no more of it than the server lets names have: 63 bytes, of which
# PostgreSQL 16 writes odd ones of an application_name as four characters.
_NAME, _APPLICATION, _HOST = 63, 255, 255
# Of these escapes how long what they stand for may be, and whether it has no spaces.
_FREE = {
    "a": (_APPLICATION, False),
    "u": (_NAME, False),
    "d": (_NAME, False),
    "r": (_HOST, True),
    "h": (_HOST, True),
    "L": (_HOST, True),
    "b": (_APPLICATION, False),
    "i": (_APPLICATION, False),
}
_ESCAPES = {
    # Those of sessions first: a name that follows may have spaces, too.
    "b": rf"(?:client backend|parallel worker|{_WORDS})",
    "p": _NUMBER,
    "P": r"\d{0,20}",
    "t": rf"{_MOMENT} {_ZONE}",
    "m": rf"{_MOMENT}\.\d{{3}} {_ZONE}",
    "n": rf"{_NUMBER}\.\d{{3}}",
    "i": _WORDS,
    "e": "[0-9A-Z]{5}",
    "c": r"[0-9a-f]{1,16}\.[0-9a-f]{1,16}",
    "l": _NUMBER,
    "s": rf"(?:{_MOMENT} {_ZONE})?",
    "v": rf"(?:-?{_NUMBER}/{_NUMBER})?",
    "x": _NUMBER,
    # Versions before 14 leave it out.
    "Q": rf"(?:-?{_NUMBER})?",
    "%": "%",
}
_NAMES = {"b": "backend", "d": "database", "p": "pid", "e": "sqlstate", "c": "session", "Q": "query_id"}
_PART = re.compile(r"%(?P<width>-?\d*)(?P<letter>[A-Za-z%])|(?P<text>[^%]+)|(?P<lone>%)")


@dataclass(frozen=True)
class Part:
    """A part of a prefix: an escape, or what stands between escapes.

    Attributes:
        source: As a regular expression, with what a client chooses as short as can be.
        name: What is read of it: backend, database, pid, sqlstate, session or query_id; empty: nothing.
        free: Whether it may be nearly anything.
        most: How many characters that may be at most.
        word: Whether these have no spaces.
        tail: Whether only sessions' processes have it.
        padded: Whether spaces may be around it.
        length: Of what stands between escapes, how many characters it has.
    """

    source: str
    name: str = ""
    free: bool = False
    most: int = 0
    word: bool = False
    tail: bool = False
    padded: bool = False
    length: int = 0

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """Its source with the spaces around it, compiled."""
        return re.compile(f" *{self.source} *" if self.padded else self.source, re.DOTALL)


def parts(prefix: str) -> list[Part]:
    """What the server puts in front of each entry."""
    found: list[Part] = []
    tail = False
    for match in _PART.finditer(prefix):
        if match["text"] is not None:
            found.append(Part(re.escape(match["text"]), tail=tail, length=len(match["text"])))
        elif match["letter"] == "q":
            # Processes that are no session's leave out what follows.
            tail = True
        elif match["letter"] in _ESCAPES or match["letter"] in _FREE:
            # The server leaves out what it doesn't know.
            found.append(_escape(match["letter"], match["width"], {part.name for part in found}, tail=tail))
    return found


def pattern(prefix: str, *, longest: bool = False) -> str:
    """A regular expression for what the server puts in front of each entry.

    Its groups are backend, database, pid, sqlstate, session and query_id, as far as the prefix has them. What a client
    chooses is as short as can be in it, or as long.
    """
    sources, tail = [], False
    for part in parts(prefix):
        if part.tail and not tail:
            sources.append("(?:")
            tail = True
        source = f"(?P<{part.name}>{part.source})" if part.name else part.source
        sources.append(f" *{source} *" if part.padded else source)
    found = "".join(sources) + (")?" if tail else "")
    return found.replace("}?", "}") if longest else found


def _escape(letter: str, width: str, seen: set[str], *, tail: bool) -> Part:
    # A name stands for one group only.
    name = _NAMES.get(letter, "")
    name = "" if name in seen else name
    padded = bool(width)
    if letter not in _FREE:
        return Part(_ESCAPES[letter], name, tail=tail, padded=padded)
    most, word = _FREE[letter]
    character = r"\S" if word else "."
    source = _ESCAPES.get(letter, f"{character}{{0,{most}}}?")
    # Spaces that the server adds are among what it may be.
    more = min(abs(int(width or 0)), _APPLICATION) if width != "-" else 0
    return Part(source, name, free=True, most=most + more, word=word and not padded, tail=tail, padded=padded)
