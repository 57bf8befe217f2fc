"""The configuration that a command works with: a config file or DATA_SOURCE_NAME, with flags on top."""

from __future__ import annotations

import argparse
import contextlib

from pydantic import ValidationError

from exporter.catalogue import metric_names
from exporter.config import Config, ConfigError, Known, Problem, SecretError, Web, from_environment, load
from exporter.registry import collectors_by_name

_NOTHING = (
    "no server is named: write a config file and name it with --config.file, or set DATA_SOURCE_NAME, for example "
    "DATA_SOURCE_NAME=postgresql://user:password@localhost:5432/postgres or mysql://user:password@localhost:3306"
)


def configuration(args: argparse.Namespace) -> Config:
    """The config file that `args` names, or what the environment names.

    Raises:
        ConfigError: With everything that is wrong.
    """
    if args.config_file:
        config: Config | None = load(args.config_file, known=known())
    else:
        config = from_environment()
    if config is None:
        raise ConfigError([Problem("database-exporter", _NOTHING)])
    return config.model_copy(update={"web": _web(args, config.web)})


def known() -> Known:
    """What user-defined queries may not be called like."""
    declared = {name for collector in collectors_by_name().values() for name in (m.name for m in collector.measures())}
    metrics = frozenset(metric_names())
    replaceable = {name for name in declared if not name.startswith("db_")}
    return Known(frozenset(collectors_by_name()), metrics, metrics - replaceable)


def passwords(config: Config) -> set[str]:
    """The passwords as they are now, for the log to leave out."""
    known = set()
    for server in config.servers:
        if server.password is not None:
            with contextlib.suppress(SecretError):
                known.add(server.password.reveal())
    return known


def _web(args: argparse.Namespace, web: Web) -> Web:
    addresses, path = getattr(args, "web_listen_address", None), getattr(args, "web_telemetry_path", None)
    said = {"listen_addresses": addresses, "telemetry_path": path}
    try:
        return Web.model_validate({**web.model_dump(), **{key: value for key, value in said.items() if value}})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    problems = [
        Problem(f"--web.{str(detail['loc'][0]).removesuffix('es').replace('_', '-')}", detail["msg"].partition(", ")[2])
        for detail in details
    ]
    raise ConfigError(problems)
