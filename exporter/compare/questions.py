"""The expressions of rule files and dashboards, each with the place where it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_LABEL_VALUES = re.compile(r"^\s*label_values\(\s*(?:(.+?)\s*,\s*)?(\w+)\s*\)\s*$", re.DOTALL)
_METRICS = re.compile(r"^\s*metrics\((.+)\)\s*$", re.DOTALL)
_QUERY_RESULT = re.compile(r"^\s*query_result\((.+)\)\s*$", re.DOTALL)

_LIBRARY = "a panel of Grafana's library: give its file too"


class QuestionError(Exception):
    """A file can't be read; its text says why."""


@dataclass(frozen=True)
class Question:
    """An expression.

    Attributes:
        file: Where it is from.
        place: Which alert, recording, panel or variable it belongs to.
        expression: Itself.
        record: The name under which Prometheus keeps its answer, if any.
        label: The label whose values are asked for, by a variable of a dashboard.
        elsewhere: If the expression is in another file, that it is.
    """

    file: str
    place: str
    expression: str
    record: str | None = None
    label: str | None = None
    elsewhere: str | None = None


def from_rules(paths: Iterable[str]) -> list[Question]:
    """The expressions of rule files; of a directory, all its files.

    Raises:
        QuestionError: Naming the file.
    """
    found = []
    for path in _files(paths, (".yml", ".yaml", ".rules")):
        try:
            documents = [item for item in yaml.safe_load_all(_read(path)) if isinstance(item, dict)]
        except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
            raise QuestionError(f"{path} can't be read as YAML: {error}") from None
        groups = [group for item in documents for group in _mappings(path, "groups", _groups(item))]
        if not groups:
            raise QuestionError(f"{path} is no rule file: it has no groups")
        for group in groups:
            for rule in _mappings(path, "rules", group.get("rules")):
                record = rule.get("record")
                if record is not None and not isinstance(record, str):
                    raise QuestionError(f"{path}: record: {record} is no name of a metric")
                name = f"alert {rule['alert']}" if "alert" in rule else f"record {record}"
                found.append(Question(str(path), name, str(rule.get("expr", "")), record))
    return found


def _groups(document: dict[str, Any]) -> Any:
    """Of a rule file, or of resources of the Prometheus operator that hold one."""
    spec, items = document.get("spec"), document.get("items")
    listed = [_groups(item) for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    if listed and all(isinstance(groups, list) for groups in listed if groups):
        return [group for groups in listed for group in groups or ()]
    return document.get("groups") or (spec.get("groups") if isinstance(spec, dict) else None)


def _mappings(path: Path, what: str, found: Any) -> list[dict[str, Any]]:
    """A list of mappings; nothing at all is an empty one."""
    if not isinstance(found or [], list) or not all(isinstance(item, dict) for item in found or ()):
        raise QuestionError(f"{path}: {what} is no list of mappings")
    return found or []


def from_dashboards(paths: Iterable[str]) -> list[Question]:
    """The expressions of Grafana dashboards; of a directory, all its files.

    Raises:
        QuestionError: Naming the file.
    """
    found = []
    for path in _files(paths, (".json",)):
        try:
            dashboard = json.loads(_read(path))
        except (OSError, ValueError, RecursionError) as error:
            raise QuestionError(f"{path} can't be read as JSON: {error}") from None
        if not isinstance(dashboard, dict):
            raise QuestionError(f"{path} is no dashboard")
        inlined = dashboard.get("__elements") or {}
        for place, text, library in _expressions(dashboard, "", foreign=False):
            if library is None:
                found.append(Question(str(path), place, text))
            elif library not in inlined:
                found.append(Question(str(path), place, "", elsewhere=_LIBRARY))
        found += _variables(path, dashboard)
    return found


def _files(paths: Iterable[str], suffixes: tuple[str, ...]) -> Iterator[Path]:
    for name in paths:
        path = Path(name)
        yield from sorted(item for item in path.rglob("*") if item.suffix in suffixes) if path.is_dir() else (path,)


def _read(path: Path) -> str:
    # Some editors on Windows begin a file with a mark.
    return path.read_text(encoding="utf-8-sig")


def _expressions(node: Any, title: str, *, foreign: bool) -> Iterator[tuple[str, str, str | None]]:
    """Whatever is called `expr`, at any depth, since the layout of dashboards has changed more than once.

    Yields: the place, the expression, and, for a panel of a library that is not here, what that is called there.
    """
    if isinstance(node, list):
        for item in node:
            yield from _expressions(item, title, foreign=foreign)
    if not isinstance(node, dict):
        return
    own = node.get("title") or node.get("name")
    if isinstance(own, str):
        title = f"panel {own!r}"
    # Logs are asked for under the same name, in another language.
    foreign = _is_foreign(node, otherwise=foreign)
    if isinstance(node.get("expr"), str) and node["expr"].strip() and not foreign:
        yield title, node["expr"], None
    library = node.get("libraryPanel")
    if isinstance(library, dict) and "model" not in library:
        yield title, "", str(library.get("uid"))
    for item in node.values():
        yield from _expressions(item, title, foreign=foreign)


def _is_foreign(node: dict[str, Any], *, otherwise: bool) -> bool:
    """Whether what is asked here is asked of something else than Prometheus; what says nothing is as what it is in."""
    source = node.get("datasource")
    kind = source.get("type") if isinstance(source, dict) else None
    if node.get("kind") == "DataQuery":
        kind = node.get("group")
    if not isinstance(kind, str) or kind == "datasource":
        # Mixed, and each of the queries has its own.
        return otherwise and not isinstance(kind, str)
    return kind != "prometheus"


def _variables(path: Path, dashboard: dict[str, Any]) -> Iterator[Question]:
    """Of a dashboard, also where it is an answer of Grafana's interface or a resource, in any of its layouts."""
    wrapped = (dashboard.get("dashboard"), dashboard.get("spec"))
    inner = next((item for item in wrapped if isinstance(item, dict)), dashboard)
    templating = inner.get("templating")
    listed = templating.get("list") if isinstance(templating, dict) else None
    for variable in _mappings(path, "templating.list", listed):
        if variable.get("type") == "query" and not _is_foreign(variable, otherwise=False):
            yield from _variable(str(path), variable)
    for resource in _mappings(path, "variables", inner.get("variables")):
        spec = resource.get("spec")
        query = spec.get("query") if isinstance(spec, dict) else None
        if isinstance(spec, dict) and isinstance(query, dict) and not _is_foreign(query, otherwise=False):
            yield from _variable(str(path), {**spec, "query": query.get("spec")})


def _variable(file: str, variable: dict[str, Any]) -> Iterator[Question]:
    query = variable.get("query")
    text = query.get("query") if isinstance(query, dict) else query
    place = f"variable {variable.get('name')}"
    if not isinstance(text, str) or not text.strip():
        return
    if values := _LABEL_VALUES.match(text):
        if values[1]:
            yield Question(file, place, values[1], label=values[2])
    elif names := _METRICS.match(text):
        yield Question(file, place, f"{{__name__=~{json.dumps(f'.*(?:{names[1]}).*')}}}")
    elif result := _QUERY_RESULT.match(text):
        yield Question(file, place, result[1])
    elif not text.strip().startswith("label_names"):
        yield Question(file, place, text)
