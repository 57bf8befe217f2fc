"""The configuration that a command works with: a config file or DATA_SOURCE_NAME, with flags on top."""

from __future__ import annotations

import argparse
import contextlib
import os

from pydantic import ValidationError

from exporter.catalogue import metric_names
from exporter.config import Config, ConfigError, Known, Problem, SecretError, ServerConfig, Web, from_environment, load
from exporter.registry import collectors_by_name
from exporter.switching.accounts_file import Accounts, read_accounts
from exporter.switching.apply import apply
from exporter.switching.flags import Given, take
from exporter.switching.my_cnf import from_my_cnf, is_named, is_there

_NOTHING = (
    "no server is named: write a config file and name it with --config.file, or set DATA_SOURCE_NAME, for example "
    "DATA_SOURCE_NAME=postgresql://user:password@localhost:5432/postgres or mysql://user:password@localhost:3306"
)

_NO_TARGETS = (
    "auth_modules name accounts and no servers, and /probe asks servers of the config only, so that nobody can make "
    "the exporter connect elsewhere: list the targets under servers: in a config file, their account under defaults:"
)
_WHICH_ACCOUNT = (
    "of several auth_modules it can't be known which account belongs to a server that names none: write the account "
    "into DATA_SOURCE_NAME, or into a config file"
)
_FILE_NAMES_SERVERS = (
    "--config.my-cnf and --mysqld.* are left aside: the config file names the servers and their accounts under servers:"
)


def configuration(args: argparse.Namespace) -> Config:
    """The config file that `args` names, or what the environment names, with what was said in a peer's words.

    `args.collectors` becomes what is to run.

    Raises:
        ConfigError: With everything that is wrong.
    """
    accounts = read_accounts(args.config_file, os.environ) if args.config_file else None
    # Where a command has no such flags the variables count.
    given = args.given or take((), os.environ)[1]
    if args.config_file and accounts is None:
        config = load(args.config_file, known=known())
        if is_named(given):
            config = config.model_copy(update={"warnings": (*config.warnings, _FILE_NAMES_SERVERS)})
    else:
        config = _of_environment(accounts, given)
    switched = apply(config, given, collectors_by_name().values(), known())
    args.collectors = switched.collectors
    update = {"web": _web(args, config.web), "servers": _with_state(args, switched.config)}
    return switched.config.model_copy(update=update)


def _with_state(args: argparse.Namespace, config: Config) -> tuple[ServerConfig, ...]:
    """The servers with the directory of `--state-dir`, which wins over the config file."""
    directory = getattr(args, "state_dir", None)
    if not directory:
        return config.servers
    return tuple(server.model_copy(update={"state_dir": directory}) for server in config.servers)


def _of_environment(accounts: Accounts | None, given: Given) -> Config:
    """What the environment names, with the account of a postgres_exporter.yml where a server has none.

    Besides it or instead what mysqld_exporter's flags name, or would if there is nothing else.
    """
    accounts = accounts or Accounts()
    modules = list(accounts.modules.values())
    config = from_environment(defaults=modules[0] if len(modules) == 1 else None)
    if is_named(given) or (config is None and not modules and is_there(os.environ)):
        config = _both(config, from_my_cnf(given))
    warnings = accounts.warnings
    if config is None:
        if not modules:
            raise ConfigError([Problem("database-exporter", _NOTHING)])
        return Config(servers=(), warnings=(*warnings, _NO_TARGETS))
    if len(modules) > 1 and any(server.user is None for server in config.servers):
        warnings = (*warnings, _WHICH_ACCOUNT)
    return config.model_copy(update={"warnings": (*config.warnings, *warnings)})


def _both(one: Config | None, other: Config) -> Config:
    if one is None:
        return other
    there = {server.name for server in one.servers}
    twice = [server.name for server in other.servers if server.name in there]
    if twice:
        raise ConfigError([Problem("DATA_SOURCE_NAME", f"names {twice[0]}, which --mysqld.* names too; remove one")])
    update = {"servers": (*one.servers, *other.servers), "warnings": (*one.warnings, *other.warnings)}
    return one.model_copy(update={**update, "left_aside": other.left_aside})


def known() -> Known:
    """What user-defined queries may not be called like."""
    declared = {name for collector in collectors_by_name().values() for name in (m.name for m in collector.measures())}
    metrics = frozenset(metric_names())
    replaceable = {name for name in declared if not name.startswith("db_")}
    return Known({name: item.engine for name, item in collectors_by_name().items()}, metrics, metrics - replaceable)


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
