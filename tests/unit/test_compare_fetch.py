"""Pages as `compare` fetches them: with logins, compressed, over TLS, and led on to elsewhere."""

from __future__ import annotations

import base64
import gzip
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.compare.pages import PageError, fetch
from tests.providers.tls import make_certificate

PAGE = b"pg_up 1\n"
LOGIN = f"Basic {base64.b64encode(b'me:p@ss').decode()}"


class _Pages(http.server.BaseHTTPRequestHandler):
    """Answers as a web server in front of an exporter may."""

    def do_GET(self) -> None:
        wants_login = self.path in ("/login", "/onward")
        if wants_login and self.headers["Authorization"] != LOGIN:
            self._answer(401, b"")
        elif self.path == "/onward":
            self._answer(302, b"", Location=f"http://localhost:{self.server.server_address[1]}/login")
        elif self.path == "/compressed":
            self._answer(200, gzip.compress(PAGE), **{"Content-Encoding": "gzip"})
        elif self.path == "/cut":
            self._answer(200, gzip.compress(PAGE)[:-5], **{"Content-Encoding": "gzip"})
        elif self.path == "/no-gzip":
            self._answer(200, PAGE, **{"Content-Encoding": "gzip"})
        elif self.path == "/binary":
            self._answer(200, bytes(range(256)))
        elif self.path == "/html":
            self._answer(200, b"<!doctype html><html></html>")
        elif self.path == "/tls":
            self._answer(400, b"Client sent an HTTP request to an HTTPS server.\n")
        else:
            self._answer(200, PAGE)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
        pass

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _serving(context: ssl.SSLContext | None = None) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def plain() -> Iterator[str]:
    """Give the address of a web server without TLS."""
    yield from _serving()


def test_a_page_with_a_login(plain: str) -> None:
    assert fetch(f"http://me:p%40ss@{plain}/login").value("pg_up") == 1


def test_a_page_that_is_compressed_without_having_been_asked(plain: str) -> None:
    assert fetch(f"http://{plain}/compressed").value("pg_up") == 1


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://{}/login", "it asks for a login: write http://USER:PASSWORD@HOST:PORT/metrics"),
        ("http://me:other@{}/login", "its login is another one"),
        ("http://{}/html", "metrics are usually at /metrics"),
        ("http://{}/binary", "is no text; metrics are usually at /metrics"),
        ("http://{}/cut", "can't be read"),
        ("http://{}/no-gzip", "can't be read"),
        ("http://{}/tls", "answers 400 Bad Request; write https://"),
        ("https://{}/page", "is it http:// there?"),
    ],
)
def test_what_is_wrong_is_said(plain: str, address: str, said: str) -> None:
    with pytest.raises(PageError, match="http") as caught:
        fetch(address.format(plain))
    assert said in str(caught.value)
    assert "other@" not in str(caught.value)


def test_a_login_is_not_sent_to_where_a_page_leads_on_to(plain: str) -> None:
    with pytest.raises(PageError, match=r"http://localhost:.*/login answers 401.*not sent along: write this one"):
        fetch(f"http://me:p%40ss@{plain}/onward")


def test_authorities_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    for address in _serving(context):
        with pytest.raises(PageError, match=r"certificate verify failed.*SSL_CERT_FILE="):
            fetch(f"https://{address}/page")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
        assert fetch(f"https://{address}/page").value("pg_up") == 1
