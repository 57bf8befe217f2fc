"""What README and CONTRIBUTING tell newcomers to do, done: accounts, a collector in one file, Prometheus' config."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.exporters import Samples
from tests.providers.base import Account, DatabaseServer, wait_for
from tests.providers.processes import free_port
from tests.providers.tools import Program, tool
from tests.servers.background import running

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
PASSWORD = "CHOOSE-A-PASSWORD"


def _fenced(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _run(where: Path, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the exporter of a directory; `-m` looks into the working directory first."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=where,
        env={**os.environ, "PYTHONPATH": str(where), **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _statements(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("--")]


def _account(server: DatabaseServer, name: str) -> Account:
    """Make the account of the README on a server, under another name."""
    blocks = _fenced(README, "sql")
    text = blocks[("postgres", "mysql", "mariadb").index(server.flavor)].replace("exporter", name)
    if server.flavor == "postgres":
        text = text.replace("CREATE EXTENSION", "CREATE EXTENSION IF NOT EXISTS")
        if server.version < (16,):
            text = text.replace(f'GRANT pg_use_reserved_connections TO "{name}";\n', "")
    for statement in _statements(text):
        server.execute(statement)
    return Account(name, PASSWORD)


def _remove(server: DatabaseServer, name: str) -> None:
    server.execute(f'DROP ROLE "{name}"' if server.engine == "postgres" else f"DROP USER '{name}'@'%'")


def test_the_accounts_of_the_readme_need_nothing_more(server: DatabaseServer) -> None:
    account = _account(server, "readme")
    try:
        done = _run(ROOT, "exporter", "check", env={"DATA_SOURCE_NAME": server.url(account)})
    finally:
        _remove(server, "readme")
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert " ok " in done.stdout
    assert " failed " not in done.stdout
    assert "GRANT" not in done.stdout


@pytest.fixture(scope="module")
def walkthrough(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the exporter to which the file of CONTRIBUTING was added, and nothing else."""
    copy = tmp_path_factory.mktemp("walkthrough")
    shutil.copytree(ROOT / "exporter", copy / "exporter", ignore=shutil.ignore_patterns("__pycache__"))
    (path,) = re.findall(r"Write `(exporter/collectors/[\w/]+\.py)`:", CONTRIBUTING)
    assert not (copy / path).exists(), "the collector of the walk-through exists by now; choose another"
    (code,) = _fenced(CONTRIBUTING, "python")
    (copy / path).write_text(code)
    return copy


def test_one_file_is_in_the_reference_and_changes_nothing_else_there(walkthrough: Path) -> None:
    before = _run(ROOT, "exporter", "metrics").stdout.splitlines()
    after = _run(walkthrough, "exporter", "metrics").stdout.splitlines()
    assert before
    assert not set(before) - set(after)
    new = "\n".join(sorted(set(after) - set(before)))
    assert "pg_advisory_locks" in new
    assert "pg_advisory_locks_waiting" in new
    assert "Advisory locks held by sessions." in new


def test_one_file_is_held_to_the_rules_for_all_collectors(walkthrough: Path) -> None:
    tests = walkthrough / "tests/unit"
    tests.mkdir(parents=True)
    shutil.copy(ROOT / "tests/unit/test_declarations.py", tests)
    rules = ("pytest", "tests", "-q", "-p", "no:cacheprovider", "-k", "pg_advisory_locks")
    done = _run(walkthrough, *rules)
    assert done.returncode == 0, done.stdout
    declared = walkthrough / "exporter/collectors/postgres/advisory_locks.py"
    sound = declared.read_text()
    try:
        declared.write_text(sound.replace("pg(13)", "pg(14)"))
        assert _run(walkthrough, *rules).returncode == 1, "13 is left out, and no test says so"
        declared.write_text(sound.replace("_locks_waiting", "_locks_waiting_total"))
        assert "counters end with _total" in _run(walkthrough, "exporter", "metrics").stderr
    finally:
        declared.write_text(sound)


def test_one_file_is_checked_and_served(
    postgres: DatabaseServer,
    walkthrough: Path,
    fresh_server: Callable[..., DatabaseServer],
    program: Callable[..., Program],
) -> None:
    server = fresh_server(postgres.name)
    account = _account(server, "exporter")
    server.execute("CREATE DATABASE shop")
    holder = server.connect("shop")
    holder.execute("SELECT pg_advisory_lock(1), pg_advisory_lock(2)")
    url = server.url(account)
    line = next(
        line
        for line in _run(walkthrough, "exporter", "check", env={"DATA_SOURCE_NAME": url}).stdout.splitlines()
        if "pg_advisory_locks " in line
    )
    assert re.search(r" ok +[\d.]+ ms +\d+ series +every scrape", line)

    port = free_port()
    program(
        "walkthrough",
        [sys.executable, "-m", "exporter", f"--web.listen-address=127.0.0.1:{port}"],
        env={"DATA_SOURCE_NAME": url, "PYTHONPATH": str(walkthrough)},
        url=f"http://127.0.0.1:{port}/-/ready",
    )
    name = f"{server.host}:{server.port}"
    with server.connect("shop") as waiter, running(waiter, "SELECT pg_advisory_lock(1)"):
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        assert wait_for(lambda: server.execute(waits)[0][0] == 1, 10)
        samples = _scrape(port)
    for (database,) in server.execute("SELECT datname FROM pg_database WHERE datallowconn"):
        labels = {"server": name, "datname": database}
        assert samples.value("pg_advisory_locks", **labels) == (2 if database == "shop" else 0)
        assert samples.value("pg_advisory_locks_waiting", **labels) == (1 if database == "shop" else 0)
    collector = {"server": name, "collector": "pg_advisory_locks"}
    assert samples.value("database_exporter_collector_success", **collector) == 1

    holder.execute("SELECT pg_advisory_unlock(2)")
    # A scrape within a second of another one gets its result.
    time.sleep(1.1)
    assert _scrape(port).value("pg_advisory_locks", datname="shop") == 1
    holder.close()


def _scrape(port: int) -> Samples:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
        return Samples.of(page.read().decode())


def _prometheus_configs() -> Sequence[str]:
    return [text for text in _fenced(README, "yaml") if text.startswith("scrape_configs:")]


def test_prometheus_takes_the_configurations_of_the_readme(tmp_path: Path) -> None:
    configs = _prometheus_configs()
    assert len(configs) == 3
    for number, text in enumerate(configs):
        path = tmp_path / f"{number}.yml"
        path.write_text(text.replace("/etc/prometheus/alerts", str(ROOT / "alerts")))
        done = subprocess.run(
            [tool("promtool"), "check", "config", path], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        if "rule_files" in text:
            rules = len(list((ROOT / "alerts").glob("r*/*.yml")))
            assert done.stdout.count("rules found") == rules, done.stdout
