"""Who poses as a MySQL server and asks for the password as it is: what tls.mode lets him have."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from pathlib import Path

import pytest

from exporter.config.model import TLS, ServerConfig
from exporter.config.secrets import Secret
from exporter.engines.deadline import Deadline
from exporter.engines.mysql.engine import MYSQL
from exporter.failure import Failure, Reason
from tests.providers.tls import make_certificate

PASSWORD = "canary-31k7"
_SSL = 0x800
# Everything that PyMySQL looks at, but compression.
_CAPABILITIES = 0x00FFFFFF & ~0x20


class Impostor:
    """Greets as a server, asks for the password as it is, and keeps all that it is told."""

    def __init__(self, plugin: str, certificate: tuple[Path, Path] | None) -> None:
        self._plugin, self._certificate = plugin.encode(), certificate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.told = b""

    def __enter__(self) -> Impostor:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        client.settimeout(10)
        with client, contextlib.suppress(OSError):
            flags = _CAPABILITIES if self._certificate else _CAPABILITIES & ~_SSL
            greeting = b"\n9.7.0\0" + struct.pack("<I", 1) + b"saltsalt\0" + struct.pack("<H", flags & 0xFFFF)
            greeting += b"\x21\x02\0" + struct.pack("<H", flags >> 16) + b"\x15" + b"\0" * 10
            self._send(client, 0, greeting + b"saltsaltsalt\0mysql_native_password\0")
            number = self._heard(client)
            if self._certificate:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*self._certificate)
                client = context.wrap_socket(client, server_side=True)
                number = self._heard(client)
            self._send(client, number + 1, b"\xfe" + self._plugin + b"\0" + b"salt" * 5 + b"\0")
            number = self._heard(client)
            if self._plugin == b"caching_sha2_password":
                # It claims not to have seen the account of late.
                self._send(client, number + 1, b"\x01\x04")
                self._heard(client)
            client.close()

    def _send(self, client: socket.socket, number: int, body: bytes) -> None:
        client.sendall(len(body).to_bytes(3, "little") + bytes([number]) + body)

    def _heard(self, client: socket.socket) -> int:
        head = self._read(client, 4)
        self.told += self._read(client, int.from_bytes(head[:3], "little"))
        return head[3]

    def _read(self, client: socket.socket, size: int) -> bytes:
        got = b""
        while len(got) < size:
            got += (more := client.recv(size - len(got)))
            if not more:
                raise ConnectionError
        return got


def told(plugin: str, tls: TLS, certificate: tuple[Path, Path] | None) -> tuple[bool, Failure]:
    """Whether the impostor has the password, and how the connect ended."""
    with Impostor(plugin, certificate) as impostor:
        server = ServerConfig(
            name="s", engine="mysql", host="127.0.0.1", port=impostor.port, user="ann",
            password=Secret.text(PASSWORD), tls=tls,
        )  # fmt: skip
        with pytest.raises(Failure) as caught:
            MYSQL.connect(server, Deadline.after(10))
    assert impostor.told
    assert PASSWORD not in caught.value.message
    return PASSWORD.encode() in impostor.told, caught.value


@pytest.mark.parametrize("plugin", ["mysql_clear_password", "caching_sha2_password"])
def test_without_tls_nobody_is_given_the_password_as_it_is(plugin: str) -> None:
    has_it, failure = told(plugin, TLS(mode="disable"), None)
    assert not has_it
    if plugin == "mysql_clear_password":
        assert failure.reason is Reason.AUTH
        assert "only sent over TLS" in failure.message


@pytest.mark.parametrize("plugin", ["mysql_clear_password", "caching_sha2_password"])
def test_only_verify_full_keeps_it_from_who_poses_as_the_server(tmp_path: Path, plugin: str) -> None:
    """SECURITY.md says so: as MySQL's own clients in their mode REQUIRED, `require` believes anybody."""
    theirs = make_certificate(tmp_path, "impostor.test")
    shown = (theirs.certificate, theirs.key)
    assert told(plugin, TLS(mode="require"), shown)[0]
    (tmp_path / "ours").mkdir()
    ours = make_certificate(tmp_path / "ours")
    has_it, failure = told(plugin, TLS(mode="verify-full", ca=str(ours.authority)), shown)
    assert (has_it, failure.reason) == (False, Reason.TLS)
