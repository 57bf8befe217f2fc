"""Logical replication between two databases of one server, against the server's own views."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.providers.base import ADMIN_PASSWORD, DatabaseServer, wait_for
from tests.servers.collecting import Watch, watching

pytestmark = pytest.mark.engine("postgres")
SLOT = "to_inbox"


@pytest.fixture
def watch(server: DatabaseServer) -> Iterator[Watch]:
    with watching(server) as watch:
        yield watch


@pytest.fixture
def subscribed(server: DatabaseServer) -> Iterator[None]:
    """Give a database `outbox` whose tables are copied to `inbox` by a subscription."""
    for database in ("outbox", "inbox"):
        server.execute(f"DROP DATABASE IF EXISTS {database}")
        server.execute(f"CREATE DATABASE {database}")
        server.execute("CREATE TABLE orders (i int PRIMARY KEY)", database)
    server.execute("CREATE PUBLICATION everything FOR ALL TABLES", "outbox")
    server.execute("INSERT INTO orders VALUES (1)", "outbox")
    # Within one server a subscription can't make its slot by itself: it would wait for its own transaction.
    server.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", "outbox", (SLOT,))
    server.execute(
        f"CREATE SUBSCRIPTION inbox CONNECTION 'host={server.host} port={server.port} dbname=outbox user=postgres"
        f" password={ADMIN_PASSWORD}' PUBLICATION everything WITH (create_slot = false, slot_name = {SLOT})",
        "inbox",
    )
    yield
    server.execute("ALTER SUBSCRIPTION inbox DISABLE", "inbox")
    server.execute("ALTER SUBSCRIPTION inbox SET (slot_name = NONE)", "inbox")
    server.execute("DROP SUBSCRIPTION inbox", "inbox")
    unused = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND NOT active"
    assert wait_for(lambda: server.execute(unused, params=(SLOT,))[0][0] == 1, 15)
    server.execute("SELECT pg_drop_replication_slot(%s)", params=(SLOT,))
    server.execute("DROP DATABASE inbox")
    server.execute("DROP DATABASE outbox")


def test_publications_of_partitions_schemas_and_all_however_they_are_locked(server: DatabaseServer) -> None:
    server.execute("DROP DATABASE IF EXISTS published")
    server.execute("CREATE DATABASE published")
    with server.connect("published") as connection:
        connection.execute(
            "CREATE SCHEMA s; CREATE TABLE plain (id int); CREATE UNLOGGED TABLE unlogged (id int);"
            " CREATE TABLE s.plain (id int); CREATE TABLE s.split (id int) PARTITION BY RANGE (id);"
            " CREATE TABLE low PARTITION OF s.split FOR VALUES FROM (0) TO (10);"
            " CREATE TABLE s.high PARTITION OF s.split FOR VALUES FROM (10) TO (30) PARTITION BY RANGE (id);"
            " CREATE TABLE s.higher PARTITION OF s.high FOR VALUES FROM (10) TO (20);"
            " CREATE TABLE highest PARTITION OF s.high FOR VALUES FROM (20) TO (30);"
            " CREATE TABLE bare (id int) PARTITION BY RANGE (id)"
        )
        what = ["ALL TABLES", "TABLE plain", "TABLE s.split, bare", "TABLE s.high, s.split", "TABLE low, s.higher"]
        if server.version[0] >= 15:
            what += ["TABLES IN SCHEMA s", "TABLES IN SCHEMA public", "TABLES IN SCHEMA s, TABLE low, plain"]
        for number, tables in enumerate(what):
            for name, options in (("leaves", ""), ("roots", " WITH (publish_via_partition_root)")):
                connection.execute(f"CREATE PUBLICATION {name}_{number} FOR {tables}{options}")
        connection.execute("CREATE PUBLICATION nothing")
        expected = dict(connection.execute("SELECT pubname, count(*) FROM pg_publication_tables GROUP BY 1").fetchall())
    with watching(server, database="published") as watch, server.connect("published") as holder:
        holder.execute("BEGIN; LOCK TABLE plain, s.split IN ACCESS EXCLUSIVE MODE")
        found = watch.run("pg_publications").by("pg_publication_tables", "datname", "pubname")
    server.execute("DROP DATABASE published")
    assert {name: count for (place, name), count in found.items() if place == "published"} == expected | {"nothing": 0}


@pytest.mark.usefixtures("subscribed")
def test_a_subscription_and_its_tables(server: DatabaseServer, watch: Watch) -> None:
    copied = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate = 'r'"
    assert wait_for(lambda: server.execute(copied, "inbox")[0][0] == 1, 30)
    labels = {"datname": "inbox", "subname": "inbox"}
    tables = watch.run("pg_subscription_tables")
    states = {"initialize": 0, "copying": 0, "copied": 0, "synchronized": 0, "ready": 1}
    assert tables.by("pg_subscription_tables", "state") == states
    assert all(given == labels | {"state": given["state"]} for _, given, _ in tables.all)
    samples = watch.run("pg_stat_subscription")
    assert samples.one("pg_subscription_enabled", **labels) == 1
    assert samples.by("pg_subscription_workers", "worker") == {"apply": 1}
    [(now,)] = server.execute("SELECT extract(epoch FROM now())::float8")
    for name in ("message", "report"):
        assert 0 <= now - samples.one(f"pg_subscription_last_{name}_timestamp_seconds", **labels) < 60
    assert_positions_grow(server, watch)
    published = watch.run("pg_publications")
    # Other databases may have publications of their own.
    assert published.one("pg_publication_tables", datname="outbox", pubname="everything") == 1
    server.execute("ALTER SUBSCRIPTION inbox DISABLE", "inbox")
    idle = "SELECT count(pid) FROM pg_stat_subscription"
    assert wait_for(lambda: server.execute(idle)[0][0] == 0, 15)
    disabled = watch.run("pg_stat_subscription")
    assert disabled.one("pg_subscription_enabled", **labels) == 0
    assert disabled.by("pg_subscription_workers", "worker") == {"": 0}


def assert_positions_grow(server: DatabaseServer, watch: Watch) -> None:
    """What is published after a position was read is received beyond it; both are the publisher's positions."""
    [(before,)] = server.execute("SELECT (pg_current_wal_lsn() - '0/0')::int8")
    server.execute("INSERT INTO orders VALUES (99)", "outbox")

    def position(name: str) -> float:
        return watch.run("pg_stat_subscription").one(f"pg_subscription_{name}_lsn_bytes", subname="inbox")

    for name in ("received", "reported"):
        assert wait_for(lambda name=name: position(name) > before, 30)
    assert position("received") <= server.execute("SELECT (pg_current_wal_lsn() - '0/0')::int8")[0][0]


@pytest.mark.usefixtures("subscribed")
def test_errors_of_a_subscription_are_counted(server: DatabaseServer, watch: Watch) -> None:
    if server.version[0] < 15:
        assert not watch.run("pg_stat_subscription_stats").all
        return
    copied = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate = 'r'"
    assert wait_for(lambda: server.execute(copied, "inbox")[0][0] == 1, 30)
    server.execute("INSERT INTO orders VALUES (7)", "inbox")
    server.execute("INSERT INTO orders VALUES (7)", "outbox")
    counted = "SELECT apply_error_count FROM pg_stat_subscription_stats"
    assert wait_for(lambda: server.execute(counted)[0][0] > 0, 30)
    [(before,)] = server.execute(counted)
    samples = watch.run("pg_stat_subscription_stats")
    [(after,)] = server.execute(counted)
    assert before <= samples.one("pg_subscription_apply_errors_total", datname="inbox", subname="inbox") <= after
    assert samples.one("pg_subscription_sync_errors_total", datname="inbox", subname="inbox") == 0
    if server.version[0] >= 18:
        assert samples.one("pg_subscription_conflicts_insert_exists_total") >= 1
        assert samples.one("pg_subscription_conflicts_update_missing_total") == 0
    server.execute("DELETE FROM orders", "inbox")


def test_what_a_slot_decoded_and_spilled(server: DatabaseServer, watch: Watch) -> None:
    server.execute("CREATE TABLE IF NOT EXISTS decoded (i int, filler text)")
    server.execute("SELECT pg_create_logical_replication_slot('decoder', 'pgoutput')")
    server.execute("CREATE PUBLICATION decoded FOR TABLE decoded")
    try:
        server.execute("INSERT INTO decoded SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i")
        with server.connect() as connection:
            connection.execute("SET logical_decoding_work_mem = '64kB'")
            connection.execute(
                "SELECT count(*) FROM pg_logical_slot_get_binary_changes('decoder', NULL, NULL,"
                " 'proto_version', '1', 'publication_names', 'decoded')"
            )
        if server.version[0] < 14:
            assert not watch.run("pg_stat_replication_slots").all
            return
        view = "SELECT spill_txns, spill_bytes, total_txns, stream_txns FROM pg_stat_replication_slots"
        assert wait_for(lambda: bool(server.execute(view + " WHERE spill_bytes > 1000000")), 15)
        samples = watch.run("pg_stat_replication_slots")
        names = ("spill_txns", "spill_bytes", "txns", "stream_txns")
        shown = [samples.one(f"pg_stat_replication_slots_{name}_total", slot_name="decoder") for name in names]
        assert shown == list(server.execute(view + " WHERE slot_name = 'decoder'")[0])
    finally:
        server.execute("SELECT pg_drop_replication_slot('decoder')")
        server.execute("DROP PUBLICATION decoded")
        server.execute("DROP TABLE decoded")


def test_a_slot_that_was_lost(fresh_server: Callable[..., DatabaseServer], server: DatabaseServer) -> None:
    made = fresh_server(server.name, {"max_slot_wal_keep_size": "1MB", "wal_keep_size": "0"})
    made.execute("SELECT pg_create_logical_replication_slot('lost', 'pgoutput')")
    made.execute("SELECT pg_create_physical_replication_slot('kept', true)")
    with watching(made) as watch:
        fresh = watch.run("pg_replication_slots")
        # The physical slot is moved along.
        for _ in range(4):
            made.execute("SELECT pg_switch_wal()")
            made.execute("SELECT txid_current()")
        made.execute("SELECT pg_drop_replication_slot('kept')")
        made.execute("SELECT pg_create_physical_replication_slot('kept', true)")
        made.execute("CHECKPOINT")
        assert wait_for(lambda: made.execute("SELECT 1 FROM pg_replication_slots WHERE wal_status = 'lost'") != [], 15)
        lost = watch.run("pg_replication_slots")
        [(inactive,)] = (
            made.execute("SELECT extract(epoch FROM inactive_since) FROM pg_replication_slots WHERE slot_name = 'lost'")
            if made.version[0] >= 17
            else [(None,)]
        )
    assert fresh.one("pg_replication_slots_wal_status", slot_name="lost", wal_status="reserved") == 1
    assert lost.one("pg_replication_slots_wal_status", slot_name="lost", wal_status="lost") == 1
    assert fresh.one("pg_replication_slot_unconfirmed_bytes", slot_name="lost") >= 0
    reasons = lost.by("pg_replication_slot_invalidated", "slot_name", "invalidation_reason")
    assert not fresh.values("pg_replication_slot_invalidated")
    if made.version[0] >= 17:
        assert reasons == {("lost", "wal_removed"): 1}
        since = lost.one("pg_replication_slot_inactive_since_timestamp_seconds", slot_name="lost")
        assert since == pytest.approx(float(inactive), abs=0.01)
        assert lost.one("pg_replication_slot_conflicting", slot_name="lost") == 0
    else:
        assert not reasons


def test_what_kind_of_slot_it_is(server: DatabaseServer, watch: Watch) -> None:
    version = server.version[0]
    flags = "" if version < 14 else ", true" if version < 17 else ", true, true"
    server.execute(f"SELECT pg_create_logical_replication_slot('two', 'pgoutput', false{flags})")
    server.execute("SELECT pg_create_physical_replication_slot('one')")
    try:
        samples = watch.run("pg_replication_slots")
        infos = {given["slot_name"]: given for name, given, _ in samples.all if name == "pg_replication_slot_info"}
        kinds = {"plugin": "pgoutput", "temporary": "false"}
        kinds |= {"two_phase": "true" if version >= 14 else "", "synced": "false" if version >= 17 else ""}
        kinds |= {"failover": "true" if version >= 17 else ""}
        assert infos["two"] == {"slot_name": "two", "slot_type": "logical"} | kinds
        assert (infos["one"]["slot_type"], infos["one"]["plugin"]) == ("physical", "")
        if version >= 18:
            [(position,)] = server.execute(
                "SELECT (two_phase_at - '0/0')::int8 FROM pg_replication_slots WHERE slot_name = 'two'"
            )
            assert samples.one("pg_replication_slot_two_phase_lsn_bytes", slot_name="two") == position > 0
    finally:
        for slot in ("two", "one"):
            server.execute("SELECT pg_drop_replication_slot(%s)", params=(slot,))


def test_origins_of_changes_for_those_who_may_see_them(server: DatabaseServer) -> None:
    server.execute("SELECT pg_replication_origin_create('elsewhere')")
    try:
        server.execute("SELECT pg_replication_origin_advance('elsewhere', '1/10')")
        may = server.account("GRANT EXECUTE ON FUNCTION pg_show_replication_origin_status() TO exporter")
        with watching(server, may) as watch:
            samples = watch.run("pg_replication_origin_status")
        server.execute("REVOKE EXECUTE ON FUNCTION pg_show_replication_origin_status() FROM exporter")
        with watching(server, may) as watch:
            # Before 14 a grant does not help.
            assert server.version[0] < 14 or not watch.run("pg_replication_origin_status").all
    finally:
        server.execute("SELECT pg_replication_origin_drop('elsewhere')")
    if server.version[0] < 14:
        assert not samples.all
    else:
        assert samples.one("pg_replication_origin_remote_lsn_bytes", origin="elsewhere") == 2**32 + 16
