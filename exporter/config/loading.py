"""Reads the config file: every mistake in it is found at once and named with its line and column."""

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from exporter.config.document import Document, Location, read_document
from exporter.config.errors import ConfigError, Problem, read_failure
from exporter.config.file import File
from exporter.config.model import Config, ServerConfig, Thresholds, Web
from exporter.config.resolve import Data, check_password, check_thresholds, resolve
from exporter.config.sentences import sentence, unknown
from exporter.config.sound import Unsound

_THRESHOLDS: TypeAdapter[Thresholds] = TypeAdapter(Thresholds)


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
    _check_shape(document, data)
    if collectors is not None:
        _check_collectors(document, frozenset(collectors))
    warnings: list[str] = []
    servers = _servers(document, data, directory, warnings)
    if document.problems:
        raise ConfigError(document.problems)
    return Config(
        servers=tuple(servers),
        web=Web.model_validate(data.get("web") or {}),
        warnings=tuple(warnings),
    )


def _check_shape(document: Document, data: Data) -> None:
    """Report what does not fit the shape of the file."""
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


def _servers(document: Document, data: Data, directory: Path, warnings: list[str]) -> list[ServerConfig]:
    """Complete the servers and report what is wrong with them and between them; only what is sound is looked at."""
    top = _section(document, data, ())
    defaults = _section(document, data.get("defaults"), ("defaults",))
    found: list[ServerConfig] = []
    named: dict[str, int] = {}
    listed = data.get("servers")
    for index, given in enumerate(listed if isinstance(listed, list) else []):
        here: Location = ("servers", index)
        if not isinstance(given, dict) or here in document.unsound:
            continue
        server = _section(document, given, here)
        unsound = Unsound(document, here, ("defaults",))
        name = given.get("name")
        resolved = resolve(
            server,
            _reporter(document, index, has_url=server.get("url") is not None),
            defaults=defaults,
            thresholds=cast("Data", top.get("thresholds") or {}),
            directory=directory,
        )
        if resolved is not None and not unsound.address:
            config, target = resolved
            name = config.name
            found.append(config)
            warnings += [f"{name}: the url's parameter {key} means nothing here" for key in target.ignored]
        if isinstance(name, str):
            _check_name(document, index, name, named)
    return found


def _section(document: Document, section: object, at: Location) -> Data:
    """What is sound of a section, checked for contradictions within it."""
    if not isinstance(section, dict) or (at and at in document.unsound):
        return {}
    sound = Unsound(document, at).without(section)

    def report(place: Location, message: str) -> None:
        document.report((*at, *place), message)

    check_thresholds(_THRESHOLDS.validate_python(sound.get("thresholds") or {}), report)
    check_password(sound, report)
    # Anew, without what has just been reported: a server would report it again.
    return Unsound(document, at).without(section)


def _check_name(document: Document, index: int, name: str, named: dict[str, int]) -> None:
    first = named.setdefault(name, index)
    if first != index:
        line = _name_line(document, first)
        message = f"servers[{first}] on line {line} has the same name, {name}; give each server its own"
        document.report(("servers", index, "name"), message)


def _name_line(document: Document, index: int) -> int:
    path: Location = ("servers", index, "name")
    return document.values.get(path, document.values["servers", index])[0]


def _reporter(document: Document, index: int, *, has_url: bool) -> Callable[[Location, str], None]:
    """Reports a server's problems where the value stands: at the server, or in the section it was taken from."""
    here: Location = ("servers", index)
    unsound = Unsound(document, here, ("defaults",))
    unsound.blocks |= {block for block in Unsound(document, ()).blocks if block[:1] == ("thresholds",)}

    def report(at: Location, message: str) -> None:
        if unsound.hides(at, has_url=has_url):
            return
        places = [(*here, *at), ("defaults", *at), at]
        document.report(next((place for place in places if at and place in document.values), places[0]), message)

    return report
