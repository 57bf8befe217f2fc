"""mysqld_exporter with all its collectors on beside ours: same names, labels and values, but for what is listed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import pytest
from pymysql.cursors import DictCursor

from exporter.collectors.mysql.processes import word
from exporter.compare.deviations import Deviation, applying
from exporter.compare.deviations.mysql import DEVIATIONS
from exporter.compare.pages import Page, fetch
from exporter.compare.series import Comparison, Reading
from exporter.facts import Facts
from exporter.registry import collectors_of
from tests.contract.mutations import Mutation, unnoticed
from tests.contract.mysql_scene import DATABASE, Scene, scene
from tests.contract.peers import compared, mysqld_exporter, ours, page_of, read_since, readings, unexplained
from tests.exporters import Exporter
from tests.providers.base import Account, DatabaseServer, wait_for
from tests.providers.fleet import Fleet
from tests.providers.processes import free_port
from tests.servers.collecting import watching

pytestmark = pytest.mark.engine("mysql")
_OWN_SUCCESS = "mysql_exporter_collector_success"


@dataclass
class Beside:
    """The servers, ours over all of them, and theirs over each."""

    scene: Scene
    exporter: Exporter
    peers: dict[str, str]
    facts: dict[str, Facts]
    _read: dict[str, list[Reading]] = field(default_factory=dict)

    def read(self, role: str) -> list[Reading]:
        """Both pages by turns, once for all tests."""
        if role not in self._read:
            self._read[role] = readings(self.exporter, role, self.peers[role])
        return self._read[role]

    def applying(self, role: str) -> list[Deviation]:
        """What may differ on a server."""
        return [item for item in DEVIATIONS if item.when.passes(self.facts[role])]

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
        # Before the exporter has all connections that the account may have.
        facts = {role: _facts(each, made.account) for role, each in made.servers.items()}
        servers = {role: (each, made.account) for role, each in made.servers.items()}
        exporter = stack.enter_context(ours(tmp_path_factory.mktemp("contract"), servers, None))
        yield Beside(made, exporter, peers, facts)


def _facts(server: DatabaseServer, account: Account) -> Facts:
    with watching(server, account) as watch:
        return watch.facts()


def test_everything_of_theirs_is_here_with_the_same_value(beside: Beside) -> None:
    results: dict[str, Comparison] = {}
    expected, used = set(), set()
    for role in beside.peers:
        here = beside.applying(role)
        # The command learns from our page what server it is.
        assert applying(DEVIATIONS, beside.ours(role)) == here
        expected |= {item for item in here if item.provoked and item.aspects}
        results[role] = compared(beside.exporter, role, beside.peers[role], here, beside.read(role))
        used |= {item.deviation for item in results[role].deliberate()}
    assert [f"{role}: {line}" for role, result in results.items() for line in unexplained(result)] == []
    assert [(item.metrics, item.theirs) for item in expected - used] == []
    assert min(result.series for result in results.values()) > 1000


def test_what_would_be_wrong_is_noticed(beside: Beside) -> None:
    """No deviation excuses more than it says: a metric or series that is gone, a value or type that is another."""
    for role in ("source", beside.replicas[-1]):
        theirs = beside.read(role)[-1].theirs
        untyped = {metric for metric in theirs.metrics if theirs.kind(metric) == "untyped"}
        found = unnoticed(beside.read(role), beside.applying(role), each=10)
        assert [item for item in found if not _is_covered(item, untyped)] == []
        assert {item.what for item in found} >= {"type changed"}


# What no page can be compared with, and the test that holds it to the server instead.
_TYPES = "test_counters_are_counters"
_COVERED = {
    ("mysql_info_schema_innodb_cmpmem_pages_*", "type changed"): _TYPES,
    ("mysql_sys_unique_hosts_total", "type changed"): _TYPES,
    ("mysql_info_schema_processlist_*", "series gone"): "test_sessions_are_those_of_the_server",
    ("mysql_info_schema_table_rows", "series gone"): "test_tables_are_those_of_the_server",
    ("mysql_info_schema_table_size", "series gone"): "test_tables_are_those_of_the_server",
    ("mysql_perf_schema_memory_events_used_bytes", "value changed"): "test_memory_is_that_of_the_server",
    ("mysql_sys_current_memory_bytes", "value changed"): "test_memory_is_that_of_the_server",
    ("mysql_sys_memory_allocated_bytes_total", "value changed"): "test_memory_is_that_of_the_server",
    ("mysql_global_status_memory_used", "value changed"): "test_memory_is_that_of_the_server",
    ("mysql_perf_schema_events_statements_*", "series gone"): (
        "test_texts_of_what_does_not_read_or_change_rows_are_cut"
    ),
    ("mysql_perf_schema_events_statements_latency", "metric gone"): "test_what_theirs_misreads_of_statements_is_right",
    ("mysql_perf_schema_events_statements_lock_time_seconds_total", "value changed"): (
        "test_what_theirs_misreads_of_statements_is_right"
    ),
}


def _is_covered(item: Mutation, untyped: set[str]) -> bool:
    if item.what == "type changed" and item.metric in untyped:
        return _TYPES in globals()
    return any(
        fnmatchcase(item.metric, metric) and item.what == what and test in globals()
        for (metric, what), test in _COVERED.items()
    )


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
        assert _by_channel(beside.theirs("named"), "mysql_slave_status_slave_sql_running") == {
            "from_source": 1,
            "by_position": 0,
        }
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
        if "_statistics_" in name and not name.endswith(
            ("_concurrent_connections", "_statistics_hosts", "_statistics_users")
        ):
            assert page.kind(name) == "counter", name
    assert page.metrics["mysql_info_schema_innodb_cmpmem_pages_used_total"]
    assert page.metrics["mysql_sys_unique_hosts_total"]
    assert page.kind("mysql_sys_unique_hosts_total") == "gauge"
    for role in beside.peers:
        first, last = beside.read(role)[0].before, beside.ours(role)
        for name in last.metrics:
            if name.startswith("mysql_slave_status_"):
                counts = name.endswith(("_groups", "_heartbeats", "_transactions", "_entries"))
                assert last.kind(name) == ("counter" if counts else "gauge"), name
            elif last.kind(name) == "counter" and name.startswith("mysql_global_status_"):
                fallen = {labels: value for labels, value in first.metrics.get(name, {}).items()
                          if last.metrics[name].get(labels, value) < value}  # fmt: skip
                assert fallen == {}, name
    new = {name for name in page.metrics if name.startswith("mysql_global_status_")}
    assert new - {name for name in new if page.kind(name) in ("counter", "gauge")} == set()


def test_our_own_work_is_told_in_their_words(beside: Beside) -> None:
    page = beside.ours("source")
    ran = {
        dict(labels)["collector"]
        for labels in page.metrics["database_exporter_collector_state"]
        if dict(labels)["state"] == "ok"
    }
    succeeded = {dict(labels)["collector"]: value for labels, value in page.metrics[_OWN_SUCCESS].items()}
    assert {name for name, value in succeeded.items() if value == 1} == ran
    assert set(succeeded.values()) <= {0, 1}
    assert ran > {"mysql_status", "mysql_processes"}
    assert page.metrics["mysql_exporter_collector_duration_seconds"].keys() >= {
        labels for labels, value in page.metrics[_OWN_SUCCESS].items() if value == 1
    }


def test_tables_are_those_of_the_server(beside: Beside) -> None:
    """Each number that the server knows, and no other."""
    for role, server in beside.scene.servers.items():
        rows = server.execute(
            "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_ROWS, DATA_LENGTH, INDEX_LENGTH, DATA_FREE"
            " FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA NOT IN ('mysql', 'performance_schema', 'information_schema', 'sys')"
        )
        page = read_since(beside.exporter, role, time.monotonic())
        counted = {
            (dict(labels)["schema"], dict(labels)["table"]): value
            for labels, value in page.metrics.get("mysql_info_schema_table_rows", {}).items()
        }
        assert counted == {(schema, table): rows for schema, table, rows, *_ in rows if rows is not None}
        sizes = {
            (dict(labels)["schema"], dict(labels)["table"], dict(labels)["component"]): value
            for labels, value in page.metrics.get("mysql_info_schema_table_size", {}).items()
        }
        parts = ("data_length", "index_length", "data_free")
        assert sizes == {
            (schema, table, part): size
            for schema, table, _, *found in rows
            for part, size in zip(parts, found, strict=True)
            if size is not None
        }
        assert len(counted) > 3 or role == "second"


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
    # What they do: those that ask are among them, here and there.
    doing = (
        "SELECT command, COALESCE(state, ''), COUNT(*), SUM(time) FROM information_schema.processlist"
        " WHERE user NOT IN ('exporter', 'peer') AND id <> CONNECTION_ID() AND time > 2"
        " AND NOT (user = 'system user' AND command = 'Daemon') GROUP BY 1, 2"
    )
    threads, seconds = (f"mysql_info_schema_processlist_{name}" for name in ("threads", "seconds"))
    for role, server in beside.scene.servers.items():

        def agrees(role: str = role, server: DatabaseServer = server) -> bool:
            before = server.execute(doing)
            page = beside.ours(role)
            shown = [
                {
                    (found["command"], found["state"]): value
                    for found, value in ((dict(labels), value) for labels, value in page.metrics[name].items())
                }
                for name in (threads, seconds)
            ]
            # Some of them are ours, and time goes on.
            return all(
                count <= shown[0].get(key, 0) <= count + 3 and time <= shown[1].get(key, 0) <= time + 60 * (count + 3)
                for command, state, count, time in before
                if (key := (word(command), word(state)))
            )

        assert wait_for(agrees, 15), role
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
    """What no session of an exporter is about, and stays the same while ours is asked: nearly all of it."""
    source = beside.scene.servers["source"]
    truth = {
        ("mysql_perf_schema_memory_events_used_bytes", "event_name"): (
            "SELECT SUBSTRING(event_name, 8), CURRENT_NUMBER_OF_BYTES_USED"
            " FROM performance_schema.memory_summary_global_by_event_name WHERE COUNT_ALLOC > 0"
        ),
        ("mysql_sys_current_memory_bytes", "user"): (
            "SELECT user, current_memory FROM sys.x$user_summary WHERE user NOT IN ('exporter', 'peer', 'root')"
        ),
    }
    for (metric, label), sql in truth.items():
        seen: set[str] = set()

        def agrees(metric: str = metric, label: str = label, sql: str = sql, seen: set[str] = seen) -> bool:
            """Whether nearly each of them has been the server's at least once."""
            before = {name: float(used) for name, used in source.execute(sql)}
            shown = {dict(labels)[label]: value for labels, value in beside.ours("source").metrics[metric].items()}
            after = {name: float(used) for name, used in source.execute(sql)}
            assert before.keys() & after.keys() <= shown.keys()
            seen |= {name for name in before if min(before[name], after.get(name, 0)) <= shown[name]
                     <= max(before[name], after.get(name, 0))}  # fmt: skip
            # What every session has is always more or less by one of them.
            rest = before.keys() - seen
            near = all(abs(shown[name] - before[name]) <= 2**22 for name in rest)
            return near and len(rest) <= max(1, len(before) // 7)

        assert wait_for(agrees, 30, pause=1.1), metric
    # Not the view of theirs, which has it once for each host that a user came from.
    total = (
        "SELECT USER, SUM(SUM_NUMBER_OF_BYTES_ALLOC) FROM performance_schema.memory_summary_by_user_by_event_name"
        " WHERE USER NOT IN ('exporter', 'peer', 'root') GROUP BY USER"
    )

    def between() -> bool:
        """Whether what was allocated in all is the server's of a moment between two."""
        before = {name: float(bytes_) for name, bytes_ in source.execute(total)}
        page = read_since(beside.exporter, "source", time.monotonic())
        after = {name: float(bytes_) for name, bytes_ in source.execute(total)}
        shown = page.metrics["mysql_sys_memory_allocated_bytes_total"].items()
        of_users = {dict(labels)["user"]: value for labels, value in shown}
        both = before.keys() & after.keys()
        return "admin" in both and all(before[name] <= of_users[name] <= after[name] for name in both)

    # While sessions end the server's own sum may fall for a moment.
    assert beside.flavor == "mariadb" or wait_for(between, 60, pause=1.1)
    if beside.flavor == "mariadb":
        used = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'Memory_used'"

        def same() -> bool:
            """With a session of its own on each side; others begin and end meanwhile."""
            shown = beside.ours("source").value("mysql_global_status_memory_used")
            return shown == pytest.approx(float(source.execute(used)[0][0]), abs=2**23)

        assert wait_for(same, 30, pause=1.1)


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
        time.sleep(6)
        for session in sessions:
            session.query("SELECT 1")
        # Six seconds each, twice; other sessions are idle as well, for a while.
        most = waited()
        assert most > before + 360
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

    def own_series() -> float:
        found = beside.ours("source").metrics["mysql_perf_schema_events_statements_total"]
        mine = {(dict(labels).get("schema"), dict(labels)["digest_text"].strip()): at for labels, at in found.items()}
        return mine.get((None, "SELECT ?"), 0)

    assert wait_for(lambda: own_series() >= 50, 30)
    assert not [
        labels
        for labels in beside.theirs("source").metrics["mysql_perf_schema_events_statements_total"]
        if "no schema at all" in dict(labels)["digest_text"] or "schema" not in dict(labels)
    ]


def test_texts_of_what_does_not_read_or_change_rows_are_cut(beside: Beside) -> None:
    """The series are there all the same, with the same numbers."""

    def by_digest(page: Page, ending: str = "total") -> dict[tuple[Any, ...], tuple[str, float]]:
        found = {}
        for series, value in page.metrics[f"mysql_perf_schema_events_statements_{ending}"].items():
            labels = dict(series)
            found[labels.get("schema"), labels.get("digest")] = labels.get("digest_text", "").strip(), value
        return found

    first, answered = beside.theirs("source"), time.monotonic()
    before = by_digest(first)
    page = read_since(beside.exporter, "source", answered)
    ours, after = by_digest(page), by_digest(beside.theirs("source"))
    for name in first.metrics:
        _, is_one, ending = name.partition("mysql_perf_schema_events_statements_")
        # Of summaries what has no quantile; what theirs makes up of CPU time and quantiles ours has not.
        if is_one and name in page.metrics and not ending.startswith(("sum_", "latency")):
            assert by_digest(first, ending).keys() <= by_digest(page, ending).keys(), name
    cut = {key: text for key, (text, _) in before.items() if ours[key][0] != text}
    assert any(text.startswith("CREATE TABLE `shop`") for text in cut.values())
    for key, text in cut.items():
        shown, value = ours[key]
        assert shown.endswith(" ...")
        assert text.startswith(shown.removesuffix("..."))
        assert "`" not in shown
        assert before[key][1] <= value <= after[key][1]


_SECONDS = ("behind", "sql_remaining_delay")


@dataclass
class Channel:
    """A channel of a replica that is broken on purpose, as its server, theirs and ours show it."""

    beside: Beside
    role: str
    name: str

    @property
    def replica(self) -> DatabaseServer:
        """The server."""
        return self.beside.scene.servers[self.role]

    @property
    def new(self) -> bool:
        """Whether columns have the names of MySQL 8.4."""
        return self.beside.flavor == "mysql"

    def control(self, verb: str, thread: str = "") -> None:
        """Start or stop it, or one of its threads."""
        where = f"REPLICA {thread} FOR CHANNEL '{self.name}'" if self.new else f"SLAVE '{self.name}' {thread}"
        self.replica.execute(f"{verb} {where}")

    def change(self, option: str, value: object) -> None:
        """Give it another source, or another way to it."""
        self.control("STOP")
        self.replica.execute(
            f"CHANGE REPLICATION SOURCE TO SOURCE_{option} = {value} FOR CHANNEL '{self.name}'"
            if self.new
            else f"CHANGE MASTER '{self.name}' TO MASTER_{option} = {value}"
        )
        self.control("START")

    def by_hand(self) -> dict[str, Any]:
        """Its status as the server shows it."""
        with contextlib.closing(self.replica.connect()) as made, made.cursor(DictCursor) as cursor:
            cursor.execute("SHOW REPLICA STATUS" if self.new else "SHOW ALL SLAVES STATUS")
            rows = [{column.lower(): value for column, value in row.items()} for row in cursor.fetchall()]
        [found] = [row for row in rows if row["channel_name" if self.new else "connection_name"] == self.name]
        return {name: found[column] for name, column in self._columns.items()}

    @property
    def _columns(self) -> dict[str, str]:
        kind, source = ("replica", "source") if self.new else ("slave", "master")
        steady = ("last_errno", "last_io_errno", "last_sql_errno", "sql_delay")
        return {
            "io": f"{kind}_io_running",
            "sql": f"{kind}_sql_running",
            "behind": f"seconds_behind_{source}",
            "sql_remaining_delay": "sql_remaining_delay",
            **{column: column for column in steady},
        }

    def until(self, **wanted: object) -> float | None:
        """Wait until the server says this and both pages all that the server does; gives our lag."""
        lag: list[float | None] = []

        def agree() -> bool:
            before = self.by_hand()
            pages = (self.beside.theirs(self.role), self.beside.ours(self.role))
            after = self.by_hand()
            if any(after[key] != value for key, value in wanted.items()):
                return False
            shown = [{name: _by_channel(page, f"mysql_slave_status_{column}").get(self.name)
                      for name, column in self._columns.items()} for page in pages]  # fmt: skip
            if not all(
                _lies_between(page[name], before[name], after[name], 1 if name in _SECONDS else 0)
                for page in shown
                for name in page
            ):
                return False
            running = _by_channel(pages[1], "db_replication_running", "channel")
            lag[:] = [_by_channel(pages[1], "db_replication_lag_seconds", "channel").get(self.name)]
            delays = _by_channel(pages[1], "db_replication_delay_seconds", "channel")
            runs = after["io"] == after["sql"] == "Yes"
            if delays[self.name] != after["sql_delay"] or running[self.name] != runs:
                return False
            # The other channel is not touched by it; one never runs.
            assert all(running[other] == (other != "by_position") for other in running.keys() - {self.name})
            for page in pages:
                for thread in ("io", "sql"):
                    errors = _by_channel(page, f"mysql_slave_status_last_{thread}_errno")
                    assert all(errors[other] == 0 for other in errors.keys() - {self.name})
            if not runs:
                return lag == [None]
            return lag[0] is not None and _lies_between(lag[0], before["behind"], after["behind"], 2)

        assert wait_for(agree, 60, pause=0.5), (wanted, self.by_hand(), lag)
        return lag[0]


def _lies_between(shown: float | None, before: object, after: object, by: int = 0) -> bool:
    """Whether a number is the server's; what moves is so within `by`."""
    words = {"Yes": 1, "No": 0, "Connecting": 0, "Preparing": 0}
    low, high = (words.get(value, value) if isinstance(value, str) else value for value in (before, after))
    if low is None or high is None:
        return shown is None
    assert isinstance(low, int)
    assert isinstance(high, int)
    return shown is not None and min(low, high) - by <= shown <= max(low, high) + by


@pytest.fixture
def channel(beside: Beside) -> Channel:
    """One that works; MySQL's replica has another one besides."""
    return Channel(beside, *(("both", "one") if beside.flavor == "mysql" else ("named", "from_source")))


def test_what_theirs_misreads_of_statements_is_right(beside: Beside) -> None:
    """Quantiles under keys that are shares, and time in waits for locks on MariaDB too."""
    source, prefix = beside.scene.servers["source"], "mysql_perf_schema_events_statements_"
    shares = {0.95: "QUANTILE_95", 0.99: "QUANTILE_99", 0.999: "QUANTILE_999"} if beside.flavor == "mysql" else {}
    columns = ", ".join(f"{column} / 1e12" for column in ("SUM_LOCK_TIME", *shares.values()))
    sql = (
        f"SELECT DIGEST, COUNT_STAR, {columns} FROM performance_schema.events_statements_summary_by_digest"
        " WHERE SCHEMA_NAME = 'shop'"
    )

    def agrees() -> bool:
        before = {digest: tuple(map(float, numbers)) for digest, *numbers in source.execute(sql)}
        page = beside.ours("source").metrics
        after = {digest: tuple(map(float, numbers)) for digest, *numbers in source.execute(sql)}
        shown: dict[str, dict[float | None, float]] = {}
        for name in ("lock_time_seconds_total", "latency"):
            for labels, value in page.get(prefix + name, {}).items():
                own = dict(labels)
                if own.get("schema") == "shop":
                    share = float(own["quantile"]) if "quantile" in own else None
                    shown.setdefault(own["digest"], {})[share] = value
        still = {digest for digest, numbers in before.items() if after.get(digest) == numbers} & shown.keys()
        right = {
            digest
            for digest in still
            if shown[digest] == pytest.approx(dict(zip((None, *shares), before[digest][1:], strict=True)))
        }
        return len(right) > 3 and right == still and any(before[digest][1] > 0 for digest in right)

    assert wait_for(agrees, 60, pause=2)


def test_replication_broken_in_each_way(beside: Beside, channel: Channel) -> None:
    """Running state, error and lag are those of the server and of theirs, each time."""
    replica, source = channel.replica, beside.scene.servers["source"]
    works = {"io": "Yes", "sql": "Yes", "last_io_errno": 0, "last_sql_errno": 0}
    channel.until(**works)
    channel.control("STOP", "IO_THREAD")
    channel.until(io="No", sql="Yes")
    channel.control("START", "IO_THREAD")
    channel.control("STOP", "SQL_THREAD")
    channel.until(io="Yes", sql="No")
    channel.control("START", "SQL_THREAD")
    channel.until(**works)
    # The source lets the receiver in no more, or is gone.
    for option, wrong, right, errno in (
        ("PASSWORD", "'wrong'", f"'{source.admin.password}'", 1045),
        ("PORT", free_port(), source.port, 2003),
    ):
        channel.change(option, wrong)
        channel.until(io="Connecting", sql="Yes", last_io_errno=errno, last_sql_errno=0)
        channel.change(option, right)
        channel.until(**works)
    # A row that is there already.
    source.execute("CREATE TABLE shop.broken (id int PRIMARY KEY)")
    broken = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'broken'"
    assert wait_for(lambda: replica.execute(broken)[0][0] == 1, 30)
    replica.execute("INSERT INTO shop.broken VALUES (1)")
    source.execute("INSERT INTO shop.broken VALUES (1)")
    channel.until(io="Yes", sql="No", last_sql_errno=1062, last_errno=1062, last_io_errno=0)
    replica.execute("DELETE FROM shop.broken WHERE id = 1")
    channel.control("START", "SQL_THREAD")
    channel.until(**works)


def test_lag_of_a_replica_that_waits(beside: Beside, channel: Channel) -> None:
    """Both threads run: for a lock that a session of the replica holds, and for the delay that was asked for."""
    source = beside.scene.servers["source"]
    works = {"io": "Yes", "sql": "Yes", "last_sql_errno": 0}
    with contextlib.closing(channel.replica.connect(DATABASE)) as holder:
        holder.query("BEGIN")
        holder.query("SELECT * FROM orders WHERE id = 3 FOR UPDATE")
        source.execute("UPDATE shop.orders SET note = 'late' WHERE id = 3")
        found: list[float] = []
        assert wait_for(lambda: found.append(channel.until(**works) or 0) or found[-1] >= 2, 30)
        assert wait_for(lambda: found.append(channel.until(**works) or 0) or found[-1] >= found[0] + 3, 30)
    assert wait_for(lambda: (channel.until(**works) or 0) < 1, 30)
    channel.change("DELAY", 3600)
    source.execute("UPDATE shop.orders SET note = 'later' WHERE id = 3")
    delayed = works | {"sql_delay": 3600}
    assert wait_for(lambda: channel.until(**delayed) and channel.by_hand()["sql_remaining_delay"] > 3500, 30)
    channel.change("DELAY", 0)
    assert wait_for(lambda: (channel.until(**works, sql_delay=0) or 0) < 1, 30)


def _by_channel(page: Page, metric: str, label: str = "") -> dict[str, float]:
    """The values of a metric by channel or connection."""
    return {
        next(
            (dict(labels)[name] for name in (label, "channel_name", "connection_name") if name in dict(labels)), ""
        ): value
        for labels, value in page.metrics.get(metric, {}).items()
    }
