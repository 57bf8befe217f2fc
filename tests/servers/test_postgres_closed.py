"""Databases that don't let the exporter in: full, not granted, or refused by pg_hba.conf; the others don't suffer."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.engines.deadline import Deadline
from exporter.engines.known import ENGINES
from exporter.polling import closed as closing
from exporter.polling.server import Watched
from exporter.polling.snapshot import State
from exporter.registry import collectors_of
from tests.checks import check
from tests.exporters import Exporter, server_entry
from tests.providers.base import Account, DatabaseServer, wait_for
from tests.servers.collecting import config_of

pytestmark = pytest.mark.engine("postgres")
OPEN, FULL, FORBIDDEN, REFUSED = "let_in", "closed_full", "closed_forbidden", "closed_refused"
WHY = {FULL: "too_many_connections", FORBIDDEN: "permission", REFUSED: "auth"}
ONLY = {"include": [OPEN, *WHY]}
# What is read inside every database.
TABLES, SIZE = "pg_table_sizes", "pg_stat_user_tables_table_size_bytes"


@pytest.fixture
def account(server: DatabaseServer) -> Iterator[Account]:
    """Give an account on a server with one database that is open to it and one that is closed in each way."""
    for name in (OPEN, *WHY):
        server.execute(f"DROP DATABASE IF EXISTS {name}")
        server.execute(f"CREATE DATABASE {name}")
        server.execute("CREATE TABLE items (id int)", name)
    made = server.account()
    server.execute(f"REVOKE CONNECT ON DATABASE {FORBIDDEN} FROM PUBLIC")
    try:
        with refused(server):
            yield made
    finally:
        for name in (OPEN, *WHY):
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def refused(server: DatabaseServer) -> Iterator[None]:
    """Refuse one database in pg_hba.conf."""
    [(file,)] = server.execute("SHOW hba_file")
    before = server.execute("SELECT count(*) FROM pg_hba_file_rules")
    # A program that has ended before it is sent the row is an error.
    program = f"COPY (SELECT) TO PROGRAM 'cat > /dev/null; sed -i \"{{}}\" {file}'"
    server.execute(program.format(f"1i host {REFUSED} exporter all reject"))
    try:
        server.execute("SELECT pg_reload_conf()")
        assert server.execute("SELECT count(*) - 1 FROM pg_hba_file_rules") == before
        yield
    finally:
        server.execute(program.format(f"/{REFUSED}/d"))
        server.execute("SELECT pg_reload_conf()")


@contextlib.contextmanager
def full(server: DatabaseServer) -> Iterator[None]:
    """Leave no place in one database."""
    inside = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{FULL}'"
    server.execute(f"ALTER DATABASE {FULL} CONNECTION LIMIT 1")
    other = server.account(name="closed_other")
    # Whoever was in it may be so a moment longer.
    assert wait_for(lambda: server.execute(inside) == [(0,)], 10)
    with server.connect(FULL, other.user, other.password):
        yield
    assert wait_for(lambda: server.execute(inside) == [(0,)], 10)


def test_what_lets_nobody_in_is_named_once_and_hides_nothing(
    server: DatabaseServer, account: Account, tmp_path: Path
) -> None:
    entry = server_entry(server, account, databases=ONLY)
    with full(server):
        with Exporter(tmp_path, {"servers": [entry]}) as exporter:
            page = exporter.scrape_until(lambda page: len(page.all("database_exporter_database_failure")) == len(WHY))
            page = exporter.scrape_until(lambda page: page.has(SIZE, datname=OPEN))
            log = exporter.log()
        # Not beside the exporter, which may have all three connections of the account at times.
        checked = check(tmp_path, entry)
    told = {labels["database"]: labels["reason"] for labels, _ in page.all("database_exporter_database_failure")}
    assert told == WHY
    failed = {labels["collector"] for labels, value in page.all("database_exporter_collector_success") if not value}
    assert failed == set()
    warnings = [line for line in log.splitlines() if "level=warn" in line]
    assert len(warnings) == len(WHY), log
    for name, reason in WHY.items():
        assert sum(f"database {name} can't be entered: {reason}: " in line for line in warnings) == 1, log
    assert checked.code == 1
    assert f"database {FULL} is left out: too_many_connections: " in checked.out
    fixes = checked.statements()
    assert (None, f"ALTER DATABASE {FULL} CONNECTION LIMIT -1;") in fixes
    assert (None, f"GRANT CONNECT ON DATABASE {FORBIDDEN} TO {account.user};") in fixes


@pytest.fixture
def watched(server: DatabaseServer, account: Account) -> Iterator[Watched]:
    config = config_of(server, account, database=OPEN, databases=ONLY)
    made = Watched(config, ENGINES["postgres"], collectors_of("postgres"))
    yield made
    made.close()


def test_it_is_back_with_the_next_round(
    server: DatabaseServer, watched: Watched, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    task = watched.tasks[TABLES]

    def tables() -> set[str]:
        watched.background([task])
        families = {family.name: family.text for family in watched.latest[TABLES].families}
        return {name for name in (OPEN, *WHY) if f'datname="{name}"' in families[SIZE]}

    def warnings() -> list[str]:
        found = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        caplog.clear()
        return found

    with full(server):
        assert tables() == {OPEN}
        assert watched.closed.failures.keys() == set(WHY)
        assert len(warnings()) == len(WHY)
        assert tables() == {OPEN}
        assert warnings() == []
    assert wait_for(lambda: tables() == {OPEN, FULL}, 15)
    assert watched.closed.failures.keys() == set(WHY) - {FULL}
    assert watched.latest[TABLES].state is State.OK
    # Full again a moment later it is on the page at once, and in the log after an hour.
    with full(server):
        assert tables() == {OPEN}
        assert watched.closed.failures.keys() == set(WHY)
        assert warnings() == []
    assert wait_for(lambda: tables() == {OPEN, FULL}, 15)
    monkeypatch.setattr(closing, "TOLD_SECONDS", 0.0)
    with full(server):
        assert tables() == {OPEN}
        assert len(warnings()) == 1
    server.execute(f"DROP DATABASE {REFUSED}")
    server.execute(f"GRANT CONNECT ON DATABASE {FORBIDDEN} TO PUBLIC")
    assert wait_for(lambda: tables() == {OPEN, FULL, FORBIDDEN}, 15)
    assert watched.closed.failures == {}
    server.execute(f"CREATE DATABASE {REFUSED}")


def test_the_one_that_we_are_connected_to_may_be_full(server: DatabaseServer, account: Account) -> None:
    server.execute(f"ALTER DATABASE {FULL} CONNECTION LIMIT 1")
    config = config_of(server, account, database=FULL, databases=ONLY)
    watched = Watched(config, ENGINES["postgres"], collectors_of("postgres"))
    try:
        watched.sessions.main(Deadline.after(10))
        task = watched.tasks[TABLES]
        watched.background([task])
        shown = {family.name: family.text for family in watched.latest[TABLES].families}[SIZE]
        assert f'datname="{OPEN}"' in shown
        assert f'datname="{FULL}"' not in shown
        assert watched.closed.failures.keys() == set(WHY)
    finally:
        watched.close()


def test_whoever_can_enter_none_has_failed(server: DatabaseServer, account: Account) -> None:
    config = config_of(server, account, databases={"include": [FULL]})
    watched = Watched(config, ENGINES["postgres"], collectors_of("postgres"))
    task = watched.tasks[TABLES]
    with full(server):
        for _ in range(4):
            watched.background([task])
        assert watched.latest[TABLES].state is State.FAILED
        assert watched.latest[TABLES].reason == "too_many_connections"
        assert FULL in watched.latest[TABLES].message
    # It was not left alone for that.
    watched.background([task])
    assert watched.latest[TABLES].state is State.OK
