"""What was said in mysqld_exporter's words, made part of the config; a warning says what can't be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from exporter.collectors.mysql.heartbeat import heartbeat_of
from exporter.collectors.mysql.tables import tables_of
from exporter.config import Config
from exporter.config.model import CollectorSettings, FlagSettings, ServerConfig
from exporter.declare import Collector
from exporter.switching.families import matcher
from exporter.switching.flags import Given
from exporter.switching.mysqld_families import COLLECTORS
from exporter.switching.mysqld_flags import DEFAULTS, NOT_THERE
from exporter.tailor import tailored

_PRIVILEGES = "collect.mysql.user.privileges"
# Switches inside a collector, and the metrics that they are about.
_PARTS: Mapping[str, str] = {
    "collect.info_schema.processlist.processes_by_user": "mysql_info_schema_processlist_processes_by_user",
    "collect.info_schema.processlist.processes_by_host": "mysql_info_schema_processlist_processes_by_host",
    _PRIVILEGES: "mysql_mysql_(?!max_).*",
}
_SWITCHES: Mapping[str, str] = {**{f"collect.{name}": pattern for name, pattern in COLLECTORS.items()}, **_PARTS}
_STATEMENTS = "collect.perf_schema.eventsstatements"
_AS_THEIRS: Mapping[str, Any] = {"text": "label", "text_bytes": 120, "limit": 250}
"""What their collector of statements does unless it is told otherwise."""
_TOLD: Mapping[str, str] = {"limit": "limit", "digest_text_limit": "text_bytes", "timelimit": "seen_within"}
"""By the end of a flag of theirs the key of `statements:`."""
_TIMES: Mapping[str, str] = {
    "timeout-offset": "scrape_offset",
    "exporter.lock_wait_timeout": "lock",
    "exporter.query_timeout": "statement",
}
_MOST_OFFSET = 0.5
"""The largest part of a scrape's time that an offset may take."""


def apply_mysqld(config: Config, given: Given, collectors: list[Collector]) -> tuple[Config, list[Collector]]:
    """The config, and the collectors, as the flags have left them."""
    warnings: list[str] = []
    collectors = _named(_about(collectors, given), given)
    settings = _switched_on(collectors, given, warnings)
    times = _timeouts(given, warnings)
    statements = _statements(given, warnings)
    warnings += [
        f"{given.flags[flag]}: {text}"
        for flag, text in NOT_THERE.items()
        if given.on(flag) or given.values.get(flag, DEFAULTS.get(flag)) != DEFAULTS.get(flag)
    ]
    servers = []
    for server in config.servers:
        update: dict[str, Any] = {}
        if server.engine == "mysql" and settings:
            update["collectors"] = {**settings, **server.collectors}
        if server.engine == "mysql" and statements:
            # What the config says wins.
            told = {key: value for key, value in statements.items() if key not in server.statements.model_fields_set}
            update["statements"] = server.statements.model_copy(update=told)
        if server.engine == "mysql" and times:
            update["timeouts"] = server.timeouts.model_copy(update=_fitting(times, server))
        servers.append(server.model_copy(update=update) if update else server)
    update = {"servers": tuple(servers), "warnings": (*config.warnings, *warnings)}
    return config.model_copy(update=update), collectors


def _about(collectors: list[Collector], given: Given) -> list[Collector]:
    """The collectors, with those that a flag tells of which tables they are about."""
    told: dict[str, Collector] = {}
    names = [f"collect.heartbeat.{name}" for name in ("database", "table")]
    if given.on("collect.heartbeat.utc") or given.values.keys() & set(names):
        database, table = (given.values.get(name, "heartbeat") for name in names)
        told["mysql_heartbeat"] = heartbeat_of(database, table, utc=given.on("collect.heartbeat.utc"))
    if "collect.info_schema.tables.databases" in given.values:
        schemas = [name.strip() for name in given.values["collect.info_schema.tables.databases"].split(",")]
        told["mysql_tables"] = tables_of(() if schemas == ["*"] else schemas)
    return [told.get(item.name, item) for item in collectors]


def _named(collectors: list[Collector], given: Given) -> list[Collector]:
    """The collectors without the metrics that were switched off."""
    off = [pattern for flag, pattern in _SWITCHES.items() if given.switches.get(flag) is False]
    if given.on("collect.mysql.user") and not given.on(_PRIVILEGES):
        # Some thirty series of each account, which theirs has only if it is asked for them besides.
        off.append(_PARTS[_PRIVILEGES])
    if not off:
        return collectors
    hidden = matcher(off)
    others = [collector for collector in collectors if collector.engine != "mysql"]
    theirs = [collector for collector in collectors if collector.engine == "mysql"]
    return others + tailored(theirs, lambda metric: None if hidden.fullmatch(metric) else metric)


def _switched_on(collectors: list[Collector], given: Given, warnings: list[str]) -> dict[str, CollectorSettings]:
    wanted: dict[str, CollectorSettings] = {}
    for flag, pattern in _SWITCHES.items():
        if not given.on(flag):
            continue
        found = _having(collectors, pattern)
        if not found:
            warnings.append(f"{given.flags[flag]}: there are no such metrics here yet")
        wanted |= {item.name: FlagSettings(enabled=True) for item in found if not item.default}
    return wanted


def _having(collectors: list[Collector], pattern: str) -> list[Collector]:
    return [
        item
        for item in collectors
        if item.engine == "mysql" and any(re.fullmatch(pattern, measure.name) for measure in item.measures())
    ]


def _statements(given: Given, warnings: list[str]) -> dict[str, Any]:
    said: dict[str, Any] = dict(_AS_THEIRS) if given.on(_STATEMENTS) else {}
    schemas = given.listed(f"{_STATEMENTS}.exclude_schemas")
    if schemas:
        said["exclude_databases"] = tuple(schemas)
    for name, key in _TOLD.items():
        flag = f"{_STATEMENTS}.{name}"
        text = given.values.get(flag, "")
        if text.isascii() and text.isdecimal() and int(text) > 0:
            said[key] = int(text)
        elif text:
            warnings.append(f"{given.flags[flag]}: must be a number above 0; statements.{key} stays as it is")
    return said


def _timeouts(given: Given, warnings: list[str]) -> dict[str, float]:
    times: dict[str, float] = {}
    for flag, key in _TIMES.items():
        # A timeout of 0 is none there; no statement of ours runs without end.
        if flag not in given.values or (key == "statement" and given.values[flag] == "0"):
            continue
        try:
            seconds = float(given.values[flag])
        except ValueError:
            seconds = -1.0
        if 0 <= seconds < float("inf") and (seconds > 0 or key == "scrape_offset"):
            times[key] = seconds
        else:
            warnings.append(f"{given.flags[flag]}: must be a number of seconds; timeouts.{key} stays as it is")
    if given.switches.get("exporter.enable_lock_wait_timeout") is False:
        warnings.append(
            f"{given.flags['exporter.enable_lock_wait_timeout']}: a session that waits for locks without end would "
            "hold up others, so timeouts.lock of the config holds here"
        )
    return times


def _fitting(times: Mapping[str, float], server: ServerConfig) -> Mapping[str, float]:
    """An offset that leaves something of a scrape that announces no timeout."""
    if "scrape_offset" not in times:
        return times
    most = server.timeouts.scrape_default * _MOST_OFFSET
    return {**times, "scrape_offset": min(times["scrape_offset"], most)}
