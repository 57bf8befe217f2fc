"""A statement without its literals: what is shown of it, and the name that all of its executions share.

Literals are what an application's users have typed, and passwords. They are removed whatever a server's settings make
of a backslash; of what only describes or changes the server, where names may be secrets too, nothing is kept but its
first word.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Literal, NamedTuple

Dialect = Literal["postgres", "mysql"]

# Of a longer text only the beginning counts: a long one is a list of values as a rule.
_MOST_READ = 4096
_MOST_SHOWN = 1024
# What a cut text goes on with.
_MORE = "..."

# Their texts are kept.
_KEPT = frozenset({"select", "insert", "update", "delete", "merge", "replace", "with", "values", "table"})
# Of the others the first word is, if it is one of these.
_UTILITY = frozenset({
    "abort", "alter", "analyze", "begin", "cache", "call", "change", "check", "checkpoint", "checksum", "clone",
    "close", "cluster", "comment", "commit", "copy", "create", "deallocate", "declare", "desc", "describe", "discard",
    "do", "drop", "end", "execute", "explain", "fetch", "flush", "grant", "handler", "import", "install", "kill",
    "listen", "load", "lock", "move", "notify", "optimize", "prepare", "purge", "reassign", "refresh", "reindex",
    "release", "rename", "repair", "reset", "restart", "revoke", "rollback", "savepoint", "security", "set", "show",
    "shutdown", "start", "stop", "truncate", "uninstall", "unlisten", "unlock", "use", "vacuum", "xa",
})  # fmt: skip

_WORD = r"(?P<word>[^\W\d][\w$]*)"
_NUMBER = r"(?P<number>\.?\d(?:[eE][+-]\d|[\w.])*)"
_OPERATOR = r"(?P<operator>::|:=|<=>|<=|>=|<>|!=|\|\||->>|->|#>>|#>|@>|<@|.)"
# Strings with backslashes as escapes and without, by what encloses them. Each may lack its end.
_ESCAPED = r"{0}(?:[^{0}\\]|{0}{0}|\\.)*(?:(?P<{1}>{0})|\\?\Z)"
_PLAIN = r"{0}(?:[^{0}]|{0}{0})*(?:(?P<{1}>{0})|\Z)"


# The group that a string's end is in, by what kind of string it is.
_ENDS = {"escaped": "end1", "quoted": "end1", "string": "end2", "dollar": "end3"}


def _postgres(style: str) -> re.Pattern[str]:
    escaped, string, name = _ESCAPED.format("'", "end1"), style.format("'", "end2"), _PLAIN.format('"', "closed")
    return re.compile(
        r"(?P<space>\s+|--[^\n]*)|(?P<comment>/\*)"
        rf"|(?P<escaped>[eE]{escaped})|(?P<string>(?:[bBxXnN]|[uU]&)?{string})"
        r"|(?P<dollar>\$(?P<tag>(?:[^\W\d]\w*)?)\$(?:.*?(?P<end3>\$(?P=tag)\$)|.*))"
        rf"|(?P<name>(?:[uU]&)?{name})|(?P<parameter>\$\d+)|{_WORD}|{_NUMBER}|{_OPERATOR}",
        re.DOTALL,
    )


def _mysql(style: str) -> re.Pattern[str]:
    string, quoted, name = style.format("'", "end2"), style.format('"', "end1"), _PLAIN.format("`", "closed")
    return re.compile(
        r"(?P<space>\s+|\#[^\n]*|--(?=\s|\Z)[^\n]*)|(?P<code>/\*M?!)|(?P<comment>/\*)"
        rf"|(?P<string>[bBxXnN]?{string})|(?P<quoted>{quoted})"
        rf"|(?P<name>{name})|(?P<parameter>\?)|{_WORD}|{_NUMBER}|{_OPERATOR}",
        re.DOTALL,
    )


# How strings are as a rule, and with standard_conforming_strings = off or sql_mode = NO_BACKSLASH_ESCAPES.
_BOTH: dict[Dialect, tuple[re.Pattern[str], re.Pattern[str]]] = {
    "postgres": (_postgres(_PLAIN), _postgres(_ESCAPED)),
    "mysql": (_mysql(_ESCAPED), _mysql(_PLAIN)),
}
_COMMENT_PART = re.compile(r"/\*|\*/")
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
    usual, other = _BOTH[dialect]
    tokens = _Tokens(usual, text)
    kept, more = tokens.kept, cut or tokens.more
    if tokens.ambiguous is not None:
        alternative = _Tokens(other, text)
        # A text is read the other way if only that makes sense. If both may, nothing is shown from there on.
        if cut or tokens.sound == alternative.sound:
            kept, more = _Tokens(usual, text[: tokens.ambiguous]).kept, True
        elif alternative.sound:
            kept = alternative.kept
    first = next((word for word in kept if word != "("), "")
    if first not in _KEPT:
        return f"{first} {_MORE}" if first in _UTILITY else _MORE
    # Of several statements in one message only the first may be one of those that are kept.
    if ";" in kept[:-1]:
        kept, more = kept[: kept.index(";")], True
    return _joined(_collapsed(kept, more), more)


class _Tokens:
    """A text's tokens under one reading.

    Attributes:
        kept: Its tokens, with ? for each literal, without comments.
        sound: Whether it can be a statement: all quotes closed and no backslash outside of them.
        ambiguous: Where the first string begins in which a quote stands after a backslash, None if there is none.
        more: Whether it was given up before its end, at code in a MySQL comment.
    """

    def __init__(self, pattern: re.Pattern[str], text: str) -> None:
        self.kept: list[str] = []
        self.sound = True
        self.ambiguous: int | None = None
        self.more = False
        at = 0
        while at < len(text):
            found = pattern.match(text, at)
            assert found is not None, "the last alternative takes any character"
            at = found.end()
            kind = found.lastgroup
            if kind == "operator":
                self.sound &= found[0] != "\\"
                self.kept.append(found[0])
            elif kind == "word":
                self._word(found[0].lower())
            elif kind in {"number", "parameter"}:
                self.kept.append("?")
            elif kind == "name":
                self._name(found)
            elif kind == "code":
                self.more = True
                return
            elif kind == "comment":
                at = self._comment_end(text, at, nested=pattern in _BOTH["postgres"])
            elif kind != "space":
                self.sound &= found[_ENDS[kind or ""]] is not None
                self.kept.append("?")
                if kind in {"string", "quoted"} and self.ambiguous is None and _doubtful(found[0]):
                    self.ambiguous = found.start()

    def _word(self, word: str) -> None:
        literal = word in _LITERAL_WORDS and (not self.kept or self.kept[-1] not in {"is", "not", "."})
        self.kept.append("?" if literal else word)

    def _name(self, found: re.Match[str]) -> None:
        name, closed = found[0], found["closed"] is not None
        self.sound &= closed
        plain = name.strip('`"')
        # Of one that has no end nobody knows where it should have ended.
        self.kept.append((plain if _SIMPLE_NAME.match(plain) else name) if closed else "?")

    def _comment_end(self, text: str, at: int, *, nested: bool) -> int:
        depth = 1
        while depth:
            found = _COMMENT_PART.search(text, at)
            if found is None:
                self.sound = False
                return len(text)
            at = found.end()
            if found[0] == "*/":
                depth -= 1
            elif nested:
                depth += 1
        return at


def _doubtful(string: str) -> bool:
    """Whether a string would end elsewhere if backslashes meant the other thing."""
    quote = next(character for character in string if character in "'\"")
    return re.search(rf"(?<!\\)(?:\\\\)*\\{quote}", string) is not None


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
    while done[-1:] == [";"]:
        done.pop()
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
