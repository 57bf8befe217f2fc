"""PostgreSQL's statements without what is written in them: strings, numbers, comments, and values that are words."""

from __future__ import annotations

from exporter.subjects.statements.lexer import KEPT, UTILITY, Tokens, read

# What may follow the first word of a statement that is not kept: what it is about.
_ABOUT = frozenset({
    "database", "default", "extension", "foreign", "function", "group", "index", "language", "materialized", "or",
    "owned", "policy", "privileges", "procedure", "publication", "replace", "role", "rule", "schema", "sequence",
    "server", "statistics", "subscription", "system", "table", "tablespace", "temp", "temporary", "transaction",
    "trigger", "type", "unique", "unlogged", "user", "view",
})  # fmt: skip
# What PostgreSQL 18 itself says of a list's other members.
_OTHERS = "/*, ... */"
_MORE = "..."


def without_literals(text: str, *, cut: bool = False) -> str:
    """The statement with ? for each literal and without comments; `$1` stays, which the server has put in for one.

    Of a statement that does not read or change rows only its first words are left, and of several only the first.

    Args:
        text: As pg_stat_statements has it.
        cut: It goes on after what is here.
    """
    found = read(text, "postgres", cut=cut).alone()
    first = found.first()
    if first not in KEPT:
        return _beginning(found) if first in UTILITY else _MORE
    parts: list[str] = []
    for kind, part in found.tokens:
        if kind == "literal":
            parts.append("?")
        elif kind != "comment" or part == _OTHERS:
            parts.append(part)
        elif parts and not parts[-1].isspace():
            parts.append(" ")
    # What is cut is not what the server has cut, which nobody needs to be told.
    return "".join(parts).strip() + (f" {_MORE}" if found.more and not cut else "")


def _beginning(found: Tokens) -> str:
    words: list[str] = []
    for kind, text in found.tokens:
        if kind in {"space", "comment"}:
            continue
        if kind != "word" or (words and text.lower() not in _ABOUT):
            return " ".join([*words, _MORE])
        words.append(text)
    return " ".join([*words, _MORE] if found.more else words)
