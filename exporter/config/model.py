"""What the exporter is told: which servers it watches, how it connects to them and which limits it keeps."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from exporter.config.secrets import Secret
from exporter.config.units import Bytes, Seconds, SecondsOrZero, ThresholdValue

Engine = Literal["postgres", "mysql"]
TLSMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]
Severity = Literal["warning", "critical"]
Signal = Literal["connections", "slow_statements", "size_growth", "replication_lag"]
Thresholds = Mapping[Signal, Mapping[Severity, ThresholdValue]]

DEFAULT_PORTS: Mapping[Engine, int] = {"postgres": 5432, "mysql": 3306}
DEFAULT_THRESHOLDS: Mapping[Signal, Mapping[Severity, float]] = {
    "connections": {"warning": 0.8, "critical": 0.95},
    "slow_statements": {"warning": 1.0},
    "size_growth": {"warning": 0.10},
    "replication_lag": {"warning": 10.0, "critical": 60.0},
}
RESERVED_LABELS = frozenset({"server", "engine", "instance", "job"})
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def _label_name(name: str) -> str:
    if not _LABEL.fullmatch(name):
        raise ValueError("is not a label name: use letters, digits and _, and no digit at the front")
    if name in RESERVED_LABELS:
        raise ValueError("is a label that the exporter or Prometheus sets itself; choose another name")
    if name.startswith("__"):
        raise ValueError("starts with __, which Prometheus keeps for itself; choose another name")
    return name


def _printable(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > 200:
        raise ValueError("must be 1 to 200 printable characters")
    return text


def _regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error.msg} at character {error.pos}") from None
    return pattern


LabelName = Annotated[str, AfterValidator(_label_name)]
Text = Annotated[str, AfterValidator(_printable)]
Port = Annotated[int, Field(ge=1, le=65_535)]
SizeLimit = Annotated[
    Annotated[Bytes, Tag("size")] | Annotated[Mapping[str, Bytes], Tag("per-database")],
    Discriminator(lambda value: "per-database" if isinstance(value, Mapping) else "size"),
]
"""Bytes for every database, or bytes by the name of the database."""


class Model(BaseModel):
    """Frozen, refuses unknown keys, and never repeats an input in an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_means_default(cls, data: Any) -> Any:
        """`key:` with nothing behind it is the key's default."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}


class TLS(Model):
    """How a connection is encrypted and whom it trusts. Paths are files in PEM format.

    `ca` may be `system`, the authorities that the machine trusts: so it is where a `verify-` mode names no other.
    """

    mode: TLSMode = "prefer"
    ca: Text | None = None
    cert: Text | None = None
    key: Text | None = None
    server_name: Text | None = None


class DatabaseFilter(Model):
    """Which databases are looked into, as shell globs; `exclude` wins over `include`."""

    include: tuple[Text, ...] = ()
    exclude: tuple[Text, ...] = ()

    def matches(self, name: str) -> bool:
        """Whether a database is looked into; with no `include` all are, but those excluded."""
        if any(fnmatchcase(name, pattern) for pattern in self.exclude):
            return False
        return not self.include or any(fnmatchcase(name, pattern) for pattern in self.include)


class Project(Model):
    """Whose a database or schema is: `pattern` is a regular expression on all of `database.schema` or `database`."""

    pattern: Annotated[Text, AfterValidator(_regex)]
    project: Text
    owner: str = ""

    def matches(self, database: str, schema: str | None = None) -> bool:
        """Whether the database, or this schema in it, belongs to the project."""
        names = [database] if schema is None else [f"{database}.{schema}", database]
        return any(re.fullmatch(self.pattern, name) for name in names)


class CollectorSettings(Model):
    """One collector on one server; what is None is left to the collector's own declaration."""

    enabled: bool | None = None
    every: Seconds | None = None
    timeout: Seconds | None = None
    limit: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _switch(cls, data: Any) -> Any:
        """`name: true` and `name: false` are switches."""
        return {"enabled": data} if isinstance(data, bool) else data


class Timeouts(Model):
    """How long things may take, in seconds."""

    connect: Seconds = 3.0
    statement: Seconds = 5.0
    lock: Seconds = 0.25
    scrape_offset: SecondsOrZero = 0.5
    scrape_default: Seconds = 10.0


class Web(Model):
    """Where and how pages are served; command line flags win over these."""

    listen_addresses: tuple[str, ...] = (":9187",)
    telemetry_path: str = "/metrics"
    max_servers_on_metrics: Annotated[int, Field(ge=0)] = 20
    metrics_for_all: bool = False

    @field_validator("listen_addresses")
    @classmethod
    def _addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            host, colon, port = address.rpartition(":")
            bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
            if not colon or not port.isdecimal() or int(port) > 65_535 or bare_ipv6:
                raise ValueError('must be addresses such as ":9187", "127.0.0.1:9187" or "[::1]:9187"')
        if not addresses:
            raise ValueError("is empty; leave it out to listen on :9187")
        return addresses

    @field_validator("telemetry_path")
    @classmethod
    def _path(cls, path: str) -> str:
        if not re.fullmatch(r"/[\w./-]+", path):
            raise ValueError("must be a path such as /metrics")
        if path in {"/probe", "/sd"} or path.startswith("/-/"):
            raise ValueError("is a page of its own already; choose another path")
        return path


class Common(Model):
    """What servers may have in common: every key here may stand in `defaults` too."""

    user: Text | None = None
    password: Secret | None = None
    database: Text | None = None
    tls: TLS = TLS()
    pooler: Literal["auto", "transaction", "none"] = "auto"
    application_name: Annotated[Text, Field(max_length=63)] = "database_exporter"
    cluster: Text | None = None
    paused: bool = False
    databases: DatabaseFilter = DatabaseFilter()
    size_limit: SizeLimit | None = None
    projects: tuple[Project, ...] = ()
    collectors: Mapping[str, CollectorSettings] = {}
    timeouts: Timeouts = Timeouts()
    max_series: Annotated[int, Field(gt=0)] = 100_000
    thresholds: Thresholds = DEFAULT_THRESHOLDS


class ServerConfig(Common):
    """One server, complete: defaults are merged in, and `host` or `socket` says where it is.

    `socket` is a directory for PostgreSQL (as libpq has it) and a file for MySQL; with it `host` is "localhost".
    """

    name: Text
    engine: Engine
    host: Text
    port: Port
    socket: Text | None = None
    labels: Mapping[LabelName, str] = {}

    def size_limit_for(self, database: str) -> int | None:
        """The size in bytes that the config allows a database (MySQL: a schema), or None."""
        if self.size_limit is None or isinstance(self.size_limit, int):
            return self.size_limit
        return self.size_limit.get(database)

    def project_of(self, database: str, schema: str | None = None) -> Project | None:
        """The first of `projects` that matches, or None."""
        return next((project for project in self.projects if project.matches(database, schema)), None)


class Config(Model):
    """Everything the exporter is told, with nothing left to look up."""

    servers: tuple[ServerConfig, ...]
    web: Web = Web()
    warnings: tuple[str, ...] = ()
    """What deserves a line in the log without being wrong."""
