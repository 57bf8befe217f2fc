"""The account that `check --grants` prints: it suffices, and it may do nothing else."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest

from tests.alone import sessions_of
from tests.checks import check
from tests.exporters import Exporter, server_entry
from tests.providers.base import Account, DatabaseServer

NAME = "o'brien"
PASSWORD = 'it\'s; a "secret" -- \\'
# What the account can't mend: settings of the server, each with a statement or a line of its configuration.
SETTINGS = {
    "postgres": set[str](),
    "mysql": set[str](),
    "mariadb": {
        "mysql_statement_digests",
        "mysql_statements",
        "mysql_slow_statements_status",
        *("mysql_connections_tls", "mysql_index_io", "mysql_innodb_io", "mysql_performance_schema", "mysql_table_io"),
    },
}
REFUSED = {"postgres": psycopg.errors.InsufficientPrivilege, "mysql": pymysql.err.OperationalError}


def _literal(server: DatabaseServer, text: str) -> str:
    escaped = text.replace("'", "''")
    return escaped if server.engine == "postgres" else escaped.replace("\\", "\\\\")


def printed(server: DatabaseServer, directory: Path) -> list[str]:
    """The statements that `check --grants` prints to the administrator, with a password chosen."""
    entry = {"name": server.name, "url": server.url()}
    result = check(directory, entry, args=("--grants", f"--grants.user={NAME}"))
    assert result.code == 0, result.out + result.err
    assert result.out.startswith(f"-- {server.name}: ")
    lines = [line for line in result.out.splitlines() if line and not line.startswith("--")]
    assert all(line.endswith(";") for line in lines)
    return [line.replace("CHOOSE-A-PASSWORD", _literal(server, PASSWORD)) for line in lines]


@pytest.fixture
def made(server: DatabaseServer, fresh_server: Any, tmp_path: Path) -> tuple[DatabaseServer, Account]:
    """A server with a table of a user, a database that is closed to PUBLIC, and the printed account."""
    fresh = fresh_server(server.name)
    fresh.execute("CREATE DATABASE shop")
    fresh.execute("CREATE TABLE cards (number int)", "shop")
    fresh.execute("INSERT INTO cards VALUES (1), (2)", "shop")
    if fresh.engine == "postgres":
        fresh.execute("REVOKE CONNECT ON DATABASE shop FROM PUBLIC")
    for statement in printed(fresh, tmp_path):
        fresh.execute(statement)
    return fresh, Account(NAME, PASSWORD)


def test_it_suffices(made: tuple[DatabaseServer, Account], tmp_path: Path) -> None:
    server, account = made
    result = check(tmp_path, server_entry(server, account))
    assert set(result.fixes) == SETTINGS[server.flavor], result.out
    assert result.code == (1 if SETTINGS[server.flavor] else 0)
    assert "permission" not in result.out.lower()
    assert "denied" not in result.out.lower()
    assert PASSWORD not in result.out + result.err


@pytest.mark.flavor("mysql")
def test_it_suffices_as_a_role(made: tuple[DatabaseServer, Account], tmp_path: Path) -> None:
    """MySQL compares names of columns by case where the privilege on them comes through a role."""
    server, account = made
    role = f"'{_literal(server, account.user)}'@'%'"
    through = Account("through_role", "through role")
    for statement in (
        f"CREATE USER through_role IDENTIFIED BY '{through.password}'",
        f"GRANT {role} TO through_role",
        f"SET DEFAULT ROLE {role} TO through_role",
    ):
        server.execute(statement)
    result = check(tmp_path, server_entry(server, through))
    assert not result.fixes, result.out
    assert result.code == 0


def test_it_reads_no_row_and_writes_none(made: tuple[DatabaseServer, Account]) -> None:
    server, account = made
    refused = REFUSED[server.engine]
    with server.connect("shop", account.user, account.password) as session, session.cursor() as cursor:
        for statement in (
            "SELECT * FROM cards",
            "SELECT count(*) FROM cards",
            "INSERT INTO cards VALUES (3)",
            "UPDATE cards SET number = 4",
            "DELETE FROM cards",
            "DROP TABLE cards",
            "CREATE DATABASE mine",
            "CREATE SCHEMA mine",
        ):
            with pytest.raises(refused, match=r"denied|must be owner"):
                cursor.execute(statement)
    assert server.execute("SELECT count(*), sum(number) FROM cards", "shop") == [(2, 3)]


@pytest.mark.flavor("mysql")
def test_its_statements_are_in_no_digest(made: tuple[DatabaseServer, Account]) -> None:
    """Neither do other figures lack it: the server goes on to know its sessions."""
    server, account = made
    digests = (
        "SELECT COUNT(*) FROM performance_schema.events_statements_summary_by_digest "
        "WHERE DIGEST_TEXT LIKE 'SELECT ?%CONNECTION_ID%'"
    )
    with server.connect(None, account.user, account.password) as session, session.cursor() as cursor:
        cursor.execute("SELECT 'theirs', CONNECTION_ID()")
        number = session.thread_id()
        assert server.execute(digests) == [(0,)]
        known = "FROM performance_schema.threads JOIN performance_schema.session_connect_attrs USING (PROCESSLIST_ID)"
        found = server.execute(f"SELECT DISTINCT INSTRUMENTED {known} WHERE PROCESSLIST_ID = {number}")
        assert found == [("NO",)]
    server.execute("SELECT 'theirs', CONNECTION_ID()")
    assert server.execute(digests) == [(1,)]


@pytest.mark.flavor("mysql")
def test_where_the_slow_log_has_what_uses_no_index_it_is_told_how_to_stay_out(
    server: DatabaseServer, tmp_path: Path
) -> None:
    grant = f"GRANT SESSION_VARIABLES_ADMIN ON *.* TO '{_literal(server, NAME)}'@'%';"
    assert grant not in printed(server, tmp_path)
    server.execute("SET GLOBAL log_queries_not_using_indexes = 1")
    try:
        assert grant in printed(server, tmp_path)
    finally:
        server.execute("SET GLOBAL log_queries_not_using_indexes = 0")


@pytest.mark.engine("mysql")
def test_it_sees_limits_and_no_passwords(made: tuple[DatabaseServer, Account], tmp_path: Path) -> None:
    server, account = made
    server.execute("CREATE USER tenant IDENTIFIED BY 'x' WITH MAX_USER_CONNECTIONS 7")
    with Exporter(tmp_path, {"servers": [server_entry(server, account)]}) as running:
        page = running.scrape(server.name)
        assert page.value("db_role_connections_max", server=server.name, role="tenant") == 7
    tables = ["user", "global_priv"] if server.flavor == "mariadb" else ["user"]
    hidden = [f"SELECT * FROM mysql.{table}" for table in tables]
    hidden += ["SELECT authentication_string FROM mysql.user", "SHOW CREATE USER tenant", "SHOW GRANTS FOR tenant"]
    with server.connect(None, account.user, account.password) as session, session.cursor() as cursor:
        for statement in hidden:
            with pytest.raises(pymysql.err.OperationalError, match="denied"):
                cursor.execute(statement)


def test_it_sees_sizes_of_what_it_may_not_read(made: tuple[DatabaseServer, Account], tmp_path: Path) -> None:
    server, account = made
    server.execute("CREATE TABLE large (filler char(200))", "shop")
    rows = ", ".join(f"('{'x' * 200}')" for _ in range(1000))
    for _ in range(4):
        server.execute(f"INSERT INTO large VALUES {rows}", "shop")
    server.execute("ANALYZE large" if server.engine == "postgres" else "ANALYZE TABLE large", "shop")
    with Exporter(tmp_path, {"servers": [server_entry(server, account)]}) as running:
        page = running.scrape_until(
            lambda page: (
                page.has("db_schema_size_bytes", database="shop")
                if server.engine == "postgres"
                else page.has("db_size_bytes", database="shop")
            ),
            server.name,
        )
    # The file of 4,000 rows of 200 bytes is that long at least.
    assert page.value("db_size_bytes", server=server.name, database="shop") > 800_000
    if server.engine == "postgres":
        assert page.value("db_schema_size_bytes", database="shop", schema="public") > 800_000


def test_the_server_keeps_it_to_three_sessions(made: tuple[DatabaseServer, Account]) -> None:
    server, account = made
    held = []
    try:
        while len(held) < 3:
            held.append(server.connect(None, account.user, account.password))
        full = psycopg.OperationalError if server.engine == "postgres" else pymysql.err.OperationalError
        with pytest.raises(full, match=r"too many connections|max_user_connections"):
            server.connect(None, account.user, account.password)
    finally:
        for session in held:
            session.close()


def test_the_exporter_keeps_within_three_sessions(made: tuple[DatabaseServer, Account], tmp_path: Path) -> None:
    server, account = made
    slow = {
        "postgres": ["pg_statements", "pg_storage", "pg_database_sizes", "pg_table_sizes"],
        "mysql": ["mysql_statements", "mysql_schema_sizes", "mysql_binlog", "mysql_statement_histogram"],
    }[server.engine]
    entry = server_entry(server, account, collectors={name: {"every": "1s"} for name in slow})
    # Each scrape is a run of its own, so that sessions are used as much as they can be.
    most, done = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.02):
            most = max(most, sessions_of(server, NAME, 3))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with Exporter(tmp_path, {"servers": [entry]}) as running, ThreadPoolExecutor(12) as crowd:
            end = time.monotonic() + 6
            while time.monotonic() < end:
                for page in crowd.map(lambda _: running.scrape(server.name), range(12)):
                    assert page.value("db_up", server=server.name) == 1
                    assert "too_many_connections" not in page.failures(server.name).values()
                    assert page.value("database_exporter_connections", server=server.name) <= 3
            log = running.log()
    finally:
        done.set()
        watcher.join()
    assert 1 <= most <= 3
    assert "too_many" not in log
    assert "down" not in log


@pytest.mark.engine("postgres")
def test_it_is_let_into_databases_that_are_closed_to_the_public(
    server: DatabaseServer, fresh_server: Any, tmp_path: Path
) -> None:
    fresh = fresh_server(server.name)
    fresh.execute('CREATE DATABASE "Odd ""name"')
    fresh.execute("CREATE DATABASE open_one")
    fresh.execute("CREATE DATABASE left_out")
    for name in ('"Odd ""name"', "left_out"):
        fresh.execute(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    entry = {"name": fresh.name, "url": fresh.url(), "databases": {"exclude": ["left_*"]}}
    result = check(tmp_path, entry, args=("--grants",))
    assert re.findall(r"GRANT CONNECT ON DATABASE (.*) TO", result.out) == ['"Odd ""name"']


@pytest.mark.engine("postgres")
def test_it_makes_what_is_missing(server: DatabaseServer, fresh_server: Any, tmp_path: Path) -> None:
    fresh = fresh_server(server.name)
    fresh.execute("DROP EXTENSION pg_stat_statements")
    for statement in printed(fresh, tmp_path):
        fresh.execute(statement)
    assert check(tmp_path, server_entry(fresh, Account(NAME, PASSWORD))).code == 0


def test_it_cannot_be_told_of_a_server_that_does_not_answer(server: DatabaseServer, tmp_path: Path) -> None:
    scheme = "postgresql" if server.engine == "postgres" else "mysql"
    result = check(tmp_path, {"name": "gone", "url": f"{scheme}://u:p@127.0.0.1:1/"}, args=("--grants",))
    assert result.code == 2
    assert "gone  unreachable" in result.out
