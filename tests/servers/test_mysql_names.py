"""Names that differ by little, or hold what others end with: schemas, users and accounts of MySQL and MariaDB."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from exporter.engines.deadline import Deadline
from exporter.failure import Failure
from tests.providers.base import DatabaseServer, wait_for
from tests.servers.collecting import Watch, config_of, watching

pytestmark = pytest.mark.engine("mysql")
SCHEMAS = ("twin", "TWIN", "twín")


@pytest.fixture
def twins(server: DatabaseServer) -> DatabaseServer:
    """Schemas that a collation without case and accents takes for one; the second holds more than the others."""
    for name in SCHEMAS:
        server.execute(f"DROP DATABASE IF EXISTS `{name}`")
        server.execute(f"CREATE DATABASE `{name}`")
        server.execute(f"CREATE TABLE `{name}`.t (a int PRIMARY KEY, b longtext)")
        server.execute(f"CREATE TABLE `{name}`.m (a int, b longtext) ENGINE = MyISAM")
    server.execute("INSERT INTO TWIN.t VALUES (1, REPEAT('x', 3000000))")
    server.execute("INSERT INTO TWIN.m VALUES (1, REPEAT('x', 3000000))")
    return server


def test_schemas_that_differ_by_case_and_accents_have_sizes_of_their_own(twins: DatabaseServer) -> None:
    if twins.data is None:
        return
    folder = {name: twins.data / name for name in ("twin", "TWIN")}

    def on_disk(name: str) -> int:
        return sum(path.stat().st_size for path in folder[name].iterdir() if path.suffix in {".ibd", ".MYD", ".MYI"})

    with watching(twins) as watch:

        def equal() -> bool:
            sizes = watch.run("mysql_schema_sizes").by("db_size_bytes", "database")
            return all(sizes[name] == pytest.approx(on_disk(name), abs=2048) for name in folder)

        assert wait_for(equal, 20, 1), (watch.run("mysql_schema_sizes").all, {name: on_disk(name) for name in folder})
        sizes = watch.run("mysql_schema_sizes").by("db_size_bytes", "database")
        assert sizes["twín"] == sizes["twin"] < sizes["TWIN"] - 5_000_000


@pytest.mark.flavor("mysql")
def test_schemas_that_differ_by_case_and_accents_have_statements_of_their_own(twins: DatabaseServer) -> None:
    def own(name: str) -> int:
        [(calls,)] = twins.execute(
            "SELECT COALESCE(SUM(COUNT_STAR), 0) FROM performance_schema.events_statements_summary_by_digest "
            "WHERE SCHEMA_NAME = %s COLLATE utf8mb4_bin",
            params=(name,),
        )
        return int(calls)

    with watching(twins) as watch:
        before = {name: own(name) for name in SCHEMAS}
        watch.run("mysql_statements")
        for times, name in enumerate(SCHEMAS, 2):
            with twins.connect(name) as connection, connection.cursor() as cursor:
                for _ in range(times):
                    cursor.execute("SELECT COUNT(*) FROM t")
        found = watch.run("mysql_statements").by("db_statements_total", "database")
        assert {name: found[name] for name in SCHEMAS} == {name: own(name) - before[name] for name in SCHEMAS}
        assert len({found[name] for name in SCHEMAS}) == len(SCHEMAS)


def test_users_that_differ_by_case_have_sessions_of_their_own(server: DatabaseServer) -> None:
    for user, limit in (("twin", 5), ("Twin", 7)):
        server.execute(f"DROP USER IF EXISTS {user}@'%'")
        server.execute(f"CREATE USER {user}@'%' IDENTIFIED BY 'x' WITH MAX_USER_CONNECTIONS {limit}")
    with ExitStack() as stack:
        for user in ("twin", "Twin", "Twin"):
            stack.enter_context(server.connect(user=user, password="x"))
        with watching(server) as watch:
            found = watch.run("mysql_accounts")
    taken, most = found.by("db_role_connections", "role"), found.by("db_role_connections_max", "role")
    assert {user: (taken[user], most[user]) for user in ("twin", "Twin")} == {"twin": (1, 5), "Twin": (2, 7)}
    server.execute("DROP USER twin@'%', Twin@'%'")


def test_an_account_whose_name_has_an_at_sign_knows_its_own_sessions(server: DatabaseServer) -> None:
    account = server.account(name="watcher@example")
    with watching(server, account) as watch:
        before = watch.run("mysql_activity")
        other = Watch(config_of(server, account))
        try:
            after = watch.run("mysql_activity")
            # Before, there may have been others that have ended since.
            assert sum(after.values("db_connections")) <= sum(before.values("db_connections"))
            assert "watcher@example" not in watch.run("mysql_accounts").by("db_role_connections", "role")
            watch.session.kill(other.session.connection_id, Deadline.after(5))
            with pytest.raises(Failure):
                other.session.run("SELECT 1", Deadline.after(5))
        finally:
            other.session.close()
    server.execute("DROP USER 'watcher@example'@'%'")
