"""What the exporter is told: which servers it watches, how it connects to them and which limits it keeps."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    InstanceOf,
    Tag,
    field_validator,
    model_validator,
)
from pydantic.config import JsonDict

from exporter.config.basics import Engine, Model, Text, at_least
from exporter.config.queries import Name, QueriesFile, UserQuery
from exporter.config.secrets import Secret
from exporter.config.units import Bytes, Seconds, SecondsOrZero, ThresholdValue
from exporter.declare import Collector
from exporter.failure import Failure, Reason

TLSMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]
Severity = Literal["warning", "critical"]
Signal = Literal["connections", "slow_statements", "size_growth", "replication_lag"]
Thresholds = Mapping[Signal, Mapping[Severity, ThresholdValue]]

PRODUCTS: Mapping[str, str] = {"postgres": "PostgreSQL", "mysql": "MySQL or MariaDB"}
DEFAULT_PORTS: Mapping[Engine, int] = {"postgres": 5432, "mysql": 3306}
SLOW_LOG_COLLECTORS: Mapping[tuple[Engine, bool], str] = {
    ("postgres", False): "pg_slow_log",
    ("postgres", True): "pg_slow_log_over_sql",
    ("mysql", False): "mysql_slow_log",
    ("mysql", True): "mysql_slow_log_table",
}
"""What reads the log of a server that has `slow_log`, by engine and whether over SQL."""
DEFAULT_THRESHOLDS: Mapping[Signal, Mapping[Severity, float]] = {
    "connections": {"warning": 0.8, "critical": 0.95},
    "slow_statements": {"warning": 1.0},
    "size_growth": {"warning": 0.10},
    "replication_lag": {"warning": 10.0, "critical": 60.0},
}
RESERVED_LABELS = frozenset({
    "server", "engine", "instance", "job", "le", "quantile", "collector", "database", "schema", "state", "role",
    "reason", "channel", "standby", "stage", "kind", "source", "outcome", "signal", "severity", "project", "owner",
    "version", "flavor", "db_cluster", "wait_class",
})  # fmt: skip
"""Labels of the exporter's own series and of Prometheus: one name would mean two things."""
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def _label_name(name: str) -> str:
    if not _LABEL.fullmatch(name):
        raise ValueError("is not a label name: use letters, digits and _, and no digit at the front")
    if name in RESERVED_LABELS:
        raise ValueError("is a label that the exporter or Prometheus sets itself; choose another name")
    if name.startswith("__"):
        raise ValueError("starts with __, which Prometheus keeps for itself; choose another name")
    return name


def _regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error.msg} at character {error.pos}") from None
    return pattern


def _or_switch(schema: JsonDict) -> None:
    settings = {key: schema.pop(key) for key in list(schema) if key != "description"}
    schema["anyOf"] = [{"type": "boolean"}, settings]


def _or_switch_or_sql(schema: JsonDict) -> None:
    settings = {key: schema.pop(key) for key in list(schema) if key != "description"}
    schema["anyOf"] = [{"type": "boolean"}, {"const": "sql"}, settings]


def _or_off(schema: JsonDict) -> None:
    schema["type"] = ["string", "boolean"]
    schema["enum"] = ["info", "label", "none", "off", False]


# To YAML off is false.
TextsAre = Annotated[
    Literal["info", "label", "none"],
    BeforeValidator(lambda value: "none" if value is False or value == "off" else value),
    Field(json_schema_extra=_or_off),
]
LabelName = Annotated[str, AfterValidator(_label_name)]
Port = Annotated[int, Field(ge=1, le=65_535)]
SizeLimit = Annotated[
    Annotated[Bytes, Tag("size")] | Annotated[Mapping[str, Bytes], Tag("per-database")],
    Discriminator(lambda value: "per-database" if isinstance(value, Mapping) else "size"),
]
"""Bytes for every database, or bytes by the name of the database."""


class TLS(Model):
    """How a connection is encrypted and whom it trusts. Paths are files in PEM format.

    A `verify-` mode without `ca` trusts the authorities that the machine trusts: for PostgreSQL `ca` is then `system`,
    which is how libpq calls them, for MySQL it is None.
    """

    mode: TLSMode = "prefer"
    """Without it: prefer for PostgreSQL; for MySQL require, locally disable; with `ca` verify-full.

    Only verify-full proves who answers; with require anybody in between is given the password on asking for it.
    """
    ca: Text | None = None
    """The authorities to trust, or `system`."""
    cert: Text | None = None
    """The certificate that the exporter shows; needs `key`."""
    key: Text | None = None
    """The private key of `cert`."""
    server_name: Text | None = None
    """The name expected in the server's certificate, if it is not the host."""


class DatabaseFilter(Model):
    """Which databases are looked into, as shell globs; `exclude` wins over `include`."""

    include: tuple[Text, ...] = ()
    """Globs; empty means all."""
    exclude: tuple[Text, ...] = ()
    """Globs; they win over `include`."""

    def matches(self, name: str) -> bool:
        """Whether a database is looked into; with no `include` all are, but those excluded."""
        if any(fnmatchcase(name, pattern) for pattern in self.exclude):
            return False
        return not self.include or any(fnmatchcase(name, pattern) for pattern in self.include)


class Project(Model):
    """Whose a database or schema is: `pattern` is a regular expression on all of `database.schema` or `database`."""

    pattern: Annotated[Text, AfterValidator(_regex)]
    """A regular expression that must match the whole name."""
    project: Text
    """The label `project`."""
    owner: str = ""
    """The label `owner`: who is told."""

    def matches(self, database: str, schema: str | None = None) -> bool:
        """Whether the database, or this schema in it, belongs to the project."""
        names = [database] if schema is None else [f"{database}.{schema}", database]
        return any(re.fullmatch(self.pattern, name) for name in names)


class CollectorSettings(Model):
    """One collector on one server: true, false or settings; what is absent the collector's declaration decides."""

    model_config = ConfigDict(json_schema_extra=_or_switch)

    by_flag: ClassVar[bool] = False

    enabled: bool | None = None
    """On or off; without it the collector decides."""
    every: Annotated[Seconds, at_least(1.0, "1s")] | None = None
    """Run in the background at this interval, 1s or more, instead of at each scrape."""
    timeout: Annotated[Seconds, at_least(0.01, "10ms")] | None = None
    """The longest that one run may take, 10ms or more; of that 3.2s at most in a database that has to be entered."""
    limit: Annotated[int, Field(gt=0)] | None = None
    """How many objects to show; the rest is counted."""

    @model_validator(mode="before")
    @classmethod
    def _switch(cls, data: Any) -> Any:
        """`name: true` and `name: false` are switches."""
        return {"enabled": data} if isinstance(data, bool) else data

    def over(self, base: Self) -> Self:
        """These, and what they don't say from `base`, but for its interval."""
        said = base.model_dump(exclude_none=True, exclude={"every"}) | self.model_dump(exclude_none=True)
        return self.model_construct(**said)


class FlagSettings(CollectorSettings):
    """One collector as a flag of another exporter switches it on, which leaves it out where a server is too old."""

    by_flag: ClassVar[bool] = True


class SlowLogSettings(Model):
    """The server's log, which tells of slow statements: true, false, or where it is and how it is to be read."""

    model_config = ConfigDict(json_schema_extra=_or_switch_or_sql)

    enabled: bool = True
    """Whether it is read."""
    over_sql: bool = False
    """Over the connection to the server: PostgreSQL by a helper that `check --grants` prints, MySQL and MariaDB from
    the table mysql.slow_log (log_output = TABLE). `slow_log: sql` says the same."""
    file: Text | None = None
    """A file, a directory or a glob on this machine; without it the server is asked where its log is."""
    format: Literal["auto", "json", "csv", "stderr", "slow"] = "auto"
    """jsonlog, csvlog or plain text of PostgreSQL, or the slow log of MySQL and MariaDB; auto finds out."""
    line_prefix: str | None = None
    """PostgreSQL's log_line_prefix of a plain log, if it is not what the server has now."""

    @model_validator(mode="before")
    @classmethod
    def _switch(cls, data: Any) -> Any:
        """`slow_log: true` is a log that the server knows the place of, false is none, and sql is read over SQL."""
        if data == "sql":
            return {"over_sql": True}
        return {"enabled": data} if isinstance(data, bool) else data


class HeartbeatSettings(Model):
    """The table that pt-heartbeat or its like writes: true, false, or which one it is."""

    model_config = ConfigDict(json_schema_extra=_or_switch)

    enabled: bool = True
    """Whether it is read."""
    database: Annotated[Text, Field(max_length=64)] = "heartbeat"
    """The database of the table."""
    table: Annotated[Text, Field(max_length=64)] = "heartbeat"
    """Its name."""
    utc: bool = False
    """Whether `ts` is in UTC (`pt-heartbeat --utc`); else it is in the server's time zone, unless its type says it."""

    @model_validator(mode="before")
    @classmethod
    def _switch(cls, data: Any) -> Any:
        """`heartbeat: true` is the table heartbeat.heartbeat, false is none."""
        return {"enabled": data} if isinstance(data, bool) else data


class Statements(Model):
    """Single statements that have series of their own: the foremost by time, calls, I/O and mean time of late."""

    text: TextsAre = "info"
    """Where their texts are: in an _info series each, in a label of all their series, or nowhere (none or off);
    those of the slow log are nowhere then, too."""
    text_bytes: Annotated[int, Field(gt=0, le=65_536)] = 200
    """Longer texts are cut to that many bytes."""
    limit: Annotated[int, Field(gt=0)] = 100
    """How many statements have series; the `limit` of their collector wins."""
    seen_within: Seconds | None = None
    """MySQL: leave those out that have not run for so long; without it nobody is left out for that."""
    exclude_databases: tuple[Text, ...] = ()
    """Names of databases (MySQL: schemas) whose statements have no series."""
    exclude_users: tuple[Text, ...] = ()
    """PostgreSQL: names of roles whose statements have no series."""


class Timeouts(Model):
    """How long things may take, in seconds."""

    connect: Seconds = 3.0
    """For a connection to come about."""
    statement: Seconds = 5.0
    """For one statement of the exporter; the server enforces it. What takes longer by nature, such as sizes of all
    tables in the background, has its own; `timeout` of a collector says otherwise."""
    lock: Seconds = 0.25
    """For a lock (MySQL, MariaDB: at least 1s); the exporter gives way rather than queue in front of others."""
    scrape_offset: SecondsOrZero = 0.5
    """Taken off the scrape timeout that Prometheus announces, so that the answer is in time."""
    scrape_default: Seconds = 10.0
    """For a scrape that announces no timeout."""


class Web(Model):
    """Where and how pages are served; command line flags win over these."""

    listen_addresses: tuple[str, ...] = (":9187",)
    """`host:port` each; without a host all addresses."""
    telemetry_path: str = "/metrics"
    """Where the metrics are."""
    max_servers_on_metrics: Annotated[int, Field(ge=0)] = 20
    """With more servers the page holds `db_up` and self-metrics only; each server has its /probe."""
    metrics_for_all: bool = False
    """All servers on one page, however many there are."""

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
        if not re.fullmatch(r"/[\w./-]*", path):
            raise ValueError("must be a path such as /metrics")
        if path in {"/probe", "/sd"} or path.startswith("/-/"):
            raise ValueError("is a page of its own already; choose another path")
        return path


class Common(Model):
    """What servers may have in common: every key here may stand in `defaults` too."""

    user: Text | None = None
    """The account to log in with."""
    password: Secret | None = None
    """Better `!env NAME` or `!file path` than the password itself."""
    database: Text | None = None
    """The first database to connect to; PostgreSQL: postgres."""
    tls: TLS = TLS()
    """Encryption."""
    pooler: Literal["auto", "transaction", "none"] = "auto"
    """Whether a pooler in transaction mode stands in between: auto finds out."""
    application_name: Annotated[Text, Field(max_length=63)] = "database_exporter"
    """How the exporter's sessions are called on the server."""
    cluster: Text | None = None
    """The label `db_cluster` of `db_info`: which primary and replicas belong together."""
    paused: bool = False
    """True stops all work on the server."""
    databases: DatabaseFilter = DatabaseFilter()
    """Which databases are looked into."""
    size_limit: SizeLimit | None = None
    """How large a database may become: one size for each, or sizes by name."""
    projects: tuple[Project, ...] = ()
    """Whose the databases and schemas are; the first that matches counts."""
    collectors: Mapping[str, CollectorSettings] = {}
    """Collectors by name: true, false, or settings."""
    timeouts: Timeouts = Timeouts()
    """How long things may take."""
    max_series: Annotated[int, Field(gt=0)] = 100_000
    """What the server may add to a page; the rest is dropped and counted."""
    thresholds: Thresholds = DEFAULT_THRESHOLDS
    """When alerts fire; exported as `db_threshold`."""
    statements: Statements = Statements()
    """Single statements that have series of their own."""
    slow_log: SlowLogSettings | None = None
    """The server's log, from which slow statements are then counted."""
    heartbeat: HeartbeatSettings | None = None
    """MySQL and MariaDB: the table that pt-heartbeat or its like writes."""
    queries: Mapping[Name, UserQuery] = {}
    """Queries of your own, by name; each becomes a collector."""
    queries_files: tuple[QueriesFile, ...] = ()
    """Files of postgres_exporter's user-defined queries (queries.yaml)."""


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
    state_dir: Text | None = None
    """Where the exporter keeps what has to outlive it."""
    own: tuple[InstanceOf[Collector], ...] = ()
    """What the user-defined queries became, and what is ours about a table that the config names."""
    files_loaded: tuple[tuple[str, str, bool], ...] = ()
    """Files of user-defined queries: path, SHA-256 of the content, and whether something is wrong with it."""

    def size_limit_for(self, database: str) -> int | None:
        """The size in bytes that the config allows a database (MySQL: a schema), or None."""
        if self.size_limit is None or isinstance(self.size_limit, int):
            return self.size_limit
        return self.size_limit.get(database)

    def log_settings(self) -> SlowLogSettings:
        """How its log is read.

        Raises:
            Failure: It isn't.
        """
        if self.slow_log is None or not self.slow_log.enabled:
            raise Failure(Reason.ERROR, "no log is configured", fix="slow_log: true, or sql, in the config")
        return self.slow_log

    @property
    def reads_log(self) -> bool:
        """Whether its log is read."""
        return self.slow_log is not None and self.slow_log.enabled

    def project_of(self, database: str, schema: str | None = None) -> Project | None:
        """The first of `projects` that matches, or None."""
        return next((project for project in self.projects if project.matches(database, schema)), None)


class LeftAside(Model):
    """A server that is not watched, since a section of its own in a file of several says something faulty of it."""

    section: str
    """The name of the section, which is that of its account, too."""
    fault: str
    """What is wrong, where, and what to do."""
    host: str | None = None
    """Where it is, as far as that is sound."""
    port: int | None = None
    """Its port; None where that is the fault."""
    socket: str | None = None
    """Its socket, instead of host and port."""


class Config(Model):
    """Everything the exporter is told, with nothing left to look up."""

    servers: tuple[ServerConfig, ...]
    web: Web = Web()
    warnings: tuple[str, ...] = ()
    """What deserves a line in the log without being wrong."""
    left_aside: tuple[LeftAside, ...] = ()
    """Servers that can't be watched until the file that names them is mended."""
