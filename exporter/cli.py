"""The command line: database-exporter serve | check | compare | demo | metrics."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from exporter import __version__
from exporter.config.errors import ConfigError

USAGE_ERROR = 2
PREFIX = "DATABASE_EXPORTER_"


@dataclass(frozen=True, slots=True)
class Command:
    """A command, by the name of its module.

    Attributes:
        help: What it does.
        configured: Whether it works on the servers of a config.
        may_be_configured: Whether it reads a config itself, if there is one.
    """

    help: str
    configured: bool
    may_be_configured: bool = False


COMMANDS: Mapping[str, Command] = {
    "serve": Command("serve metrics over HTTP (the default)", configured=True),
    "check": Command("tell for each server and collector what works and what mends the rest", configured=True),
    "compare": Command(
        "tell what would change if this exporter took another one's place", configured=False, may_be_configured=True
    ),
    "demo": Command("start a database with a lively workload and the exporter beside it", configured=False),
    "metrics": Command("print the reference of all metrics as Markdown", configured=False),
}


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag and the environment variable that stands for it; the flag wins."""

    name: str
    help: str
    default: str = ""
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    repeatable: bool = False
    switch: bool = False
    also: str = ""

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.removeprefix("--").replace(".", "_").replace("-", "_").upper()

    @property
    def dest(self) -> str:
        """The attribute of the parsed arguments."""
        return self.variable.removeprefix(PREFIX).lower()


CONFIG = (
    Flag("--config.file", "the config file (YAML); without one DATA_SOURCE_NAME names the servers", metavar="FILE"),
)
LOG = (
    Flag("--log.level", "debug, info, warn or error", "info", choices=("debug", "info", "warn", "error")),
    Flag("--log.format", "logfmt or json", "logfmt", choices=("logfmt", "json")),
)
SERVE = (
    Flag(
        "--state-dir",
        "a directory for what has to outlive the exporter: how far logs have been read; by default nothing is kept",
        metavar="DIRECTORY",
    ),
    Flag("--config.check", "check the config, print all that is wrong with it, and exit with 0 or 2", switch=True),
    Flag(
        "--web.listen-address",
        "where to listen, such as :9187 or 127.0.0.1:9187; may be repeated (in its variable: commas between)",
        metavar="ADDRESS",
        repeatable=True,
    ),
    Flag(
        "--web.telemetry-path",
        "where the metrics are; /metrics unless the config says otherwise",
        metavar="PATH",
        also="PG_EXPORTER_WEB_TELEMETRY_PATH",
    ),
)

_EPILOG = """\
three lines to start with:
  export DATA_SOURCE_NAME='postgresql://exporter:secret@localhost:5432/postgres'
  database-exporter check          # says what works, and the statements that mend the rest
  database-exporter                # serves http://localhost:9187/metrics

examples:
  database-exporter --config.file=config.yml
  database-exporter --config.file=config.yml --config.check
  database-exporter --web.listen-address=127.0.0.1:9187 --web.listen-address='[::1]:9187'
  DATA_SOURCE_NAME='mysql://exporter:secret@db1:3306' database-exporter check --grants
  database-exporter serve --help   # the flags of a command

environment: a flag wins over its variable, a variable over the config file
{variables}
  DATA_SOURCE_NAME                       servers without a config file: URLs with commas between
  DATABASE_EXPORTER_WEB_CONFIG_FILE      TLS and passwords of the pages, like --web.config.file
  DATA_SOURCE_URI, _USER, _PASS, or each with _FILE: the same in parts

started as postgres_exporter was, it takes that one's flags, PG_EXPORTER_* variables and postgres_exporter.yml too;
started as mysqld_exporter was, that one's flags, MYSQLD_EXPORTER_PASSWORD and .my.cnf
"""
# Flags of the exporters that this one replaces, and where the config file has the same.
_MOVED = {
    ("--collector", "--no-collector", "--collect", "--no-collect"): "the config file switches them under collectors:",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say it in one line, and where help is."""
        self.exit(USAGE_ERROR, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in ("-h", "--help"):
        _overview().print_help()
        return 0
    if arguments and arguments[0] == "--version":
        print(f"database-exporter {__version__}")
        return 0
    name = "serve"
    if arguments and not arguments[0].startswith("-"):
        name = arguments.pop(0)
    command = COMMANDS.get(name)
    if command is None:
        close = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(COMMANDS)}"
        # What stands in its place may be a connection string, so it is not repeated.
        _overview().error(f"the first argument is no command; {hint}")
    try:
        status = _run(name, command, arguments)
        sys.stdout.flush()
        return status
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        # What a shell makes of Ctrl-C.
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader of our output (head, less) has seen enough; nothing more can be written, not even at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(name: str, command: Command, arguments: list[str]) -> int:
    module = importlib.import_module(f"exporter.commands.{name}")
    with_config = command.configured or command.may_be_configured
    flags = (*(CONFIG if with_config else ()), *(SERVE if name == "serve" else ()), *LOG)
    parser = _parser(name, command, flags)
    module.add_arguments(parser)
    given = None
    if command.configured:
        from exporter.switching.flags import FlagError, take  # noqa: PLC0415 - after --help, which has no use for it

        try:
            arguments, given = take(arguments, os.environ)
        except FlagError as error:
            parser.error(str(error))
        if given.on("dumpmaps"):
            # There it prints what it would ask for, and ends.
            return int(importlib.import_module("exporter.commands.metrics").run(argparse.Namespace()))
    args, unknown = parser.parse_known_args(arguments)
    args.given = given
    if unknown:
        _refuse(parser, unknown[0])
    _complete(parser, args, flags)
    from exporter import log  # noqa: PLC0415 - after --help, which has no use for it

    log.configure(args.log_level, args.log_format)
    if not command.configured:
        return int(module.run(args))
    from exporter.commands.configuration import configuration, passwords  # noqa: PLC0415 - brings pydantic with it

    config = configuration(args)
    log.redact(passwords(config))
    return int(module.run(args, config))


def _parser(name: str, command: Command, flags: Sequence[Flag]) -> _Parser:
    parser = _Parser(
        prog=f"database-exporter {name}",
        description=command.help[0].upper() + command.help[1:] + ".",
        epilog=_EPILOG.format(variables=_variables()) if name == "serve" else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for flag in flags:
        _add(parser, flag)
    if name == "serve":
        parser.add_argument("--version", action="version", version=f"database-exporter {__version__}")
    return parser


def _overview() -> _Parser:
    parser = _Parser(
        prog="database-exporter",
        usage="database-exporter [command] [flags]",
        description="Prometheus exporter for PostgreSQL, MySQL and MariaDB.\n\ncommands:\n"
        + "\n".join(f"  {name:<9} {command.help}" for name, command in COMMANDS.items()),
        epilog=_EPILOG.format(variables=_variables()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for flag in (*CONFIG, *SERVE, *LOG):
        _add(parser, flag)
    parser.add_argument("--version", action="version", version=f"database-exporter {__version__}")
    return parser


def _add(parser: argparse.ArgumentParser, flag: Flag) -> None:
    text = flag.help + (f" (default: {flag.default})" if flag.default else "")
    if flag.switch:
        parser.add_argument(flag.name, dest=flag.dest, action="store_const", const=True, help=text)
    elif flag.choices:
        parser.add_argument(flag.name, dest=flag.dest, choices=flag.choices, help=text)
    else:
        action = "append" if flag.repeatable else "store"
        parser.add_argument(flag.name, dest=flag.dest, metavar=flag.metavar, action=action, help=text)


def _variables() -> str:
    return "\n".join(f"  {flag.variable:<38} {flag.name}" for flag in (*CONFIG, *SERVE, *LOG))


def _complete(parser: argparse.ArgumentParser, args: argparse.Namespace, flags: Sequence[Flag]) -> None:
    """Fill in from the environment what no flag has said, and the defaults after that."""
    for flag in flags:
        if getattr(args, flag.dest) is not None:
            continue
        text = os.environ.get(flag.variable, "").strip() or os.environ.get(flag.also, "").strip()
        if text and flag.choices and text not in flag.choices:
            parser.error(f"{flag.variable} must be one of {', '.join(flag.choices)}")
        value: object = text or flag.default or None
        if flag.repeatable and text:
            value = [item.strip() for item in text.split(",") if item.strip()]
        if flag.switch:
            if text not in ("", "true", "false"):
                parser.error(f"{flag.variable} must be true or false")
            value = text == "true"
        setattr(args, flag.dest, value)


def _refuse(parser: argparse.ArgumentParser, argument: str) -> NoReturn:
    """Say what is wrong with an argument, without repeating a value that stands behind it."""
    if not argument.startswith("-"):
        if argument in COMMANDS:
            parser.error(f"a command comes first: database-exporter {argument} ...")
        parser.error("there is an argument that belongs to no flag")
    # Of a short flag a value may be the rest: -psecret.
    name = argument.partition("=")[0] if argument.startswith("--") else argument[:2]
    moved = next((where for starts, where in _MOVED.items() if name.startswith(starts)), None)
    if moved:
        parser.error(f"unknown flag {name}; {moved}")
    known = [option for action in parser._actions for option in action.option_strings]
    close = difflib.get_close_matches(name, known, 1)
    parser.error(f"unknown flag {name}" + (f"; did you mean {close[0]}?" if close else ""))
