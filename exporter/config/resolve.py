"""From what a config says about a server to the complete server: defaults merged in, connection strings taken apart."""

import ipaddress
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from exporter.config.basics import Engine
from exporter.config.document import Location, secret_from_file
from exporter.config.dsn import DSNError, Target, parse_dsn, parse_url, password_of
from exporter.config.errors import read_failure
from exporter.config.model import DEFAULT_PORTS, DEFAULT_THRESHOLDS, SLOW_LOG_COLLECTORS, ServerConfig, Thresholds
from exporter.config.secrets import Secret, SecretError
from exporter.config.sentences import sentence

Data = dict[str, object]
_NOT_FOR_MYSQL = {
    "database": "one connection to MySQL or MariaDB sees every schema",
    "databases": "all schemas of MySQL or MariaDB are watched",
    "pooler": "only PostgreSQL is watched through one",
}
_NOT_FOR_POSTGRES = {"heartbeat": "a PostgreSQL tells its lag without such a table"}
_WHERE = ("host", "port", "socket", "engine", "database")
Report = Callable[[Location, str], None]
"""Notes a problem at a key of the server (the empty location is the server itself)."""


def merge(*layers: Mapping[str, object]) -> Data:
    """One mapping out of several: later ones win, mappings inside are merged, everything else is replaced."""
    merged: Data = {}
    for layer in layers:
        for key, value in layer.items():
            old = merged.get(key)
            if isinstance(old, dict) and isinstance(value, dict):
                merged[key] = merge(old, value)
            elif not (value is None and isinstance(old, dict)):
                merged[key] = value
    return merged


def resolve(
    server: Data,
    report: Report,
    *,
    defaults: Data | None = None,
    top: Data | None = None,
    directory: Path | None = None,
) -> tuple[ServerConfig, Target] | None:
    """Complete a server, or report why it cannot be and return None. The target is what its `url` said.

    `top` is what the file says for all servers outside `defaults`.
    """
    defaults = defaults or {}
    for_all: Data = {key: (top or {}).get(key) or {} for key in ("thresholds", "queries")}
    target = _target(server, report)
    password = _password(server, target, defaults, directory or Path(), report)
    if target is None:
        return None
    own = {key: value for key, value in server.items() if value is not None}
    contradicted = [key for key in _WHERE if key in own and target.keys.get(key, own[key]) != own[key]]
    for key in contradicted:
        report((key,), f"contradicts url; remove {key} or take it out of the url")
    built_in = {signal: dict(levels) for signal, levels in DEFAULT_THRESHOLDS.items()}
    layers: list[Data] = [{"thresholds": built_in}, for_all, defaults, target.keys, server]
    merged = merge(*(_switches_spelt_out(layer) for layer in layers))
    state = (top or {}).get("state_dir")
    merged["state_dir"] = str((directory or Path()) / state) if isinstance(state, str) else None
    merged["queries_files"] = [item for layer in (top or {}, defaults, server) for item in _listed(layer)]
    for key in ("url", "password_file"):
        merged.pop(key, None)
    merged["password"] = password
    engine = None if "engine" in contradicted else _engine(merged.get("engine"), report)
    complete = engine is not None and _address(merged, engine, report) and not contradicted
    _tls(merged, engine, directory or Path(), report)
    _slow_log(merged, engine, directory or Path(), report)
    _heartbeat(merged, engine)
    config = _validated(merged, report)
    return (config, target) if config is not None and complete else None


def _listed(layer: Mapping[str, object]) -> list[object]:
    files = layer.get("queries_files")
    return files if isinstance(files, list) else []


def _validated(merged: Data, report: Report) -> ServerConfig | None:
    # What is missing has been reported; something stands in for it so that everything else is checked now.
    stand_in: Data = {"engine": "postgres", "host": "unknown", "port": 1, "name": "unknown"}
    problems = []
    try:
        config = ServerConfig.model_validate(
            merge(merged, {k: v for k, v in stand_in.items() if merged.get(k) is None})
        )
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
    else:
        _consistency(config, report)
        return config
    for problem in problems:
        report(problem["loc"], sentence(problem, None, ServerConfig))
    return None


def _target(server: Data, report: Report) -> Target | None:
    url = server.get("url")
    if not isinstance(url, Secret):
        return Target()
    try:
        return parse_url(url.reveal())
    except (DSNError, SecretError) as error:
        message = str(error)
    report(("url",), message)
    return None


def _password(server: Data, target: Target | None, defaults: Data, directory: Path, report: Report) -> Secret | None:
    """The password of the nearest place that gives one: the server itself, its url, the defaults."""
    url = server.get("url")
    own = _given_password(server, directory, report)
    if own is not None:
        return own
    if target and "password" in target.keys and isinstance(url, Secret):
        return url.derived(password_of)
    return _given_password(defaults, directory, report)


def _given_password(layer: Data, directory: Path, report: Report) -> Secret | None:
    check_password(layer, report)
    given, path = layer.get("password"), layer.get("password_file")
    if isinstance(given, Secret) or not isinstance(path, str):
        return given if isinstance(given, Secret) else None
    try:
        return secret_from_file(path, directory)
    except SecretError as error:
        report(("password_file",), str(error))
    return None


def check_password(layer: Data, report: Report) -> None:
    """Report a server or defaults that give two passwords."""
    if layer.get("password") is not None and layer.get("password_file") is not None:
        report(("password_file",), "stands beside password; remove one of them")


def _switches_spelt_out(layer: Mapping[str, object]) -> Mapping[str, object]:
    """`collectors: {x: false}` as `{x: {enabled: false}}`, so that it merges with the interval of another layer."""
    collectors = layer.get("collectors")
    if not isinstance(collectors, dict):
        return layer
    spelt = {name: {"enabled": value} if isinstance(value, bool) else value for name, value in collectors.items()}
    return {**layer, "collectors": spelt}


def _engine(engine: object, report: Report) -> Engine | None:
    if engine in DEFAULT_PORTS:
        return cast("Engine", engine)
    report((), "says neither engine nor url; add 'engine: postgres' or 'engine: mysql' (MariaDB too)")
    return None


def _address(merged: Data, engine: Engine, report: Report) -> bool:
    """Fill in host, port and name. False if nothing says where the server is."""
    socket = merged.get("socket")
    if socket is not None and merged.get("host") is not None:
        report(("socket",), "stands beside host; remove one of them")
        return False
    if socket is None and merged.get("host") is None:
        report((), "says nowhere where the server is; add host, socket or url")
        return False
    if engine == "postgres" and isinstance(socket, str) and "/.s.PGSQL." in socket:
        report(("socket",), "must be the directory that holds the socket; leave out /.s.PGSQL.… and set port")
        return False
    if merged.get("port") is None:
        merged["port"] = DEFAULT_PORTS[engine]
    if socket is not None:
        merged["host"] = "localhost"
    if merged.get("database") is None and engine == "postgres":
        merged["database"] = "postgres"
    if merged.get("name") is None:
        host, port = str(merged["host"]), merged["port"]
        if socket is not None:
            merged["name"] = f"{socket}:{port}" if engine == "postgres" else socket
        else:
            merged["name"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return True


def _tls(merged: Data, engine: Engine | None, directory: Path, report: Report) -> None:
    """The mode where none is given: never one that lets a MySQL connection over a network fall back to plain text."""
    given = merged.get("tls")
    tls: Data = {key: value for key, value in given.items() if value is not None} if isinstance(given, dict) else {}
    merged["tls"] = tls
    if "mode" not in tls:
        local = merged.get("socket") is not None or _is_loopback(str(merged.get("host")))
        if "ca" in tls:
            tls["mode"] = "verify-full"
        elif engine == "mysql":
            tls["mode"] = "disable" if local else "require"
        else:
            tls["mode"] = "prefer"
    if tls["mode"] == "prefer" and engine == "mysql":
        report(("tls", "mode"), "prefer would fall back to plain text unseen; use require or disable for MySQL")
    verifies = tls["mode"] in {"verify-ca", "verify-full"}
    if tls.get("ca") == "system" and not verifies:
        report(("tls", "ca"), "system asks for a check that this mode does not make; use verify-full")
    if engine == "mysql" and tls.get("ca") == "system":
        del tls["ca"]
    if engine == "postgres" and verifies and tls.setdefault("ca", "system") == "system" and tls["mode"] == "verify-ca":
        report(("tls", "mode"), "verify-ca needs ca: the file of the authority to trust; or use verify-full")
    if ("cert" in tls) != ("key" in tls):
        have, lack = ("cert", "key") if "cert" in tls else ("key", "cert")
        report(("tls", have), f"needs {lack} beside it")
    for key in ("ca", "cert", "key"):
        if key in tls and tls[key] != "system":
            path = directory / str(tls[key])
            tls[key] = str(path)
            try:
                path.open("rb").close()
            except OSError as error:
                report(("tls", key), read_failure(error, path))


def _slow_log(merged: Data, engine: Engine | None, directory: Path, report: Report) -> None:
    """A log that is configured is asked for by name, so that what keeps it from being read is a failure."""
    given = merged.get("slow_log")
    if engine is None or not (given in (True, "sql") or isinstance(given, dict)):
        return
    over_sql = given == "sql"
    if isinstance(given, dict):
        over_sql = given.get("over_sql") is True
        if given.get("enabled") is False:
            return
        if isinstance(given.get("file"), str):
            given = merged["slow_log"] = {**given, "file": str(directory / given["file"])}
        right = {"postgres": {"auto", "json", "csv", "stderr"}, "mysql": {"auto", "slow"}}[engine]
        if given.get("format", "auto") not in right:
            report(("slow_log", "format"), f"is not one of this engine's; use {' or '.join(sorted(right))}")
    name = SLOW_LOG_COLLECTORS[engine, over_sql]
    merged["collectors"] = merge({name: {"enabled": True}}, cast("Data", merged.get("collectors") or {}))


def _heartbeat(merged: Data, engine: Engine | None) -> None:
    """A table that is configured is asked for by name, as a log is."""
    given = merged.get("heartbeat")
    on = given is True or (isinstance(given, dict) and given.get("enabled") is not False)
    if engine == "mysql" and on:
        collectors = cast("Data", merged.get("collectors") or {})
        merged["collectors"] = merge({"mysql_heartbeat": {"enabled": True}}, collectors)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _consistency(server: ServerConfig, report: Report) -> None:
    check_thresholds(server.thresholds, report)
    if server.timeouts.scrape_offset >= server.timeouts.scrape_default:
        report(("timeouts",), "has a scrape_offset that leaves nothing of scrape_default; lower it")


def check_thresholds(thresholds: Thresholds, report: Report) -> None:
    """Report thresholds that contradict each other or can never be reached."""
    for signal, levels in thresholds.items():
        warning, critical = levels.get("warning"), levels.get("critical")
        if signal == "connections" and max(levels.values(), default=0) > 1:
            report(("thresholds", signal), "is a share of the limit; write 0.8 or 80%")
        elif signal == "slow_statements" and critical is not None:
            report(
                ("thresholds", signal, "critical"),
                "can't be: statements are counted over one threshold; remove it, and set warning",
            )
        elif warning is not None and critical is not None and warning > critical:
            report(("thresholds", signal), "has a warning above its critical; swap them or change one")


def of_no_use(said: Mapping[str, object], engine: str) -> list[str]:
    """What a server says and its engine does without, each with why."""
    unused = _NOT_FOR_MYSQL if engine == "mysql" else _NOT_FOR_POSTGRES
    return [f"{key} means nothing here: {why}" for key, why in unused.items() if said.get(key) is not None]


def server_from_dsn(dsn: str, **keys: object) -> ServerConfig:
    """A server from a connection string and further keys of the config. Raises DSNError; shows no secret."""
    target = parse_dsn(dsn)
    server: Data = merge(target.keys, keys)
    said: list[str] = []
    resolved = resolve(server, lambda at, message: said.append(" ".join([*map(str, at), message])))
    if resolved is None or said:
        raise DSNError("; ".join(said))
    return resolved[0]
