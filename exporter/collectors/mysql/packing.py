"""Numbers of a row in one text, for results of very many; see exporter.declare.Query."""

from collections.abc import Mapping


def packed(numbers: Mapping[str, str]) -> str:
    """The last column of a query that has these numbers, of which the SQL is given by name."""
    # What is NULL would be left out.
    parts = ", ".join(f"COALESCE({sql}, '')" for sql in numbers.values())
    return f"CONCAT_WS(' ', {parts}) AS packed"
