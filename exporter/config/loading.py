"""Reads the config file: every mistake in it is found at once and named with its line and column."""

import os
import stat
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from exporter.config.basics import Model
from exporter.config.document import Document, Location, read_document
from exporter.config.errors import ConfigError, Problem, read_failure
from exporter.config.file import File
from exporter.config.model import PRODUCTS, Config, ServerConfig, Thresholds, Web
from exporter.config.own import Known, check_names_of_queries, files_loaded, names_of_queries, own_collectors
from exporter.config.queries import UserQuery, check_query
from exporter.config.resolve import Data, check_password, check_thresholds, of_no_use, resolve
from exporter.config.sentences import sentence, unknown
from exporter.config.sound import BY_KEY, Unsound

_QUERIES: TypeAdapter[Mapping[str, UserQuery]] = TypeAdapter(Mapping[str, UserQuery])
_THRESHOLDS: TypeAdapter[Thresholds] = TypeAdapter(Thresholds)


def load(path: Path | str, *, known: Known | None = None, env: Mapping[str, str] | None = None) -> Config:
    """Load a config file. `known` are the collectors and metrics that exist (None: any goes). Raises ConfigError."""
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
    config = load_text(text, source=str(path), directory=path.parent, known=known, env=env)
    if readable_by_all and any(s.password is not None and s.password.is_text for s in config.servers):
        warning = f"{path} holds a password and everybody on this machine may read it; run chmod o-r {path}"
        return config.model_copy(update={"warnings": (*config.warnings, warning)})
    return config


def load_text(
    text: str,
    *,
    source: str = "config.yml",
    directory: Path | None = None,
    known: Known | None = None,
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
    check_shape(document, data, File)
    warnings: list[str] = []
    servers = _servers(document, data, directory, known or Known(), warnings)
    if known is not None:
        _check_collectors(document, known.collectors.keys() | names_of_queries(document, servers))
    if document.problems:
        raise ConfigError(document.problems)
    return Config(
        servers=tuple(servers),
        web=Web.model_validate(data.get("web") or {}),
        warnings=tuple(warnings),
    )


def check_shape(document: Document, data: Data, shape: type[Model]) -> None:
    """Report what does not fit the shape of a file."""
    details = []
    try:
        shape.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    for detail in details:
        path = _in_file(document, detail)
        if path not in document.unsound:
            is_key = detail["loc"][-1] == "[key]"
            wrong = path[-1] if is_key else _value_at(data, path)
            at_key = is_key or detail["type"] == "extra_forbidden"
            document.report(path, sentence(detail, wrong, shape), at_key=at_key)


def _check_collectors(document: Document, known: Set[str]) -> None:
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


def _servers(document: Document, data: Data, directory: Path, known: Known, warnings: list[str]) -> list[ServerConfig]:
    """Complete the servers and report what is wrong with them and between them; only what is sound is looked at."""
    top = _section(document, data, ())
    defaults = _section(document, data.get("defaults"), ("defaults",))
    found: list[ServerConfig] = []
    named: dict[str, int] = {}
    listed = data.get("servers")
    servers = listed if isinstance(listed, list) else []
    check_names_of_queries(document, len(servers))
    for index, given in enumerate(servers):
        here: Location = ("servers", index)
        if not isinstance(given, dict) or here in document.unsound:
            continue
        server = _section(document, given, here)
        unsound = Unsound(document, here, ("defaults",))
        name = given.get("name")
        report = _reporter(document, index, has_url=server.get("url") is not None)
        resolved = resolve(
            server,
            report,
            defaults=defaults,
            top=top,
            directory=directory,
        )
        if resolved is not None:
            config, target = resolved
            own = own_collectors(config, known, report, lambda *said: _report_file(document, *said), directory)
        if resolved is not None and not unsound.address:
            name = config.name
            found.append(config.model_copy(update={"own": own, "files_loaded": files_loaded(config, directory)}))
            _check_engine(document, here, config, known)
            warnings += [f"{name}: the url's parameter {key} means nothing here" for key in target.ignored]
            warnings += [f"{name}: {said}" for said in of_no_use({**target.keys, **server}, config.engine)]
        if isinstance(name, str):
            _check_name(document, index, name, named)
    return found


def _check_engine(document: Document, here: Location, server: ServerConfig, known: Known) -> None:
    """Report collectors that a server asks for and that are another engine's; `defaults` speak of servers of both."""
    for path in document.keys:
        name = str(path[-1])
        if path[:-1] == (*here, "collectors") and known.collectors.get(name, server.engine) != server.engine:
            wanted, found = PRODUCTS[known.collectors[name]], PRODUCTS[server.engine]
            document.report(path, f"is a collector of {wanted}, and this server is {found}; remove it", at_key=True)


def _report_file(document: Document, file: str, said: str | Problem) -> None:
    """Note a problem of a file that the config names, or with it where it is named."""
    if isinstance(said, Problem):
        if said not in document.problems:
            document.problems.append(said)
        return
    for path in document.values:
        if "queries_files" in path and _value_at(document.data, path) == file:
            document.report(path, said)
            return


def _section(document: Document, section: object, at: Location) -> Data:
    """What is sound of a section, checked for contradictions within it."""
    if not isinstance(section, dict) or (at and at in document.unsound):
        return {}
    sound = Unsound(document, at).without(section)

    def report(place: Location, message: str) -> None:
        document.report((*at, *place), message)

    check_thresholds(_THRESHOLDS.validate_python(sound.get("thresholds") or {}), report)
    check_password(sound, report)
    for name, query in _QUERIES.validate_python(sound.get("queries") or {}).items():
        check_query(query, lambda place, message, name=name: report(("queries", name, *place), message))  # type: ignore[misc]
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
    unsound.blocks |= {block for block in Unsound(document, ()).blocks if block[:1] in BY_KEY}

    def report(at: Location, message: str) -> None:
        if unsound.hides(at, has_url=has_url):
            return
        places = [(*here, *at), ("defaults", *at), at]
        document.report(next((place for place in places if at and place in document.values), places[0]), message)

    return report
