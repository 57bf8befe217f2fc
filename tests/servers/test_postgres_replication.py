"""Replication on real pairs: idle, paused, delayed, cut off, dead, promoted and recovering."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from exporter.facts import Role
from tests.providers.base import DatabaseServer, wait_for
from tests.servers.collecting import Samples, Watch, watching

pytestmark = pytest.mark.engine("postgres")
SHARED = {
    "db_replication_lag_seconds",
    "db_replication_lag_bytes",
    "db_replication_running",
    "db_replication_delay_seconds",
}
AGE = "SELECT extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8"


@pytest.fixture(scope="module")
def primary(server: DatabaseServer, fleet: Any) -> Iterator[DatabaseServer]:
    """Give a primary of our own: it dies and comes back."""
    # What it writes is what the tests have it write.
    made = fleet.provider.create(server.name, {"autovacuum": "off"})
    made.account()
    made.execute("CREATE TABLE written (id int)")
    yield made
    made.remove()


@pytest.fixture(scope="module")
def standby(primary: DatabaseServer) -> DatabaseServer:
    """Give its standby, which uses a slot."""
    primary.execute("SELECT pg_create_physical_replication_slot('first', true)")
    return primary.replica(primary_slot_name="first")


@pytest.fixture
def watch(standby: DatabaseServer) -> Iterator[Watch]:
    assert standby.primary is not None
    assert standby.primary.known_account is not None
    if ask(standby, AGE) is None:
        # A standby that has replayed no transaction yet does not know how old its last one is.
        write(standby.primary, 1)
        assert wait_for(lambda: ask(standby, AGE) is not None, 15)
    with watching(standby, standby.primary.known_account) as watch:
        yield watch


def ask(server: DatabaseServer, sql: str) -> Any:
    return server.execute(sql)[0][0]


def change(server: DatabaseServer, **settings: str) -> None:
    """Change settings of a running server; "" takes the change back."""
    for name, value in settings.items():
        server.execute(f"ALTER SYSTEM SET {name} = '{value}'" if value else f"ALTER SYSTEM RESET {name}")
    server.execute("SELECT pg_reload_conf()")


def streaming(standby: DatabaseServer) -> bool:
    return bool(ask(standby, "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'"))


def lag(samples: Samples) -> float:
    """The lag, which the native name must show as well."""
    value = samples.one("db_replication_lag_seconds", channel="")
    assert samples.one("pg_replication_lag_seconds") == value
    return value


def level(watch: Watch) -> Samples:
    """The first run that sees no lag: WAL that the server writes by itself is not replayed in no time."""
    end = time.monotonic() + 15
    while lag(got := watch.run("pg_replication")) > 0:
        assert time.monotonic() < end, f"{lag(got)} s behind"
        time.sleep(0.1)
    return got


def write(primary: DatabaseServer, rows: int = 1) -> None:
    primary.execute(f"INSERT INTO written SELECT generate_series(1, {rows})")


def age_of(standby: DatabaseServer, seconds: float) -> None:
    """Wait until the last replayed transaction is that old."""
    assert wait_for(lambda: bool(ask(standby, AGE) > seconds), 30)


def test_idle_primary(primary: DatabaseServer, standby: DatabaseServer, watch: Watch) -> None:
    write(primary)
    standby.wait_until_caught_up()
    age_of(standby, 1.0)
    got = level(watch)
    assert got.one("db_replication_lag_bytes") == 0
    assert got.one("db_replication_running") == 1
    assert got.one("db_replication_delay_seconds") == 0
    assert got.one("pg_replication_is_replica") == 1
    # What an alert on the age of the last transaction would have seen.
    assert got.one("pg_replication_last_replay_seconds") > 1.0


def test_long_transaction_on_an_idle_primary(primary: DatabaseServer, standby: DatabaseServer, watch: Watch) -> None:
    write(primary)
    standby.wait_until_caught_up()
    age_of(standby, 10.0)
    watch.run("pg_replication")
    seen = []
    with primary.connect() as connection:
        connection.execute("BEGIN")
        for _ in range(10):
            connection.execute("INSERT INTO written SELECT generate_series(1, 20000)")
            got = watch.run("pg_replication")
            seen.append((lag(got), ask(standby, AGE)))
    # Nothing is committed for seconds, yet the standby follows; the age of the last transaction is not its lag.
    assert all(value < age / 2 for value, age in seen), seen


@contextlib.contextmanager
def paused(standby: DatabaseServer) -> Iterator[None]:
    standby.execute("SELECT pg_wal_replay_pause()")
    try:
        yield
    finally:
        standby.execute("SELECT pg_wal_replay_resume()")
        standby.wait_until_caught_up()


def test_paused_replay(primary: DatabaseServer, standby: DatabaseServer, watch: Watch) -> None:
    watch.run("pg_replication")
    with paused(standby):
        started = time.monotonic()
        write(primary, 10_000)
        written = ask(primary, "SELECT pg_current_wal_lsn()")
        assert wait_for(lambda: bool(ask(standby, f"SELECT pg_last_wal_receive_lsn() >= '{written}'")), 10)
        time.sleep(1)
        least = ask(standby, "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::int8")
        least_lag = time.monotonic() - started
        got = watch.run("pg_replication")
        # What the server wrote by itself before it was paused may count as a little of the way.
        assert least_lag * 0.9 <= lag(got) <= ask(standby, AGE)
        assert got.one("db_replication_lag_bytes") >= least > 0
        assert got.one("db_replication_running") == 0
        later = watch.run("pg_replication")
        assert lag(later) > lag(got)
    level(watch)


def test_delayed_replica(primary: DatabaseServer, standby: DatabaseServer, watch: Watch) -> None:
    change(standby, recovery_min_apply_delay="8s")
    try:
        assert wait_for(lambda: watch.run("pg_replication").one("db_replication_delay_seconds") == 8, 10)
        write(primary)
        assert wait_for(lambda: lag(watch.run("pg_replication")) > 0, 10, pause=0.01)
        time.sleep(1.2)
        got = watch.run("pg_replication")
        # The delay is part of the lag; it runs all the same.
        assert 1.0 <= lag(got) <= ask(standby, AGE)
        assert got.one("db_replication_running") == 1
        assert got.one("db_replication_lag_bytes") > 0
        level(watch)
    finally:
        change(standby, recovery_min_apply_delay="")


def test_receiver_cut_off(primary: DatabaseServer, standby: DatabaseServer, watch: Watch) -> None:
    write(primary)
    standby.wait_until_caught_up()
    age_of(standby, 1.0)
    seen_in_sync = time.monotonic()
    level(watch)
    conninfo = ask(standby, "SHOW primary_conninfo")
    change(standby, primary_conninfo="host=127.0.0.1 port=1")
    try:
        assert wait_for(lambda: not streaming(standby), 15)
        write(primary)
        time.sleep(1.5)
        # Everything received is replayed: by that alone it would seem up to date.
        assert ask(standby, "SELECT pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn()")
        got = watch.run("pg_replication")
        assert 1.0 <= lag(got) <= ask(standby, AGE)
        # Nor is it as old as the last transaction: it was known to be in sync after that.
        assert lag(got) <= time.monotonic() - seen_in_sync
        assert got.one("db_replication_running") == 0
        assert not got.values("db_replication_lag_bytes")
        assert lag(watch.run("pg_replication")) > lag(got)
        # An exporter that has just started knows only the transaction.
        with watching(standby, primary.known_account) as fresh:
            least = ask(standby, AGE)
            assert least <= lag(fresh.run("pg_replication")) <= ask(standby, AGE)
    finally:
        change(standby, primary_conninfo=conninfo)
    standby.wait_until_caught_up()
    assert level(watch).one("db_replication_running") == 1


def test_silent_primary(primary: DatabaseServer) -> None:
    """A primary that hangs keeps its connections, and for its standby there is nothing new to receive."""
    # It asks for a sign of life after 8 seconds, counts as silent after 12, and gives up after 16.
    listening = primary.replica(wal_receiver_timeout="16s")
    heard = "SELECT extract(epoch FROM clock_timestamp() - last_msg_receipt_time)::float8 FROM pg_stat_wal_receiver"
    try:
        assert wait_for(lambda: streaming(listening), 15)
        with watching(listening, primary.known_account) as watch:
            idle, longest = time.monotonic(), 0.0
            # An idle one is silent too, but answers when it is asked.
            while time.monotonic() < idle + 13:
                got = watch.run("pg_replication")
                assert got.one("db_replication_running") == 1
                # What it writes by itself now and then is less than a page, and soon replayed.
                assert lag(got) < 2
                assert got.one("db_replication_lag_bytes") < 8192
                longest = max(longest, ask(listening, heard))
                time.sleep(0.2)
            assert longest > 2
            with frozen(primary):
                assert wait_for(lambda: watch.run("pg_replication").one("db_replication_running") == 0, 30)
                # The receiver itself still believes in its connection.
                assert streaming(listening)
                assert ask(listening, heard) > 8
                got = watch.run("pg_replication")
                assert lag(got) > 0
                assert not got.values("db_replication_lag_bytes")
                time.sleep(1)
                assert lag(watch.run("pg_replication")) >= lag(got) + 0.9
            assert wait_for(lambda: streaming(listening), 30)
            assert level(watch).one("db_replication_running") == 1
    finally:
        listening.remove()
        primary.replicas.remove(listening)


@contextlib.contextmanager
def frozen(server: DatabaseServer) -> Iterator[None]:
    """Stop a server as it is, with all of its processes."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


def test_dead_primary(primary: DatabaseServer, standby: DatabaseServer, watch: Watch) -> None:
    write(primary)
    standby.wait_until_caught_up()
    level(watch)
    primary.kill()
    try:
        assert wait_for(lambda: not streaming(standby), 15)
        got = watch.run("pg_replication")
        time.sleep(1.0)
        later = watch.run("pg_replication")
        assert got.one("db_replication_running") == later.one("db_replication_running") == 0
        assert lag(later) >= lag(got) + 0.9
        assert watch.facts().role is Role.REPLICA
    finally:
        primary.start()
    assert wait_for(lambda: streaming(standby) and lag(watch.run("pg_replication")) == 0, 30)


def test_restarted_standby_with_nothing_replayed(primary: DatabaseServer, standby: DatabaseServer) -> None:
    standby.wait_until_caught_up()
    primary.execute("CHECKPOINT")
    standby.wait_until_caught_up()
    standby.execute("CHECKPOINT")
    conninfo = ask(standby, "SHOW primary_conninfo")
    change(standby, primary_conninfo="host=127.0.0.1 port=1")
    standby.restart()
    try:
        assert ask(standby, "SELECT pg_last_xact_replay_timestamp()") is None
        with watching(standby, primary.known_account) as watch:
            got = watch.run("pg_replication")
        # Unknown is absent, never 0.
        assert got.one("db_replication_running") == 0
        assert not {"db_replication_lag_seconds", "pg_replication_lag_seconds"} & got.names()
        assert "pg_replication_last_replay_seconds" not in got.names()
    finally:
        change(standby, primary_conninfo=conninfo)
    assert wait_for(lambda: streaming(standby), 15)


def test_point_in_time_recovery(primary: DatabaseServer) -> None:
    restored = primary.replica()
    try:
        # In recovery without anybody to follow, as after a restore.
        restored.execute("ALTER SYSTEM SET primary_conninfo = ''")
        restored.execute("SELECT pg_reload_conf()")
        assert wait_for(lambda: ask(restored, "SELECT count(*) FROM pg_stat_wal_receiver") == 0, 15)
        write(primary)
        with watching(restored, primary.known_account) as watch:
            assert watch.facts().role is Role.RECOVERING
            got = watch.run("pg_replication")
        assert not SHARED & got.names()
        assert "pg_replication_lag_seconds" not in got.names()
        assert got.one("pg_replication_is_replica") == 1
    finally:
        restored.remove()
        primary.replicas.remove(restored)


def test_promoted_standby(primary: DatabaseServer) -> None:
    promoted = primary.replica()
    try:
        with watching(promoted, primary.known_account) as watch:
            write(primary)
            promoted.wait_until_caught_up()
            level(watch)
            facts = watch.facts()
            promoted.execute("SELECT pg_promote()")
            assert wait_for(lambda: not ask(promoted, "SELECT pg_is_in_recovery()"), 30)
            # Also in the run that still takes it for a replica.
            stale = watch.run("pg_replication", facts)
            assert not SHARED & stale.names()
            watch.forget()
            got = watch.run("pg_replication")
        assert not SHARED & got.names()
        assert got.one("pg_replication_lag_seconds") == 0
        assert got.one("pg_replication_is_replica") == 0
        # Its last replayed transaction gets older for ever, which is no news about a primary.
        assert ask(promoted, "SELECT pg_last_xact_replay_timestamp()") is not None
        assert "pg_replication_last_replay_seconds" not in got.names()
    finally:
        promoted.remove()
        primary.replicas.remove(promoted)


def test_wal_receiver(standby: DatabaseServer, watch: Watch, primary: DatabaseServer) -> None:
    assert wait_for(lambda: streaming(standby), 15)
    columns = {
        "receive_start_tli": "receive_start_tli",
        "received_tli": "received_tli",
        "receive_start_lsn": "pg_wal_lsn_diff(receive_start_lsn, '0/0')",
        "flushed_lsn": "pg_wal_lsn_diff(flushed_lsn, '0/0')",
        "written_lsn_bytes": "pg_wal_lsn_diff(written_lsn, '0/0')",
        "latest_end_lsn": "pg_wal_lsn_diff(latest_end_lsn, '0/0')",
        "latest_end_time": "extract(epoch FROM latest_end_time)",
        "last_msg_send_time": "extract(epoch FROM last_msg_send_time)",
        "last_msg_receipt_time": "extract(epoch FROM last_msg_receipt_time)",
    }
    expressions = ", ".join(f"({sql})::float8" for sql in columns.values())
    sql = f"SELECT {expressions} FROM pg_stat_wal_receiver"
    least = dict(zip(columns, standby.execute(sql)[0], strict=True))
    got = watch.run("pg_stat_wal_receiver")
    most = dict(zip(columns, standby.execute(sql)[0], strict=True))
    for column in columns:
        name = f"pg_stat_wal_receiver_{column}"
        value = got.one(name, upstream_host=primary.host, slot_name="first", status="streaming")
        assert least[column] <= value <= most[column], column


def test_sender(primary: DatabaseServer, standby: DatabaseServer) -> None:
    assert wait_for(lambda: streaming(standby), 15)
    name, pid = primary.execute("SELECT application_name, pid::text FROM pg_stat_replication")[0]
    with watching(primary, primary.known_account) as watch, paused(standby):
        write(primary, 10_000)
        written = ask(primary, "SELECT pg_current_wal_lsn()")
        behind = f"SELECT pg_wal_lsn_diff('{written}', %s)::int8 FROM pg_stat_replication"
        assert wait_for(lambda: bool(ask(primary, behind % "flush_lsn") <= 0), 10)
        least = ask(primary, behind % "replay_lsn")
        got = watch.run("pg_stat_replication")
        most = ask(primary, "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::int8 FROM pg_stat_replication")
        assert 0 < least <= got.one("db_standby_lag_bytes", standby=name, stage="replay") <= most
        assert got.one("db_standby_lag_bytes", standby=name, stage="send") <= most - least
        labels = {"application_name": name, "client_addr": "127.0.0.1", "state": "streaming", "slot_name": "first"}
        assert least <= got.one("pg_stat_replication_pg_wal_lsn_diff", pid=pid, **labels) <= most
        assert got.one("pg_stat_replication_pg_current_wal_lsn_bytes", pid=pid) >= int_of(written)
        # What was never measured is not 0 while it lags.
        measured = ask(primary, "SELECT extract(epoch FROM replay_lag)::float8 FROM pg_stat_replication")
        assert measured is not None or not got.values("db_standby_lag_seconds", stage="replay")
        slots = watch.run("pg_replication_slots")
        for prefix in ("pg_replication_slot", "pg_replication_slots"):
            assert slots.one(f"{prefix}_slot_is_active", slot_name="first", slot_type="physical") == 1
            assert slots.one(f"{prefix}_wal_status", slot_name="first", wal_status="reserved") == 1
            assert slots.one(f"{prefix}_slot_current_wal_lsn", slot_name="first") >= int_of(written)
    retained = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8 FROM pg_replication_slots"
    with watching(primary, primary.known_account) as watch:
        standby.wait_until_caught_up()

        def quiet() -> bool:
            behind = watch.run("pg_stat_replication").by("db_standby_lag_bytes", "stage")
            return behind == {"send": 0, "write": 0, "flush": 0, "replay": 0}

        assert wait_for(quiet, 15)
        assert set(watch.run("pg_stat_replication").by("db_standby_lag_seconds", "stage")) == {
            "write",
            "flush",
            "replay",
        }
        assert watch.run("pg_replication_slots").one("pg_replication_slots_pg_wal_lsn_diff", slot_name="first") <= ask(
            primary, retained
        )


def int_of(lsn: str) -> int:
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def test_slots_with_a_limit(server: DatabaseServer, fresh_server: Any) -> None:
    own = fresh_server(server.name, {"max_slot_wal_keep_size": "48MB"})
    own.execute("SELECT pg_create_logical_replication_slot('decoded', 'pgoutput')")
    own.execute("SELECT pg_create_physical_replication_slot('held', true)")
    with watching(own) as watch:
        safe = "SELECT safe_wal_size FROM pg_replication_slots WHERE slot_name = 'held'"
        most = ask(own, safe)
        got = watch.run("pg_replication_slots")
        # The server writes WAL of its own now and then, which takes from what is safe.
        assert most >= got.one("pg_replication_slots_safe_wal_size_bytes", slot_name="held") >= ask(own, safe) > 0
        assert got.one("pg_replication_slots_active", slot_name="held", database="") == 0
        # A physical slot confirms nothing, and nobody confirms on an idle one.
        assert not got.values("pg_replication_slots_slot_confirmed_flush_lsn")
        confirmed = ask(own, "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'decoded'")
        with contextlib.closing(own.connect(replication="database")) as consumer:
            begun = consumer.pgconn.exec_(
                b"START_REPLICATION SLOT decoded LOGICAL 0/0 (proto_version '1', publication_names 'none')"
            )
            assert begun.status == psycopg.pq.ExecStatus.COPY_BOTH
            got = watch.run("pg_replication_slots")
            assert got.one("pg_replication_slots_active", slot_name="decoded", database="postgres") == 1
            for prefix in ("pg_replication_slot", "pg_replication_slots"):
                name = f"{prefix}_slot_confirmed_flush_lsn"
                assert got.one(name, slot_name="decoded", slot_type="logical") == int_of(confirmed)


def test_what_a_standby_that_hangs_is_not_sent(primary: DatabaseServer, standby: DatabaseServer) -> None:
    sent = "SELECT sent_lsn FROM pg_stat_replication"
    unsent = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), sent_lsn)::int8 FROM pg_stat_replication"
    assert wait_for(lambda: streaming(standby), 15)
    with watching(primary, primary.known_account) as watch, frozen(standby):
        # More than the buffers of a connection hold: nothing of what was written last has gone.
        for _ in range(10):
            before = ask(primary, sent)
            write(primary, 100_000)
            if before == ask(primary, sent):
                break
        most = ask(primary, unsent)
        got = watch.run("pg_stat_replication")
        least = ask(primary, unsent)
        assert least > 1_000_000
        # The server writes WAL of its own now and then.
        assert least - 100_000 <= got.one("db_standby_lag_bytes", stage="send") <= most + 100_000
        assert got.one("db_standby_lag_bytes", stage="replay") > most
        # Nobody measures how long that has waited.
        assert not got.values("db_standby_lag_seconds", stage="send")
    assert wait_for(lambda: streaming(standby), 15)
    standby.wait_until_caught_up()
