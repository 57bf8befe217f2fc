"""The flags and variables of postgres_exporter and mysqld_exporter, taken out of what was said."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.switching import mysqld_flags
from exporter.switching.families import COLLECTORS

_BOOLEANS = {**dict.fromkeys(("1", "t", "true"), True), **dict.fromkeys(("0", "f", "false"), False)}
_SWITCHES = {
    "disable-default-metrics": "PG_EXPORTER_DISABLE_DEFAULT_METRICS",
    "disable-settings-metrics": "PG_EXPORTER_DISABLE_SETTINGS_METRICS",
    "auto-discover-databases": "PG_EXPORTER_AUTO_DISCOVER_DATABASES",
    "dumpmaps": "",
    "web.systemd-socket": "",
    "collector.stat_statements.include_query": "",
    **{f"collector.{name}": "" for name in COLLECTORS},
    **mysqld_flags.SWITCHES,
}
_VALUES = {
    "extend.query-path": "PG_EXPORTER_EXTEND_QUERY_PATH",
    "constantLabels": "PG_EXPORTER_CONSTANT_LABELS",
    "exclude-databases": "PG_EXPORTER_EXCLUDE_DATABASES",
    "include-databases": "PG_EXPORTER_INCLUDE_DATABASES",
    "metric-prefix": "PG_EXPORTER_METRIC_PREFIX",
    "collection-timeout": "PG_EXPORTER_COLLECTION_TIMEOUT",
    "web.config.file": "DATABASE_EXPORTER_WEB_CONFIG_FILE",
    "collector.stat_statements.query_length": "",
    "collector.stat_statements.limit": "",
    "collector.stat_statements.exclude_databases": "",
    "collector.stat_statements.exclude_users": "",
    **mysqld_flags.VALUES,
}
_HELP = re.compile(r"--help-(?:long|man)")


class FlagError(ValueError):
    """A flag of an existing exporter without what has to stand behind it."""


@dataclass(frozen=True, slots=True)
class Given:
    """What was said in the existing exporters' words.

    Attributes:
        switches: By flag, without its dashes, whether it was switched on; absent if nothing was said of it.
        values: By flag its value, where it is not empty.
        flags: The flags and variables that were there, as they were written.
    """

    switches: Mapping[str, bool]
    values: Mapping[str, str]
    flags: Mapping[str, str]

    def on(self, flag: str) -> bool:
        """Whether a flag was switched on."""
        return self.switches.get(flag, False)

    def listed(self, flag: str) -> list[str]:
        """The parts of a value with commas between."""
        return [part.strip() for part in self.values.get(flag, "").split(",") if part.strip()]


def take(arguments: Sequence[str], env: Mapping[str, str]) -> tuple[list[str], Given]:
    """Take the flags of the existing exporters out of arguments, and give the rest back; a flag wins over a variable.

    Raises:
        FlagError: A flag lacks its value.
    """
    switches: dict[str, bool] = {}
    values: dict[str, str] = {}
    flags: dict[str, str] = {}
    for flag, variable in (*_SWITCHES.items(), *_VALUES.items()):
        text = env.get(variable, "").strip() if variable else ""
        if text and flag in _VALUES:
            values[flag], flags[flag] = text, variable
        elif text.lower() in _BOOLEANS:
            switches[flag], flags[flag] = _BOOLEANS[text.lower()], variable
    rest: list[str] = []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--"):
            rest.append(argument)
        elif _HELP.fullmatch(argument):
            rest.append("--help")
        elif name in _VALUES:
            if not equals and (not waiting or waiting[0].startswith("--")):
                raise FlagError(f"--{name} needs a value")
            value = value if equals else waiting.pop(0)
            more = name in mysqld_flags.REPEATED and name in values
            values[name] = f"{values[name]},{value}" if more else value
            flags[name] = f"--{name}"
        elif not equals and name.removeprefix("no-") in _SWITCHES:
            switches[name.removeprefix("no-")] = not name.startswith("no-")
            flags[name.removeprefix("no-")] = argument
        else:
            rest.append(argument)
    return rest, Given(switches, {flag: value for flag, value in values.items() if value}, flags)
