"""What was said in the existing exporters' words, made part of the config; a warning says what can't be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from exporter.config import Config, Known, ServerConfig
from exporter.config.model import CollectorSettings, FlagSettings, LabelName, Statements
from exporter.config.units import parse_seconds
from exporter.declare import NAME, Collector
from exporter.queries.peer_file import read_queries_file
from exporter.switching.families import COLLECTORS, DEFAULT_METRICS, matcher
from exporter.switching.flags import Given
from exporter.switching.mysqld_apply import apply_mysqld
from exporter.tailor import tailored

_LABEL: TypeAdapter[str] = TypeAdapter(LabelName)
_LEAST_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Switched:
    """A config with what the flags have changed, and the collectors as they have left them."""

    config: Config
    collectors: tuple[Collector, ...]


def apply(config: Config, given: Given, collectors: Iterable[Collector], known: Known) -> Switched:
    """Apply what was given.

    Raises:
        ConfigError: To ignore a flag would do harm unseen.
    """
    warnings: list[str] = []
    made = _named(list(collectors), given, warnings)
    changes = [
        _databases(given),
        _labels(given, warnings),
        _timeout(given, warnings),
        _switched_on(made, given, warnings),
        _statements(given, warnings),
        _queries(given, known, warnings),
    ]
    servers = []
    for server in config.servers:
        for change in changes if server.engine == "postgres" else ():
            server = server.model_copy(update=change(server))  # noqa: PLW2901 - each change sees the ones before
        servers.append(server)
    update = {"servers": tuple(servers), "warnings": (*config.warnings, *warnings)}
    config, made = apply_mysqld(config.model_copy(update=update), given, made)
    return Switched(config, tuple(made))


Change = Callable[[ServerConfig], Mapping[str, Any]]


def _named(collectors: list[Collector], given: Given, warnings: list[str]) -> list[Collector]:
    """The collectors without the metrics that were switched off, and with those that another prefix is wanted for."""
    hidden = [pattern for name, pattern in COLLECTORS.items() if given.switches.get(f"collector.{name}") is False]
    if given.on("disable-default-metrics"):
        hidden += DEFAULT_METRICS
    if given.on("disable-settings-metrics"):
        hidden.append(COLLECTORS["settings"])
    prefix = given.values.get("metric-prefix", "pg")
    if not NAME.match(prefix):
        warnings.append(f"{given.flags['metric-prefix']}: no metric can be called so; the prefix stays pg")
        prefix = "pg"
    off, renamed = matcher(hidden), matcher(DEFAULT_METRICS)

    def name(metric: str) -> str | None:
        if off.fullmatch(metric):
            return None
        return prefix + metric.removeprefix("pg") if renamed.fullmatch(metric) else metric

    if not hidden and prefix == "pg":
        return collectors
    ours = [collector for collector in collectors if collector.engine != "postgres"]
    return ours + tailored((collector for collector in collectors if collector.engine == "postgres"), name)


def _databases(given: Given) -> Change:
    include, exclude = given.listed("include-databases"), given.listed("exclude-databases")

    def change(server: ServerConfig) -> Mapping[str, Any]:
        old = server.databases
        update = {
            "include": (*old.include, *map(_as_glob, include)),
            "exclude": (*old.exclude, *map(_as_glob, exclude)),
        }
        return {"databases": old.model_copy(update=update)}

    return change


def _as_glob(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)


def _labels(given: Given, warnings: list[str]) -> Change:
    labels: dict[str, str] = {}
    flag = given.flags.get("constantLabels", "")
    for part in given.listed("constantLabels"):
        key, equals, value = (text.strip() for text in part.partition("="))
        if not equals or "=" in value:
            warnings.append(f"{flag}: must be label=value with commas between; a part that is not is left out")
            continue
        try:
            labels[_LABEL.validate_python(key)] = value
        except ValidationError as error:
            warnings.append(f"{flag}: {key!r} {error.errors()[0]['msg'].partition(', ')[2]}")
    return lambda server: {"labels": {**labels, **server.labels}}


def _timeout(given: Given, warnings: list[str]) -> Change:
    text = given.values.get("collection-timeout")
    if text is None:
        return lambda _: {}
    flag = given.flags["collection-timeout"]
    try:
        seconds = parse_seconds(text)
    except ValueError:
        seconds = 0.0
    if not isinstance(seconds, float | int) or seconds < _LEAST_SECONDS:
        warnings.append(f"{flag}: must be a duration such as 10s, 1ms at least; timeouts stay as they are")
        return lambda _: {}
    warnings.append(
        f"{flag}: holds for scrapes that announce no timeout; Prometheus announces its scrape_timeout, and no page "
        "takes longer. timeouts.statement in the config is for each statement"
    )

    def change(server: ServerConfig) -> Mapping[str, Any]:
        offset = min(server.timeouts.scrape_offset, seconds / 10)
        return {"timeouts": server.timeouts.model_copy(update={"scrape_default": seconds, "scrape_offset": offset})}

    return change


def _switched_on(collectors: Iterable[Collector], given: Given, warnings: list[str]) -> Change:
    wanted: dict[str, CollectorSettings] = {}
    for name, pattern in COLLECTORS.items():
        if not given.on(f"collector.{name}"):
            continue
        found = [item for item in collectors if any(re.fullmatch(pattern, m.name) for m in item.measures())]
        if not found:
            warnings.append(f"{given.flags[f'collector.{name}']}: there are no such metrics here yet")
        wanted |= {item.name: FlagSettings(enabled=True) for item in found if not item.default}
    return lambda server: {"collectors": {**wanted, **server.collectors}}


def _statements(given: Given, warnings: list[str]) -> Change:
    """What the flags of stat_statements say, as far as the config says nothing of it."""
    said: dict[str, Any] = {}
    if "collector.stat_statements.include_query" in given.switches:
        said["text"] = "info" if given.on("collector.stat_statements.include_query") else "none"
    for name, key in (("limit", "limit"), ("query_length", "text_bytes")):
        flag = f"collector.stat_statements.{name}"
        if flag in given.values:
            said[key] = given.values[flag]
    for name in ("exclude_databases", "exclude_users"):
        flag = f"collector.stat_statements.{name}"
        if flag in given.values:
            said[name] = given.listed(flag)
    try:
        told = Statements.model_validate(said, strict=False)
    except ValidationError as error:
        wrong = {str(item["loc"][0]) for item in error.errors()}
        warnings += [
            f"{given.flags[f'collector.stat_statements.{name}']}: must be a number above 0; the default holds"
            for name, key in (("limit", "limit"), ("query_length", "text_bytes"))
            if key in wrong
        ]
        told = Statements.model_validate({key: value for key, value in said.items() if key not in wrong})

    def change(server: ServerConfig) -> Mapping[str, Any]:
        own = server.statements.model_fields_set
        update = {key: getattr(told, key) for key in told.model_fields_set - own}
        return {"statements": server.statements.model_copy(update=update)}

    return change


def _queries(given: Given, known: Known, warnings: list[str]) -> Change:
    path = given.values.get("extend.query-path")
    if path is None:
        return lambda _: {}
    everywhere = given.on("auto-discover-databases")
    read = read_queries_file(path, known.metrics, known.fixed, each_database=everywhere)
    if read.failure:
        warnings.append(f"{given.flags['extend.query-path']}: {read.failure}")
    warnings += map(str, read.problems)
    loaded = (path, read.digest, bool(read.failure or read.problems))

    def change(server: ServerConfig) -> Mapping[str, Any]:
        there = {own.name for own in server.own}
        own = (*server.own, *(item for item in read.collectors if item.name not in there))
        return {"own": own, "files_loaded": (*server.files_loaded, loaded)}

    return change
