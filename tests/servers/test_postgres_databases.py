"""Activity and sizes of databases and schemas, against pgbench's count, the administrator's SQL and the files."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from exporter.declare import Rows
from exporter.registry import collectors_by_name, collectors_of
from tests.providers.base import ADMIN_PASSWORD, DatabaseServer, wait_for
from tests.providers.tools import tool
from tests.servers.collecting import Watch, watching

pytestmark = pytest.mark.engine("postgres")


@pytest.fixture
def watch(server: DatabaseServer) -> Iterator[Watch]:
    with watching(server) as watch:
        yield watch


@pytest.fixture
def database(server: DatabaseServer) -> Iterator[str]:
    """Give an empty database."""
    server.execute("DROP DATABASE IF EXISTS shop WITH (FORCE)")
    server.execute("CREATE DATABASE shop")
    yield "shop"
    server.execute("DROP DATABASE IF EXISTS shop WITH (FORCE)")


def statistics(server: DatabaseServer, database: str, column: str) -> Any:
    return server.execute(f"SELECT {column} FROM pg_stat_database WHERE datname = %s", params=(database,))[0][0]


def test_transactions_as_pgbench_counts_them(
    server: DatabaseServer, watch: Watch, database: str, tmp_path: Any
) -> None:
    script = tmp_path / "one.sql"
    script.write_text("SELECT 1;\n")

    def counted(outcome: str) -> float:
        return watch.run("pg_stat_database").one("db_transactions_total", database=database, outcome=outcome)

    before = counted("commit")
    done = subprocess.run(
        [tool("pgbench"), "-n", "-f", script, "-c", "2", "-t", "200", "-h", server.host, "-p", str(server.port), "-U",
         "postgres", database],
        env={"PGPASSWORD": ADMIN_PASSWORD}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found = re.search(r"transactions actually processed: (\d+)", done.stdout)
    assert found, done.stdout
    count = int(found[1])
    assert wait_for(lambda: statistics(server, database, "xact_commit") >= before + count, 10)
    # Every connection adds a transaction or two of its own.
    assert count <= counted("commit") - before <= count + 20

    with server.connect(database) as connection:
        for _ in range(7):
            with contextlib.suppress(psycopg.Error):
                connection.execute("SELECT 1/0")
    assert wait_for(lambda: statistics(server, database, "xact_rollback") == 7, 10)
    assert counted("rollback") == 7


def test_cache_and_native_families(server: DatabaseServer, watch: Watch, database: str) -> None:
    server.execute("CREATE TABLE filled AS SELECT generate_series(1, 20000) AS id", database)
    server.execute("SELECT count(*) FROM filled", database)
    assert wait_for(lambda: statistics(server, database, "tup_inserted") >= 20000, 10)
    columns = ["blks_hit", "blks_read", "tup_inserted", "tup_returned", "temp_bytes", "xact_commit", "conflicts"]
    least = {column: statistics(server, database, column) for column in columns}
    got = watch.run("pg_stat_database")
    most = {column: statistics(server, database, column) for column in columns}
    oid = str(server.execute("SELECT oid FROM pg_database WHERE datname = %s", params=(database,))[0][0])
    for column in columns:
        value = got.one(f"pg_stat_database_{column}", datname=database, datid=oid)
        assert least[column] <= value <= most[column], column
    assert least["blks_hit"] <= got.one("db_cache_hits_total", database=database) <= most["blks_hit"]
    assert least["blks_read"] <= got.one("db_cache_misses_total", database=database) <= most["blks_read"]
    # The row about shared catalogs belongs to no database.
    assert all(name for name in got.by("db_cache_hits_total", "database"))
    reset = statistics(server, database, "floor(extract(epoch FROM stats_reset))")
    assert got.values("pg_stat_database_stats_reset", datname=database) == ([] if reset is None else [float(reset)])


def test_deadlocks(server: DatabaseServer, watch: Watch, database: str) -> None:
    server.execute("CREATE TABLE fought (id int)", database)
    server.execute("CREATE TABLE over_it (id int)", database)
    assert watch.run("pg_stat_database").one("db_deadlocks_total", database=database) == 0

    def lock(connection: Any, table: str) -> None:
        with contextlib.suppress(psycopg.errors.DeadlockDetected):
            connection.execute(f"LOCK TABLE {table}")

    with server.connect(database) as one, server.connect(database) as other:
        one.execute("BEGIN; LOCK TABLE fought")
        other.execute("BEGIN; LOCK TABLE over_it")
        thread = threading.Thread(target=lock, args=(one, "over_it"))
        thread.start()
        lock(other, "fought")
        other.execute("ROLLBACK")
        thread.join(30)
        one.execute("ROLLBACK")
    assert wait_for(lambda: statistics(server, database, "deadlocks") == 1, 10)
    assert watch.run("pg_stat_database").one("db_deadlocks_total", database=database) == 1


def test_sizes_of_databases(server: DatabaseServer, watch: Watch, database: str) -> None:
    server.execute("CREATE TABLE filled AS SELECT generate_series(1, 50000) AS id", database)
    server.execute("CHECKPOINT")
    expected = dict(server.execute("SELECT datname, pg_database_size(oid) FROM pg_database"))
    got = watch.run("pg_database_sizes")
    sizes = got.by("db_size_bytes", "database")
    assert set(sizes) == set(expected)
    assert sizes[database] == expected[database]
    assert got.by("pg_database_size_bytes", "datname") == sizes
    server.execute(f"DROP DATABASE {database}")
    gone = watch.run("pg_database_sizes").by("db_size_bytes", "database")
    assert set(gone) == set(expected) - {database}


def test_a_database_out_of_reach_hides_no_other(server: DatabaseServer, database: str) -> None:
    server.execute(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    account = server.account("REVOKE pg_monitor FROM exporter")
    with watching(server, account) as watch:
        sizes = watch.run("pg_database_sizes").by("db_size_bytes", "database")
    assert "postgres" in sizes
    assert database not in sizes
    with watching(server, server.account()) as watch:
        sizes = watch.run("pg_database_sizes").by("db_size_bytes", "database")
    assert database in sizes


def test_what_an_interrupted_drop_leaves_has_its_size(server: DatabaseServer) -> None:
    server.execute("DROP DATABASE IF EXISTS half_dropped")
    server.execute("CREATE DATABASE half_dropped")
    ((oid,),) = server.execute("SELECT oid FROM pg_database WHERE datname = 'half_dropped'")
    server.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'half_dropped'")
    # So that nothing of it is to be written any more when its files go.
    server.execute("CHECKPOINT")

    def files() -> int:
        found = server.execute(
            f"SELECT sum((pg_stat_file('base/{oid}/' || file, true)).size) "
            f"FROM pg_ls_dir('base/{oid}', true, false) file"
        )
        return int(found[0][0] or 0)

    try:
        with watching(server, server.account()) as watch:
            whole = watch.run("pg_database_sizes").by("pg_database_size_bytes", "datname")
            assert whole["half_dropped"] == files() > 0
            server.execute(f"COPY (SELECT) TO PROGRAM 'cat > /dev/null; rm base/{oid}/1*'")
            partly = watch.run("pg_database_sizes").by("pg_database_size_bytes", "datname")
            assert whole["half_dropped"] > partly["half_dropped"] == files() > 0
            server.execute(f"COPY (SELECT) TO PROGRAM 'cat > /dev/null; rm -r base/{oid}'")
            gone = watch.run("pg_database_sizes").by("pg_database_size_bytes", "datname")
            assert gone.keys() == whole.keys() - {"half_dropped"}
    finally:
        server.execute("UPDATE pg_database SET datconnlimit = -1 WHERE datname = 'half_dropped'")
        server.execute("DROP DATABASE half_dropped")


def test_a_database_dropped_while_we_look_hides_no_other(server: DatabaseServer, database: str) -> None:
    collector = collectors_by_name()["pg_database_sizes"]
    account = server.account()
    with server.connect("postgres", account.user, account.password) as connection:
        # An old snapshot still shows the database, as a statement does that has just begun.
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM pg_database")
        server.execute(f"DROP DATABASE {database}")
        cursor = connection.execute(collector.queries[0].sql.encode())
        rows = Rows(("datname", "size"), cursor.fetchall())
    sizes = dict(rows.rows)
    assert sizes.get(database) is None
    assert sizes["postgres"] > 0


def sizes_by_schema(server: DatabaseServer, database: str) -> dict[str, int]:
    sql = """
        SELECT n.nspname, coalesce(sum(pg_total_relation_size(c.oid)) FILTER (WHERE c.relkind IN ('r', 'm', 'S')), 0)
        FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' GROUP BY 1"""
    return {schema: int(size) for schema, size in server.execute(sql, database)}


@pytest.fixture
def tenants(server: DatabaseServer, database: str) -> str:
    """Give a database of three project schemas: tables with indexes and TOAST, one never analyzed, one empty."""
    with server.connect(database) as connection:
        for schema in ("alpha", "beta", "hollow"):
            connection.execute(f"CREATE SCHEMA {schema}")
        connection.execute(
            "CREATE TABLE alpha.texts AS SELECT i AS id, (SELECT string_agg(md5(random()::text || j), '') "
            "FROM generate_series(1, 200) j) AS body FROM generate_series(1, 300) i"
        )
        connection.execute("CREATE INDEX ON alpha.texts (id)")
        connection.execute("CREATE TABLE alpha.numbers AS SELECT generate_series(1, 20000) AS id")
        # Autovacuum would give it maps of its own at any moment.
        connection.execute("CREATE TABLE beta.fresh (id int PRIMARY KEY) WITH (autovacuum_enabled = false)")
        connection.execute("VACUUM ANALYZE")
        connection.execute("INSERT INTO beta.fresh SELECT generate_series(1, 20000)")
        connection.execute("CHECKPOINT")
    return database


def test_sizes_of_schemas_are_exact(server: DatabaseServer, watch: Watch, tenants: str) -> None:
    expected = sizes_by_schema(server, tenants)
    assert expected["beta"] > 500_000
    got = watch.run("pg_table_sizes")
    assert {schema: got.one("db_schema_size_bytes", database=tenants, schema=schema) for schema in expected} == expected
    assert got.one("db_schema_size_bytes", database=tenants, schema="hollow") == 0
    schemas = {schema for _, schema in got.by("db_schema_size_bytes", "database", "schema")}
    assert not {schema for schema in schemas if schema.startswith("pg_") or schema == "information_schema"}


@pytest.mark.parametrize("target", ["alpha.texts", "index", "waiting"])
def test_a_locked_table_falls_back_to_its_last_vacuum(
    server: DatabaseServer, watch: Watch, tenants: str, target: str
) -> None:
    with contextlib.ExitStack() as stack:
        holder = stack.enter_context(server.connect(tenants))
        holder.execute("BEGIN")
        if target == "waiting":
            # Nobody holds ACCESS EXCLUSIVE yet, but who comes later queues behind the one who wants it.
            holder.execute("SELECT 1 FROM alpha.texts LIMIT 1")
            waiter = stack.enter_context(server.connect(tenants))
            thread = threading.Thread(target=_lock, args=(waiter, "alpha.texts"))
            thread.start()
            stack.callback(thread.join, 30)
            stack.callback(waiter.cancel)
            held = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
            assert wait_for(lambda: bool(server.execute(held, tenants)[0][0]), 10)
        elif target == "index":
            holder.execute("REINDEX INDEX alpha.texts_id_idx")
        else:
            holder.execute(f"LOCK TABLE {target}")
        got = watch.run("pg_table_sizes")
        facts = watch.facts()
        # Those of logs need one in the config.
        names = [collector.name for collector in collectors_of("postgres") if "slow_log" not in collector.name]
        others = {name: watch.run(name, facts) for name in names}
    expected = sizes_by_schema(server, tenants)
    assert got.one("db_schema_size_bytes", database=tenants, schema="beta") == expected["beta"]
    # It was vacuumed just before, so its pages are those it has, but for its maps of free space and visibility.
    alpha = got.one("db_schema_size_bytes", database=tenants, schema="alpha")
    assert expected["alpha"] - 200_000 < alpha < expected["alpha"]
    assert {"pg_activity", "pg_stat_database", "pg_storage"} <= {name for name, found in others.items() if found.all}
    assert others["pg_database_sizes"].one("db_size_bytes", database=tenants) > 0
    assert others["pg_lock_waits"].one("db_lock_waiting_sessions", database=tenants) == (target == "waiting")


def _lock(connection: Any, table: str) -> None:
    with contextlib.suppress(psycopg.Error):
        connection.execute(f"BEGIN; LOCK TABLE {table}")


def test_what_the_config_says(server: DatabaseServer, tenants: str) -> None:
    projects = [
        {"pattern": f"{tenants}.alpha", "project": "blog", "owner": "ann"},
        {"pattern": "postgres", "project": "platform"},
    ]
    with watching(server, size_limit={tenants: "5GiB"}, projects=projects) as watch:
        got = watch.run("pg_databases")
        assert got.by("db_size_limit_bytes", "database") == {tenants: 5 * 2**30}
        assert got.by("db_project_info", "database", "project", "owner") == {("postgres", "platform", ""): 1}
        schemas = watch.run("pg_table_sizes").by("db_project_info", "database", "schema", "project", "owner")
        assert schemas[tenants, "alpha", "blog", "ann"] == 1
        assert schemas["postgres", "public", "platform", ""] == 1
        assert not [key for key in schemas if key[1] in {"beta", "hollow"}]
    with watching(server) as watch:
        assert not {"db_size_limit_bytes", "db_project_info"} & watch.run("pg_databases").names()


def test_storage(server: DatabaseServer, watch: Watch) -> None:
    slot = "storage_test"
    server.execute("SELECT pg_create_physical_replication_slot(%s, true)", params=(slot,))
    try:
        server.execute("SELECT pg_switch_wal()")
        server.execute("CREATE TABLE wal_filler AS SELECT generate_series(1, 1000)")
        server.execute("DROP TABLE wal_filler")
        with server.connect() as connection:
            connection.execute("SET work_mem = '64kB'")
            connection.execute("BEGIN")
            connection.execute("DECLARE big CURSOR FOR SELECT i FROM generate_series(1, 100000) i ORDER BY i DESC")
            connection.execute("FETCH 1 FROM big")
            got = watch.run("pg_storage")
            number, temporary = server.execute("SELECT count(*), sum(size) FROM pg_ls_tmpdir()")[0]
        retained = "SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) FROM pg_replication_slots"
        most = server.execute(retained)[0][0]
    finally:
        server.execute("SELECT pg_drop_replication_slot(%s)", params=(slot,))
    files = server.execute("SELECT count(*), sum(size) FROM pg_ls_waldir() WHERE length(name) = 24")[0]
    assert got.one("pg_wal_segments") == files[0]
    assert got.one("pg_wal_size_bytes") == files[1]
    assert files[1] <= got.one("db_storage_bytes", kind="wal") < files[1] + 100_000
    assert got.one("db_storage_bytes", kind="temp") == temporary > 0
    assert got.one("pg_temp_files") == number > 0
    assert 0 <= got.one("pg_temp_file_oldest_seconds") < 60
    assert 0 < got.one("db_storage_bytes", kind="slot_retained") <= most
    after = watch.run("pg_storage")
    assert after.one("db_storage_bytes", kind="temp") == 0
    assert after.one("pg_temp_files") == 0
    assert not after.values("pg_temp_file_oldest_seconds")
