"""Servers named by DATA_SOURCE_* environment variables, as postgres_exporter reads them."""

import os
import re
from collections.abc import Mapping

from exporter.config.dsn import DSNError, parse_dsn
from exporter.config.errors import ConfigError, Problem
from exporter.config.model import Config, ServerConfig
from exporter.config.resolve import of_no_use, resolve
from exporter.config.secrets import Secret, SecretError, read_secret_file

# A comma ends an entry only where another one plainly starts: passwords and host lists may hold commas too.
_NEXT_ENTRY = re.compile(
    r",(?=\s*(?:(?:postgres|postgresql|mysql|mariadb)://|(?:host|hostaddr|port|user|dbname|password|sslmode)\s*=)|\s*$)"
)

_EVERYWHERE = "all databases of a server are covered anyhow, but for those that `databases` excludes"


def from_environment(
    env: Mapping[str, str] | None = None, defaults: Mapping[str, object] | None = None
) -> Config | None:
    """The servers that the environment names, or None if it names none.

    DATA_SOURCE_NAME (connection strings with commas between) wins; else DATA_SOURCE_URI with DATA_SOURCE_USER and
    DATA_SOURCE_PASS, each of which is read from the file that its `_FILE` form names, if there is one.
    `defaults` are keys of a PostgreSQL that says nothing else.
    Raises ConfigError; no message repeats any part of a connection string.
    """
    env = os.environ if env is None else env
    problems: list[Problem] = []
    warnings: list[str] = []
    if env.get("DATA_SOURCE_NAME", "").strip():
        source = "DATA_SOURCE_NAME"
        entries = [entry for entry in _NEXT_ENTRY.split(env[source]) if entry.strip()]
        keys: dict[str, object] = {}
    else:
        source, entries, keys = _from_parts(env, problems)
    servers: list[ServerConfig] = []
    for number, entry in enumerate(entries, 1):
        where = source if len(entries) == 1 else f"{source}, entry {number}"
        server = _server(entry, keys, defaults or {}, where, problems, warnings)
        if server is not None and any(server.name == other.name for other in servers):
            # Of postgres_exporter's a server was named once for each database.
            warnings.append(f"{where}: names {server.name} a second time, and the first holds: {_EVERYWHERE}")
        elif server is not None:
            servers.append(server)
    if problems:
        raise ConfigError(problems)
    return Config(servers=tuple(servers), warnings=tuple(warnings)) if servers else None


def _from_parts(env: Mapping[str, str], problems: list[Problem]) -> tuple[str, list[str], dict[str, object]]:
    source, uri = _part(env, "DATA_SOURCE_URI", problems)
    _, user = _part(env, "DATA_SOURCE_USER", problems)
    keys: dict[str, object] = {}
    if user:
        keys["user"] = user
    if env.get("DATA_SOURCE_PASS_FILE"):
        _part(env, "DATA_SOURCE_PASS", problems)
        keys["password"] = Secret.from_file(env["DATA_SOURCE_PASS_FILE"])
    elif env.get("DATA_SOURCE_PASS"):
        keys["password"] = Secret.from_env("DATA_SOURCE_PASS", env)
    if not uri:
        return source, [], keys
    return source, [uri if "://" in uri.partition("?")[0] else f"postgresql://{uri}"], keys


def _part(env: Mapping[str, str], name: str, problems: list[Problem]) -> tuple[str, str]:
    """The variable a part comes from, and its value; empty if there is none."""
    file = env.get(f"{name}_FILE")
    if not file:
        return name, env.get(name, "").strip()
    try:
        return f"{name}_FILE", read_secret_file(file).strip()
    except SecretError as error:
        problems.append(Problem(f"{name}_FILE", str(error)))
    return f"{name}_FILE", ""


def _server(
    entry: str,
    keys: Mapping[str, object],
    defaults: Mapping[str, object],
    where: str,
    problems: list[Problem],
    warnings: list[str],
) -> ServerConfig | None:
    failure = ""
    try:
        target = parse_dsn(entry)
    except DSNError as error:
        failure = str(error)
    if failure:
        problems.append(Problem(where, failure))
        return None
    if "host" not in target.keys and "socket" not in target.keys:
        target.keys["host"] = "localhost"  # as postgres_exporter's driver has it
    resolved = resolve(
        {**target.keys, **keys},
        lambda at, message: problems.append(Problem(where, " ".join([*map(str, at), message]))),
        defaults=dict(defaults) if target.keys["engine"] == "postgres" else {},
    )
    warnings += [f"{where}: the parameter {key} means nothing here" for key in target.ignored]
    if resolved is None:
        return None
    warnings += [f"{where}: {said}" for said in of_no_use(target.keys, resolved[0].engine)]
    return resolved[0]
