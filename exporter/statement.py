"""The SQL of a collector for one server: what its placeholders stand for there."""

from __future__ import annotations

import re
from collections.abc import Mapping

from exporter.declare import Collector, Query
from exporter.facts import Facts

_SCHEMA = re.compile(r"\{schema:([a-z0-9_-]+)\}")
_SHOW = re.compile(r"SHOW\b", re.IGNORECASE)


def statement(collector: Collector, query: Query, facts: Facts, limit: int | None = None) -> str:
    """The statement to send to a server with these facts; `limit` is the collector's unless given. See Query."""
    text = query.sql
    limit = collector.limit if limit is None else limit
    if query.user_defined:
        return _bounded(text, limit)
    if "{columns}" in text:
        text = text.replace("{columns}", ", ".join(_columns(collector, facts)))
    if "{limit}" in text:
        text = text.replace("{limit}", str(int(limit or 0)))
    return with_schemas(text, facts)


def with_schemas(sql: str, facts: Facts) -> str:
    """The statement with the schemas of extensions where it says `{schema:NAME}`."""
    return _SCHEMA.sub(lambda match: _quoted(facts.extensions[match[1]].schema), sql)


def filled(sql: str, values: Mapping[str, int | str]) -> str:
    """The statement with values where it says {name}; a text becomes a literal on either engine.

    Raises:
        ValueError: A text has a backslash or a line end, which servers take in more than one way.
    """
    for name, value in values.items():
        if isinstance(value, str):
            if not value.isprintable() or "\\" in value:
                raise ValueError(f"{name} can't be a literal")
            literal = "'" + value.replace("'", "''") + "'"
        else:
            literal = str(int(value))
        sql = sql.replace(f"{{{name}}}", literal)
    return sql


def _bounded(sql: str, limit: int | None) -> str:
    """The statement with one row more than the limit at most, which tells that there are more; SHOW stays as it is."""
    if limit is None or _SHOW.match(sql):
        return sql
    return f"SELECT * FROM (\n{sql}\n) AS result LIMIT {limit + 1}"


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _columns(collector: Collector, facts: Facts) -> list[str]:
    # A dict keeps the order and each column once; an expression wins over the bare name.
    wanted: dict[str, str] = {}
    for part in collector.blocks:
        if not part.when.passes(facts):
            continue
        for column in part.labels.values():
            wanted.setdefault(column, column)
        if part.named_by is not None:
            wanted.setdefault(part.named_by, part.named_by)
        for measure in part.measures:
            if not measure.when.passes(facts):
                continue
            column = measure.columns[0]
            if measure.sql is not None:
                wanted[column] = f"{measure.sql} AS {column}"
            else:
                wanted.setdefault(column, column)
    return list(wanted.values())
