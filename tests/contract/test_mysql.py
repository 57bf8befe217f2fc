"""mysqld_exporter with all its collectors on beside ours: same names, labels and values, but for what is listed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from exporter.compare.deviations.mysql import DEVIATIONS
from exporter.compare.pages import Page, fetch
from exporter.compare.series import Comparison, compare
from exporter.registry import collectors_of
from tests.contract.mysql_scene import Scene, scene
from tests.contract.peers import mysqld_exporter, ours, page_of, readings, unexplained
from tests.exporters import Exporter
from tests.providers.base import DatabaseServer, wait_for
from tests.providers.fleet import Fleet
from tests.servers.collecting import watching

pytestmark = pytest.mark.engine("mysql")


@dataclass
class Beside:
    """The servers, ours over all of them, and theirs over each."""

    scene: Scene
    exporter: Exporter
    peers: dict[str, str]

    def ours(self, role: str) -> Page:
        """Our page of a server."""
        return page_of(self.exporter, role)

    def theirs(self, role: str) -> Page:
        """Their page of a server."""
        return fetch(self.peers[role])

    @property
    def flavor(self) -> str:
        """mysql or mariadb."""
        return self.scene.servers["source"].flavor

    @property
    def replicas(self) -> list[str]:
        """Roles of replicas."""
        return [role for role in self.peers if role not in ("source", "second")]


@pytest.fixture(scope="module")
def beside(server: DatabaseServer, fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    """Start it all, on servers of our own."""
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(scene(fleet, server.name))
        peers = {
            role: stack.enter_context(mysqld_exporter(fleet, each, made.peer)) for role, each in made.servers.items()
        }
        servers = {role: (each, made.account) for role, each in made.servers.items()}
        yield Beside(made, stack.enter_context(ours(tmp_path_factory.mktemp("contract"), servers, None)), peers)


def test_everything_of_theirs_is_here_with_the_same_value(beside: Beside) -> None:
    results: dict[str, Comparison] = {}
    expected, used = set(), set()
    for role, server in beside.scene.servers.items():
        with watching(server, beside.scene.account) as watch:
            facts = watch.facts()
        applying = [item for item in DEVIATIONS if item.when.passes(facts)]
        expected |= {item for item in applying if item.provoked}
        results[role] = compare(readings(beside.exporter, role, beside.peers[role]), applying)
        used |= {item.deviation for item in results[role].deliberate()}
    assert [f"{role}: {line}" for role, result in results.items() for line in unexplained(result)] == []
    assert [(item.metrics, item.theirs) for item in expected - used] == []
    assert min(result.series for result in results.values()) > 1000


def test_a_name_of_theirs_that_they_do_not_have_would_be_wrong(beside: Beside) -> None:
    pages = [(beside.theirs(role).metrics, beside.ours(role).metrics) for role in beside.peers]
    declared = {measure.name for item in collectors_of("mysql") for measure in item.measures() if measure.drop_in}
    shown = {name for _, page in pages for name in page} & declared
    theirs = {name for page, _ in pages for name in page}
    assert len(shown & theirs) > 70
    # Names of before 8.4, on a server that has the new ones.
    old = {name for name in shown - theirs if name.startswith("mysql_slave_status_")}
    assert bool(old) is (beside.flavor == "mysql")
    # What theirs asks of MariaDB as if it were MySQL.
    broken = {"mysql_heartbeat_mysql_slave_hosts_info"} if beside.flavor == "mariadb" else set()
    assert shown - theirs - old == broken


def test_the_scene_has_what_it_is_there_for(beside: Beside) -> None:
    """Theirs has something to show of every subject: a comparison of nothing proves nothing."""
    theirs = beside.theirs("source")
    failed = {
        dict(labels)["collector"].removeprefix("collect.")
        for labels, value in theirs.metrics["mysql_exporter_collector_success"].items()
        if value != 1
    }
    never = {"engine_tokudb_status", "info_schema.rocksdb_perf_context"}
    # What theirs asks of MariaDB as if it were MySQL.
    broken = {"slave_hosts", "perf_schema.replication_applier_status_by_worker",
              "perf_schema.replication_group_member_stats", "perf_schema.replication_group_members"}  # fmt: skip
    assert failed == never | (broken if beside.flavor == "mariadb" else set())
    states = {dict(labels)["state"] for labels in theirs.metrics["mysql_info_schema_processlist_threads"]}
    assert {"waiting_for_table_metadata_lock", "user_sleep", "updating"} <= states
    assert theirs.value("mysql_global_status_innodb_row_lock_current_waits") == 1
    assert len(theirs.metrics["mysql_perf_schema_events_statements_total"]) > 5
    if beside.flavor == "mysql":
        assert len(theirs.metrics["mysql_heartbeat_mysql_slave_hosts_info"]) == 2
        assert _by_channel(beside.theirs("both"), "mysql_slave_status_replica_sql_running") == {"one": 1, "two": 1}
        assert _by_channel(beside.theirs("stopped"), "mysql_slave_status_replica_sql_running") == {"": 0}
    else:
        assert _by_channel(beside.theirs("named"), "mysql_slave_status_slave_sql_running") == {"from_source": 1}
        assert theirs.metrics["mysql_info_schema_user_statistics_busy_seconds_total"]


def test_replication_has_both_names(beside: Beside) -> None:
    """Those of the columns before 8.4 and since, where the server has the new ones."""
    pairs = (("slave_io_running", "replica_io_running"), ("slave_sql_running", "replica_sql_running"),
             ("seconds_behind_master", "seconds_behind_source"), ("master_server_id", "source_server_id"))  # fmt: skip
    for role in beside.replicas:
        page = beside.ours(role)
        for old, new in pairs:
            shown = [
                {(dict(labels).get("channel_name", ""), value) for labels, value in page.metrics.get(name, {}).items()}
                for name in (f"mysql_slave_status_{old}", f"mysql_slave_status_{new}")
            ]
            assert shown[0] or old == "seconds_behind_master"
            assert shown[1] == (shown[0] if beside.flavor == "mysql" else set())


def test_counters_are_counters(beside: Beside) -> None:
    page = beside.ours("source")
    counters = ("queries", "questions", "slow_queries", "connections", "bytes_sent", "innodb_data_reads")
    gauges = (
        "threads_connected",
        "threads_running",
        "max_used_connections",
        "open_tables",
        "innodb_row_lock_current_waits",
    )
    for names, kind in ((counters, "counter"), (gauges, "gauge")):
        shown = {name: page.kind(f"mysql_global_status_{name}") for name in names
                 if f"mysql_global_status_{name}" in page.metrics}  # fmt: skip
        assert len(shown) > 3
        assert shown == dict.fromkeys(shown, kind)
    for name in page.metrics:
        if name.startswith("mysql_info_schema_innodb_cmpmem_pages_"):
            assert page.kind(name) == "gauge"
        if "_statistics_" in name and not name.endswith("_concurrent_connections"):
            assert page.kind(name) == "counter", name
    assert page.metrics["mysql_info_schema_innodb_cmpmem_pages_used_total"]
    assert page.metrics["mysql_sys_unique_hosts_total"]
    assert page.kind("mysql_sys_unique_hosts_total") == "gauge"


def test_sessions_are_those_of_the_server(beside: Beside) -> None:
    """But for the one that asks, here as there."""
    sessions = (
        "SELECT user, COUNT(*) FROM information_schema.processlist WHERE id <> CONNECTION_ID()"
        " AND user NOT IN ('exporter', 'peer', 'event_scheduler') GROUP BY user"
    )
    others = {"exporter", "peer", "event_scheduler"}
    for role, server in beside.scene.servers.items():

        def shown(role: str = role) -> dict[str, float]:
            found = beside.ours(role).metrics["mysql_info_schema_processlist_processes_by_user"]
            return {
                user: value
                for labels, value in found.items()
                if (user := dict(labels).get("mysql_user", "")) not in others
            }

        # Sessions of tests take a moment to end.
        assert wait_for(lambda server=server, shown=shown: shown() == dict(server.execute(sessions)), 15), role
    if beside.flavor == "mysql":
        hosts = beside.ours("both").metrics["mysql_info_schema_processlist_processes_by_host"]
        threads = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'system user'"
        found = {dict(labels)["client_host"]: value for labels, value in hosts.items()}
        assert found["unknown"] == beside.scene.servers["both"].execute(threads)[0][0]


@pytest.mark.flavor("mysql")
def test_moments_of_workers_are_those_of_the_server(beside: Beside) -> None:
    kinds = ("last_applied_transaction_original_commit", "last_applied_transaction_end_apply",
             "applying_transaction_start_apply")  # fmt: skip
    known = 0
    for role in beside.replicas:
        page = beside.ours(role)
        for kind in kinds:
            rows = beside.scene.servers[role].execute(
                f"SELECT channel_name, worker_id, UNIX_TIMESTAMP({kind}_timestamp)"
                f" FROM performance_schema.replication_applier_status_by_worker WHERE {kind}_timestamp > 0"
            )
            shown = {
                (dict(labels).get("channel_name", ""), dict(labels)["member_id"]): value
                for labels, value in page.metrics.get(f"mysql_perf_schema_{kind}_timestamp_seconds", {}).items()
            }
            assert shown == {(channel, str(worker)): pytest.approx(float(at)) for channel, worker, at in rows}
            known += len(rows)
    assert known >= 4


def test_memory_is_that_of_the_server(beside: Beside) -> None:
    source = beside.scene.servers["source"]
    # Taken at the start, and never more.
    name = "memory/performance_schema/events_statements_summary_by_digest"
    truth = (
        "SELECT CURRENT_NUMBER_OF_BYTES_USED FROM performance_schema.memory_summary_global_by_event_name"
        f" WHERE event_name = '{name}'"
    )
    shown = beside.ours("source").metrics["mysql_perf_schema_memory_events_used_bytes"]
    [used] = [value for labels, value in shown.items() if dict(labels)["event_name"] == name.removeprefix("memory/")]
    assert used == source.execute(truth)[0][0]


def test_idle_sessions_count_twice_until_they_end(beside: Beside) -> None:
    """The server's own figure falls, which no exporter can help."""
    source = beside.scene.servers["source"]
    idle = (
        "SELECT SUM_TIMER_WAIT / 1e12 FROM performance_schema.events_waits_summary_global_by_event_name"
        " WHERE EVENT_NAME = 'idle'"
    )

    def shown() -> float:
        found = beside.ours("source").metrics["mysql_perf_schema_events_waits_seconds_total"]
        return found[frozenset({("event_name", "idle"), ("server", "source")})]

    def waited() -> float:
        return float(source.execute(idle)[0][0])

    before = waited()
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(contextlib.closing(source.connect())) for _ in range(30)]
        time.sleep(3)
        for session in sessions:
            session.query("SELECT 1")
        # Three seconds each, twice; other sessions are idle as well, for a while.
        most = waited()
        assert most > before + 180
    assert wait_for(lambda: waited() < most - 40, 20)
    assert wait_for(lambda: before < shown() < most, 20)


def test_statements_without_a_schema_count(beside: Beside) -> None:
    """What theirs drops: a statement in a session that has chosen no schema."""
    source = beside.scene.servers["source"]

    def counted() -> float:
        found = beside.ours("source").metrics["db_statements_total"]
        return sum(found.values())

    before = counted()
    for _ in range(50):
        source.execute("SELECT 'no schema at all'")
    assert wait_for(lambda: counted() >= before + 50, 30)
    assert not [
        labels
        for labels in beside.theirs("source").metrics["mysql_perf_schema_events_statements_total"]
        if "no schema at all" in dict(labels)["digest_text"] or "schema" not in dict(labels)
    ]


def test_replication_broken_in_each_way(beside: Beside) -> None:
    """Running state, error and lag are those of the server and of theirs, each time."""
    role, channel = ("both", "one") if beside.flavor == "mysql" else ("named", "from_source")
    replica, source = beside.scene.servers[role], beside.scene.servers["source"]
    new = beside.flavor == "mysql"
    io, sql = (f"mysql_slave_status_{'replica' if new else 'slave'}_{thread}_running" for thread in ("io", "sql"))

    def control(verb: str, thread: str = "") -> None:
        where = f"REPLICA {thread} FOR CHANNEL '{channel}'" if new else f"SLAVE '{channel}' {thread}"
        replica.execute(f"{verb} {where}")

    def shows(io_runs: int, sql_runs: int, errno: int = 0) -> bool:
        pages = [beside.theirs(role), beside.ours(role)]
        wanted = {io: io_runs, sql: sql_runs, "mysql_slave_status_last_sql_errno": errno}
        if any(_by_channel(page, name).get(channel) != value for page in pages for name, value in wanted.items()):
            return False
        running = _by_channel(pages[1], "db_replication_running", "channel")
        lag = _by_channel(pages[1], "db_replication_lag_seconds", "channel")
        assert running[channel] == int(io_runs == sql_runs == 1)
        assert (channel in lag) is (io_runs == sql_runs == 1)
        # The other channel is not touched by it.
        assert set(running.values()) - {running[channel]} <= {1}
        return True

    assert wait_for(lambda: shows(1, 1), 30)
    control("STOP", "IO_THREAD")
    assert wait_for(lambda: shows(0, 1), 30)
    control("START", "IO_THREAD")
    control("STOP", "SQL_THREAD")
    assert wait_for(lambda: shows(1, 0), 30)
    control("START", "SQL_THREAD")
    assert wait_for(lambda: shows(1, 1), 30)
    source.execute("CREATE TABLE shop.broken (id int PRIMARY KEY)")
    broken = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'broken'"
    assert wait_for(lambda: replica.execute(broken)[0][0] == 1, 30)
    # A row that is there already.
    replica.execute("INSERT INTO shop.broken VALUES (1)")
    source.execute("INSERT INTO shop.broken VALUES (1)")
    assert wait_for(lambda: shows(1, 0, 1062), 30)
    replica.execute("DELETE FROM shop.broken WHERE id = 1")
    control("START", "SQL_THREAD")
    assert wait_for(lambda: shows(1, 1), 30)


def _by_channel(page: Page, metric: str, label: str = "") -> dict[str, float]:
    """The values of a metric by channel or connection."""
    return {
        next(
            (dict(labels)[name] for name in (label, "channel_name", "connection_name") if name in dict(labels)), ""
        ): value
        for labels, value in page.metrics.get(metric, {}).items()
    }
