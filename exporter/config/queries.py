"""User-defined queries as the config writes them: SQL, what becomes of its columns, and where and how often it runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator
from pydantic.config import JsonDict

from exporter.config.basics import Engine, Model, Text, at_least
from exporter.config.document import Location
from exporter.config.units import Seconds
from exporter.declare import RESERVED_LABELS

Unit = Literal["ns", "us", "ms", "min", "h", "d", "kB", "MB", "GB", "KiB", "MiB", "GiB", "percent"]
UNITS: Mapping[Unit, tuple[float, str]] = {
    "ns": (1e-9, "seconds"),
    "us": (1e-6, "seconds"),
    "ms": (1e-3, "seconds"),
    "min": (60.0, "seconds"),
    "h": (3600.0, "seconds"),
    "d": (86_400.0, "seconds"),
    "kB": (1e3, "bytes"),
    "MB": (1e6, "bytes"),
    "GB": (1e9, "bytes"),
    "KiB": (1024.0, "bytes"),
    "MiB": (1024.0**2, "bytes"),
    "GiB": (1024.0**3, "bytes"),
    "percent": (0.01, "ratio"),
}
"""What a value is multiplied by, and how a metric in that base unit ends."""

_SNAKE = re.compile(r"[a-z][a-z0-9_]*")
_VERSION = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){0,2}")
_COMMENT = re.compile(r"\s+|--[^\n]*(?:\n|$)|/\*.*?\*/", re.DOTALL)
# The last semicolon, with comments behind it that can't be the end of a text.
_END = re.compile(r"\s*;[\s;]*(?:--(?:(?!\*/)[^\n'\"$])*(?:\n\s*|\Z))*\Z")
_READS = re.compile(r"(?:SELECT|WITH|SHOW|VALUES|TABLE)\b|\(", re.IGNORECASE)
_RESERVED = ("db_", "database_exporter_")


def statement(sql: str) -> str:
    """A statement that reads, without what stands around it. Raises ValueError."""
    text = sql.strip()
    while comment := _COMMENT.match(text):
        text = text[comment.end() :]
    text = _END.sub("", text).rstrip()
    if not _READS.match(text):
        raise ValueError("must be one statement that reads: SELECT, WITH, SHOW, VALUES or TABLE")
    return text


def _snake(name: str) -> str:
    if not _SNAKE.fullmatch(name) or len(name) > 100:
        raise ValueError("must be lower case letters, digits and _, with a letter at the front")
    return name


def _metric(name: str) -> str:
    if _snake(name).startswith(_RESERVED):
        raise ValueError("starts like a metric of the exporter's own; choose another name")
    return name


def _version(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    elif isinstance(value, float):
        # Unquoted, 10.10 is the number 10.1.
        raise ValueError('must be a version in quotes, such as "10.6"')
    if isinstance(value, str) and not _VERSION.fullmatch(value):
        raise ValueError('must be a version such as 14 or "10.6.2"')
    return value


def _number_or_text(schema: JsonDict) -> None:
    schema.update({"type": ["integer", "string"], "examples": [14, "10.6"]})


def _label(name: str) -> str:
    _snake(name)
    if name in RESERVED_LABELS or name == "quantile":
        raise ValueError(f"{name} is a label that the exporter or Prometheus sets itself; write `other_name: column`")
    return name


Name = Annotated[str, AfterValidator(_snake)]
QueryLabel = Annotated[str, AfterValidator(_label)]
Version = Annotated[str, Field(json_schema_extra=_number_or_text)]


class UserMeasure(Model):
    """One metric of a query, fed by one column."""

    name: Annotated[str, AfterValidator(_metric)]
    """The metric's whole name; counters end with _total, and the unit is part of it."""
    type: Literal["gauge", "counter"] = "gauge"
    """gauge, or counter for what only grows."""
    help: Text
    """What the metric says, as a sentence."""
    column: Text | None = None
    """Where the value is; without it the column that is called as the metric."""
    unit: Unit | None = None
    """What the column counts in, where that is no base unit: the metric has seconds, bytes or a ratio."""

    @field_validator("help")
    @classmethod
    def _sentence(cls, text: str) -> str:
        return text if text.endswith(".") else f"{text}."


def _labels_as_mapping(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return {item: item for item in value}
    return value


def _list_or_mapping(schema: JsonDict) -> None:
    mapping = {key: schema.pop(key) for key in list(schema) if key != "description"}
    schema["anyOf"] = [{"type": "array", "items": {"type": "string"}}, mapping]


class UserQuery(Model):
    """A query of the config. It becomes a collector of that name."""

    sql: Annotated[str, AfterValidator(statement)]
    """One statement that reads. Names without a schema are looked up in the account's own search_path."""
    measures: Annotated[tuple[UserMeasure, ...], Field(json_schema_extra={"minItems": 1})]
    """What becomes of its columns."""
    labels: Annotated[Mapping[QueryLabel, Text], Field(json_schema_extra=_list_or_mapping)] = {}
    """The columns that become labels: a list, or a mapping of labels to columns."""
    about: Text | None = None
    """What it is about, as a sentence."""
    engine: Engine | None = None
    """postgres or mysql; without it the query runs on every server that it is given to."""
    flavor: Literal["mysql", "mariadb"] | None = None
    """Of the engine mysql only this one; since and below need it there. mysql is Percona Server, too."""
    since: Version | None = None
    """The first version that it runs on."""
    below: Version | None = None
    """The first version that it does not run on any more."""
    role: Literal["primary", "replica"] | None = None
    """Run on servers in this role only."""
    extension: Text | None = None
    """Run where this extension is installed in the database that the exporter connects to."""
    every: Annotated[Seconds, at_least(1.0, "1s")] | None = None
    """Run in the background at this interval, 1s or more; without it at each scrape."""
    timeout: Annotated[Seconds, at_least(0.01, "10ms")] | None = None
    """The longest that one run may take; without it `timeouts.statement` of the server."""
    limit: Annotated[int, Field(gt=0, le=100_000)] = 1000
    """Rows that it may give; what is beyond is left out, and the collector says that it failed."""
    database: Text | None = None
    """Run in this database, in the background, instead of the one that the server's config names."""
    each_database: bool = False
    """Run in every database of a PostgreSQL, in the background; the column `database` has its name."""

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, data: Any) -> Any:
        return {**data, "labels": _labels_as_mapping(data["labels"])} if _has(data, "labels") else data

    @field_validator("since", "below", mode="before")
    @classmethod
    def _versions(cls, value: object) -> object:
        return _version(value)

    @field_validator("measures")
    @classmethod
    def _some(cls, measures: tuple[UserMeasure, ...]) -> tuple[UserMeasure, ...]:
        if not measures:
            raise ValueError("is empty; add at least one")
        return measures


def _or_path(schema: JsonDict) -> None:
    settings = {key: schema.pop(key) for key in list(schema) if key != "description"}
    schema["anyOf"] = [{"type": "string"}, settings]


class QueriesFile(Model):
    """A file of postgres_exporter's user-defined queries."""

    model_config = ConfigDict(json_schema_extra=_or_path)

    file: Text
    """Where it is."""
    each_database: bool = False
    """Run what is not marked `master: true` in every database, as --auto-discover-databases does there."""

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, data: Any) -> Any:
        """A path may stand by itself."""
        return {"file": data} if isinstance(data, str) else data


def _has(data: object, key: str) -> bool:
    return isinstance(data, dict) and data.get(key) is not None


def version(text: str | None) -> tuple[int, ...]:
    """A version as numbers; none is the first of all."""
    return tuple(map(int, text.split("."))) if text else ()


def check_query(query: UserQuery, report: Callable[[Location, str], None]) -> None:
    """Report what contradicts itself in a query, each at its key."""
    if query.engine == "postgres" and query.flavor:
        report(("flavor",), "is for MySQL and MariaDB; remove it")
    if query.engine != "postgres" and not query.flavor:
        for key in ("since", "below"):
            if getattr(query, key) is not None:
                report((key,), "needs engine: postgres, or flavor: mysql or mariadb, whose version is meant")
    if query.below and version(query.since) >= version(query.below):
        report(("below",), "must be a later version than since")
    if query.engine == "mysql" and query.each_database:
        report(("each_database",), "is for PostgreSQL; write schema.table on MySQL, or name a database")
    if query.engine == "mysql" and query.extension:
        report(("extension",), "is for PostgreSQL; remove it")
    if query.database and query.each_database:
        report(("database",), "stands beside each_database; remove one of them")
    names: set[str] = set()
    for index, measure in enumerate(query.measures):
        _check_measure(measure, lambda at, message, index=index: report(("measures", index, *at), message))  # type: ignore[misc]
        if measure.name in names:
            report(("measures", index, "name"), "is there twice in this query; remove one")
        names.add(measure.name)


def _check_measure(measure: UserMeasure, report: Callable[[Location, str], None]) -> None:
    stem = measure.name.removesuffix("_total")
    if measure.type == "counter" and stem == measure.name:
        report(("name",), f"is a counter and must end with _total: {measure.name}_total")
    elif measure.type == "gauge" and stem != measure.name:
        report(("name",), "ends with _total, which is for counters; say type: counter, or choose another name")
    if measure.unit:
        base = UNITS[measure.unit][1]
        if not stem.endswith(f"_{base}"):
            report(("name",), f"must say its unit: {stem}_{base}{measure.name[len(stem) :]}")
