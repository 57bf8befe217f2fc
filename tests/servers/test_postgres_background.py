"""Checkpoints, the background writer and the archiver, against the views and what the test makes happen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.providers.base import DatabaseServer, wait_for
from tests.servers.collecting import watching

pytestmark = pytest.mark.engine("postgres")
# Where the figures were before 17, and where they are now.
_OLD = "SELECT checkpoints_req, checkpoint_write_time / 1000, buffers_checkpoint FROM pg_stat_bgwriter"
_NEW = "SELECT num_requested, write_time / 1000, buffers_written FROM pg_stat_checkpointer"


def test_a_checkpoint_under_one_name_on_every_version(server: DatabaseServer) -> None:
    query = _NEW if server.version[0] >= 17 else _OLD
    names = (
        "pg_checkpoints_requested_total",
        "pg_checkpoint_write_seconds_total",
        "pg_checkpoint_buffers_written_total",
    )
    with watching(server) as watch:
        before = watch.run("pg_stat_bgwriter")
        server.execute("CREATE TABLE checkpointed AS SELECT generate_series(1, 50000) i")
        server.execute("CHECKPOINT")
        server.execute("DROP TABLE checkpointed")
        # What is reported after the statement has returned comes a moment later.
        assert wait_for(lambda: server.execute(query)[0][0] > before.one(names[0]), 15)

        def settled() -> bool:
            shown = watch.run("pg_stat_bgwriter")
            return [shown.one(name) for name in names] == [pytest.approx(float(x)) for x in server.execute(query)[0]]

        assert wait_for(settled, 15)
        after = watch.run("pg_stat_bgwriter")
    assert all(after.one(name) > before.one(name) for name in (names[0], names[2]))
    if server.version[0] >= 18:
        done = server.execute("SELECT num_done, slru_written FROM pg_stat_checkpointer")[0]
        assert (after.one("pg_checkpoints_done_total"), after.one("pg_checkpoint_slru_written_total")) == done


def test_a_restartpoint_is_a_checkpoint_on_every_version(replica: DatabaseServer) -> None:
    """The server counted them as one until it told them apart in 17."""
    name = "pg_checkpoints_requested_total"
    with watching(replica) as watch:
        before = watch.run("pg_stat_bgwriter").one(name)
        replica.execute("CHECKPOINT")
        assert wait_for(lambda: watch.run("pg_stat_bgwriter").one(name) == before + 1, 15)


def test_buffers_that_backends_write_themselves(server: DatabaseServer) -> None:
    """A session that makes a table larger writes every block of it once, whatever the version calls that."""
    with watching(server) as watch:
        before = watch.run("pg_stat_bgwriter").one("pg_backend_buffers_written_total")
        with server.connect() as connection:
            connection.execute("CREATE TABLE grown (i int, filler char(500)) WITH (autovacuum_enabled = off)")
            connection.execute("INSERT INTO grown SELECT i, 'x' FROM generate_series(1, 30000) i")
            [(blocks,)] = connection.execute("SELECT pg_relation_size('grown') / 8192").fetchall()
            connection.execute("DROP TABLE grown")

        def counted() -> float:
            # Before 16 they are told when the checkpointer wakes up.
            server.execute("CHECKPOINT")
            return watch.run("pg_stat_bgwriter").one("pg_backend_buffers_written_total") - before

        assert wait_for(lambda: counted() >= blocks, 15)
        # Some are written once more when their place is needed, and other sessions write too.
        assert counted() <= 3 * blocks + 1000


def test_the_archiver_and_what_waits_for_it(
    fresh_server: Callable[..., DatabaseServer], server: DatabaseServer
) -> None:
    made = fresh_server(server.name, {"archive_mode": "on", "archive_command": "false"})
    assert made.data is not None
    with watching(made) as watch:
        for _ in range(2):
            made.execute("SELECT pg_switch_wal()")
            made.execute("CREATE TABLE IF NOT EXISTS a (i int); INSERT INTO a VALUES (1)")
        assert wait_for(lambda: made.execute("SELECT failed_count FROM pg_stat_archiver")[0][0] > 0, 30)
        with made.connect() as connection:
            # A backup leaves a file for the archive that is no segment.
            begin, end = ("pg_start_backup('b', true, false)", "pg_stop_backup(false, false)")
            if made.version[0] >= 15:
                begin, end = "pg_backup_start('b', true)", "pg_backup_stop(false)"
            connection.execute(f"SELECT {begin}".encode())
            connection.execute(f"SELECT {end}".encode())
        failing, backlog = watch.run("pg_stat_archiver"), watch.run("pg_archiver_backlog")
        waiting, others = _ready(made.data), _ready(made.data, "*.backup.ready")
        made.execute("ALTER SYSTEM SET archive_command = 'true'")
        made.execute("SELECT pg_reload_conf()")
        made.execute("SELECT pg_switch_wal()")
        assert wait_for(lambda: not _ready(made.data), 90)
        assert wait_for(lambda: watch.run("pg_stat_archiver").one("pg_archiver_failing") == 0, 15)
        mended, emptied = watch.run("pg_stat_archiver"), watch.run("pg_archiver_backlog")
        [(archived, failed)] = made.execute("SELECT archived_count, failed_count FROM pg_stat_archiver")
    assert failing.one("pg_archiver_failing") == 1
    assert failing.one("pg_stat_archiver_failed_count") >= 1
    assert not failing.values("pg_archiver_last_archived_timestamp_seconds")
    assert not failing.values("pg_stat_archiver_last_archive_age")
    assert backlog.one("pg_archiver_ready_files") == waiting >= 2
    assert others == 1
    assert backlog.one("pg_archiver_ready_bytes") == (waiting - others) * 16 * 1024 * 1024
    assert backlog.one("pg_archiver_ready_oldest_seconds") < 600
    assert mended.one("pg_stat_archiver_archived_count") == archived >= waiting
    assert mended.one("pg_stat_archiver_failed_count") == failed
    assert mended.one("pg_archiver_last_archived_timestamp_seconds") >= mended.one(
        "pg_archiver_last_failed_timestamp_seconds"
    )
    assert emptied.one("pg_archiver_ready_files") == emptied.one("pg_archiver_ready_bytes") == 0
    assert not emptied.values("pg_archiver_ready_oldest_seconds")


def _ready(data: Path | None, pattern: str = "*.ready") -> int:
    assert data is not None
    return len(list((data / "pg_wal/archive_status").glob(pattern)))


def test_a_block_with_a_wrong_checksum(fresh_server: Callable[..., DatabaseServer], server: DatabaseServer) -> None:
    """Only clusters of 18 have checksums unless asked for."""
    if server.version[0] < 18:
        with watching(server) as watch:
            assert not watch.run("pg_checksums").all
        return
    # Nobody but the test is to come across it.
    made = fresh_server(server.name, {"autovacuum": "off"})
    assert made.data is not None
    made.execute("CREATE TABLE broken AS SELECT generate_series(1, 100) i")
    [(path,)] = made.execute("SELECT pg_relation_filepath('broken')")
    made.execute("CHECKPOINT")
    made.stop()
    with (made.data / path).open("r+b") as file:
        file.seek(4000)
        file.write(b"not what was written")
    made.start()
    with watching(made) as watch:
        whole = watch.run("pg_checksums")
        with pytest.raises(psycopg.errors.DataCorrupted):
            made.execute("SELECT * FROM broken")
        counted = "SELECT checksum_failures FROM pg_stat_database WHERE datname = 'postgres'"
        assert wait_for(lambda: made.execute(counted)[0][0] > 0, 15)
        found = watch.run("pg_checksums")
    failures = found.by("pg_stat_database_checksum_failures_total", "datname")
    assert whole.by("pg_stat_database_checksum_failures_total", "datname") == dict.fromkeys(failures, 0)
    assert failures == {"postgres": made.execute(counted)[0][0], "template0": 0, "template1": 0, "": 0}
    assert set(found.by("pg_stat_database_checksum_last_failure_timestamp_seconds", "datname")) == {"postgres"}


def test_what_the_buffer_cache_holds(server: DatabaseServer) -> None:
    server.execute("CREATE EXTENSION IF NOT EXISTS pg_buffercache")
    try:
        with watching(server) as watch:
            samples = watch.run("pg_buffercache_summary")
        if server.version[0] < 16:
            assert not samples.all
            return
        [(buffers,)] = server.execute("SELECT setting::int FROM pg_settings WHERE name = 'shared_buffers'")
        used, unused = (samples.one(f"pg_buffercache_summary_buffers_{kind}") for kind in ("used", "unused"))
        assert used + unused == buffers
        assert 0 < samples.one("pg_buffercache_summary_usagecount_avg") <= 5
        assert samples.one("pg_buffercache_summary_buffers_dirty") <= used
        assert samples.one("pg_buffercache_summary_buffers_pinned") <= used
    finally:
        server.execute("DROP EXTENSION pg_buffercache")


def test_whose_blocks_are_in_the_buffer_cache(server: DatabaseServer) -> None:
    server.execute("CREATE EXTENSION IF NOT EXISTS pg_buffercache")
    server.execute("CREATE TABLE cached AS SELECT generate_series(1, 20000) i")
    try:
        [(blocks,)] = server.execute("SELECT pg_relation_size('cached') / current_setting('block_size')::int")
        server.execute("SELECT count(*) FROM cached")
        with watching(server) as watch:
            samples, counts = watch.run("pg_buffercache_relations"), watch.run("pg_buffercache_usage_counts")
        # With its maps of free space and visibility.
        cached = samples.one("pg_buffercache_relation_buffers", datname="postgres", relname="cached")
        assert blocks <= cached <= blocks + 5
        assert samples.one("pg_buffercache_relation_buffers_dirty", relname="cached") <= cached
        databases = samples.by("pg_buffercache_database_buffers", "datname")
        assert databases["postgres"] >= cached
        # Catalogs of all databases.
        assert databases[""] > 0
        [(buffers,)] = server.execute("SELECT setting::int FROM pg_settings WHERE name = 'shared_buffers'")
        assert sum(databases.values()) <= buffers
        by_usage = counts.by("pg_buffercache_usage_buffers", "usage_count")
        if server.version[0] < 16:
            assert not by_usage
        else:
            assert set(by_usage) == {"0", "1", "2", "3", "4", "5"}
            assert sum(by_usage.values()) == buffers
    finally:
        server.execute("DROP TABLE cached")
        server.execute("DROP EXTENSION pg_buffercache")


def test_when_statistics_began(server: DatabaseServer) -> None:
    [(before,)] = server.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
    server.execute("SELECT pg_stat_reset_shared('archiver')")
    server.execute("SELECT pg_stat_reset_slru('notify')" if server.version[0] >= 17 else
                   "SELECT pg_stat_reset_slru('Notify')")  # fmt: skip
    moments = "SELECT extract(epoch FROM {})::float8 FROM {}"

    def began(column: str, view: str) -> float:
        return float(server.execute(moments.format(column, view))[0][0])

    # Before 15 a process of its own keeps the statistics, and gets to it a moment later.
    assert wait_for(lambda: began("stats_reset", "pg_stat_archiver") > before, 15)
    assert wait_for(lambda: began("max(stats_reset)", "pg_stat_slru") > before, 15)
    archiver, slru = began("stats_reset", "pg_stat_archiver"), began("max(stats_reset)", "pg_stat_slru")
    with watching(server) as watch:
        found = watch.run("pg_statistics_resets").by("pg_statistics_reset_timestamp_seconds", "view")
    assert found["pg_stat_archiver"] == pytest.approx(archiver, abs=0.001)
    assert found["pg_stat_slru"] == pytest.approx(slru, abs=0.001)
    views = {"pg_stat_wal": 14, "pg_stat_io": 16, "pg_stat_checkpointer": 17, "pg_stat_bgwriter": 13}
    assert {view for view in views if view in found} == {view for view, n in views.items() if server.version[0] >= n}
