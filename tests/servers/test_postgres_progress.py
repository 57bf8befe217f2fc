"""Commands that are under way, slowed down so that they can be looked at, against the server's own views."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.providers.base import ADMIN_PASSWORD, DatabaseServer, wait_for
from tests.providers.tools import tool
from tests.servers.background import running
from tests.servers.collecting import Samples, Watch, watching

pytestmark = pytest.mark.engine("postgres")
SLOWLY = "SET vacuum_cost_delay = '100ms'; SET vacuum_cost_limit = 1"


@pytest.fixture
def watch(server: DatabaseServer) -> Iterator[Watch]:
    with watching(server) as watch:
        yield watch


@pytest.fixture(scope="module", autouse=True)
def tables(server: DatabaseServer) -> Iterator[None]:
    """Give tables that take long to work on, in the database of the exporter and in another."""
    server.execute("DROP DATABASE IF EXISTS elsewhere")
    server.execute("CREATE DATABASE elsewhere")
    for database in ("postgres", "elsewhere"):
        with server.connect(database) as connection:
            connection.execute('DROP SCHEMA IF EXISTS "My Shop" CASCADE; DROP TABLE IF EXISTS worked')
            connection.execute('CREATE SCHEMA "My Shop"')
            for table in ("worked", '"My Shop".items'):
                connection.execute(
                    f"CREATE TABLE {table} WITH (autovacuum_enabled = off) AS"
                    " SELECT i, repeat('x', 500) AS filler FROM generate_series(1, 20000) i"
                )
                # Without an index nobody has to remember dead rows.
                connection.execute(f"CREATE INDEX ON {table} (i)")
                connection.execute(f"DELETE FROM {table} WHERE i % 2 = 0")
            connection.execute(
                "CREATE OR REPLACE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql IMMUTABLE"
                " AS 'BEGIN PERFORM pg_sleep(0.05); RETURN $1; END'"
            )
    # What a standby still needs is not dead for vacuum; it says so every few seconds.
    [(last,)] = server.execute("SELECT pg_current_xact_id()::xid::text")
    held = f"SELECT count(*) FROM pg_stat_replication WHERE age(backend_xmin) > age('{last}'::xid)"
    assert wait_for(lambda: server.execute(held)[0][0] == 0, 30)
    yield
    server.execute('DROP SCHEMA "My Shop" CASCADE; DROP TABLE worked; DROP FUNCTION slow')
    server.execute("DROP DATABASE elsewhere")


@contextlib.contextmanager
def at_work(
    server: DatabaseServer, view: str, sql: str, database: str | None = None, first: str = ""
) -> Iterator[None]:
    """Run a statement until the end of the block, which begins when the server tells of its progress."""
    with server.connect(database) as connection:
        if first:
            connection.execute(first)
        pid = connection.info.backend_pid
        with running(connection, sql):
            seen = f"SELECT count(*) FROM {view} WHERE pid = {pid}"
            assert wait_for(lambda: server.execute(seen)[0][0] == 1, 15)
            yield


def between(server: DatabaseServer, watch: Watch, collector: str, sql: str) -> tuple[tuple[Any, ...], Samples, Any]:
    before = server.execute(sql)[0]
    samples = watch.run(collector)
    return before, samples, server.execute(sql)[0]


def test_a_vacuum(server: DatabaseServer, watch: Watch) -> None:
    new = server.version[0] >= 17
    dead = "num_dead_item_ids" if new else "num_dead_tuples"
    sql = f"SELECT heap_blks_scanned, {dead} FROM pg_stat_progress_vacuum"
    with at_work(server, "pg_stat_progress_vacuum", "VACUUM worked", first=SLOWLY):
        assert wait_for(lambda: min(server.execute(sql)[0]) > 3, 15)
        before, samples, after = between(server, watch, "pg_stat_progress_vacuum", sql)
        [(blocks, rounds)] = server.execute("SELECT heap_blks_total, index_vacuum_count FROM pg_stat_progress_vacuum")
        if new:
            [(most, taken)] = server.execute(
                "SELECT max_dead_tuple_bytes, dead_tuple_bytes FROM pg_stat_progress_vacuum"
            )
            assert samples.one("pg_stat_progress_vacuum_max_dead_tuple_bytes") == most > 0
            assert samples.one("pg_stat_progress_vacuum_dead_tuple_bytes") <= taken
            assert not samples.values("pg_stat_progress_vacuum_max_dead_tuples")
        else:
            [(most,)] = server.execute("SELECT max_dead_tuples FROM pg_stat_progress_vacuum")
            assert samples.one("pg_stat_progress_vacuum_max_dead_tuples") == most
    place = {"datname": "postgres", "relname": "worked"}
    assert before[0] <= samples.one("pg_stat_progress_vacuum_heap_blks_scanned", **place) <= after[0]
    assert 0 < before[1] <= samples.one("pg_stat_progress_vacuum_num_dead_tuples", **place) <= after[1]
    assert samples.one("pg_stat_progress_vacuum_heap_blks", **place) == blocks
    assert samples.one("pg_stat_progress_vacuum_index_vacuums", **place) == rounds
    phases = samples.by("pg_stat_progress_vacuum_phase", "phase")
    assert {phase for phase, now in phases.items() if now} == {"scanning heap"}
    assert len(phases) == 7


def test_a_vacuum_elsewhere_is_told_by_number(server: DatabaseServer, watch: Watch) -> None:
    with at_work(server, "pg_stat_progress_vacuum", 'VACUUM "My Shop".items', "elsewhere", SLOWLY):
        with at_work(server, "pg_stat_progress_vacuum", 'VACUUM "My Shop".items', first=SLOWLY):
            samples = watch.run("pg_stat_progress_vacuum")
        [(number,)] = server.execute("SELECT '\"My Shop\".items'::regclass::oid", "elsewhere")
    places = set(samples.by("pg_stat_progress_vacuum_heap_blks", "datname", "relname"))
    assert places == {("elsewhere", str(number)), ("postgres", '"My Shop".items')}


def test_time_that_a_vacuum_sleeps(server: DatabaseServer, watch: Watch) -> None:
    timed = "SET track_cost_delay_timing = on; " + SLOWLY
    with at_work(
        server, "pg_stat_progress_vacuum", "VACUUM worked", first=timed if server.version[0] >= 18 else SLOWLY
    ):
        samples = watch.run("pg_stat_progress_vacuum")
        if server.version[0] >= 18:
            slept = "SELECT delay_time FROM pg_stat_progress_vacuum"
            assert wait_for(lambda: server.execute(slept)[0][0] > 200, 15)
            before, samples, after = between(server, watch, "pg_stat_progress_vacuum", slept)
            assert before[0] <= 1000 * samples.one("pg_stat_progress_vacuum_delay_seconds") <= after[0]
        else:
            assert not samples.values("pg_stat_progress_vacuum_delay_seconds")


def test_an_analyze(server: DatabaseServer, watch: Watch) -> None:
    view = "pg_stat_progress_analyze"
    with at_work(server, view, "ANALYZE worked", first=SLOWLY):
        sql = f"SELECT sample_blks_scanned, sample_blks_total, ext_stats_computed, ext_stats_total FROM {view}"
        assert wait_for(lambda: server.execute(sql)[0][0] > 0, 15)
        before, samples, after = between(server, watch, "pg_progress", sql)
    labels = {"command": "ANALYZE", "datname": "postgres", "relname": "worked", "phase": "acquiring sample rows"}
    assert before[0] <= samples.one("pg_progress_blocks_done", **labels) <= after[0]
    assert samples.one("pg_progress_blocks", **labels) == before[1]
    told = (samples.one("pg_progress_statistics_done", **labels), samples.one("pg_progress_statistics", **labels))
    assert told == before[2:]
    assert samples.one("pg_progress_running", **labels) == 1


def test_an_index_under_construction(server: DatabaseServer, watch: Watch) -> None:
    view = "pg_stat_progress_create_index"
    with at_work(server, view, "CREATE INDEX ON worked (slow(i))"):
        sql = f"SELECT blocks_done, blocks_total FROM {view}"
        assert wait_for(lambda: server.execute(sql)[0][0] > 0, 30)
        before, samples, after = between(server, watch, "pg_progress", sql)
    labels = {"command": "CREATE INDEX", "datname": "postgres", "relname": "worked"}
    assert before[0] <= samples.one("pg_progress_blocks_done", **labels) <= after[0]
    assert samples.one("pg_progress_blocks", **labels) == before[1]


def test_whom_an_index_waits_for(server: DatabaseServer, watch: Watch) -> None:
    view = "pg_stat_progress_create_index"
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(server.connect()).execute("BEGIN; LOCK TABLE worked IN ROW EXCLUSIVE MODE")
        stack.enter_context(at_work(server, view, "CREATE INDEX CONCURRENTLY waits ON worked (i)"))
        sql = f"SELECT lockers_total, lockers_done FROM {view} WHERE phase = 'waiting for writers before build'"
        assert wait_for(lambda: server.execute(sql) == [(2, 0)], 15)
        samples = watch.run("pg_progress")
    server.execute("DROP INDEX IF EXISTS waits")
    labels = {"command": "CREATE INDEX CONCURRENTLY", "phase": "waiting for writers before build"}
    assert samples.one("pg_progress_lockers", **labels) == 2
    assert samples.one("pg_progress_lockers_done", **labels) == 0


def test_a_table_being_rewritten(server: DatabaseServer, watch: Watch) -> None:
    server.execute("CREATE TABLE rewritten AS SELECT generate_series(1, 40) i")
    server.execute("CREATE INDEX ON rewritten (slow(i))")
    try:
        # Its index is built anew, which takes its time.
        with at_work(server, "pg_stat_progress_cluster", "VACUUM FULL rewritten"):
            built = "SELECT heap_tuples_scanned FROM pg_stat_progress_cluster WHERE phase = 'rebuilding index'"
            assert wait_for(lambda: bool(server.execute(built)), 15)
            samples = watch.run("pg_progress")
        for name, value in {"tuples_done": 40, "tuples_written": 40, "indexes_rebuilt": 0}.items():
            assert samples.one(f"pg_progress_{name}", command="VACUUM FULL", phase="rebuilding index") == value
    finally:
        server.execute("DROP TABLE rewritten")


def test_copies_into_a_table(server: DatabaseServer, watch: Watch) -> None:
    server.execute("CREATE TABLE copied (i int)")
    forgiving = server.version[0] >= 17
    how = "WITH (ON_ERROR ignore) " if forgiving else ""
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                connection = stack.enter_context(server.connect())
                copy = stack.enter_context(connection.cursor().copy(f"COPY copied FROM STDIN {how}WHERE i >= 100"))
                if forgiving:
                    copy.write_row(("many",))
                for number in range(20_000):
                    copy.write_row((number,))
            if server.version[0] >= 14:
                sql = "SELECT sum(bytes_processed), sum(tuples_processed) FROM pg_stat_progress_copy"
                assert wait_for(lambda: (server.execute(sql)[0][1] or 0) > 10_000, 15)
                before, samples, after = between(server, watch, "pg_progress", sql)
                labels = {"command": "COPY FROM", "relname": "copied", "phase": ""}
                assert samples.one("pg_progress_running", **labels) == 2
                assert before[0] <= samples.one("pg_progress_bytes_done", **labels) <= after[0]
                assert before[1] <= samples.one("pg_progress_tuples_done", **labels) <= after[1]
                assert samples.one("pg_progress_tuples_excluded", **labels) == 200
                assert samples.values("pg_progress_tuples_skipped", **labels) == ([2] if forgiving else [])
                # Nobody knows how much the client will send.
                assert not samples.values("pg_progress_bytes", **labels)
            else:
                assert not watch.run("pg_progress").all
    finally:
        server.execute("DROP TABLE copied")


def test_a_base_backup(server: DatabaseServer, watch: Watch, tmp_path: Path) -> None:
    backup = subprocess.Popen(
        [tool("pg_basebackup"), "--pgdata", tmp_path / "backup", "--max-rate=100k", "--checkpoint=fast", "--no-sync",
         "--wal-method=none", "-h", server.host, "-p", str(server.port), "-U", "postgres"],
        env={"PGPASSWORD": ADMIN_PASSWORD}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        sql = "SELECT sum(backup_streamed), sum(backup_total) FROM pg_stat_progress_basebackup"
        assert wait_for(lambda: (server.execute(sql)[0][0] or 0) > 0, 30)
        before, samples, after = between(server, watch, "pg_progress", sql)
    finally:
        backup.terminate()
        backup.wait(30)
    labels = {"command": "BASE BACKUP", "datname": "", "relname": ""}
    assert before[0] <= samples.one("pg_progress_bytes_done", **labels) <= after[0]
    assert samples.one("pg_progress_bytes", **labels) == before[1]


def test_autovacuum_at_work(server: DatabaseServer, fresh_server: Callable[..., DatabaseServer]) -> None:
    made = fresh_server(server.name, {"autovacuum_naptime": "1", "autovacuum_max_workers": "2"})
    with watching(made) as watch:
        idle = watch.run("pg_stat_activity_autovacuum")
        made.execute(
            "CREATE TABLE tended (i int, filler char(500)) WITH (autovacuum_vacuum_threshold = 1,"
            " autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)"
        )
        made.execute("INSERT INTO tended SELECT i, 'x' FROM generate_series(1, 20000) i")
        made.execute("DELETE FROM tended WHERE i % 2 = 0")
        begun = (
            "SELECT extract(epoch FROM xact_start)::float8 FROM pg_stat_activity"
            " WHERE backend_type = 'autovacuum worker' AND query LIKE 'autovacuum: VACUUM%public.tended%'"
        )
        assert wait_for(lambda: bool(made.execute(begun)), 60)
        samples = watch.run("pg_stat_activity_autovacuum")
        [(started,)] = made.execute(begun)
        if made.version[0] >= 18:
            # No more than there are slots, however many may be wanted.
            made.execute("ALTER SYSTEM SET autovacuum_max_workers = 1000")
            made.execute("SELECT pg_reload_conf()")
            [(slots,)] = made.execute("SELECT current_setting('autovacuum_worker_slots')::int")
            name = "pg_autovacuum_workers_max"
            assert wait_for(lambda: watch.run("pg_stat_activity_autovacuum").one(name) == slots, 15)
    assert idle.one("pg_autovacuum_workers_max") == 2
    assert not [labels for name, labels, _ in idle.all if labels.get("relname") == "tended"]
    assert samples.one("pg_autovacuum_workers") >= 1
    assert samples.one("pg_autovacuum_workers_wraparound") == 0
    shown = samples.one("pg_stat_activity_autovacuum_timestamp_seconds", relname="tended")
    assert shown == pytest.approx(started, abs=0.001)
