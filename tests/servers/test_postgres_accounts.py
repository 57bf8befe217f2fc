"""Accounts, extensions and encrypted connections, against what the test makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from cryptography import x509

from tests.alone import alone
from tests.providers.base import DatabaseServer
from tests.servers.collecting import Watch, watching

pytestmark = pytest.mark.engine("postgres")


@pytest.fixture
def watch(server: DatabaseServer) -> Iterator[Watch]:
    with watching(server) as watch:
        yield watch


def test_accounts_that_may_do_anything_and_passwords_that_end(server: DatabaseServer, watch: Watch) -> None:
    made = {
        "acc_chief": "SUPERUSER LOGIN",
        "acc_leaver": "LOGIN PASSWORD 'x' VALID UNTIL '2031-05-06 07:08:09+00'",
        "acc_stayer": "LOGIN PASSWORD 'x' VALID UNTIL 'infinity'",
        "acc_maker": "LOGIN CREATEROLE REPLICATION BYPASSRLS",
        "acc_group": "NOLOGIN SUPERUSER",
    }
    before = watch.run("pg_accounts")
    try:
        for name, options in made.items():
            server.execute(f"CREATE ROLE {name} {options}")
        after = watch.run("pg_accounts")
        few = watch.run("pg_accounts", limit=1)
        logins = server.execute(
            "SELECT count(*), count(*) FILTER (WHERE rolcreaterole), count(*) FILTER (WHERE rolbypassrls) "
            "FROM pg_roles WHERE rolcanlogin"
        )
    finally:
        for name in made:
            server.execute(f"DROP ROLE IF EXISTS {name}")

    def grown(name: str) -> float:
        return after.one(name) - before.one(name)

    assert grown("pg_login_roles") == 4
    for kind in ("superuser", "createrole", "replication", "bypassrls"):
        assert grown(f"pg_login_roles_{kind}") == 1
    # Only those that are named are bounded.
    assert [tuple(few.one(f"pg_login_roles{kind}") for kind in ("", "_createrole", "_bypassrls"))] == logins
    assert len(few.by("pg_role_superuser", "rolname")) == 1
    assert set(after.by("pg_role_superuser", "rolname")) - set(before.by("pg_role_superuser", "rolname")) == {
        "acc_chief"
    }
    [(end,)] = server.execute("SELECT extract(epoch FROM timestamptz '2031-05-06 07:08:09+00')::float8")
    assert after.by("pg_role_password_expiry_timestamp_seconds", "rolname") == {"acc_leaver": end}


def test_extensions_that_could_be_updated(server: DatabaseServer, watch: Watch) -> None:
    server.execute("DROP DATABASE IF EXISTS dated")
    server.execute("CREATE DATABASE dated")
    try:
        server.execute("CREATE EXTENSION pg_stat_statements VERSION '1.5'", "dated")
        server.execute("CREATE EXTENSION pg_buffercache", "dated")
        [(newest,)] = server.execute(
            "SELECT default_version FROM pg_available_extensions WHERE name = 'pg_stat_statements'"
        )
        samples = watch.run("pg_extensions")
    finally:
        server.execute("DROP DATABASE dated")
    assert samples.one("pg_extension_info", datname="dated", extension="pg_stat_statements", version="1.5") == 1
    outdated = samples.by("pg_extension_outdated", "datname", "extension", "default_version")
    assert outdated == {("dated", "pg_stat_statements", newest): 1}
    assert samples.one("pg_extensions_outdated", datname="dated") == 1
    assert samples.one("pg_extensions_outdated", datname="postgres") == 0


def test_encrypted_connections_and_the_end_of_the_certificate(
    fresh_server: Callable[..., DatabaseServer], server: DatabaseServer
) -> None:
    made = fresh_server(server.name, tls=True)
    assert made.certificate is not None
    with (
        watching(made) as watch,
        made.connect(sslmode="require") as first,
        made.connect(sslmode="require"),
        made.connect(sslmode="disable"),
    ):
        [(version, cipher)] = first.execute("SELECT version, cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        alone(first, others=3)
        samples = watch.run("pg_stat_ssl")
    connections = samples.by("pg_stat_ssl_connections", "version", "cipher", "transport")
    assert connections == {(version, cipher, "tcp"): 2, ("", "", "tcp"): 1, ("", "", "socket"): 0}
    shown = x509.load_pem_x509_certificate(made.certificate.certificate.read_bytes())
    expiry = samples.one("pg_server_certificate_expiry_timestamp_seconds")
    assert expiry == shown.not_valid_after_utc.timestamp()
    with watching(made, tls={"mode": "disable"}) as plain:
        assert not plain.run("pg_stat_ssl").values("pg_server_certificate_expiry_timestamp_seconds")
