"""The shape of the config file: what may stand in it, before defaults are merged into the servers."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from exporter.config.basics import Engine, Model, Text
from exporter.config.dsn import parse_url
from exporter.config.model import DEFAULT_THRESHOLDS, Common, LabelName, Port, Thresholds, Web
from exporter.config.queries import Name, QueriesFile, UserQuery
from exporter.config.secrets import Secret


def _well_formed(url: Secret) -> Secret:
    parse_url(url.reveal())
    return url


def _some(servers: tuple["FileServer", ...]) -> tuple["FileServer", ...]:
    if not servers:
        raise ValueError("is empty; add at least one")
    return servers


class Defaults(Common):
    """`defaults:`, merged into every server; what a server says itself wins."""

    engine: Engine | None = None
    """postgres, or mysql (MariaDB too); a url says it by its scheme."""
    port: Port | None = None
    """5432 or 3306 if absent."""
    password_file: Text | None = None
    """A file that holds the password; read anew at every connect."""


class FileServer(Defaults):
    """One item of `servers:`; `url`, or `host` or `socket`, says where the server is."""

    name: Text | None = None
    """The label `server`; host:port if absent."""
    url: Annotated[Secret, AfterValidator(_well_formed)] | None = None
    """postgresql://user@host:port/database?sslmode=require or mysql://user@host:port, percent-encoded."""
    host: Text | None = None
    """The name or address of the server."""
    socket: Text | None = None
    """Instead of a host: the directory of the socket (PostgreSQL), or the socket (MySQL)."""
    labels: Mapping[LabelName, str] = {}
    """More labels for every series of the server."""


class File(Model):
    """The whole file."""

    servers: Annotated[tuple[FileServer, ...], AfterValidator(_some), Field(json_schema_extra={"minItems": 1})]
    """The servers to watch."""
    defaults: Defaults = Defaults()
    """What holds for every server that says nothing else."""
    thresholds: Thresholds = DEFAULT_THRESHOLDS
    """When alerts fire, for every server that says nothing else."""
    queries: Mapping[Name, UserQuery] = {}
    """Queries of your own for every server of their engine, by name; each becomes a collector."""
    queries_files: tuple[QueriesFile, ...] = ()
    """Files of postgres_exporter's user-defined queries (queries.yaml), for every PostgreSQL."""
    state_dir: Text | None = None
    """A directory for what has to outlive the exporter: how far logs have been read."""
    web: Web = Web()
    """Where pages are served."""
