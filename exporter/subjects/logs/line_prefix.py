"""PostgreSQL's log_line_prefix as a regular expression."""

from __future__ import annotations

import re
from collections.abc import Iterator

_MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
# What a client chooses may hold anything, but no more of it than the server lets names have: 63 bytes, of which
# PostgreSQL 16 writes odd ones of an application_name as four characters. Longer ones would make a long line dear.
_NAME = ".{0,63}?"
_APPLICATION = ".{0,255}?"
_HOST = r"\S{0,255}?"
# Kinds of processes and of commands.
_WORDS = r"\S{0,63}?(?: \S{1,63}?){0,3}?"
# Escapes by letter. Names are what is read of them.
_ESCAPES = {
    "a": _APPLICATION,
    "u": _NAME,
    "d": f"(?P<database>{_NAME})",
    "r": _HOST,
    "h": _HOST,
    "L": _HOST,
    "b": _WORDS,
    "p": r"(?P<pid>\d+)",
    "P": r"\d*",
    "t": rf"{_MOMENT} \S+",
    "m": rf"{_MOMENT}\.\d{{3}} \S+",
    "n": r"\d+\.\d{3}",
    "i": _WORDS,
    "e": "(?P<sqlstate>[0-9A-Z]{5})",
    "c": r"(?P<session>[0-9a-f]+\.[0-9a-f]+)",
    "l": r"\d+",
    "s": rf"(?:{_MOMENT} \S+)?",
    "v": r"(?:-?\d+/\d+)?",
    "x": r"\d+",
    "Q": r"(?P<query_id>-?\d+)",
    "%": "%",
}
_PART = re.compile(r"%(?P<width>-?\d*)(?P<letter>[A-Za-z%])|(?P<text>[^%]+)|(?P<lone>%)")


def pattern(prefix: str) -> str:
    """A regular expression for what the server puts in front of each entry.

    Its groups are database, pid, sqlstate, session and query_id, as far as the prefix has them.
    """
    seen: set[str] = set()
    parts, tail = [], False
    for found in _PART.finditer(prefix):
        if found["text"] is not None:
            parts.append(re.escape(found["text"]))
        elif found["letter"] == "q":
            # Processes that are no session's leave out what follows.
            if not tail:
                parts.append("(?:")
            tail = True
        elif found["letter"] in _ESCAPES:
            parts.append(_escape(found["letter"], bool(found["width"]), seen))
        # The server leaves out what it doesn't know.
    return "".join(parts) + (")?" if tail else "")


def longest(heads: str) -> str:
    """Such an expression with its names as long as they can be, instead of as short."""
    return heads.replace("}?", "}")


def _escape(letter: str, padded: bool, seen: set[str]) -> str:
    text = _ESCAPES[letter]
    name = next(_names(text), None)
    if name in seen:
        # A name stands for one group only.
        text = text.replace(f"?P<{name}>", "?:")
    elif name:
        seen.add(name)
    return f" *{text} *" if padded else text


def _names(text: str) -> Iterator[str]:
    yield from (found[1] for found in re.finditer(r"\?P<(\w+)>", text))
