"""Statements to tokens, so that their literals can be left out.

Literals are what an application's users have typed, and passwords. Where one ends depends on settings of the server
that nobody tells: what does not end clearly is not shown, nor what comes after it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

Dialect = Literal["postgres", "mysql"]
# A literal may be a string or a number; a parameter is what stands for one already.
Kind = Literal["space", "comment", "literal", "parameter", "name", "word", "operator"]

# Statements that read and change rows: what is in them beside literals are names.
KEPT = frozenset({"select", "insert", "update", "delete", "merge", "replace", "with", "values", "table"})
# All others, of which nothing but how they begin is shown: in `SET x = y` the value is a word.
UTILITY = frozenset({
    "abort", "alter", "analyze", "begin", "cache", "call", "change", "check", "checkpoint", "checksum", "clone",
    "close", "cluster", "comment", "commit", "copy", "create", "deallocate", "declare", "desc", "describe", "discard",
    "do", "drop", "end", "execute", "explain", "fetch", "flush", "grant", "handler", "import", "install", "kill",
    "listen", "load", "lock", "move", "notify", "optimize", "prepare", "purge", "reassign", "refresh", "reindex",
    "release", "rename", "repair", "reset", "restart", "revoke", "rollback", "savepoint", "security", "set", "show",
    "shutdown", "start", "stop", "truncate", "uninstall", "unlisten", "unlock", "use", "vacuum", "xa",
})  # fmt: skip

# The servers know no spaces and digits but those of ASCII; all beyond it may be in names, and in tags of strings.
_LETTER = r"A-Za-z_\x80-\U0010ffff"
_WORD = rf"(?P<word>[{_LETTER}][{_LETTER}0-9$]*)"
_NUMBER = r"(?P<number>\.?\d(?:[eE][+-]\d|[\w.])*)"
_OPERATOR = r"(?P<operator>::|:=|<=>|<=|>=|<>|!=|\|\||->>|->|#>>|#>|@>|<@|.)"
# Strings with backslashes as escapes and without, by what encloses them. Each may lack its end.
_ESCAPED = r"{0}(?:[^{0}\\]|{0}{0}|\\.)*(?:(?P<{1}>{0})|\\?\Z)"
_PLAIN = r"{0}(?:[^{0}]|{0}{0})*(?:(?P<{1}>{0})|\Z)"
# The group that a token's end is in, by what it is; without it it goes on to the end of the text.
_ENDS = {"escaped": "end1", "quoted": "end1", "string": "end2", "dollar": "end3", "name": "closed"}


def _postgres(style: str) -> re.Pattern[str]:
    escaped, string, name = _ESCAPED.format("'", "end1"), style.format("'", "end2"), _PLAIN.format('"', "closed")
    return re.compile(
        r"(?P<space>\s+)|(?P<line>--[^\n\r]*)|(?P<comment>/\*)"
        rf"|(?P<escaped>[eE]{escaped})|(?P<string>(?:[bBxXnN]|[uU]&)?{string})"
        rf"|(?P<dollar>\$(?P<tag>(?:[{_LETTER}][{_LETTER}0-9]*)?)\$(?:.*?(?P<end3>\$(?P=tag)\$)|.*))"
        rf"|(?P<name>(?:[uU]&)?{name})|(?P<parameter>\$\d+)|{_WORD}|{_NUMBER}|{_OPERATOR}",
        re.DOTALL | re.ASCII,
    )


def _mysql(style: str) -> re.Pattern[str]:
    string, quoted, name = style.format("'", "end2"), style.format('"', "end1"), _PLAIN.format("`", "closed")
    return re.compile(
        r"(?P<space>\s+)|(?P<line>\#[^\n]*|--(?=[\x00-\x20\x7f]|\Z)[^\n]*)|(?P<code>/\*M?!)|(?P<comment>/\*)"
        rf"|(?P<string>[bBxXnN]?{string})|(?P<quoted>{quoted})"
        rf"|(?P<name>{name})|(?P<parameter>\?)|{_WORD}|{_NUMBER}|{_OPERATOR}",
        re.DOTALL | re.ASCII,
    )


# How strings are as a rule, and with standard_conforming_strings = off or sql_mode = NO_BACKSLASH_ESCAPES.
_BOTH: dict[Dialect, tuple[re.Pattern[str], re.Pattern[str]]] = {
    "postgres": (_postgres(_PLAIN), _postgres(_ESCAPED)),
    "mysql": (_mysql(_ESCAPED), _mysql(_PLAIN)),
}
_COMMENT_PART = re.compile(r"/\*|\*/")
_QUOTE = re.compile(r"['\"`]|\$(?!\d)")


class Token(NamedTuple):
    """A part of a statement: what it is and how it is written."""

    kind: Kind
    text: str


class Tokens(NamedTuple):
    """A statement's tokens, as far as they are clear; together they are its beginning.

    Attributes:
        tokens: In their order; a name without an end is a literal.
        more: Whether it goes on after them.
    """

    tokens: Sequence[Token]
    more: bool

    def first(self) -> str:
        """Its first word in lower case, empty if it begins with none."""
        for token in self.tokens:
            if token.kind not in {"space", "comment"} and token.text != "(":
                return token.text.lower() if token.kind == "word" else ""
        return ""

    def alone(self) -> Tokens:
        """The first statement, where there are several."""
        for at, token in enumerate(self.tokens):
            if token == ("operator", ";"):
                rest = any(other.kind not in {"space", "comment"} for other in self.tokens[at + 1 :])
                return Tokens(self.tokens[:at], self.more or rest)
        return self


def read(text: str, dialect: Dialect, *, cut: bool = False) -> Tokens:
    """The tokens of a text.

    Args:
        text: One statement or several.
        dialect: Whose syntax.
        cut: It goes on after what is here, so it may end within a string.
    """
    usual = _Reading(_BOTH[dialect][0], text)
    until = None
    if usual.ambiguous is not None:
        other = _Reading(_BOTH[dialect][1], text)
        # It is read the other way if only that makes sense. If both may, nothing is shown from there on.
        if cut or usual.sound == other.sound:
            until = usual.ambiguous
        elif other.sound:
            usual = other
    if usual.odd or not (usual.sound or cut):
        # The server did make sense of it, so we have misread it.
        quote = _QUOTE.search(text)
        until = quote.start() if quote else until
    if until is not None:
        usual = _Reading(_BOTH[dialect][0], text[:until])
    return Tokens(usual.tokens, cut or usual.more or until is not None)


class _Reading:
    """A text's tokens under one reading.

    Attributes:
        tokens: Its tokens.
        odd: Whether a backslash is outside of all quotes.
        sound: Whether it can be a statement: not odd, and all quotes closed.
        ambiguous: Where the first string begins in which a quote stands after a backslash, None if there is none.
        more: Whether it was given up before its end, at code in a MySQL comment.
    """

    def __init__(self, pattern: re.Pattern[str], text: str) -> None:
        self.tokens: list[Token] = []
        self.odd = False
        self.ambiguous: int | None = None
        self.more = False
        closed, at = True, 0
        while at < len(text):
            found = pattern.match(text, at)
            assert found is not None, "the last alternative takes any character"
            kind, begin, at = found.lastgroup or "", at, found.end()
            if kind == "code":
                self.more = True
                break
            if kind == "comment":
                end = _comment_end(text, at, nested=pattern in _BOTH["postgres"])
                closed, at = end is not None, len(text) if end is None else end
            elif kind in _ENDS:
                closed = found[_ENDS[kind]] is not None
                if kind in {"string", "quoted"} and self.ambiguous is None and _doubtful(found[0]):
                    self.ambiguous = begin
            self.odd |= found[0] == "\\"
            self.tokens.append(Token(_kind(kind, closed), text[begin:at]))
        self.sound = closed and not self.odd


def _kind(found: str, closed: bool) -> Kind:
    match found:
        case "space" | "comment" | "parameter" | "word" | "operator":
            return found
        case "line":
            return "comment"
        case "name" if closed:
            return "name"
    # Of a name that has no end nobody knows where it should have ended.
    return "literal"


def _comment_end(text: str, at: int, *, nested: bool) -> int | None:
    depth = 1
    while depth:
        found = _COMMENT_PART.search(text, at)
        if found is None:
            return None
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
