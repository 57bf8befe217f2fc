"""TLS and passwords of the pages, as postgres_exporter has them with the same file, and as Prometheus uses them."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest

from tests.exporters import Exporter, wait_for
from tests.providers.fleet import Fleet
from tests.providers.processes import free_port
from tests.providers.tls import Certificate, make_certificate
from tests.providers.tools import Program, Prometheus, tool

# Nobody listens there: the pages are what this is about.
SERVERS = {"servers": [{"name": "gone", "url": "postgresql://exporter:x@127.0.0.1:1/postgres"}]}
PASSWORDS = {"ann": "correct horse", "bob": "café:with:colons"}
ANN = ("ann", PASSWORDS["ann"])
Make = Callable[..., Exporter]


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path)


@pytest.fixture
def exporter(tmp_path: Path, certificate: Certificate) -> Iterator[Make]:
    with contextlib.ExitStack() as stack:

        def make(text: str, auth: tuple[str, str] | None = ANN, **client: Any) -> Exporter:
            file = tmp_path / "web.yml"
            file.write_text(text)
            known = {"verify": _trusting(certificate), "auth": auth} | client
            return stack.enter_context(
                Exporter(tmp_path, SERVERS, flags=[f"--web.config.file={file}"], client=known),
            )

        yield make


def _trusting(certificate: Certificate, mine: Certificate | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificate.authority)
    if mine is not None:
        context.load_cert_chain(mine.certificate, mine.key)
    return context


def _users(**passwords: str) -> str:
    hashes = {name: bcrypt.hashpw(text.encode(), bcrypt.gensalt(4)).decode() for name, text in passwords.items()}
    return "basic_auth_users:\n" + "".join(f"  {name}: {text}\n" for name, text in hashes.items())


def _tls(certificate: Certificate, more: str = "") -> str:
    return f"tls_server_config:\n  cert_file: {certificate.certificate.name}\n  key_file: {certificate.key}\n{more}"


@pytest.fixture
def peer(fleet: Fleet) -> Iterator[Callable[[Path], str]]:
    """Start postgres_exporter with a web config; gives where its pages are."""
    with contextlib.ExitStack() as stack:

        def start(file: Path) -> str:
            port = free_port()
            flags = [f"--web.listen-address=127.0.0.1:{port}", f"--web.config.file={file}", "--log.level=error"]
            program = Program(
                fleet.workspace,
                "postgres_exporter",
                [tool("postgres_exporter"), *flags],
                env={"DATA_SOURCE_NAME": "postgresql://x@127.0.0.1:1/postgres"},
            )
            program.start()
            stack.callback(program.stop)
            return f"https://127.0.0.1:{port}"

        yield start


def test_who_gets_in_is_who_gets_in_there(
    exporter: Make, peer: Callable[[Path], str], certificate: Certificate, tmp_path: Path
) -> None:
    ours = exporter(
        _tls(certificate) + _users(**PASSWORDS) + "http_server_config:\n  headers: {X-Frame-Options: deny}\n"
    )
    theirs = peer(tmp_path / "web.yml")

    def asked(url: str, auth: Any, headers: dict[str, str] | None = None) -> tuple[int, str, str]:
        answer = httpx.get(f"{url}/metrics", auth=auth, headers=headers, verify=_trusting(certificate), timeout=60)
        return answer.status_code, answer.headers["x-frame-options"], answer.headers.get("www-authenticate", "")

    def up() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return asked(theirs, ANN)[0] == 200
        return False

    wait_for(up)
    # Names and passwords are UTF-8 on the wire, which httpx leaves to its users.
    for auth in (*((name, text.encode()) for name, text in PASSWORDS.items()), *PASSWORDS.items()):
        assert asked(ours.url, auth) == asked(theirs, auth) == (200, "deny", "")
    for wrong in (None, ("ann", "wrong"), ("ann", ""), ("nobody", PASSWORDS["ann"]), ("", ""), ("bob", "café")):
        found = asked(ours.url, wrong)
        assert found == asked(theirs, wrong)
        assert found == (401, "deny", "Basic")
    for header in ("Basic", "Basic !", "Bearer x", "basic YW5u", "Basic /w=="):
        assert asked(ours.url, None, {"Authorization": header})[0] == 401
        assert asked(theirs, None, {"Authorization": header})[0] == 401
    # Every page is behind it, and none is served without TLS.
    for path in ("/", "/sd", "/probe?target=gone", "/-/healthy", "/-/ready", "/none"):
        assert httpx.get(ours.url + path, verify=_trusting(certificate)).status_code == 401
    plain = f"http://127.0.0.1:{ours.port}/metrics"
    with pytest.raises(httpx.TransportError):
        httpx.get(plain, auth=ANN)


def test_prometheus_scrapes_it_by_its_own_service_discovery(
    exporter: Make, certificate: Certificate, fleet: Fleet
) -> None:
    running = exporter(_tls(certificate) + _users(**PASSWORDS))
    access = {
        "basic_auth": {"username": "bob", "password": PASSWORDS["bob"]},
        "tls_config": {"ca_file": str(certificate.authority)},
    }
    prometheus = Prometheus(
        fleet.workspace,
        {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [
                {"job_name": "databases", "http_sd_configs": [{"url": f"{running.url}/sd", **access}], **access}
            ],
        },
    )
    prometheus.start()
    try:
        prometheus.wait_for_targets(1)
        assert [target["scrapeUrl"] for target in prometheus.targets()] == [f"{running.url}/probe?target=gone"]
        assert prometheus.value('db_up{server="gone"}') == 0
    finally:
        prometheus.stop()


def test_it_is_read_again_when_it_changes(exporter: Make, certificate: Certificate, tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    running = exporter(_tls(certificate) + _users(ann="old secret"), auth=("ann", "old secret"))
    before = ssl.get_server_certificate(running.address)
    file.write_text(_tls(certificate) + _users(ann="new secret"))

    def status(password: str) -> int:
        return httpx.get(running.url, auth=("ann", password), verify=_trusting(certificate)).status_code

    assert (status("new secret"), status("old secret")) == (200, 401)
    # What is wrong leaves all as it was.
    file.write_text("basic_auth_users: {}\ntls_server_config: {cert_file: x}\n")
    assert (
        status("new secret"),
        status("old secret"),
        httpx.get(running.url, verify=_trusting(certificate)).status_code,
    ) == (
        200,
        401,
        401,
    )
    file.write_text(_users(ann="new secret"))
    assert status("new secret") == 200
    log = running.log()
    assert "tls_server_config.key_file" in log
    assert "TLS is switched on or off by a restart" in log
    # A new certificate counts for who comes next, also if nobody has come by the old one.
    file.write_text(_tls(certificate) + _users(ann="new secret"))
    renewed = make_certificate(tmp_path)
    assert renewed.certificate == certificate.certificate
    assert ssl.get_server_certificate(running.address) != before
    assert status("new secret") == 200
    assert "secret" not in running.log()


def test_clients_show_a_certificate(exporter: Make, certificate: Certificate, tmp_path: Path) -> None:
    more = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
    running = exporter(_tls(certificate, more), auth=None, verify=_trusting(certificate, certificate))
    assert running.get("/-/ready")[0] == 200
    (tmp_path / "other").mkdir()
    stranger = make_certificate(tmp_path / "other")
    for mine in (None, stranger):
        with pytest.raises(httpx.TransportError):
            httpx.get(running.url, verify=_trusting(certificate, mine))


def test_passwords_without_tls(exporter: Make) -> None:
    running = exporter(_users(**PASSWORDS))
    assert running.url.startswith("http://")
    assert running.get("/metrics")[0] == 200
    assert httpx.get(f"{running.url}/metrics").status_code == 401


def test_it_does_not_start_with_less_than_was_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text("basic_auth_users: {ann: sesame}\n")
    for more in ([], ["--config.check"]):
        run = subprocess.run(
            [sys.executable, "-m", "exporter", "serve", f"--web.config.file={file}", *more],
            capture_output=True,
            text=True,
            check=False,
            env={"DATA_SOURCE_NAME": "postgresql://x@127.0.0.1:1/postgres"},
        )
        assert run.returncode == 2
        assert run.stderr.startswith(f"{file}:1:19: basic_auth_users: must be bcrypt hashes")
        assert "sesame" not in run.stderr
