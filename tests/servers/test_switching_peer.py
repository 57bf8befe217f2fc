"""The real postgres_exporter and ours, started with the same words."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from exporter.catalogue import metric_names
from exporter.registry import collectors_of
from exporter.switching.families import COLLECTORS, DEFAULT_METRICS
from exporter.switching.flags import take
from tests.exporters import Exporter
from tests.providers.base import Account, DatabaseServer, wait_for
from tests.providers.processes import free_port
from tests.providers.tools import Program, tool

pytestmark = pytest.mark.engine("postgres")

# The flags that both have under one name.
SAME = {"--help", "--version", "--config.file", "--web.listen-address", "--web.telemetry-path", "--log.level",
        "--log.format"}  # fmt: skip
NEWER = {"replication_slots", "settings", "stat_activity", "stat_archiver", "stat_replication"}
# Theirs says 0 or NaN where nothing is known.
UNKNOWN = {"pg_stat_archiver_last_archive_age", "pg_stat_database_stats_reset", "pg_replication_last_replay_seconds"}
_NAME = re.compile(r"^(pg_\w+)[{ ]", re.MULTILINE)
_OWN = ("pg_up", "pg_exporter_", "pg_scrape_collector_")


@pytest.fixture(scope="module")
def account(server: DatabaseServer) -> Iterator[Account]:
    # The existing exporter can't have a blank in a password.
    made = Account("switching", "secret")
    server.execute(f"CREATE ROLE {made.user} LOGIN PASSWORD '{made.password}' IN ROLE pg_monitor")
    yield made
    server.execute(f"DROP ROLE {made.user}")


def peer(program: Callable[..., Program], path: str, *flags: str, **env: str) -> str:
    """The page of a real postgres_exporter."""
    port, text = free_port(), ""
    program("peer", [tool("postgres_exporter"), f"--web.listen-address=127.0.0.1:{port}", *flags], env=env)

    def up() -> bool:
        nonlocal text
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
                text = response.read().decode()
        except OSError:
            return False
        return re.search("^pg_up.* 1$", text, re.MULTILINE) is not None

    assert wait_for(up, 20), text[-2000:]
    return text


def names(text: str) -> set[str]:
    return {name for name in _NAME.findall(text) if not name.startswith(_OWN)}


def listed_flags() -> dict[str, bool]:
    """Every flag that the real one lists, and whether it takes a value."""
    done = subprocess.run([tool("postgres_exporter"), "--help"], capture_output=True, text=True, check=False)
    found = re.findall(r"^ +(?:-\w, )?(--[\w.-]+)(=\S*)?", done.stdout + done.stderr, re.MULTILINE)
    return {flag: bool(value) for flag, value in found}


def test_every_flag_of_theirs_is_taken() -> None:
    flags = listed_flags()
    assert len(flags) > 40
    left = set()
    for flag, value in flags.items():
        rest, _ = take([flag, *(["value"] if value else [])], {})
        if rest:
            left.add(flag)
        elif not value:
            assert take([flag.replace("--", "--no-", 1)], {})[0] == []
    assert left - {"--help-long", "--help-man"} == SAME
    assert {name for name in COLLECTORS if f"--collector.{name}" not in flags} == NEWER


def test_every_metric_of_theirs_belongs_to_one_collector(
    server: DatabaseServer, account: Account, program: Callable[..., Program]
) -> None:
    # Those need an extension, or fail on any server of today.
    left_out = {"--collector.buffercache_summary", "--collector.xlog_location", "--collector.stat_statements"}
    switched = [
        flag
        for flag, value in listed_flags().items()
        if flag.startswith("--collector.") and flag not in left_out and not value and "stat_statements." not in flag
    ]
    page = peer(program, "/metrics", *switched, DATA_SOURCE_NAME=server.url(account) + "?sslmode=disable")
    patterns = [pattern for name, pattern in COLLECTORS.items() if name not in NEWER - {"settings"}]
    patterns += DEFAULT_METRICS
    unclear = {
        name: [pattern for pattern in patterns if re.fullmatch(pattern, name)]
        for name in names(page)
        if sum(re.fullmatch(pattern, name) is not None for pattern in patterns) != 1
    }
    assert unclear == {}
    assert len(names(page)) > 250


def test_started_with_the_same_words(
    server: DatabaseServer, account: Account, program: Callable[..., Program], tmp_path: Path
) -> None:
    file = tmp_path / "queries.yaml"
    file.write_text(
        "switching:\n  query: SELECT current_database() AS datname, 7 AS answer\n  metrics:\n"
        "    - datname: {usage: LABEL, description: Database}\n    - answer: {usage: GAUGE, description: Answer}\n"
    )
    flags = (
        "--no-collector.locks", "--no-collector.stat_user_tables", "--disable-settings-metrics",
        "--collector.stat_wal_receiver", "--constantLabels=team=shop", f"--extend.query-path={file}",
        "--auto-discover-databases", "--exclude-databases=template1", "--log.format=logfmt",
    )  # fmt: skip
    env = {
        "DATA_SOURCE_URI": f"{server.host}:{server.port}/postgres?sslmode=disable",
        "DATA_SOURCE_USER": account.user,
        "DATA_SOURCE_PASS": account.password,
        "PG_EXPORTER_WEB_TELEMETRY_PATH": "/their-path",
    }
    theirs = peer(program, "/their-path", *flags, **env)
    there = metric_names()
    expected = {name for name in names(theirs) if name in there} - UNKNOWN
    with Exporter(tmp_path, None, env, flags=flags) as exporter:

        def page() -> str:
            status, text = exporter.get("/their-path")
            assert status == 200
            return text

        answer = re.compile(r"^switching_answer\{.*datname=\"(\w+)\"", re.MULTILINE)
        everywhere = set(answer.findall(theirs))
        # In other databases, and for sizes, ours asks in the background.
        assert wait_for(lambda: everywhere <= set(answer.findall(page())) and expected <= names(page()), 60), (
            expected - names(page())
        )
        ours = page()
        log = exporter.log()
    switched_off = ("pg_locks_count", "pg_stat_user_tables_", "pg_settings_")
    for text in (theirs, ours):
        assert not [name for name in names(text) if name.startswith(switched_off)]
        assert re.search(r"^pg_stat_activity_count\{.*team=\"shop\"", text, re.MULTILINE)
        assert re.search(r"^pg_exporter_user_queries_load_error\{.*\} 0$", text, re.MULTILINE)
    assert everywhere == set(answer.findall(ours))
    assert "postgres" in answer.findall(ours)
    # Nothing here deserves a word.
    assert "level=warn" not in log, log


def test_all_of_their_flags_at_once(server: DatabaseServer, account: Account, tmp_path: Path) -> None:
    """What the version lacks they leave out in silence; here it is told once, and is no failure."""
    name = "pg_buffercache_summary"
    flags = [f"--collector.{name}" for name in COLLECTORS]
    old = server.version < (16,)
    with Exporter(tmp_path, None, {"DATA_SOURCE_NAME": server.url(account)}, flags=flags) as exporter:
        everything = {item.name for item in collectors_of("postgres")}
        page = exporter.scrape_until(
            lambda page: {got["collector"] for got, _ in page.all("database_exporter_collector_state")} == everything
        )
        log = exporter.log()
    failed = {labels["collector"] for labels, value in page.all("database_exporter_collector_success") if not value}
    # What the database lacks somebody can mend.
    assert failed == (set() if old else {name})
    assert page.has("database_exporter_collector_state", collector=name, state="unsupported" if old else "failed")
    told = [line for line in log.splitlines() if f"collector {name}" in line]
    assert len(told) == 1, log
    assert ("needs PostgreSQL ≥ 16" in told[0]) is old


def test_a_broken_file_keeps_nobody_from_starting(server: DatabaseServer, account: Account, tmp_path: Path) -> None:
    file = tmp_path / "queries.yaml"
    file.write_text("fine:\n  query: SELECT 1 AS a\nwrong:\n  qurey: SELECT 1\n")
    with Exporter(
        tmp_path, None, {"DATA_SOURCE_NAME": server.url(account)}, flags=(f"--extend.query-path={file}",)
    ) as exporter:
        page = exporter.scrape()
        assert page.value("fine_a") == 1
        assert page.value("pg_exporter_user_queries_load_error", filename=str(file)) == 1
        assert f"{file}:4:3: wrong.qurey: unknown key; did you mean 'query'?" in exporter.log().replace('\\"', '"')


def test_probes_as_they_are_made_of_theirs(server: DatabaseServer, account: Account, tmp_path: Path) -> None:
    accounts = tmp_path / "postgres_exporter.yml"
    module = f"{{type: userpass, userpass: {{username: {account.user}, password: {account.password}}}}}"
    accounts.write_text(f"auth_modules:\n  first: {module}\n")
    flags = (f"--config.file={accounts}",)
    address = f"{server.host}:{server.port}"
    with Exporter(tmp_path, None, {"DATA_SOURCE_NAME": f"postgresql://{address}/postgres"}, flags=flags) as exporter:
        for target in (address, f"{address}/postgres?sslmode=disable", f"postgresql://someone:else@{address}/postgres"):
            status, text = exporter.get(f"/probe?target={quote(target)}&auth_module=first")
            assert status == 200
            assert re.search(r"^pg_up\{.*\} 1$", text, re.MULTILINE), target
        assert exporter.get("/probe?target=127.0.0.1:1&auth_module=first")[0] == 400
    # Without a server it starts as well, and says what has to be listed where.
    with Exporter(tmp_path, None, {}, flags=flags) as exporter:
        status, text = exporter.get(f"/probe?target={address}&auth_module=first")
        assert (status, text) == (400, "unknown target; the config names the servers, see /sd\n")
        assert "list the targets under servers:" in exporter.log()
        assert account.password not in exporter.log()
