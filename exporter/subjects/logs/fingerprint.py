"""A statement without its literals: what is shown of it, and the name that all of its executions share.

Of what only describes or changes the server, where names may be secrets too, nothing is kept but its first word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from exporter.subjects.statements.lexer import KEPT, UTILITY, Dialect, Token, read

# Of a longer text only the beginning counts: a long one is a list of values as a rule.
_MOST_READ = 4096
_MOST_SHOWN = 1024
# What a cut text goes on with.
_MORE = "..."

_LITERAL_WORDS = frozenset({"null", "true", "false"})
_SIGNED_AFTER = frozenset("(,=<>[+-*/%") | {"<=", ">=", "<>", "!=", "||", ":="}
_SIMPLE_NAME = re.compile(r"[a-z_][a-z0-9_]*\Z")
# Before a parenthesis these keep a space, other words are functions or tables with columns.
_SPACED = frozenset({
    "all", "and", "any", "as", "between", "by", "case", "distinct", "else", "except", "exists", "filter", "from",
    "having", "in", "intersect", "into", "is", "join", "like", "limit", "not", "offset", "on", "or", "over",
    "returning", "select", "set", "some", "then", "union", "using", "value", "values", "when", "where", "with",
})  # fmt: skip


class Fingerprint(NamedTuple):
    """What all executions of a statement share.

    Attributes:
        name: 16 hexadecimal digits.
        text: The statement without literals and comments, at most _MOST_SHOWN characters long.
    """

    name: str
    text: str


def fingerprint(text: str, dialect: Dialect) -> Fingerprint:
    """The fingerprint of a statement; of an empty one, too."""
    return _fingerprint(text[:_MOST_READ], len(text) > _MOST_READ, dialect)


@lru_cache(maxsize=2048)
def _fingerprint(text: str, cut: bool, dialect: Dialect) -> Fingerprint:
    shown = normalized(text, dialect, cut=cut)
    name = blake2b(shown.encode("utf-8", "replace"), digest_size=8).hexdigest()
    return Fingerprint(name, shown if len(shown) <= _MOST_SHOWN else shown[:_MOST_SHOWN] + _MORE)


def normalized(text: str, dialect: Dialect, *, cut: bool = False) -> str:
    """The statement without literals and comments, on one line, its words in lower case.

    Args:
        text: The statement.
        dialect: Whose syntax.
        cut: It goes on after what is here.
    """
    found = read(text, dialect, cut=cut)
    first = found.first()
    if first not in KEPT:
        return f"{first} {_MORE}" if first in UTILITY else _MORE
    # Of several statements in one message only the first may be one of those that are kept.
    found = found.alone()
    return _joined(_collapsed(_plain(found.tokens), found.more), found.more)


def _plain(tokens: Iterable[Token]) -> list[str]:
    """Tokens as they are shown, comments and spaces left out."""
    words: list[str] = []
    for kind, text in tokens:
        if kind == "word":
            word = text.lower()
            literal = word in _LITERAL_WORDS and words[-1:] not in (["is"], ["not"], ["."])
            words.append("?" if literal else word)
        elif kind == "name":
            plain = text.strip('`"')
            words.append(plain if _SIMPLE_NAME.match(plain) else " ".join(text.split()))
        elif kind == "operator":
            words.append(text)
        elif kind in {"literal", "parameter"}:
            words.append("?")
    return words


def _collapsed(tokens: list[str], cut: bool) -> list[str]:
    """Lists of literals as one literal, rows of them as one row, and no signs before them."""
    done: list[str] = []
    for word in tokens:
        if word == "?":
            if done[-1:] in (["-"], ["+"]) and (len(done) < 2 or done[-2] in _SIGNED_AFTER or done[-2] in _SPACED):
                done.pop()
            if done[-2:] == ["?", ","]:
                done.pop()
            if done[-1:] == ["?"]:
                continue
        done.append(word)
        if word == ")" and done[-7:] == ["(", "?", ")", ",", "(", "?", ")"]:
            del done[-4:]
    if cut and "values" in done and done[done.index("values") + 1 :][:3] == ["(", "?", ")"]:
        # How much of the next row was still there doesn't matter.
        del done[done.index("values") + 4 :]
    return done


def _joined(tokens: list[str], cut: bool) -> str:
    parts: list[str] = []
    before = ""
    for word in tokens:
        tight = (
            not before
            or word in {",", ")", ".", ";", "]", "::", "["}
            or before in {"(", ".", "[", "::"}
            or (word == "(" and before not in _SPACED and (before[-1].isalnum() or before[-1] in '_"`'))
        )
        parts.append(word if tight else f" {word}")
        before = word
    return "".join(parts) + (f" {_MORE}" if cut else "")
