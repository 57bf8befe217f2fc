"""PostgreSQL's statements without what is written in them: strings, numbers, and comments that have any."""

from __future__ import annotations

import re

# What is cut off within a string or comment counts to its end.
_TOKEN = re.compile(
    r"""
    (?P<name>"(?:[^"]|"")*(?:"|\Z))
    | (?P<comment>/\*.*?(?:\*/|\Z)|--[^\n]*)
    | (?P<dollar>\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z))
    | (?P<string>'(?:[^']|'')*(?:'|\Z))
    | (?P<kept>\$\d+|[^\W\d][\w$]*)
    | (?P<number>\.?\d[\w.]*(?:(?<=[eE])[+-]\d+)?)
    """,
    re.DOTALL | re.VERBOSE,
)
# A value that SET takes may be a bare word.
_SET = re.compile(r"(\s*SET\s+(?:(?:SESSION|LOCAL)\s+)?[\w.]+\s*(?:=|\bTO\b)\s*).*", re.IGNORECASE | re.DOTALL)
# Whether a backslash is one depends on a setting that nobody tells, so where a string ends is not known.
_UNCLEAR = re.compile(r"\\+'")


def without_literals(text: str) -> str:
    """The statement with ? for each string and number; `$1` stays, which is what the server has put in for them.

    Where strings end that have a backslash before a quote depends on a setting: from the first of them on nothing is
    left of the text.
    """
    setting = _SET.fullmatch(text)
    if setting is not None:
        return f"{setting[1]}?"
    unclear = _UNCLEAR.search(text)
    if unclear is not None:
        # Up to where the first string begins, or what may be one.
        text = text[: min(text.index("'"), unclear.start())] + "'"
    return _TOKEN.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    token = found[0]
    if found["name"] or found["kept"]:
        return token
    if not found["comment"]:
        return "?"
    # Comments tell where a statement is from, some of them with a request and its user.
    if not re.search(r"['\"\d]", token):
        return token
    return "/* ... */" if token.startswith("/*") else "-- ..."
