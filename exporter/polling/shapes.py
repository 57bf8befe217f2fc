"""What a server sent, as the rows that it stands for."""

from __future__ import annotations

from typing import Any

from exporter.declare import Query, Rows
from exporter.failure import Failure, Reason


def arranged(query: Query, rows: Rows) -> Rows:
    """What the server sent for a query, as the rows that it stands for.

    Raises:
        Failure: It is not what the query says.
    """
    if query.packed:
        return unpacked(rows, query.packed)
    return pivoted(rows) if query.pivot else rows


def pivoted(rows: Rows) -> Rows:
    """Name and value rows as one row whose columns are the names in lower case, numbers as numbers."""
    columns, values = [], []
    for name, value, *_ in rows.rows:
        columns.append(str(name).lower())
        values.append(_number(value))
    return Rows(tuple(columns), [tuple(values)])


def unpacked(rows: Rows, names: tuple[str, ...]) -> Rows:
    """The last column's numbers as columns of these names.

    Raises:
        Failure: They are not as many.
    """
    found = [(*row[:-1], *_parts(row[-1])) for row in rows.rows]
    columns = (*rows.columns[:-1], *names)
    if any(len(row) != len(columns) for row in found):
        raise Failure(Reason.ERROR, f"the server packed other numbers than {', '.join(names)}")
    return Rows(columns, found, verbatim=frozenset(names))


def _parts(text: str) -> list[str] | list[str | None]:
    parts = text.split(" ")
    return [part or None for part in parts] if "" in parts else parts


def _number(value: Any) -> Any:
    # Python takes an underscore for part of a number.
    if not isinstance(value, str) or "_" in value:
        return value
    try:
        return int(value)
    except ValueError:
        pass
    try:
        return float(value)
    except ValueError:
        return value
