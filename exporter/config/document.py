"""The text of a config file as plain data that remembers the line and column of everything in it."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from exporter.config.errors import Problem, Step, dotted, showable
from exporter.config.secrets import Secret, SecretError, read_secret_file

Location = tuple[Step, ...]
Place = tuple[int, int]
"""Line and column, both counted from 1."""

SECRET_KEYS = frozenset({"password", "url"})
"""Their values become a Secret as they are read, before anything could print them."""

_TAG = "tag:yaml.org,2002:"
_KNOWN_TAGS = {_TAG + k for k in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge", "map", "seq")}
_MOST_VALUES = 200_000
_DECIMAL = re.compile(r"[-+]?[0-9]+\.[0-9]+")
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
_SENTENCES = (
    ("'\\t'", "there is a tab here; indent with spaces"),
    ("cannot start any token", "a value may not start with this character; put the value in quotes"),
    ("undefined alias", "a value that starts with * refers to an anchor that is not there; put the value in quotes"),
    ("duplicate anchor", "this anchor (&) exists already; put a value that starts with & in quotes"),
    ("mapping values are not allowed", "there is a ':' too many; put the value in quotes or correct the indentation"),
    ("block end", "the indentation does not fit the lines above"),
    ("could not find expected ':'", "a ':' and a blank are missing behind this key"),
    ("unexpected end of stream", "a quote opened here is not closed"),
    ("expected ',' or", "a bracket is not closed, or a comma is missing"),
    ("another document", "there is a second document here; remove the '---'"),
)


@dataclass(slots=True)
class Document:
    """What a file says (`data`) and where each key and value stands; `problems` if it is not sound."""

    source: str
    data: object = None
    keys: dict[Location, Place] = field(default_factory=dict)
    values: dict[Location, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unsound: set[Location] = field(default_factory=set)
    """Where problems are: what validation says of the same value is only their echo."""

    def report(self, path: Location, message: str, *, at_key: bool = False) -> None:
        """Note a problem at the value (or the key) of `path`, or at the nearest thing around it that is there."""
        place = self.keys.get(path) if at_key else None
        near = path
        while place is None:
            place = self.values.get(near, (1, 1) if not near else None)
            near = near[:-1]
        self.report_at(path, message, place)

    def report_at(self, path: Location, message: str, place: Place) -> None:
        """Note a problem at a line and column; the same one is noted once."""
        problem = Problem(self.source, message, dotted(path), *place)
        if problem not in self.problems:
            self.problems.append(problem)
            self.unsound.add(path)


def read_document(
    text: str, source: str, directory: Path, env: Mapping[str, str], secrets: frozenset[str] = SECRET_KEYS
) -> Document:
    """Read YAML with the tags `!env NAME` and `!file path` (relative to `directory`); all problems are collected."""
    document = Document(source)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = error.problem or ""
        if "end of stream" in said and error.context_mark:
            mark = error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        # The parser's own words may repeat a value (an alias is one), so they are never passed on.
        sentence = next((ours for theirs, ours in _SENTENCES if theirs in said), "this is not valid YAML")
        document.report_at((), sentence, place)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = (before.count("\n") + 1, len(before) - before.rfind("\n"))
        document.report_at((), "there is a control character here; remove it", place)
    except RecursionError:
        document.report((), "this is nested too deeply to be a configuration")
    else:
        if node is not None:
            builder = _Builder(document, directory, env, secrets)
            document.data = builder.build(node, ())
    return document


class _Builder:
    """Turns YAML nodes into data, noting places and problems on the way."""

    def __init__(self, document: Document, directory: Path, env: Mapping[str, str], secrets: frozenset[str]) -> None:
        self.document = document
        self.directory = directory
        self.env = env
        self.secrets = secrets
        self.count = 0
        self.open: set[int] = set()

    def build(self, node: yaml.Node, path: Location) -> object:
        self.document.values[path] = _place(node)
        self.count += 1
        if self.count == _MOST_VALUES or id(node) in self.open:
            self.document.report(path, "anchors (&, *) make this contain itself or grow too large; write it out")
        if self.count >= _MOST_VALUES or id(node) in self.open:
            return None
        # Below `queries` these are names of labels.
        is_secret = bool(path) and path[-1] in self.secrets and "queries" not in path
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, is_secret)
        if is_secret:
            self.document.report(path, "must be a single value; put a value that starts with { or [ in quotes")
            return None
        if node.tag not in _KNOWN_TAGS:
            self._unknown_tag(node, path)
            return None
        self.open.add(id(node))
        built = self._mapping(node, path) if isinstance(node, yaml.MappingNode) else self._sequence(node, path)
        self.open.discard(id(node))
        return built

    def _sequence(self, node: yaml.Node, path: Location) -> list[object]:
        return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, path: Location) -> dict[str, object]:
        inherited: dict[str, object] = {}
        data: dict[str, object] = {}
        own = [(key, value) for key, value in node.value if key.tag != _TAG + "merge"]
        merges = [value for key, value in node.value if key.tag == _TAG + "merge"]
        for value in merges:
            for base in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                inherited = {**self._merged(base, path), **inherited}
        self.document.values[path] = _place(node)
        for key_node, value_node in own:
            if not isinstance(key_node, yaml.ScalarNode):
                self.document.report(path, "a key must be a plain word")
                continue
            key: str = key_node.value
            line, column = _place(key_node)
            if key in data:
                first = self.document.keys[*path, key][0]
                said = f"the key '{key}'" if showable(key) else "this key"
                message = f"{said} is there twice, first on line {first}; remove one"
                self.document.report_at((*path, key), message, (line, column))
                continue
            self.document.keys[*path, key] = (line, column)
            data[key] = self.build(value_node, (*path, key))
        return {**inherited, **data}

    def _merged(self, base: yaml.Node, path: Location) -> dict[str, object]:
        built = self.build(base, path)
        if isinstance(built, dict):
            return built
        self.document.report(path, "<< must be followed by a reference (*name) to a mapping")
        return {}

    def _scalar(self, node: yaml.ScalarNode, path: Location, is_secret: bool) -> object:
        if node.tag in {"!env", "!file"}:
            return self._reference(node, path, is_secret)
        if node.tag not in _KNOWN_TAGS:
            self._unknown_tag(node, path)
            return None
        if node.tag == _TAG + "null":
            return None
        return Secret.text(node.value) if is_secret else _plain(node.tag.removeprefix(_TAG), node.value)

    def _reference(self, node: yaml.ScalarNode, path: Location, is_secret: bool) -> object:
        name: str = node.value
        if not name:
            what = "the name of a variable" if node.tag == "!env" else "a path"
            self.document.report(path, f"{node.tag} must be followed by {what}")
            return None
        is_env = node.tag == "!env"
        secret = Secret.from_env(name, self.env) if is_env else Secret.from_file(self.directory / name)
        try:
            value = secret.reveal()
        except SecretError as error:
            self.document.report(path, str(error))
            return None
        return secret if is_secret else value

    def _unknown_tag(self, node: yaml.Node, path: Location) -> None:
        close = difflib.get_close_matches(node.tag, ["!env", "!file"], 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        message = f"an unknown tag: only !env and !file exist; put a value that starts with ! in quotes{hint}"
        self.document.report(path, message)


def secret_from_file(path: str, directory: Path) -> Secret:
    """The secret that `password_file` names. Raises SecretError if it cannot be read now."""
    full = directory / path
    read_secret_file(full)
    return Secret.from_file(full)


def _plain(kind: str, text: str) -> object:
    """A number, truth value or text; what YAML 1.1 calls a number beyond that (1:30, 0x1F, 1_000) stays text."""
    if kind == "bool":
        return yaml.SafeLoader.bool_values[text.lower()]
    if kind == "int" and _WHOLE.fullmatch(text):
        return int(text)
    if kind == "float" and _DECIMAL.fullmatch(text):
        return float(text)
    return text


def _place(node: yaml.Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1
