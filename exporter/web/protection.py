"""TLS and passwords of the pages, as the web config file says at this moment."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.config.errors import ConfigError, Problem
from exporter.config.web_file import TLSServer, WebFile, load_web_file

log = logging.getLogger(__name__)

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_CLIENTS = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
# Nobody's: a name that is not known takes as long as a wrong password.
_NOBODY = b"$2b$10$" + b"." * 53
_REMEMBERED = 100


class Protection:
    """The web config file and what it names: read again once one of them has changed.

    Attributes:
        tls: The context to listen with; None serves plain HTTP. It takes new certificates by itself.
    """

    def __init__(self, path: Path) -> None:
        """Read it.

        Raises:
            ConfigError: Something in it is wrong.
        """
        self._path = path
        self._file = load_web_file(path)
        self._stamps = self._stamp()
        self._context = self._made(self._file)
        self.tls: ssl.SSLContext | None = None
        if self._context is not None:
            self.tls = self._made(self._file)
            assert self.tls is not None
            self.tls.sni_callback = self._handshake

    def unused(self) -> list[str]:
        """What stands in the file and does nothing here, as sentences."""
        return [f"{self._path}: {said}" for said in self._file.unused()]

    def current(self) -> WebFile:
        """What the file says; what it said before, if it is wrong now."""
        stamps = self._stamp()
        if stamps != self._stamps:
            self._stamps = stamps
            self._read_again()
        return self._file

    def _read_again(self) -> None:
        try:
            file = load_web_file(self._path)
            context = self._made(file)
        except ConfigError as error:
            log.error("the web config is wrong now and stays as it was: %s", error)
            return
        if (context is None) != (self._context is None):
            log.error("%s: TLS is switched on or off by a restart; all stays as it was", self._path)
            return
        self._file, self._context = file, context
        self._stamps = self._stamp()
        log.info("%s has changed and was read again", self._path)

    def _handshake(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        self.current()
        if self._context is not None:
            connection.context = self._context

    def _stamp(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._file.files(self._path)]

    def _made(self, file: WebFile) -> ssl.SSLContext | None:
        return None if file.tls_server_config is None else _context(file.tls_server_config, self._path)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _context(wanted: TLSServer, path: Path) -> ssl.SSLContext:
    """Raises ConfigError if a file is missing or does not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = _VERSIONS[wanted.min_version], _VERSIONS[wanted.max_version]
    context.verify_mode = _CLIENTS[wanted.client_auth_type]
    if wanted.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    at = "tls_server_config"
    try:
        context.load_cert_chain(path.parent / wanted.cert_file, path.parent / wanted.key_file)
    except OSError as error:
        # ssl.SSLError too, which names neither file.
        said = f"cert_file {wanted.cert_file} with key_file {wanted.key_file}: {_why(error)}"
        raise ConfigError([Problem(str(path), said, at)]) from None
    if wanted.client_ca_file is not None:
        try:
            context.load_verify_locations(path.parent / wanted.client_ca_file)
        except OSError as error:
            said = f"client_ca_file {wanted.client_ca_file}: {_why(error)}"
            raise ConfigError([Problem(str(path), said, at)]) from None
    # Those of TLS 1.3 are not chosen one by one.
    older = [_openssl_name(name) for name in wanted.cipher_suites if "_WITH_" in name]
    if older:
        try:
            context.set_ciphers(":".join(older))
        except ssl.SSLError:
            said = "cipher_suites: OpenSSL knows none of them; name them like TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
            raise ConfigError([Problem(str(path), said, at)]) from None
    return context


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "").lower().replace("_", " ")
        return f"no such PEM files, or they don't fit ({reason or 'OpenSSL does not say why'})"
    return os.strerror(error.errno) if error.errno else str(error)


def _openssl_name(name: str) -> str:
    """TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 is ECDHE-RSA-AES128-GCM-SHA256 there (openssl-ciphers(1))."""
    keys, _, rest = name.removeprefix("TLS_").partition("_WITH_")
    rest = re.sub(r"AES_(\d+)", r"AES\1", rest).replace("_CBC", "").replace("POLY1305_SHA256", "POLY1305")
    return (rest if keys == "RSA" else f"{keys}_{rest}").replace("_", "-")


class Protected:
    """Asks for a name and a password where the web config has some, and adds its headers."""

    def __init__(self, app: ASGIApp, protection: Protection) -> None:
        self._app = app
        self._protection = protection
        # bcrypt takes a tenth of a second by design; a scraper comes every few seconds with the same password.
        self._known: dict[bytes, bool] = {}
        self._one = asyncio.Semaphore(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, or go on."""
        file = self._protection.current()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in file.http_server_config.headers.items():
                    headers[name] = value
            await send(message)

        app = self._app
        if file.basic_auth_users and not await self._may(Headers(scope=scope), file.basic_auth_users):
            app = PlainTextResponse("Unauthorized\n", 401, {"www-authenticate": "Basic"})
        await app(scope, receive, send_with_headers)

    async def _may(self, headers: Headers, users: Mapping[str, str]) -> bool:
        given = _given(headers.get("authorization", ""))
        if given is None:
            return False
        name, password = given
        hashed = users.get(name, "").encode() or _NOBODY
        key = hashlib.sha256(b"\0".join((hashed, name.encode(), password))).digest()
        if key not in self._known:
            # One at a time, so that guessing takes no more than one of the machine's cores.
            async with self._one:
                right = await asyncio.to_thread(_matches, password, hashed)
            if len(self._known) >= _REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known[key] = right and name in users
        return self._known[key]


def _given(header: str) -> tuple[str, bytes] | None:
    kind, _, text = header.partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(text.strip(), validate=True).partition(b":")
        return (name.decode(), password) if colon else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _matches(password: bytes, hashed: bytes) -> bool:
    import bcrypt  # noqa: PLC0415 - a part of memory that few need

    try:
        return bcrypt.checkpw(password[:72], hashed)
    except ValueError:
        return False
