"""postgres_exporter with all its collectors on beside ours: same names, labels and values, but for what is listed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from exporter.compare.deviations import Deviation, applying
from exporter.compare.deviations.postgres import DEVIATIONS
from exporter.compare.pages import Page, fetch
from exporter.facts import Facts
from exporter.registry import collectors_of
from tests.contract.mutations import Mutation, unnoticed
from tests.contract.peers import compared, page_of, readings, scene_exporters, unexplained
from tests.contract.scene import DATABASE, Scene, scene
from tests.exporters import Exporter
from tests.providers.base import DatabaseServer, wait_for
from tests.providers.fleet import Fleet
from tests.servers.collecting import watching

pytestmark = pytest.mark.engine("postgres")
ROLES = ("primary", "standby")
OWN_SCRAPES = ("pg_exporter_last_scrape_duration_seconds", "pg_exporter_scrapes_total")


@dataclass
class Pair:
    """The servers, ours over both of them, and theirs over each."""

    scene: Scene
    exporter: Exporter
    peers: dict[str, str]
    facts: dict[str, Facts]

    def ours(self, role: str) -> Page:
        """Our page of a server."""
        return page_of(self.exporter, role)


@pytest.fixture(scope="module")
def pair(server: DatabaseServer, fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Start it all, on servers of our own."""
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(scene(fleet, server.name))
        # Before the exporter has all connections that the account may have.
        facts = {role: _facts(made, role) for role in ROLES}
        exporter, peers = scene_exporters(fleet, made, tmp_path_factory.mktemp("contract"), stack)
        found = Pair(made, exporter, peers, facts)
        # Texts of statements are not read each time that there is a new one.
        assert wait_for(lambda: all(_texts_are_there(found.ours(role)) for role in ROLES), 120, pause=1)
        yield found


def _facts(made: Scene, role: str) -> Facts:
    with watching(made.server(role), made.account) as watch:
        return watch.facts()


def _texts_are_there(page: Page) -> bool:
    shown = (page.metrics.get(f"pg_stat_statements_{name}", {}) for name in ("calls_total", "query_id"))
    calls, texts = ({dict(labels)["queryid"] for labels in series} for series in shown)
    return bool(calls) and calls == texts


def _applying(facts: Facts) -> list[Deviation]:
    return [item for item in DEVIATIONS if item.when.passes(facts)]


@pytest.mark.parametrize("role", ROLES)
def test_everything_of_theirs_is_here_with_the_same_value(pair: Pair, role: str) -> None:
    facts = pair.facts[role]
    here = _applying(facts)
    # The command learns from our page what server it is.
    assert applying(DEVIATIONS, pair.ours(role)) == here
    result = compared(pair.exporter, role, pair.peers[role], here, readings(pair.exporter, role, pair.peers[role]))
    # A standby has no statements of its own to speak of.
    assert result.series > (1000 if role == "primary" else 900)
    assert unexplained(result) == []
    used = {item.deviation for item in result.deliberate()}
    assert [item.theirs for item in here if item.provoked and item.shown.passes(facts) and item not in used] == []


@pytest.mark.parametrize("role", ROLES)
def test_what_would_be_wrong_is_noticed(pair: Pair, role: str) -> None:
    """No deviation excuses more than it says: a metric or series that is gone, or a value that is another."""
    found = unnoticed(readings(pair.exporter, role, pair.peers[role]), _applying(pair.facts[role]))
    assert [item for item in found if not _is_meant(item)] == []
    assert {item.metric for item in found} >= {"pg_exporter_scrapes_total"}


def _is_meant(item: Mutation) -> bool:
    """Each tells of its own scrapes; its own sessions come and go; bytes say nothing of a number of rows; types."""
    name = dict(item.labels).get("application_name", "")
    sessions = item.metric.startswith(("pg_process_idle_", "pg_stat_activity_"))
    own = sessions and item.what == "series gone" and name in ("", "database_exporter")
    free = (*OWN_SCRAPES, "pg_stat_progress_vacuum_num_dead_tuples")
    # Theirs again, which a test of its own holds to what is right.
    typed = item.what == "type changed" and any(one.kinds and one.is_about(item.metric) for one in DEVIATIONS)
    return own or typed or (item.metric in free and item.what == "value changed")


def test_a_name_of_theirs_that_they_do_not_have_would_be_wrong(pair: Pair) -> None:
    pages = [(fetch(pair.peers[role]).metrics, pair.ours(role).metrics) for role in ROLES]
    declared = {measure.name for item in collectors_of("postgres") for measure in item.measures() if measure.drop_in}
    ours = {name for _, page in pages for name in page} & declared
    theirs = {name for page, _ in pages for name in page}
    # The names of these are 0.20's.
    newer = {"pg_replication_slots_slot_current_wal_lsn", "pg_replication_slots_slot_confirmed_flush_lsn",
             "pg_replication_slots_slot_is_active", "pg_replication_slots_safe_wal_size_bytes",
             "pg_replication_slots_wal_status"}  # fmt: skip
    assert ours - theirs == newer
    assert len(ours & theirs) > 100


def test_the_scene_has_what_it_is_there_for(pair: Pair) -> None:
    """Theirs has something to show of every subject: a comparison of nothing proves nothing."""
    theirs = fetch(pair.peers["primary"])
    failed = [labels for labels, value in theirs.metrics["pg_scrape_collector_success"].items() if value != 1]
    assert failed == []
    slots = {dict(labels)["slot_type"] for labels in theirs.metrics["pg_replication_slot_slot_is_active"]}
    assert slots == {"physical", "logical"}
    assert len(theirs.metrics["pg_stat_progress_vacuum_heap_blks"]) == 2
    assert len(theirs.metrics["pg_stat_activity_autovacuum_timestamp_seconds"]) == 1
    held = {dict(labels)["mode"] for labels, count in theirs.metrics["pg_locks_count"].items() if count}
    assert {"accessexclusivelock", "rowexclusivelock", "sireadlock", "shareupdateexclusivelock"} <= held
    states = {dict(labels)["state"] for labels, count in theirs.metrics["pg_stat_activity_count"].items() if count}
    assert states >= {"active", "idle", "idle in transaction", "idle in transaction (aborted)"}
    assert pair.scene.primary.execute("SELECT count(*) FROM pg_prepared_xacts") == [(1,)]
    assert {dict(labels)["datname"] for labels in theirs.metrics["pg_stat_database_xact_commit"]} >= {
        DATABASE,
        "tenant",
    }
    standby = fetch(pair.peers["standby"])
    assert standby.metrics["pg_stat_wal_receiver_flushed_lsn"]
    assert standby.value("pg_replication_is_replica") == 1


def test_unknown_is_absent(pair: Pair) -> None:
    ours = pair.ours("primary")
    primary = pair.scene.primary
    assert primary.execute("SELECT pg_last_xact_replay_timestamp()") == [(None,)]
    assert "pg_replication_last_replay_seconds" not in ours.metrics
    never = primary.execute("SELECT datname FROM pg_stat_database WHERE datname IS NOT NULL AND stats_reset IS NULL")
    reset = primary.execute(
        "SELECT datname FROM pg_stat_database WHERE datname IS NOT NULL AND stats_reset IS NOT NULL"
    )
    shown = {dict(labels)["datname"] for labels in ours.metrics.get("pg_stat_database_stats_reset", {})}
    assert shown == {name for (name,) in reset}
    assert never
    confirmed = {dict(labels)["slot_name"] for labels in ours.metrics["pg_replication_slot_slot_confirmed_flush_lsn"]}
    assert confirmed == {"to_tenant"}
    reserved = primary.execute("SELECT slot_name FROM pg_replication_slots WHERE restart_lsn IS NOT NULL")
    retained = {dict(labels)["slot_name"] for labels in ours.metrics["pg_replication_slots_pg_wal_lsn_diff"]}
    assert retained == {name for (name,) in reserved}
    assert "fresh" not in retained
    swept = primary.execute("SELECT relname FROM pg_stat_user_tables WHERE last_vacuum IS NOT NULL", DATABASE)
    by_hand = ours.metrics["pg_stat_user_tables_last_vacuum"]
    assert {dict(labels)["relname"] for labels in by_hand if dict(labels)["datname"] == DATABASE} == {"orders"}
    assert swept == [("orders",)]
    assert pair.scene.standby.execute("SELECT last_archived_time FROM pg_stat_archiver") == [(None,)]
    assert "pg_stat_archiver_last_archive_age" not in pair.ours("standby").metrics


def test_tables_of_every_database(pair: Pair) -> None:
    ours = pair.ours("primary")
    tables = "SELECT current_database(), schemaname, relname FROM pg_stat_user_tables"
    indexes = "SELECT current_database(), schemaname, relname, indexrelname FROM pg_stat_user_indexes"
    databases = (DATABASE, "tenant", "postgres")
    for metric, sql in (
        ("pg_stat_user_tables_seq_scan", tables),
        ("pg_statio_user_tables_heap_blocks_hit", tables),
        ("pg_statio_user_indexes_idx_blks_hit_total", indexes),
    ):
        expected = {row for database in databases for row in pair.scene.primary.execute(sql, database)}
        names = ("datname", "schemaname", "relname", "indexrelname")
        shown = {tuple(dict(labels)[name] for name in names if name in dict(labels)) for labels in ours.metrics[metric]}
        assert shown == expected


def test_moments_and_positions_are_gauges(pair: Pair) -> None:
    pages = [pair.ours(role) for role in ROLES]
    names = ("pg_stat_wal_receiver_flushed_lsn", "pg_stat_wal_receiver_receive_start_lsn", "pg_static",
             "pg_stat_wal_receiver_latest_end_lsn", "pg_stat_wal_receiver_latest_end_time",
             "pg_stat_replication_reply_time", "pg_stat_statements_query_id",
             "pg_stat_database_stats_reset")  # fmt: skip
    shown = {name: {page.kind(name) for page in pages if name in page.metrics} for name in names}
    assert {name: kinds for name, kinds in shown.items() if kinds - {"gauge"}} == {}
    assert all(shown[name] for name in names[:-1])


def test_conflicts_are_counters(pair: Pair) -> None:
    page = pair.ours("standby")
    columns = {name for name in page.metrics if name.startswith("pg_stat_database_conflicts_confl_")}
    found = pair.scene.standby.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'pg_stat_database_conflicts'::regclass"
        " AND attname ~ '^confl'"
    )
    assert columns == {f"pg_stat_database_conflicts_{name}" for (name,) in found}
    assert {page.kind(name) for name in columns} == {"counter"}


def test_our_own_work_is_told_in_their_words(pair: Pair) -> None:
    page = pair.ours("primary")
    succeeded = {
        dict(labels)["collector"] for labels, value in page.metrics["pg_scrape_collector_success"].items() if value
    }
    ran = {
        dict(labels)["collector"]
        for labels in page.metrics["database_exporter_collector_state"]
        if dict(labels)["state"] == "ok"
    }
    assert succeeded == ran
    assert ran > {"pg_activity", "pg_stat_database"}
    assert {item.name for item in collectors_of("postgres")} >= ran
    assert page.value("pg_exporter_scrapes_total")
    assert page.value("pg_exporter_last_scrape_duration_seconds")
    process = fetch(f"{pair.exporter.url}/metrics")
    assert process.value("process_resident_memory_bytes")
    assert process.value("process_cpu_seconds_total")
    assert process.value("database_exporter_build_info") == 1
