"""The schema for editors and the example: both current, complete and in agreement with what the loader accepts."""

import re
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from pydantic import BaseModel

from exporter.config import load, load_text, schema
from exporter.config.file import Defaults, File, FileServer
from exporter.config.model import (
    TLS,
    CollectorSettings,
    DatabaseFilter,
    HeartbeatSettings,
    Project,
    SlowLogSettings,
    Statements,
    Timeouts,
    Web,
)
from exporter.config.queries import QueriesFile, UserMeasure, UserQuery

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.example.yml"
ENV = {"ORDERS_PASSWORD": "a", "USERS_PASSWORD": "b"}


class TagsAsText(yaml.SafeLoader):
    """Reads `!env X` as editors do: as the text X."""


for tag in ("!env", "!file"):
    TagsAsText.add_constructor(tag, lambda loader, node: str(node.value))


def valid(text: str) -> bool:
    data = yaml.load(text, TagsAsText)
    return bool(jsonschema.Draft202012Validator(schema.schema()).is_valid(data))


def test_the_committed_schema_is_current() -> None:
    assert (ROOT / schema.SCHEMA_FILE).read_text() == schema.text(), "run python -m exporter.config.schema"
    jsonschema.Draft202012Validator.check_schema(schema.schema())


def test_the_example_loads_and_fits_the_schema() -> None:
    config = load(EXAMPLE, env=ENV)
    assert [server.name for server in config.servers] == ["orders", "users", "local"]
    assert config.warnings == ()
    assert valid(EXAMPLE.read_text())


COMMENTED_OUT = "line_prefix|collectors|statements|tables|enabled|every|timeout|limit|server_name|database"


def test_what_is_commented_out_in_the_example_loads_too() -> None:
    text = re.sub(rf"(?m)^(\s+)# (?=(  )*({COMMENTED_OUT}):)", r"\1", EXAMPLE.read_text())
    config = load_text(text, env=ENV)
    settings = config.servers[0].collectors
    assert settings["statements"].enabled is False
    assert (settings["tables"].every, settings["tables"].timeout, settings["tables"].limit) == (300.0, 10.0, 100)
    assert config.servers[1].tls.server_name == "users.internal"
    assert valid(text)


MODELS: list[type[BaseModel]] = [
    File, Defaults, FileServer, TLS, DatabaseFilter, Project, SlowLogSettings, HeartbeatSettings, CollectorSettings,
    Statements, Timeouts, Web, UserQuery, UserMeasure, QueriesFile,
]  # fmt: skip


KEYS = [pytest.param(key, id=f"{model.__name__}.{key}") for model in MODELS for key in model.model_fields]


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_in_the_example(key: str) -> None:
    assert re.search(rf"(?m)^[\s#-]*{key}:(\s|$)", EXAMPLE.read_text())


def test_every_key_is_described_in_the_schema() -> None:
    parts = [schema.schema(), *schema.schema()["$defs"].values()]
    described = {
        key: part
        for model in parts
        for inner in [model, *model.get("anyOf", [])]
        for key, part in inner.get("properties", {}).items()
    }
    assert set(described) == {key for model in MODELS for key in model.model_fields}
    assert [key for key, part in described.items() if not part.get("description")] == []


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("servers: [{url: !env U, port: !env P, paused: !env X, tls: {mode: !env M}}]", True),
        ("servers: [{url: mysql://a, password: 1234, collectors: {a: true, b: {every: 5m}}}]", True),
        ("servers: [{url: mysql://a, size_limit: 10GiB}, {url: mysql://b, size_limit: {a: 1, b: 1TB}}]", True),
        ("servers: [{url: mysql://a, thresholds: {connections: {warning: 80%, critical: 0.9}}}]", True),
        ("servers: []", False),
        ("defaults: {}", False),
        ("servers: [{urll: mysql://a}]", False),
        ("servers: [{url: mysql://a, tls: {mode: verify-ful}}]", False),
        ("servers: [{url: mysql://a, thresholds: {connection: {warning: 1}}}]", False),
        ("servers: [{url: mysql://a, collectors: {a: {evry: 5m}}}]", False),
        ("servers: [{url: mysql://a, labels: {a: 1}}]", False),
        ("servers: [{url: mysql://a, queries: {a: {sql: SELECT 1, measures: [{name: b, help: c}]}}}]", True),
        ("queries: {a: {sql: S, labels: [d], since: 14, measures: [{name: b, help: c}]}}\nservers: [{url: x}]", True),
        ("queries: {a: {sql: S, labels: {d: e}, measures: [{name: b, help: c}]}}\nservers: [{url: x}]", True),
        ("queries: {a: {sql: S, measures: []}}\nservers: [{url: x}]", False),
        ("queries: {a: {sql: S, measure: [{name: b, help: c}]}}\nservers: [{url: x}]", False),
        ("queries_files: [a.yaml, {file: b.yaml, each_database: true}]\nservers: [{url: x}]", True),
        ("queries_files: [{path: b.yaml}]\nservers: [{url: x}]", False),
    ],
)
def test_the_schema_accepts_what_the_loader_does(text: str, fits: bool) -> None:
    assert valid(text) is fits
