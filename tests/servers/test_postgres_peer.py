"""Our drop-in families against the pages of a real postgres_exporter: same names, labels and values."""

from __future__ import annotations

import math
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from exporter import catalogue
from tests.providers.base import DatabaseServer, wait_for
from tests.providers.processes import free_port
from tests.providers.tools import Program, tool
from tests.servers.collecting import Samples, watching

pytestmark = pytest.mark.engine("postgres")
COLLECTORS = (
    "pg_activity",
    "pg_connection_limits",
    "pg_database_sizes",
    "pg_database_wraparound",
    "pg_databases",
    "pg_locks",
    "pg_long_running_transactions",
    "pg_replication",
    "pg_replication_slots",
    "pg_roles",
    "pg_server",
    "pg_settings",
    "pg_stat_activity_autovacuum",
    "pg_stat_archiver",
    "pg_stat_bgwriter",
    "pg_stat_database",
    "pg_stat_database_conflicts",
    "pg_stat_progress_vacuum",
    "pg_stat_replication",
    "pg_stat_user_tables",
    "pg_stat_wal_receiver",
    "pg_statio_user_indexes",
    "pg_statio_user_tables",
    "pg_storage",
    "pg_table_sizes",
)
SWITCHED_ON = ("database_wraparound", "long_running_transactions", "stat_activity_autovacuum", "stat_checkpointer")
SUBJECTS = ("pg_stat_activity_", "pg_stat_database_", "pg_database_", "pg_roles_", "pg_replication", "pg_wal_",
            "pg_stat_replication_", "pg_stat_wal_receiver_", "pg_postmaster_", "pg_static", "pg_settings_",
            "pg_stat_archiver_", "pg_stat_bgwriter_", "pg_stat_checkpointer_", "pg_stat_progress_", "pg_locks_",
            "pg_long_running_", "pg_stat_user_tables_", "pg_statio_user_")  # fmt: skip
# Families of ours that begin like theirs.
OURS = tuple(entry.name for entry in catalogue.entries() if not entry.drop_in and entry.name.startswith("pg_"))
# Theirs says 0 where nothing is known: on a server that never replayed a transaction, ...
UNKNOWN = {
    "pg_replication_last_replay_seconds",
    # ... whose statistics were never reset, ...
    "pg_stat_database_stats_reset",
    # ... on a physical slot, where nobody confirms, ...
    "pg_replication_slot_slot_confirmed_flush_lsn",
    # NaN, where nothing was ever archived.
    "pg_stat_archiver_last_archive_age",
    # ... and of a table that nobody ever vacuumed or analyzed.
    "pg_stat_user_tables_last_vacuum",
    "pg_stat_user_tables_last_autovacuum",
    "pg_stat_user_tables_last_analyze",
    "pg_stat_user_tables_last_autoanalyze",
}
# Their driver sets it for their own session.
DRIVERS = {"pg_settings_extra_float_digits"}
# Each exporter sees the other's sessions, which come and go with the scrape, but not its own.
SESSIONS = ("pg_stat_activity_count", "pg_stat_activity_max_tx_duration", "pg_stat_database_numbackends")
# 0.19 writes the process number where 0.20 has the slot, and adds a label for the number; ours is 0.20's.
SENDER_LABELS = {"slot_name", "pid"}

Key = tuple[str, frozenset[tuple[str, str]]]


def keyed(samples: Samples) -> dict[Key, float]:
    found = {}
    for name, labels, value in samples.all:
        if name.startswith(SUBJECTS) and name not in OURS:
            without = SENDER_LABELS if name.startswith("pg_stat_replication_") else set()
            if name.startswith("pg_statio_user_indexes_"):
                # Theirs is of one database and doesn't say which.
                without = {"datname"}
            found[name, frozenset((k, v) for k, v in labels.items() if k not in without)] = value
    return found


@pytest.fixture(scope="module")
def pair(server: DatabaseServer, fleet: Any) -> Iterator[dict[str, DatabaseServer]]:
    """Give a pair of our own, whose standby uses a slot: the existing exporter shows no receiver without one."""
    made = fleet.provider.create(server.name)
    made.account()
    made.execute("CREATE ROLE tenant LOGIN CONNECTION LIMIT 5")
    made.execute("CREATE DATABASE shop CONNECTION LIMIT 7")
    made.execute("SELECT pg_create_physical_replication_slot('first', true)")
    made.execute("SELECT pg_create_logical_replication_slot('decoded', 'pgoutput')")
    with made.connect("postgres") as connection:
        connection.execute("CREATE TABLE orders (id serial PRIMARY KEY, note text)")
        connection.execute("CREATE INDEX ON orders (note)")
        connection.execute("CREATE TABLE plain (id int)")
        connection.execute("INSERT INTO orders (note) SELECT repeat(md5(i::text), 3) FROM generate_series(1, 3000) i")
        connection.execute("UPDATE orders SET note = 'x' WHERE id < 100")
        connection.execute("DELETE FROM orders WHERE id > 2900")
        connection.execute("VACUUM ANALYZE orders")
        connection.execute("SELECT count(*) FROM orders WHERE id = 7")
    standby = made.replica(primary_slot_name="first")
    yield {"primary": made, "standby": standby}
    made.remove()


@pytest.mark.parametrize("role", ["primary", "standby"])
def test_same_names_labels_and_values(
    pair: dict[str, DatabaseServer], role: str, program: Callable[..., Program]
) -> None:
    server, primary = pair[role], pair["primary"]
    streams = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
    assert wait_for(lambda: primary.execute(streams)[0][0] == 1, 15)
    received = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'"
    assert wait_for(lambda: pair["standby"].execute(received)[0][0] == 1, 15)
    port = free_port()
    program(
        "peer",
        [tool("postgres_exporter"), f"--web.listen-address=127.0.0.1:{port}", "--collector.stat_wal_receiver",
         "--collector.postmaster", "--collector.statio_user_indexes",
         *(f"--collector.{name}" for name in SWITCHED_ON)],
        env={"DATA_SOURCE_NAME": server.url() + "?sslmode=disable"},
    )  # fmt: skip

    def page() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
            return str(response.read().decode())

    assert wait_for(lambda: _opens(page), 15)
    with watching(server, primary.known_account) as watch, server.connect("postgres") as client:
        client.execute("BEGIN")

        def ours() -> dict[Key, float]:
            return {key: value for name in COLLECTORS for key, value in keyed(watch.run(name)).items()}

        least = ours()
        theirs = keyed(Samples(page()))
        most = ours()
    theirs = {key: value for key, value in theirs.items() if not _of_an_exporter(key)}
    # Statistics of a database may begin with the very look at it.
    missing = {key: value for key, value in theirs.items() if key not in least and key not in most}
    unknown = {key for key, value in missing.items() if key[0] in UNKNOWN and (value == 0 or math.isnan(value))}
    assert not {key: value for key, value in missing.items() if key not in unknown}
    different = {
        key: (least[key], value, most[key])
        for key, value in theirs.items()
        if key in least
        and key in most
        and key[0] not in {*SESSIONS, *DRIVERS}
        and not _between(least[key], value, most[key])
    }
    assert not different
    counted = [key for key in theirs if key[0] == "pg_stat_activity_count"]
    assert {key: least[key] for key in counted} == {key: theirs[key] for key in counted}
    # A family that only we have would be a wrong name; these are the newest release's.
    newer = {"pg_replication_slots_slot_current_wal_lsn", "pg_replication_slots_slot_is_active",
             "pg_replication_slots_wal_status"}  # fmt: skip
    assert {name for name, _ in least} - {name for name, _ in theirs} == (newer if role == "primary" else set())


def _opens(page: Callable[[], str]) -> bool:
    try:
        return "pg_up 1" in page()
    except OSError:
        return False


def _between(one: float, value: float, other: float) -> bool:
    low, high = sorted((one, other))
    rounding = 1e-9 * max(abs(low), abs(high)) + 1e-6
    return low - rounding <= value <= high + rounding


def _of_an_exporter(key: Key) -> bool:
    name, labels = key
    names = {value for label, value in labels if label == "application_name"}
    # Theirs has no application name, but an active session in pg_stat_activity has a user.
    users = {value for label, value in labels if label == "usename"}
    own = "database_exporter" in names or (names == {""} and users != {""})
    return name in SESSIONS[:2] and own
