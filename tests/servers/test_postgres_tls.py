"""TLS to a real PostgreSQL: what is agreed on, whom we trust, and what each refusal is called."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.config.model import TLS
from exporter.failure import Reason
from tests.postgres_sessions import Connect, config, connecting, deadline, failing, value  # noqa: F401 - a fixture too
from tests.providers.base import DatabaseServer
from tests.providers.tls import Certificate, make_certificate


@pytest.fixture
def encrypted(fresh_server: Callable[..., DatabaseServer], postgres: DatabaseServer) -> DatabaseServer:
    return fresh_server(postgres.name, tls=True)


@pytest.fixture
def certificate(encrypted: DatabaseServer) -> Certificate:
    """The server's; it is good for localhost and 127.0.0.1."""
    assert encrypted.certificate is not None
    return encrypted.certificate


def test_a_server_without_tls(postgres: DatabaseServer, connect: Connect) -> None:
    failure = failing(connect, config(postgres, tls=TLS(mode="require")))
    assert (failure.reason, failure.broken) == (Reason.TLS, True)
    assert failure.fix
    assert connect(config(postgres, tls=TLS(mode="prefer"))).tls is None


def test_a_server_with_tls(encrypted: DatabaseServer, certificate: Certificate, connect: Connect) -> None:
    trusted = str(certificate.authority)
    for host, tls in (
        ("localhost", TLS(mode="prefer")),
        ("localhost", TLS(mode="require")),
        ("127.0.0.1", TLS(mode="verify-ca", ca=trusted, server_name="elsewhere.test")),
        ("localhost", TLS(mode="verify-full", ca=trusted)),
        ("127.0.0.1", TLS(mode="verify-full", ca=trusted)),
        ("127.0.0.1", TLS(mode="verify-full", ca=trusted, server_name="localhost")),
    ):
        session = connect(config(encrypted, host=host, tls=tls))
        agreed = session.run("SELECT version, cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()", deadline())
        assert session.tls == " ".join(agreed.rows[0]), tls
    assert connect(config(encrypted, tls=TLS(mode="disable"))).tls is None


def test_whom_we_do_not_trust(
    encrypted: DatabaseServer, certificate: Certificate, connect: Connect, tmp_path: Path
) -> None:
    stranger = str(make_certificate(tmp_path).authority)
    for tls in (
        TLS(mode="verify-full", ca=stranger),
        TLS(mode="verify-ca", ca=stranger),
        TLS(mode="verify-full", ca=str(certificate.authority), server_name="elsewhere.test"),
        TLS(mode="verify-full", ca=str(tmp_path / "missing.pem")),
    ):
        failure = failing(connect, config(encrypted, host="localhost", tls=tls))
        assert (failure.reason, failure.broken) == (Reason.TLS, True), tls
        assert failure.fix, tls


def test_a_client_certificate_is_shown(
    encrypted: DatabaseServer, certificate: Certificate, connect: Connect, tmp_path: Path
) -> None:
    assert encrypted.data is not None
    encrypted.execute("CREATE ROLE localhost LOGIN")
    rules = encrypted.data / "pg_hba.conf"
    rules.write_text(f"hostssl all localhost 127.0.0.1/32 cert\n{rules.read_text()}")
    encrypted.execute("SELECT pg_reload_conf()")
    # libpq takes no key that belongs to somebody else.
    key = Path(shutil.copy(certificate.key, tmp_path / "key.pem"))
    key.chmod(0o600)
    trusted = TLS(mode="verify-full", ca=str(certificate.authority))
    ours = trusted.model_copy(update={"cert": str(certificate.certificate), "key": str(key)})
    nameless = config(encrypted, user="localhost", password=None)
    session = connect(nameless.model_copy(update={"tls": ours}))
    assert value(session, "current_user") == "localhost"
    refused = failing(connect, nameless.model_copy(update={"tls": trusted}))
    assert refused.reason is Reason.AUTH
