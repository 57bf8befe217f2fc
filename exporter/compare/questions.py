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
_QUERY_RESULT = re.compile(r"^\s*query_result\((.+)\)\s*$", re.DOTALL)


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
    """

    file: str
    place: str
    expression: str
    record: str | None = None
    label: str | None = None


def from_rules(paths: Iterable[str]) -> list[Question]:
    """The expressions of rule files; of a directory, all its files.

    Raises:
        QuestionError: Naming the file.
    """
    found = []
    for path in _files(paths, (".yml", ".yaml", ".rules")):
        try:
            documents = [item for item in yaml.safe_load_all(path.read_text()) if isinstance(item, dict)]
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
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
    """Of a rule file, or of the resource of the Prometheus operator that holds one."""
    spec = document.get("spec")
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
            dashboard = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise QuestionError(f"{path} can't be read as JSON: {error}") from None
        if not isinstance(dashboard, dict):
            raise QuestionError(f"{path} is no dashboard")
        found += [Question(str(path), place, text) for place, text in _expressions(dashboard, "")]
        found += _variables(path, dashboard)
    return found


def _files(paths: Iterable[str], suffixes: tuple[str, ...]) -> Iterator[Path]:
    for name in paths:
        path = Path(name)
        yield from sorted(item for item in path.rglob("*") if item.suffix in suffixes) if path.is_dir() else (path,)


def _expressions(node: Any, title: str) -> Iterator[tuple[str, str]]:
    """Whatever is called `expr`, at any depth, since the layout of dashboards has changed more than once."""
    if isinstance(node, list):
        for item in node:
            yield from _expressions(item, title)
    if not isinstance(node, dict):
        return
    own = node.get("title") or node.get("name")
    if isinstance(own, str):
        title = f"panel {own!r}"
    source = node.get("datasource")
    # Logs are asked for under the same name, in another language.
    foreign = isinstance(source, dict) and source.get("type") not in (None, "prometheus")
    if isinstance(node.get("expr"), str) and node["expr"].strip() and not foreign:
        yield title, node["expr"]
    for item in node.values():
        yield from _expressions(item, title)


def _variables(path: Path, dashboard: dict[str, Any]) -> Iterator[Question]:
    file = str(path)
    inner = dashboard.get("dashboard")
    templating = (inner if isinstance(inner, dict) else dashboard).get("templating")
    variables = templating.get("list") if isinstance(templating, dict) else None
    for variable in _mappings(path, "templating.list", variables):
        query = variable.get("query")
        text = query.get("query") if isinstance(query, dict) else query
        if variable.get("type") != "query" or not isinstance(text, str):
            continue
        place = f"variable {variable.get('name')}"
        if values := _LABEL_VALUES.match(text):
            if values[1]:
                yield Question(file, place, values[1], label=values[2])
        elif result := _QUERY_RESULT.match(text):
            yield Question(file, place, result[1])
