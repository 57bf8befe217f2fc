"""Reads the config file: every mistake in it is found at once and named with its line and column."""

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from exporter.config.document import Document, Location, read_document
from exporter.config.errors import ConfigError, Problem, read_failure
from exporter.config.file import File
from exporter.config.model import Config, ServerConfig, Web
from exporter.config.resolve import Data, resolve
from exporter.config.sentences import sentence, unknown


def load(path: Path | str, *, collectors: Iterable[str] | None = None, env: Mapping[str, str] | None = None) -> Config:
    """Load a config file. `collectors` are the names that exist (None: any name goes). Raises ConfigError."""
    path = Path(path)
    failure = ""
    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig")
        readable_by_all = bool(path.stat().st_mode & stat.S_IROTH)
    except (OSError, UnicodeDecodeError) as error:
        failure = read_failure(error, path)
    if failure:
        raise ConfigError([Problem(str(path), failure)])
    config = load_text(text, source=str(path), directory=path.parent, collectors=collectors, env=env)
    if readable_by_all and any(s.password is not None and s.password.is_text for s in config.servers):
        warning = f"{path} holds a password and everybody on this machine may read it; run chmod o-r {path}"
        return config.model_copy(update={"warnings": (*config.warnings, warning)})
    return config


def load_text(
    text: str,
    *,
    source: str = "config.yml",
    directory: Path | None = None,
    collectors: Iterable[str] | None = None,
    env: Mapping[str, str] | None = None,
) -> Config:
    """Load the text of a config file; `directory` is where its relative paths start. Raises ConfigError."""
    directory = directory or Path()
    document = read_document(text, source, directory, os.environ if env is None else env)
    if document.data is None and not document.problems:
        document.report((), "is empty; start with 'servers:' (config.example.yml shows every key)")
    elif document.data is not None and not isinstance(document.data, dict):
        document.report((), "must be a mapping that starts with 'servers:' (config.example.yml shows every key)")
    if not isinstance(document.data, dict):
        raise ConfigError(document.problems)
    data = cast("Data", document.data)
    wrong = _check_shape(document, data)
    if collectors is not None:
        _check_collectors(document, frozenset(collectors))
    warnings: list[str] = []
    servers = _servers(document, data, wrong, directory, warnings)
    if document.problems:
        raise ConfigError(document.problems)
    return Config(
        servers=tuple(servers),
        web=Web.model_validate(data.get("web") or {}),
        warnings=tuple(warnings),
    )


def _check_shape(document: Document, data: Data) -> set[Location]:
    """Report what does not fit the shape of the file; returns the sections (`servers[0]`, `defaults`) with problems."""
    details = []
    try:
        File.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    for detail in details:
        path = _in_file(document, detail)
        if path not in document.unsound:
            is_key = detail["loc"][-1] == "[key]"
            wrong = path[-1] if is_key else _value_at(data, path)
            at_key = is_key or detail["type"] == "extra_forbidden"
            document.report(path, sentence(detail, wrong, File), at_key=at_key)
    return {path[:2] if path[:1] == ("servers",) else path[:1] for path in document.unsound}


def _check_collectors(document: Document, known: frozenset[str]) -> None:
    for path in document.keys:
        *_, parent, name = ("", *path)
        if parent == "collectors" and name not in known and path[0] in {"servers", "defaults"}:
            document.report(path, unknown("collector", str(name), known), at_key=True)


def _in_file(document: Document, detail: ErrorDetails) -> Location:
    """The place that pydantic means, without the steps that only its own unions and keys have."""
    path: Location = ()
    for step in detail["loc"]:
        if (*path, step) in document.values:
            path = (*path, step)
    absent = detail["type"] == "missing" and path != detail["loc"]
    return (*path, detail["loc"][-1]) if absent else path


def _value_at(data: object, path: Location) -> object:
    for step in path:
        if isinstance(data, dict):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
    return data


def _servers(
    document: Document, data: Data, wrong: set[Location], directory: Path, warnings: list[str]
) -> list[ServerConfig]:
    """Complete every server that is sound so far and report what is wrong with them and between them."""
    found: list[ServerConfig] = []
    named: dict[str, int] = {}
    listed = data.get("servers")
    for index, server in enumerate(listed if isinstance(listed, list) else []):
        if not isinstance(server, dict):
            continue
        name = server.get("name")
        if not wrong & {("servers", index), ("defaults",), ("thresholds",)}:
            resolved = resolve(
                server,
                _reporter(document, index),
                defaults=cast("Data", data.get("defaults") or {}),
                thresholds=cast("Data", data.get("thresholds") or {}),
                directory=directory,
            )
            if resolved is not None:
                config, target = resolved
                name = config.name
                found.append(config)
                warnings += [f"{name}: the url's parameter {key} means nothing here" for key in target.ignored]
        if isinstance(name, str):
            _check_name(document, index, name, named)
    return found


def _check_name(document: Document, index: int, name: str, named: dict[str, int]) -> None:
    first = named.setdefault(name, index)
    if first != index:
        line = _name_line(document, first)
        message = f"servers[{first}] on line {line} has the same name, {name}; give each server its own"
        document.report(("servers", index, "name"), message)


def _name_line(document: Document, index: int) -> int:
    path: Location = ("servers", index, "name")
    return document.values.get(path, document.values["servers", index])[0]


def _reporter(document: Document, index: int) -> Callable[[Location, str], None]:
    """Reports a server's problems where the value stands: at the server, or in the section it was taken from."""

    def report(at: Location, message: str) -> None:
        own: Location = ("servers", index, *at)
        places = [own, ("defaults", *at), at]
        document.report(next((place for place in places if at and place in document.values), own), message)

    return report
