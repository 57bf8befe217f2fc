"""`--web.config.file`: TLS and passwords for the pages, in the file that Prometheus and its exporters read.

The format is that of Prometheus' exporter-toolkit (docs/web-configuration.md there).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from exporter.config.basics import Model, Text
from exporter.config.document import read_document
from exporter.config.errors import ConfigError, Problem, read_failure
from exporter.config.loading import check_shape

_BCRYPT = re.compile(r"\$2[abxy]\$[0-3]\d\$[./A-Za-z0-9]{53}\Z")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]


class TLSServer(Model):
    """`tls_server_config:`; relative paths start at the file."""

    cert_file: Text
    """The certificate, and those that signed it, as PEM."""
    key_file: Text
    """Its key."""
    client_auth_type: Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] = "NoClientCert"
    """Whether clients have to show a certificate."""
    client_ca_file: Text | None = None
    """Who has to have signed it."""
    min_version: Version = "TLS12"
    """The oldest that is spoken."""
    max_version: Version = "TLS13"
    """The newest that is spoken."""
    cipher_suites: tuple[Text, ...] = ()
    """Those of TLS 1.2, by their standard names; those of 1.3 are all on."""
    prefer_server_cipher_suites: bool = True
    """Whether our order counts."""
    curve_preferences: tuple[Text, ...] = ()
    """Not used: OpenSSL chooses."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.client_auth_type != "NoClientCert" and self.client_ca_file is None:
            raise ValueError(f"client_auth_type {self.client_auth_type} needs client_ca_file")
        if self.min_version > self.max_version:
            raise ValueError("min_version is above max_version")
        return self


class HTTPServer(Model):
    """`http_server_config:`."""

    http2: bool = True
    """Not used: pages are served by HTTP/1.1, which every client speaks."""
    headers: Mapping[str, Text] = {}
    """More headers for every answer."""

    @field_validator("headers")
    @classmethod
    def _headers(cls, headers: Mapping[str, str]) -> Mapping[str, str]:
        if not all(_HEADER.match(name) and value.isprintable() for name, value in headers.items()):
            raise ValueError("must be names of headers with a line of text each")
        return headers


class WebFile(Model):
    """The whole file."""

    tls_server_config: TLSServer | None = None
    """Serves https alone."""
    http_server_config: HTTPServer = HTTPServer()
    """About HTTP."""
    basic_auth_users: Mapping[Text, Text] = {}
    """Who may read the pages: names with bcrypt hashes of passwords."""
    rate_limit: Any = None
    """Not used: however many ask at once, a server is read once."""

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_none(cls, data: Any) -> Any:
        return {**data, "tls_server_config": data.get("tls_server_config") or None} if isinstance(data, dict) else data

    @field_validator("basic_auth_users")
    @classmethod
    def _hashes(cls, users: Mapping[str, str]) -> Mapping[str, str]:
        if not all(_BCRYPT.match(value) for value in users.values()):
            raise ValueError("must be bcrypt hashes, as htpasswd -nB NAME prints them")
        if any(":" in name for name in users):
            raise ValueError("names can't have a colon")
        return users

    def files(self, path: Path) -> list[Path]:
        """The files that this one, at `path`, consists of."""
        tls = self.tls_server_config
        named = [tls.cert_file, tls.key_file, tls.client_ca_file] if tls else []
        return [path, *(path.parent / name for name in named if name)]

    def unused(self) -> list[str]:
        """What stands in it and does nothing here, as sentences."""
        said = []
        if self.rate_limit is not None:
            said.append("rate_limit does nothing here: however many ask at once, a server is read once")
        if self.tls_server_config and self.tls_server_config.curve_preferences:
            said.append("curve_preferences does nothing here: OpenSSL chooses")
        return said


def load_web_file(path: Path) -> WebFile:
    """Read it.

    Raises:
        ConfigError: It can't be read, or something in it is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem("--web.config.file", read_failure(error, path))]) from None
    document = read_document(text, str(path), path.parent, os.environ)
    if document.data is not None and not isinstance(document.data, dict):
        document.report((), "must be a mapping, such as basic_auth_users: {NAME: HASH}")
    data = document.data if isinstance(document.data, dict) else {}
    if not document.problems:
        check_shape(document, data, WebFile)
    if document.problems:
        raise ConfigError(document.problems)
    return WebFile.model_validate(data)
