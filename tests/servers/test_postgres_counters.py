"""What the server counts of WAL, reads and writes and small caches, against its views and what the test writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.providers.base import DatabaseServer, wait_for
from tests.servers.collecting import Samples, Watch, watching

pytestmark = pytest.mark.engine("postgres")


@pytest.fixture
def watch(server: DatabaseServer) -> Iterator[Watch]:
    with watching(server) as watch:
        yield watch


def _write(server: DatabaseServer) -> None:
    server.execute("CREATE TABLE written AS SELECT i, repeat('x', 200) FROM generate_series(1, 5000) i")
    server.execute("DROP TABLE written")


def test_wal_generated_and_what_writing_it_takes(server: DatabaseServer, watch: Watch) -> None:
    if server.version[0] < 14:
        assert not watch.run("pg_stat_wal").all
        return
    columns = ["wal_records", "wal_fpi", "wal_bytes", "wal_buffers_full"]
    view = f"SELECT {', '.join(columns)} FROM pg_stat_wal"
    # Both places count the writes; the view lost them in 18. The new one also has those that make a segment, before any
    # WAL is in it.
    writes = (
        "SELECT sum(writes), sum(fsyncs) FROM pg_stat_io WHERE object = 'wal' AND context = 'normal'"
        if server.version[0] >= 18
        else "SELECT wal_write, wal_sync FROM pg_stat_wal"
    )
    names = ("records", "fpi", "bytes", "buffers_full", "writes", "syncs")

    def shown(samples: Samples) -> list[float]:
        return [samples.one(f"pg_stat_wal_{name}_total") for name in names]

    def told() -> list[float]:
        return [float(value) for value in (*server.execute(view)[0], *server.execute(writes)[0])]

    first = shown(watch.run("pg_stat_wal"))
    _write(server)

    def counted() -> bool:
        before, now, after = told(), shown(watch.run("pg_stat_wal")), told()
        grown = now[0] > first[0] and now[2] >= first[2] + 1_000_000 and now[4] > first[4]
        return grown and all(low <= value <= high for low, value, high in zip(before, now, after, strict=True))

    assert wait_for(counted, 20)
    # Nothing is timed there.
    assert not watch.run("pg_stat_wal").values("pg_stat_wal_write_seconds_total")


def test_writes_of_wal_are_timed_where_the_server_does(server: DatabaseServer, watch: Watch) -> None:
    if server.version[0] < 14:
        assert not watch.run("pg_stat_wal").all
        return
    server.execute("ALTER SYSTEM SET track_wal_io_timing = on")
    try:
        server.execute("SELECT pg_reload_conf()")

        def timed() -> bool:
            _write(server)
            return bool(watch.run("pg_stat_wal").values("pg_stat_wal_write_seconds_total"))

        assert wait_for(timed, 20)
        source = (
            "SELECT sum(write_time) / 1000 FROM pg_stat_io WHERE object = 'wal' AND context = 'normal'"
            if server.version[0] >= 18
            else "SELECT wal_write_time / 1000 FROM pg_stat_wal"
        )
        before = server.execute(source)[0][0]
        seconds = watch.run("pg_stat_wal").one("pg_stat_wal_write_seconds_total")
        assert before <= seconds <= server.execute(source)[0][0]
    finally:
        server.execute("ALTER SYSTEM RESET track_wal_io_timing")
        server.execute("SELECT pg_reload_conf()")
        if server.version[0] >= 18:
            server.execute("SELECT pg_stat_reset_shared('io')")
        else:
            server.execute("SELECT pg_stat_reset_shared('wal')")


def test_reads_and_writes_by_process(server: DatabaseServer, watch: Watch) -> None:
    if server.version[0] < 16:
        assert not watch.run("pg_stat_io").all
        return
    size = ("extend_bytes",) if server.version[0] >= 18 else ("extends * op_bytes",)
    place = "backend_type = 'client backend' AND object = 'relation' AND context = 'bulkwrite'"
    view = f"SELECT extends, {size[0]}, extend_time / 1000 FROM pg_stat_io WHERE {place}"
    labels = {"backend_type": "client backend", "object": "relation", "context": "bulkwrite"}
    names = ("extends_total", "extend_bytes_total", "extend_seconds_total")
    _write(server)

    def same() -> bool:
        samples = watch.run("pg_stat_io")
        now = [value for name in names for value in samples.values(f"pg_stat_io_{name}", **labels)]
        return now == [pytest.approx(float(value)) for value in server.execute(view)[0]] and now[1] > 1_000_000

    assert wait_for(same, 20)
    server.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT generate_series(1, 1000) i")
    server.execute("CHECKPOINT")
    server.execute("DROP TABLE kept")
    samples = watch.run("pg_stat_io")
    # What the server says is impossible is absent: nobody extends a relation from a checkpoint.
    assert samples.values("pg_stat_io_writes_total", backend_type="checkpointer")
    assert not samples.values("pg_stat_io_extends_total", backend_type="checkpointer")
    combinations = {tuple(given.items()) for _, given, _ in samples.all}
    assert len(combinations) < server.execute("SELECT count(*) FROM pg_stat_io")[0][0]


def test_small_caches_under_one_name_on_every_version(server: DatabaseServer, watch: Watch) -> None:
    samples = watch.run("pg_stat_slru")
    assert set(samples.by("pg_stat_slru_blks_hit_total", "name")) == {
        "commit_timestamp", "multixact_member", "multixact_offset", "notify", "other", "serializable",
        "subtransaction", "transaction",
    }  # fmt: skip
    name = "transaction" if server.version[0] >= 17 else "Xact"
    view = "SELECT blks_hit, blks_written FROM pg_stat_slru WHERE name = %s"

    def same() -> bool:
        before, now, after = (
            server.execute(view, params=(name,)),
            watch.run("pg_stat_slru"),
            server.execute(view, params=(name,)),
        )
        shown = [now.by(f"pg_stat_slru_blks_{what}_total", "name")["transaction"] for what in ("hit", "written")]
        return all(low <= value <= high for low, value, high in zip(before[0], shown, after[0], strict=True))

    assert wait_for(same, 15)
    assert watch.run("pg_stat_slru").by("pg_stat_slru_blks_hit_total", "name")["transaction"] > 0


def test_sessions_of_a_database(server: DatabaseServer, watch: Watch) -> None:
    server.execute("DROP DATABASE IF EXISTS visited")
    server.execute("CREATE DATABASE visited")
    if server.version[0] < 14:
        assert not watch.run("pg_stat_database").values("pg_stat_database_sessions_total")
        return
    with server.connect("visited") as connection:
        connection.execute("BEGIN; SELECT pg_sleep(0.3)")
        server.execute("SELECT pg_sleep(0.3)")
        connection.execute("COMMIT")
    with server.connect("visited") as connection:
        server.execute("SELECT pg_terminate_backend(%s)", params=(connection.info.backend_pid,))
    gone = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'visited'"
    assert wait_for(lambda: server.execute(gone)[0][0] == 0, 10)
    view = (
        "SELECT sessions, sessions_killed, session_time / 1000, idle_in_transaction_time / 1000 FROM pg_stat_database"
    )

    def same() -> bool:
        samples = watch.run("pg_stat_database")
        names = ("sessions", "sessions_killed", "session_seconds", "idle_in_transaction_seconds")
        shown = [samples.one(f"pg_stat_database_{name}_total", datname="visited") for name in names]
        [told] = server.execute(view + " WHERE datname = 'visited'")
        return shown == [pytest.approx(value) for value in told] and shown[:2] == [2, 1] and shown[3] > 0.2

    assert wait_for(same, 15)


def test_reads_that_somebody_has_not_come_back_for(server: DatabaseServer, watch: Watch) -> None:
    if server.version[0] < 18:
        assert not watch.run("pg_aios").all
        return
    quiet = "SELECT count(*) FROM pg_aios"
    server.execute("CREATE EXTENSION IF NOT EXISTS pg_buffercache")
    server.execute("CREATE TABLE scanned AS SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i")
    try:
        assert wait_for(lambda: server.execute(quiet) == [(0,)], 15)
        idle = watch.run("pg_aios")
        with server.connect() as reader:
            # Reads ahead of the first row, and stops.
            server.execute("CHECKPOINT")
            server.execute("SELECT pg_buffercache_evict_relation('scanned')")
            reader.execute("BEGIN; DECLARE c CURSOR FOR SELECT * FROM scanned")
            reader.execute("FETCH 1 FROM c")
            done = "SELECT count(*) FROM pg_aios WHERE operation = 'readv' AND state LIKE 'COMPLETED%'"
            assert wait_for(lambda: server.execute(done)[0][0] == server.execute(quiet)[0][0] > 0, 15)
            [(number,)] = server.execute(done)
            busy = watch.run("pg_aios")
    finally:
        server.execute("DROP TABLE scanned")
        server.execute("DROP EXTENSION pg_buffercache")
    assert idle.by("pg_aios_completed", "operation") == {"readv": 0, "writev": 0}
    assert busy.by("pg_aios_completed", "operation") == {"readv": number, "writev": 0}
    assert busy.by("pg_aios_pending", "operation") == {"readv": 0, "writev": 0}
    assert busy.by("pg_aios_pending_bytes", "operation") == {"readv": 0, "writev": 0}
