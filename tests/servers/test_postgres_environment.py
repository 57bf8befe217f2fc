"""What libpq would take from its environment: passwords from .pgpass, where the config gives none, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.providers.base import Account, DatabaseServer

pytestmark = pytest.mark.engine("postgres")

CONNECT = """
import json, sys
from exporter.config.model import ServerConfig
from exporter.engines.deadline import Deadline
from exporter.engines.postgres.engine import POSTGRES
from exporter.failure import Failure

try:
    session = POSTGRES.connect(ServerConfig(**json.loads(sys.argv[1])), Deadline.after(10))
except Failure as failure:
    print(json.dumps([str(failure.reason), failure.message]))
else:
    sql = "SELECT current_user::text, current_setting('geqo'), current_setting('work_mem'), current_setting('TimeZone')"
    print(json.dumps(session.run(sql, Deadline.after(10)).rows[0]))
"""
HOSTILE = {
    "PGHOST": "192.0.2.1",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGUSER": "nobody_there",
    "PGDATABASE": "nothing_there",
    "PGPASSWORD": "wrong",
    "PGOPTIONS": "-c work_mem=123kB",
    "PGSSLMODE": "verify-full",
    "PGSSLNEGOTIATION": "direct",
    "PGSSLROOTCERT": "/no/such/file",
    "PGSSLCERT": "/no/such/file",
    "PGSSLKEY": "/no/such/file",
    "PGSSLCERTMODE": "require",
    "PGSSLCRL": "/no/such/file",
    "PGSSLMINPROTOCOLVERSION": "nonsense",
    "PGSSLMAXPROTOCOLVERSION": "nonsense",
    "PGCHANNELBINDING": "require",
    "PGREQUIREAUTH": "none",
    "PGREQUIREPEER": "nobody_there",
    "PGTARGETSESSIONATTRS": "standby",
    "PGLOADBALANCEHOSTS": "nonsense",
    "PGCONNECT_TIMEOUT": "nonsense",
    "PGMINPROTOCOLVERSION": "nonsense",
    "PGMAXPROTOCOLVERSION": "nonsense",
    "PGGSSENCMODE": "require",
    "PGCLIENTENCODING": "nonsense",
    "PGSERVICE": "nothing_there",
    "PGTZ": "Asia/Tokyo",
    "PGDATESTYLE": "nonsense",
    "PGGEQO": "off",
}
Reach = Callable[..., Any]


@pytest.fixture(scope="module")
def account(server: DatabaseServer) -> Account:
    return server.account(name="environment_tester", limit=10)


@pytest.fixture
def reach(server: DatabaseServer, account: Account, tmp_path: Path) -> Reach:
    """Connect in a process of its own, with this environment and an empty home."""
    there = {"name": server.name, "engine": "postgres", "host": server.host, "port": server.port, "user": account.user}

    def connect(env: dict[str, str], **more: Any) -> Any:
        config = {**there, "tls": {"mode": "disable"}, **more}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        run = subprocess.run(
            [sys.executable, "-c", CONNECT, json.dumps(config)],
            env={**clean, "HOME": str(tmp_path), **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return json.loads(run.stdout)

    return connect


def settings(server: DatabaseServer) -> list[str]:
    sql = "SELECT current_setting('geqo'), current_setting('work_mem'), current_setting('TimeZone')"
    return list(server.execute(sql)[0])


def passwords(path: Path, server: DatabaseServer, account: Account, host: str | None = None) -> Path:
    path.write_text(f"{host or server.host}:{server.port}:*:{account.user}:{account.password}\n")
    path.chmod(0o600)
    return path


def test_the_environment_changes_nothing(server: DatabaseServer, account: Account, reach: Reach) -> None:
    found = reach(HOSTILE, password=account.password)
    assert found == [account.user, *settings(server)]


def test_the_environment_changes_nothing_through_the_socket(
    server: DatabaseServer, account: Account, reach: Reach
) -> None:
    if server.socket is None:
        return
    env = {name: value for name, value in HOSTILE.items() if name != "PGREQUIREPEER"}
    for variables in (env, HOSTILE):
        found = reach(variables, password=account.password, host="localhost", socket=str(server.socket))
        assert found == [account.user, *settings(server)]


def test_a_password_that_the_config_does_not_give_is_found_in_pgpass(
    server: DatabaseServer, account: Account, reach: Reach, tmp_path: Path
) -> None:
    assert reach({"PGPASSWORD": account.password})[0] == "auth"
    passwords(tmp_path / ".pgpass", server, account)
    assert reach(HOSTILE)[0] == account.user
    assert reach({"PGPASSFILE": str(tmp_path / "elsewhere")})[0] == "auth"
    assert reach({"PGPASSFILE": str(passwords(tmp_path / "elsewhere", server, account))})[0] == account.user


def test_the_password_of_the_config_wins(
    server: DatabaseServer, account: Account, reach: Reach, tmp_path: Path
) -> None:
    passwords(tmp_path / ".pgpass", server, account)
    assert reach({}, password="wrong")[0] == "auth"


def test_a_password_is_for_its_server_alone(
    server: DatabaseServer, account: Account, reach: Reach, tmp_path: Path
) -> None:
    passwords(tmp_path / ".pgpass", server, account, host="another.example")
    assert reach({})[0] == "auth"
