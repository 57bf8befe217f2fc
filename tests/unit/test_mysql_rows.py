"""What the collectors of MySQL and MariaDB make of rows: counters that never fall, names of schemas, positions."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from exporter.collectors.mysql import gtid
from exporter.collectors.mysql.binlog import summed as binlog_summed
from exporter.collectors.mysql.gtid import Errant, missing, size
from exporter.collectors.mysql.innodb_all_metrics import told as innodb_counters
from exporter.collectors.mysql.replica_status import understood
from exporter.collectors.mysql.replication_group import counted
from exporter.collectors.mysql.schema_sizes import schema_of
from exporter.collectors.mysql.status import Differences, derived
from exporter.collectors.mysql.transactions import Outcomes
from exporter.collectors.mysql.values import number
from exporter.config.model import ServerConfig
from exporter.declare import Context, Rows
from exporter.facts import Facts, Identity, Role


def context(flavor: str = "mysql") -> Context:
    server = ServerConfig(name="s", engine="mysql", host="h", port=1)
    return Context(server, Facts("mysql", flavor, (9, 7), "9.7", Identity("x", 0, Role.REPLICA)), 0.0)


def told(outcomes: Outcomes, source: str, **figures: int) -> dict[str, int]:
    row = {"source": source, "ended": None, "commits": None, "written": None} | figures
    row.setdefault("handled", row["rollbacks"])
    row.setdefault("applied", None if row["ended"] is None else 0)
    return dict(outcomes.feed(Rows(tuple(row), [tuple(row.values())]), context()).rows)


def ended(outcomes: Outcomes, ended: int, rollbacks: int, handled: int | None = None) -> dict[str, int]:
    handled = rollbacks if handled is None else handled
    return told(outcomes, "performance_schema", ended=ended, rollbacks=rollbacks, handled=handled)


def test_transactions_never_fall_and_add_up() -> None:
    outcomes = Outcomes()
    assert ended(outcomes, 100, 10) == {"commit": 0, "rollback": 0}, "a start of the exporter is no load"
    assert ended(outcomes, 110, 15) == {"commit": 5, "rollback": 5}
    # ROLLBACK where no transaction was open.
    assert ended(outcomes, 110, 1000) == {"commit": 5, "rollback": 5}
    assert ended(outcomes, 120, 1001) == {"commit": 14, "rollback": 6}
    # The statistics were reset, which the second reading after it makes sure.
    assert ended(outcomes, 5, 1, handled=1002) == {"commit": 14, "rollback": 6}
    assert ended(outcomes, 7, 1, handled=1002) == {"commit": 20, "rollback": 7}


def test_what_is_missing_while_a_session_ends_is_not_counted_again() -> None:
    """The server adds up over accounts and then over sessions: of who ends in between it has nothing that once."""
    outcomes = Outcomes()
    ended(outcomes, 5_000_000, 1000)
    assert ended(outcomes, 4_000_000, 1001) == {"commit": 0, "rollback": 0}
    assert ended(outcomes, 5_000_010, 1001) == {"commit": 9, "rollback": 1}
    assert ended(outcomes, 5_000_020, 500) == {"commit": 9, "rollback": 1}
    assert ended(outcomes, 5_000_030, 1001) == {"commit": 29, "rollback": 1}


def test_a_rollback_of_nothing_takes_no_commit_away() -> None:
    outcomes = Outcomes()
    told(outcomes, "performance_schema", ended=100, rollbacks=10, handled=4)
    assert told(outcomes, "performance_schema", ended=150, rollbacks=60, handled=4) == {"commit": 50, "rollback": 0}
    # Of ten of which two had something to roll back, in an engine and in the binary log.
    found = told(outcomes, "performance_schema", ended=160, rollbacks=70, handled=8)
    assert found == {"commit": 56, "rollback": 4}
    told(outcomes, "status", commits=1, written=0, rollbacks=70, handled=8)
    assert told(outcomes, "status", commits=3, written=0, rollbacks=90, handled=8) == {"commit": 58, "rollback": 4}


def test_what_appliers_did_is_no_client_s() -> None:
    outcomes = Outcomes()
    told(outcomes, "performance_schema", ended=100, applied=90, rollbacks=0)
    assert told(outcomes, "performance_schema", ended=215, applied=190, rollbacks=0) == {"commit": 15, "rollback": 0}
    # Read a moment later, the threads have counted more than the server had.
    assert told(outcomes, "performance_schema", ended=216, applied=195, rollbacks=0) == {"commit": 15, "rollback": 0}
    # One of two appliers stopped: the other's past is not taken off again.
    assert told(outcomes, "performance_schema", ended=256, applied=110, rollbacks=0) == {"commit": 55, "rollback": 0}


def test_one_of_two_tables_that_is_truncated_makes_no_transactions() -> None:
    outcomes = Outcomes()
    ended(outcomes, 1000, 500)
    for _ in range(2):
        found = ended(outcomes, 1010, 1, handled=501)
    assert found == {"commit": 9, "rollback": 1}
    for _ in range(2):
        found = ended(outcomes, 3, 2, handled=502)
    assert found == {"commit": 11, "rollback": 2}


def test_the_reading_after_a_failover_adds_nothing() -> None:
    outcomes = Outcomes()
    ended(outcomes, 100, 10)
    ended(outcomes, 150, 10)
    outcomes.rebase()
    for _ in range(2):
        assert ended(outcomes, 572, 20) == {"commit": 50, "rollback": 0}
    assert ended(outcomes, 573, 20) == {"commit": 51, "rollback": 0}


def test_transactions_counted_from_another_source_begin_anew() -> None:
    outcomes = Outcomes()
    told(outcomes, "status", commits=10, written=0, rollbacks=1)
    told(outcomes, "status", commits=12, written=0, rollbacks=1)
    assert ended(outcomes, 90_000, 300) == {"commit": 2, "rollback": 0}
    assert ended(outcomes, 90_001, 300) == {"commit": 3, "rollback": 0}


def test_of_commits_and_what_was_written_the_one_that_grew_more_counts() -> None:
    outcomes = Outcomes()
    told(outcomes, "status", commits=31, written=0, rollbacks=0)
    assert told(outcomes, "status", commits=31, written=200, rollbacks=0) == {"commit": 200, "rollback": 0}
    assert told(outcomes, "status", commits=41, written=201, rollbacks=2) == {"commit": 210, "rollback": 2}
    # FLUSH GLOBAL STATUS leaves the binary log's count alone, and what sessions did that are open.
    assert told(outcomes, "status", commits=39, written=202, rollbacks=0) == {"commit": 211, "rollback": 2}
    assert told(outcomes, "status", commits=41, written=202, rollbacks=0) == {"commit": 213, "rollback": 2}


def refused(counters: dict[str, int], state: Differences, flavor: str = "mysql") -> dict[str, Any]:
    rows = state.feed(derived(Rows(("n", "v"), [(k, str(v)) for k, v in counters.items()]), context(flavor)), context())
    return {row["reason"]: row["refused"] for row in rows.dicts() if row["refused"] is not None}


def test_refusals_are_counted_once_and_never_fall() -> None:
    state = Differences()
    assert refused({"Aborted_connects": 10, "Connection_errors_max_connections": 4}, state)["login"] == 6
    # One counter is ahead of the other for a moment.
    assert refused({"Aborted_connects": 10, "Connection_errors_max_connections": 5}, state)["login"] == 6
    assert refused({"Aborted_connects": 11, "Connection_errors_max_connections": 5}, state)["login"] == 6
    assert refused({"Aborted_connects": 1, "Connection_errors_max_connections": 0}, state)["login"] == 1


def test_refusals_that_are_counted_as_no_failed_attempt_hide_no_failed_login() -> None:
    """As MySQL 9.7 counts while an administrator's session has the slot on top of max_connections."""
    state = Differences()
    assert refused({"Aborted_connects": 20, "Connection_errors_max_connections": 20}, state)["login"] == 0
    assert refused({"Aborted_connects": 20, "Connection_errors_max_connections": 70}, state)["login"] == 0
    assert refused({"Aborted_connects": 20, "Connection_errors_max_connections": 70}, state)["login"] == 0
    assert refused({"Aborted_connects": 50, "Connection_errors_max_connections": 70}, state)["login"] == 30


def test_failed_logins_are_the_server_s_own_count_also_after_a_failover() -> None:
    state = Differences()
    refused({"Aborted_connects": 10, "Connection_errors_max_connections": 4}, state)
    state.rebase()
    assert refused({"Aborted_connects": 10, "Connection_errors_max_connections": 4}, state)["login"] == 6
    state.rebase()
    assert refused({"Aborted_connects": 20, "Connection_errors_max_connections": 19}, state)["login"] == 1


def test_mariadb_does_not_know_whom_a_full_server_refused() -> None:
    counters = {"Aborted_connects": 3, "Connection_errors_max_connections": 0}
    found = refused(counters, Differences(), "mariadb")
    assert found["login"] == 3
    assert "max_connections" not in found


def test_pages_below_zero_are_not_known() -> None:
    """As MySQL 9.7 and MariaDB 10.11 told them with compressed tables in the pool: 3,882 pages in 2,048 frames."""
    counters = {"Innodb_buffer_pool_pages_data": 3882, "Innodb_buffer_pool_pages_misc": 18446744073709549782}
    rows = derived(Rows(("n", "v"), [(name, str(value)) for name, value in counters.items()]), context())
    found = {row["page_state"]: row["pages"] for row in rows.dicts() if row["page_state"] is not None}
    assert found == {"data": 3882, "misc": None, "free": None, "old": None}
    row = {"subsystem": "buffer", "type": "value"}
    for name, value, pages in (("misc", -1834, None), ("misc", 0, 0), ("data", 3882, 3882)):
        given = row | {"name": f"buffer_pool_pages_{name}", "count": value}
        [told] = innodb_counters(Rows.of(tuple(given), [given]), context()).dicts()
        assert (told["state"], told["pages"]) == (name, pages)


def test_cache_hits_are_neither_negative_nor_ever_fall() -> None:
    state = Differences()

    def hits(asked: int, read: int) -> Any:
        counters = {"Innodb_buffer_pool_read_requests": asked, "Innodb_buffer_pool_reads": read}
        rows = derived(Rows(("n", "v"), list(counters.items())), context())
        return state.feed(rows, context()).dicts()[0]["cache_hits"]

    # MariaDB reads pages before anybody has asked for one.
    assert hits(3, 10) == 0
    assert hits(30, 10) == 20
    # One counter is ahead of the other for a moment.
    assert hits(31, 15) == 20
    assert hits(40, 15) == 25
    # The server was restarted.
    assert hits(5, 2) == 3


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("shop/items", "shop"),
        ("a/b/t", "a/b"),
        ("we@0020ird/t", "we ird"),
        ("we@0020ird", "we ird"),
        ("literal@0020/t", "literal@0020"),
        ("unknown/t", "unknown"),
    ],
)
def test_schemas_in_names_of_files(name: str, schema: str) -> None:
    assert schema_of(name, {"shop", "a/b", "we ird", "literal@0020"}) == schema


def channel(**columns: Any) -> dict[str, Any]:
    rows = understood(Rows(tuple(columns), [tuple(columns.values())]), context())
    return rows.dicts()[0]


@pytest.mark.parametrize(
    ("receiver", "applier", "running"), [("Yes", "Yes", 1), ("Connecting", "Yes", 0), ("Yes", "No", 0), ("No", "No", 0)]
)
@pytest.mark.parametrize(("new", "old"), [("replica", "source"), ("slave", "master")])
def test_both_names_of_replication(new: str, old: str, receiver: str, applier: str, running: int) -> None:
    found = channel(
        **{
            f"{new}_io_running": receiver,
            f"{new}_sql_running": applier,
            f"{old}_log_file": "b.1",
            f"relay_{old}_log_file": "b.1",
            f"read_{old}_log_pos": 100,
            f"exec_{old}_log_pos": 60,
            f"seconds_behind_{old}": None,
            f"{old}_host": "there",
            "sql_delay": 7,
        }
    )
    assert found["running"] == running
    assert found["unapplied"] == (40 if receiver == "Yes" else None)
    assert (found["delay"], found["behind"], found["source_name"]) == (7, None, "there")


def test_bytes_are_not_known_over_two_files() -> None:
    found = channel(
        replica_io_running="Yes",
        replica_sql_running="Yes",
        source_log_file="b.2",
        relay_source_log_file="b.1",
        read_source_log_pos=4,
        exec_source_log_pos=60,
    )
    assert found["unapplied"] is None


@pytest.mark.parametrize(
    ("state", "role", "primary", "online"),
    [
        ("ONLINE", "PRIMARY", 1, 1),
        ("ONLINE", "SECONDARY", 0, 1),
        # Where all take writes; this one is super_read_only until it has what the others have.
        ("RECOVERING", "PRIMARY", 0, 0),
        ("ERROR", "", 0, 0),
    ],
)
def test_a_member_takes_writes_once_it_is_online(state: str, role: str, primary: int, online: int) -> None:
    rows = Rows(("member_id", "member_state", "member_role", "mine"), [("u", state, role, 1), ("v", "ONLINE", role, 0)])
    [mine] = [row for row in counted(rows, context()).dicts() if row["primary"] is not None]
    assert (mine["primary"], mine["online"]) == (primary, online)


def test_channels_of_a_group_say_nothing_of_running() -> None:
    found = channel(channel_name="group_replication_recovery", replica_io_running="No", replica_sql_running="No")
    assert found["running"] is None


def test_a_dot_in_the_name_of_the_binary_log() -> None:
    rows = Rows(("log_name", "file_size"), [("db1.example.000007", 5), ("db1.example.000008", 6)])
    [row] = binlog_summed(rows, context()).dicts()
    assert (row["number"], row["bytes"], row["files"]) == (8, 11, 2)
    [row] = binlog_summed(Rows(("log_name", "file_size"), []), context()).dicts()
    assert (row["number"], row["bytes"], row["files"]) == (None, 0, 0)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("1.5", 1.5),
        ("ON", 1),
        ("Connecting", 0),
        ("", None),
        ("x", None),
        (None, None),
        ("10_1", None),
        ("1_0.5", None),
        ("-3", -3),
        ("+.5", 0.5),
        ("1.25e-05", 1.25e-05),
        ("18446744073709551615", 2**64 - 1),
        # A container's name, and what a user may have called something.
        ("12345e678901", None),
        pytest.param("9" * 5000, None, id="digits"),
        ("nan", None),
        ("inf", None),
        ("-Infinity", None),
        ("١٢", None),
    ],
)
def test_numbers(text: str | None, value: float | None) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    ("text", "known", "only", "count"),
    [
        ("", [], None, 0),
        ("a:1-5:7", [], None, 6),
        ("a:1-5:7,\nb:3", [], "b", 1),
        ("a:1-5:7", ["a:1-5:7"], None, 0),
        ("a:1-10", ["a:3-4:6"], None, 7),
        ("a:3-10", ["a:1-4:9-20"], None, 4),
        ("a:1-10,b:1-2", ["a:1-3", "a:2-6:10"], None, 5),
        ("a:1-10,b:1-2", ["a:1-3", "a:2-6:10"], "a", 3),
        # A tag has numbers of its own.
        ("a:1-3:tag:1-3", ["a:1-3"], None, 3),
        ("a:1-3:tag:1-3", ["a:2:tag:2-3"], "a", 3),
    ],
)
def test_transactions_that_others_lack(text: str, known: list[str], only: str | None, count: int) -> None:
    assert missing(text, known, only) == count
    if not known and only is None:
        assert size(text) == count


@pytest.fixture
def feed_sets(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Feed the sets of a server that was asked at some time and has answered after so many seconds."""
    monkeypatch.setattr(Errant, "_executed", {})

    def feed(errant: Errant, name: str, now: float, *rows: dict[str, Any], takes: float = 0.1) -> list[dict[str, Any]]:
        monkeypatch.setattr(gtid, "time", SimpleNamespace(monotonic=lambda: now + takes))
        facts = Facts("mysql", "mysql", (9, 7), "9.7", Identity(name, 0, Role.REPLICA))
        given = Rows.of(("channel", "set", "alone", "source", "grouped"), rows)
        return errant.feed(given, Context(context().server, facts, now)).dicts()

    return feed


def test_what_is_errant_is_told_by_the_source_where_it_is_watched_too(
    feed_sets: Callable[..., list[dict[str, Any]]],
) -> None:
    ours, theirs = Errant(), Errant()
    channel = {"channel": "", "source": "u-source"}
    replica = {"set": "u-source:1-9,u-me:1-2,u-third:1-4", "alone": "u-me:1-2,u-third:1-4"}
    first, second = feed_sets(ours, "u-me", 0, channel, replica)
    assert (first["compared"], second["errant"]) == (0, 2), "of what others began it can't tell"
    feed_sets(theirs, "u-source", 5, {"set": "u-source:1-9,u-me:1,u-third:1-3"})
    first, second = feed_sets(ours, "u-me", 15, channel, replica)
    assert (first["compared"], second["errant"]) == (1, 2)
    # Not of every source is known what it has.
    *_, second = feed_sets(ours, "u-me", 45, channel, {"channel": "other", "source": "u-unknown"}, replica)
    assert second["errant"] == 1
    # The source is watched no more.
    first, second = feed_sets(ours, "u-me", 5000, channel, replica)
    assert (first["compared"], second["errant"]) == (0, 2)


def test_of_a_member_of_a_group_its_primary_alone_tells_what_is_errant(
    feed_sets: Callable[..., list[dict[str, Any]]],
) -> None:
    """What its first member began before there was a group, all have; the channel may not say that it was received."""
    ours, primary = Errant(), Errant()
    recovery = {"channel": "group_replication_recovery", "grouped": 1}
    applier = {"channel": "group_replication_applier", "grouped": 1, "source": "u-primary"}
    member = {"set": "u-me:1-5000000,group:1-900", "alone": "u-me:1-5000000"}
    _, told, mine = feed_sets(ours, "u-me", 0, recovery, applier, member)
    assert (told["compared"], mine["errant"]) == (0, None)
    feed_sets(primary, "u-primary", 5, {"set": "u-me:1-5000000,group:1-900"})
    _, told, mine = feed_sets(ours, "u-me", 15, recovery, applier, member)
    assert (told["compared"], mine["errant"]) == (1, 0)
    feed_sets(primary, "u-primary", 20, {"set": "u-me:1-4999998,group:1-900"})
    *_, mine = feed_sets(ours, "u-me", 30, recovery, applier, member)
    assert mine["errant"] == 2
    # It has left the group.
    _, told, mine = feed_sets(ours, "u-me", 45, recovery, applier | {"source": None}, member)
    assert (told.get("compared"), mine["errant"]) == (None, None)


def test_a_source_that_another_thread_forgets_meanwhile_is_not_watched(
    feed_sets: Callable[..., list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fleeting(dict[str, tuple[float, str]]):
        def __contains__(self, key: object) -> bool:
            return bool(self.pop(str(key), None))

    monkeypatch.setattr(Errant, "_executed", Fleeting({"u-source": (0.0, "u-source:1-9")}))
    _, told = feed_sets(Errant(), "u-me", 650, {"channel": "", "source": "u-source"}, {"set": "", "alone": "u-me:1"})
    assert told["errant"] == 1


def test_what_a_source_wrote_since_it_was_read_is_not_errant(feed_sets: Callable[..., list[dict[str, Any]]]) -> None:
    """After a change of source a replica has not received what it has: only the source's set tells."""
    ours, theirs = Errant(), Errant()
    channel = {"channel": "", "source": "v-source"}
    # It writes a transaction a second, is asked half as often, and which of the two is first changes.
    for now in range(0, 60, 5):
        if now % 10 == 0:
            asked = now - 0.2 if now % 20 else now + 0.2
            feed_sets(theirs, "v-source", asked, {"set": f"v-source:1-{int(asked) + 10}"})
        # The replica's answer takes two seconds, and tells what it has at their end.
        applied = f"v-source:1-{now + 2 + 10}"
        *_, second = feed_sets(ours, "v-me", now, channel, {"set": applied, "alone": applied}, takes=2)
        assert second["errant"] in ({0} if now > 30 else {None, 0}), now
    third = f"{applied},v-third:1"
    for now in (60, 75):
        feed_sets(theirs, "v-source", now + 10, {"set": f"v-source:1-{now + 20}"})
        *_, second = feed_sets(ours, "v-me", now, channel, {"set": third, "alone": third})
    assert second["errant"] == 1


def test_sets_of_servers_that_are_watched_no_more_are_forgotten(
    feed_sets: Callable[..., list[dict[str, Any]]],
) -> None:
    for clone in range(100):
        feed_sets(Errant(), f"u-{clone}", clone * 60, {"set": "a:1"})
    assert len(Errant._executed) <= 11


def test_a_counter_of_innodb_below_zero_keeps_its_name() -> None:
    row = {"name": "os_log_pending_fsyncs", "subsystem": "os", "type": "status_counter"}
    for count in (1, 0, -1):
        [found] = innodb_counters(Rows.of((*row, "count"), [row | {"count": count}]), context()).dicts()
        assert (found["counter"], found["value"]) == ("os_os_log_pending_fsyncs_total", count)
        assert found["gauge"] is None
