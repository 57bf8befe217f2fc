"""A query of the config as a collector."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from operator import and_
from typing import Any

from exporter.config.basics import Engine
from exporter.config.queries import UNITS, UserMeasure, UserQuery, version
from exporter.declare import Block, Collector, Context, Kind, Measure, Query, Rows, number_or_none
from exporter.failure import Failure, Reason
from exporter.gates import ANY, PRIMARY, REPLICA, Gate, extension, mariadb, mysql, pg

# A document taken for a label would fill the page, and Prometheus' disk.
LABEL_CHARACTERS = 1000
# Work in another database belongs to the slow tier.
ELSEWHERE_SECONDS = 60.0
_VERSIONED: Mapping[str, Callable[..., Gate]] = {"postgres": pg, "mysql": mysql, "mariadb": mariadb}


def collector(name: str, query: UserQuery, engine: Engine) -> Collector:
    """The collector of a query on servers of an engine; the query contradicts itself nowhere."""
    rounds = query.each_database or query.database is not None
    # MySQL's results have their columns in lower case.
    column = str.lower if engine == "mysql" else str
    measures = tuple(_measure(measure, column) for measure in query.measures)
    labels = {label: column(source) for label, source in query.labels.items()}
    return Collector(
        name=name,
        about=query.about
        if query.about and query.about.endswith(".")
        else f"{query.about or 'A query of the config'}.",
        engine=engine,
        queries=(Query(_gate(query, engine), query.sql, user_defined=True),),
        blocks=(Block(measures, labels),),
        rows=label_texts(labels.values(), [item.columns[0] for item in measures]),
        every=query.every or (ELSEWHERE_SECONDS if rounds else None),
        timeout=query.timeout,
        limit=query.limit,
        each_database=query.each_database,
        database=query.database,
    )


def _gate(query: UserQuery, engine: Engine) -> Gate:
    gates = []
    if query.since or query.below or query.flavor:
        gates.append(_VERSIONED[query.flavor or engine](*version(query.since), below=version(query.below) or None))
    if query.role:
        gates.append(PRIMARY if query.role == "primary" else REPLICA)
    if query.extension:
        gates.append(extension(query.extension))
    return reduce(and_, gates) if gates else ANY


def _measure(measure: UserMeasure, column: Callable[[str], str]) -> Measure:
    factor = UNITS[measure.unit][0] if measure.unit else 1.0

    def parse(value: Any) -> float | int | None:
        number = number_or_fail(value)
        return number if factor == 1.0 or number is None else number * factor

    kind: Kind = measure.type
    return Measure(measure.name, kind, (column(measure.column or measure.name),), measure.help, parse=parse)


def number_or_fail(value: Any) -> float | int | None:
    """A value as a number, also one that is written as text. Raises ValueError."""
    found = number_or_none(value)
    if found is None and value is not None:
        raise ValueError("is not a number")
    return found


def label_texts(labels: Iterable[str], measured: Iterable[str] = ()) -> Callable[[Rows, Context], Rows]:
    """A hook that writes truth values and round numbers of label columns as the server does, and not as Python.

    What is longer than LABEL_CHARACTERS is cut there. It fails if one of the `measured` columns is not there.
    """
    wanted, measured = frozenset(labels), tuple(measured)

    def rewrite(rows: Rows, _: Context) -> Rows:
        missing = next((column for column in measured if column not in rows.columns), None)
        if missing is not None and rows.columns:
            raise Failure(Reason.ERROR, f"the result has no column {missing}, which a measure needs")
        places = [index for index, column in enumerate(rows.columns) if column in wanted]
        if not any(_odd(row[index]) for row in rows.rows for index in places):
            return rows
        written = []
        for row in rows.rows:
            values = list(row)
            for index in places:
                values[index] = _text(values[index])
            written.append(tuple(values))
        return Rows(rows.columns, written)

    return rewrite


def _odd(value: Any) -> bool:
    return len(value) > LABEL_CHARACTERS if isinstance(value, str) else isinstance(value, float | bool)


def _text(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LABEL_CHARACTERS:
        return f"{value[: LABEL_CHARACTERS - 1]}…"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value
