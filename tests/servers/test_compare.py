"""The command compare, as people run it, against a real postgres_exporter and a running exporter of ours."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter.compare.pages import fetch
from tests.contract.peers import config_of, ours, postgres_exporter
from tests.exporters import ROOT, Exporter, environment
from tests.providers.base import Account, DatabaseServer, wait_for
from tests.providers.fleet import Fleet
from tests.providers.processes import free_port

RULES = """
groups:
  - name: of a user
    rules:
      - {alert: Down, expr: pg_up == 0}
      - {alert: Full, expr: 'sum by (instance)(pg_stat_activity_count) / on(instance) pg_settings_max_connections > 1'}
      - {alert: Misspelt, expr: pg_replication_lag > 60}
      - {alert: Joined, expr: pg_replication_lag_seconds > 60 and up == 1}
"""


@dataclass
class Old:
    """The other exporter's page, ours over two servers, and our account."""

    page: str
    exporter: Exporter
    server: DatabaseServer
    account: Account


@pytest.fixture(scope="module")
def old(postgres: DatabaseServer, fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Old]:
    """Run both on a shared server; the second entry of ours is the same server's other database."""
    account = postgres.account("ALTER ROLE compared PASSWORD 'compared'", name="compared", limit=12)
    account = Account(account.user, "compared")
    with contextlib.ExitStack() as stack:
        page = stack.enter_context(postgres_exporter(fleet, postgres, account, database="postgres"))
        servers = {"one": (postgres, account), "two": (postgres, account)}
        exporter = stack.enter_context(ours(tmp_path_factory.mktemp("compare"), servers, database="postgres"))
        yield Old(page, exporter, postgres, account)


def compare(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exporter", "compare", *arguments],
        cwd=ROOT, env=environment(**variables), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_running_exporter_of_ours(old: Old, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES)
    page = f"{old.exporter.url}/metrics"
    done = compare(old.page, "--new", page, "--server", "two", "--rules", str(rules), "--format", "json")
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert (said["server"], said["clean"]) == ("two", False)
    assert said["series"] > 300
    verdicts = {item["place"]: item["verdict"] for item in said["expressions"]}
    assert verdicts == {"alert Down": "same", "alert Full": verdicts["alert Full"], "alert Misspelt": "unknown",
                        "alert Joined": "dead"}  # fmt: skip
    assert verdicts["alert Full"] in ("same", "changed")
    text = compare(old.page, "--new", page, "--server", "two", "--rules", str(rules)).stdout
    assert "join on(instance)" in text
    assert "different on purpose" in text
    assert old.account.password not in text.replace(old.account.user, "")


def test_what_moved_since_the_background_read_it_is_no_difference(old: Old, fleet: Fleet, tmp_path: Path) -> None:
    server = old.server
    server.execute("CREATE DATABASE moving")
    try:
        server.execute("CREATE TABLE grown (id int, body text); INSERT INTO grown VALUES (1, 'x')", "moving")
        # Once is enough, and more often would be a difference at any moment.
        once = ("pg_database_sizes", "pg_stat_user_tables_elsewhere", "pg_statio_user_tables_elsewhere")
        seldom = {name: {"every": "1h"} for name in once}
        entry = {"name": "one", "url": server.url(old.account, "postgres"), "collectors": seldom}
        with (
            postgres_exporter(fleet, server, old.account, database="moving") as peer,
            Exporter(tmp_path, {"servers": [entry]}) as exporter,
        ):
            page = f"{exporter.url}/metrics"
            grown = ("pg_database_size_bytes", "pg_stat_user_tables_n_tup_ins", "pg_statio_user_tables_heap_blocks_hit")

            def moving(url: str) -> dict[str, float]:
                shown = fetch(url).metrics
                return {
                    name: value
                    for name in grown
                    for labels, value in shown.get(name, {}).items()
                    if dict(labels)["datname"] == "moving"
                }

            assert wait_for(lambda: moving(page).keys() == {*grown}, 30)
            before = moving(page)
            server.execute("INSERT INTO grown SELECT i, repeat('x', 1000) FROM generate_series(1, 3000) i", "moving")
            assert wait_for(lambda: all(value > before[name] for name, value in moving(peer).items()), 15)
            done = compare(peer, "--new", page, "--format", "json")
            assert moving(page) == before
            text = compare(peer, "--new", page).stdout
    finally:
        server.execute("DROP DATABASE moving WITH (FORCE)")
    said = json.loads(done.stdout)
    assert {item["metric"] for item in said["moved"] if item["labels"].get("datname") == "moving"} >= {*grown}
    assert {item["age"] > 1 for item in said["moved"]} == {True}
    different = {item["metric"] for item in said["differences"] if item["on_purpose"] is None}
    assert not different & {*grown}
    assert "moved, and read in the background here" in text


def test_without_a_running_one_the_server_is_read_from_here(old: Old) -> None:
    done = compare(old.page, "--format", "json", DATA_SOURCE_NAME=old.server.url(old.account))
    said = json.loads(done.stdout)
    assert done.returncode in (0, 1), done.stderr
    assert said["server"] == f"{old.server.host}:{old.server.port}"
    metrics = {item["metric"] for item in said["differences"] if item["on_purpose"] is None}
    assert not metrics & {"pg_up", "pg_database_size_bytes", "pg_settings_max_connections", "pg_roles_connection_limit"}


def test_which_server_is_meant_has_to_be_clear(old: Old, tmp_path: Path) -> None:
    page = f"{old.exporter.url}/metrics"
    several = compare(old.page, "--new", page)
    assert several.returncode == 2
    assert "say --server NAME: one, two" in several.stderr
    assert (
        "there is no server three; there are: one, two" in compare(old.page, "--new", page, "--server", "three").stderr
    )
    # Where one of ours is at the address that theirs shows, that one is meant.
    config = tmp_path / "config.yml"
    elsewhere = config_of("elsewhere", old.server, old.account) | {"url": f"postgresql://u:p@127.0.0.1:{free_port()}/d"}
    here = config_of("here", old.server, old.account, database="postgres")
    config.write_text(json.dumps({"servers": [elsewhere, here]}))
    config.chmod(0o600)
    done = compare(old.page, f"--config.file={config}", "--format", "json")
    assert json.loads(done.stdout)["server"] == "here"


def test_a_page_that_can_not_be_read_says_what_to_do(old: Old, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/metrics"
    for arguments, said in (
        ((nobody,), "is the exporter running"),
        ((old.page.replace("/metrics", "/wrong"),), "404"),
        ((f"{old.exporter.url}/-/healthy",), "metrics are usually at /metrics"),
        ((f"{old.exporter.url}/metrics",), "no page of postgres_exporter or mysqld_exporter"),
        ((old.page, "--new", old.page), "no page of database-exporter"),
        ((old.page, "--rules", str(tmp_path / "none.yml")), "none.yml"),
        (("http://user:hidden@[::1/metrics",), "can't be read"),
        ((old.page, "--new", "http://user:hidden@[::1/metrics"), "can't be read"),
    ):
        done = compare(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert "hidden" not in done.stderr
    down = compare(old.page, DATA_SOURCE_NAME=f"postgresql://u:p@127.0.0.1:{free_port()}/d")
    assert down.returncode == 2
    assert "check says why" in down.stderr
