"""The shape of the config file: what may stand in it, before defaults are merged into the servers."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from exporter.config.dsn import parse_url
from exporter.config.model import DEFAULT_THRESHOLDS, Common, Engine, LabelName, Model, Port, Text, Thresholds, Web
from exporter.config.secrets import Secret


def _well_formed(url: Secret) -> Secret:
    parse_url(url.reveal())
    return url


class Defaults(Common):
    """`defaults:`, merged into every server; what a server says itself wins."""

    engine: Engine | None = None
    port: Port | None = None
    password_file: Text | None = None


class FileServer(Defaults):
    """One item of `servers:`; `url`, or `host` or `socket`, says where the server is."""

    name: Text | None = None
    url: Annotated[Secret, AfterValidator(_well_formed)] | None = None
    host: Text | None = None
    socket: Text | None = None
    labels: Mapping[LabelName, str] = {}


class File(Model):
    """The whole file."""

    servers: tuple[FileServer, ...] = Field(min_length=1)
    defaults: Defaults = Defaults()
    thresholds: Thresholds = DEFAULT_THRESHOLDS
    web: Web = Web()
