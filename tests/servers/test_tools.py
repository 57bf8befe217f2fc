"""The programs around databases that other tests rely on."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.providers.base import DatabaseServer
from tests.providers.processes import free_port
from tests.providers.tools import PgBouncer, Program, Prometheus, tool


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("prometheus", r"prometheus, version 3\."),
        ("promtool", r"promtool, version 3\."),
        ("alertmanager", r"alertmanager, version 0\."),
        ("amtool", r"amtool, version 0\."),
        ("postgres_exporter", r"postgres_exporter, version 0\."),
        ("mysqld_exporter", r"mysqld_exporter, version 0\."),
        ("pgbench", r"pgbench \(PostgreSQL\) 18"),
        ("psql", r"psql \(PostgreSQL\) 18"),
    ],
)
def test_tool_runs(name: str, version: str) -> None:
    done = subprocess.run([tool(name), "--version"], capture_output=True, text=True, timeout=30, check=True)
    assert re.search(version, done.stdout + done.stderr)


def test_prometheus_scrapes_a_peer_of_a_postgres(
    postgres: DatabaseServer, program: Callable[..., Program], prometheus: Callable[..., Prometheus]
) -> None:
    port = free_port()
    program(
        "peer",
        [tool("postgres_exporter"), f"--web.listen-address=127.0.0.1:{port}"],
        env={"DATA_SOURCE_NAME": postgres.url() + "?sslmode=disable"},
        url=f"http://127.0.0.1:{port}/metrics",
    )
    scrape: dict[str, Any] = {"job_name": "peer", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    running = prometheus({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [scrape]})
    running.wait_for_targets(1)
    assert running.value("pg_up") == 1


def test_pgbouncer_pools_by_transaction(postgres: DatabaseServer, pgbouncer: Callable[..., PgBouncer]) -> None:
    account = postgres.account(name="pooled")
    pool = pgbouncer(postgres, [account], {"default_pool_size": "1"})
    with (
        pool.connect(user=account.user, password=account.password) as one,
        pool.connect(user=account.user, password=account.password) as two,
    ):
        pids = {connection.execute("SELECT pg_backend_pid()").fetchone() for connection in (one, two)}
    assert len(pids) == 1
    with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter"):
        pool.connect(user=account.user, password=account.password, options="-c statement_timeout=1")
    assert any(row[0] == "postgres" for row in pool.execute("SHOW POOLS"))


def encrypted(server: DatabaseServer) -> bool:
    """Whether a connection is encrypted that accepts no certificate but the right one."""
    assert server.certificate is not None
    authority = str(server.certificate.authority)
    if server.engine == "postgres":
        with server.connect(sslmode="verify-full", sslrootcert=authority) as connection:
            row = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
        return bool(row[0])
    options: dict[str, Any] = {"ssl_ca": authority, "ssl_verify_cert": True, "ssl_verify_identity": True}
    with server.connect(**options) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        return bool(cursor.fetchone()[1])


def test_a_server_with_tls_proves_who_it_is(
    server: DatabaseServer, fresh_server: Callable[..., DatabaseServer]
) -> None:
    assert encrypted(fresh_server(server.name, tls=True))


@pytest.mark.flavor("mariadb")
def test_performance_schema_can_be_turned_on(
    server: DatabaseServer, fresh_server: Callable[..., DatabaseServer]
) -> None:
    assert server.execute("SELECT @@performance_schema") == [(0,)]
    on = fresh_server(server.name, {"performance_schema": "ON"})
    assert on.execute("SELECT @@performance_schema") == [(1,)]
