"""Active session seconds against a plain account of who was active when: never falling, nothing lost, nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.declare import Rows
from exporter.subjects.sessions import mysql, postgres, totals
from exporter.subjects.sessions.totals import ActiveSessions

COLUMNS = ("database", "active", "wait_event_type", "statement", "sessions", "took")
DATABASES = (None, "a", "b")
EVENTS = (None, "Lock", "IO")
CLASS = {None: "cpu", "Lock": "lock", "IO": "io"}

groups = st.dictionaries(
    st.tuples(st.sampled_from(DATABASES), st.booleans(), st.sampled_from(EVENTS)), st.integers(1, 50), max_size=4
)
tenths = st.integers(0, 300).map(lambda count: count / 10)
# Seconds from asking for one to asking for the next, until it has come, and what was found.
samples = st.lists(st.tuples(tenths, st.integers(0, 9).map(lambda count: count / 10), groups), min_size=1, max_size=10)


def sample(found: dict[tuple[Any, ...], int], took: float | None = None) -> Rows:
    """Of sessions by database, whether active, wait and statement, which may be left out."""
    rows: list[tuple[Any, ...]] = [(*who[:3], *(who[3:] or (None,)), count, took) for who, count in found.items()]
    return Rows(COLUMNS, [*rows, (None, None, None, None, None, took)])


def seconds(sessions: ActiveSessions, now: float) -> tuple[dict[tuple[str, str], float], float]:
    """What is exported: by database and class, and what no sample stands for."""
    [unobserved] = [row["unobserved"] for row in sessions.rows(now).dicts() if row["unobserved"] is not None]
    shown = [row for row in sessions.rows(now).dicts() if row["seconds"] is not None]
    by_class = {(row["database"], row["wait_class"]): row["seconds"] for row in shown}
    assert len(by_class) == len(shown)
    return by_class, unobserved


# A busy machine may be slow.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(samples)
def test_each_sample_stands_for_the_time_since_the_last_and_five_seconds_at_most(
    taken: list[tuple[float, float, dict[tuple[Any, ...], int]]],
) -> None:
    sessions = postgres.sessions()
    now, expected, unobserved, before = 1000.0, Counter[tuple[str, str]](), 0.0, dict[tuple[str, str], float]()
    sessions.take(sample({}), now)
    late = before_missing = 0.0
    for gap, takes, found in taken:
        now += gap
        shown_late = seconds(sessions, now)[1]
        # While one is on its way, a scrape may show what it will stand for.
        late = max(late, unobserved + max(0.0, gap + takes - 5.0))
        assert seconds(sessions, now + takes)[1] == pytest.approx(late)
        sessions.take(sample(found), now)
        for (database, active, event), count in found.items():
            if active:
                expected[database or "", CLASS[event]] += count * min(gap, 5.0)
        unobserved += max(0.0, gap - 5.0)
        by_class, missing = seconds(sessions, now)
        assert {key: value for key, value in by_class.items() if value} == pytest.approx(
            {key: value for key, value in expected.items() if value}
        )
        # What nobody looked at is shown as it passes, and not only when somebody looks again.
        assert shown_late == pytest.approx(max(before_missing, unobserved))
        assert missing == pytest.approx(late)
        assert missing >= shown_late >= before_missing, "a counter fell"
        before_missing = missing
        assert all(by_class[key] >= value for key, value in before.items()), "a counter fell"
        before = by_class


def test_every_class_of_a_database_begins_with_zero_as_soon_as_somebody_is_connected() -> None:
    sessions = postgres.sessions()
    assert sessions.rows(1.0).rows == []
    sessions.take(sample({("shop", False, "Client"): 3}), 1.0)
    by_class, unobserved = seconds(sessions, 1.0)
    assert set(by_class) == {(name, wait) for name in ("", "shop") for wait in postgres.CLASSES}
    assert set(by_class.values()) == {0.0}
    assert unobserved == 0


def test_a_class_that_only_newer_servers_have_is_shown_all_the_same() -> None:
    sessions = postgres.sessions()
    sessions.take(sample({}), 1.0)
    sessions.take(sample({("a", True, "InjectionPoint"): 2}), 2.0)
    assert seconds(sessions, 2.0)[0]["a", "injectionpoint"] == 2


def test_it_tells_how_long_the_server_took_if_the_server_does() -> None:
    sessions = postgres.sessions()
    assert sessions.take(sample({("a", True, None): 1}, 0.25), 1.0) == 0.25
    assert sessions.take(sample({("a", True, None): 1}), 2.0) is None


def test_what_cannot_be_read_to_its_end_has_changed_nothing() -> None:
    def classify(row: Mapping[str, Any]) -> str | None:
        return {None: "cpu"}[row["wait_event_type"]]

    sessions = ActiveSessions(("cpu",), classify)
    sessions.take(sample({("a", True, None): 1}), 1.0)
    before = seconds(sessions, 11.0)
    with pytest.raises(KeyError):
        sessions.take(sample({("a", True, None): 1, ("b", True, "new"): 1}), 11.0)
    assert sessions.last == 1.0
    assert seconds(sessions, 11.0) == before


def test_databases_that_nobody_uses_any_more_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "MOST_DATABASES", 3)
    monkeypatch.setattr(totals, "FORGOTTEN_SECONDS", 1.5)
    sessions = postgres.sessions()
    sessions.take(sample({}), 0.0)
    for now, name in enumerate(("used", "dropped", "used", "new"), 1):
        sessions.take(sample({(name, True, None): 1}), float(now))
    by_class, _ = seconds(sessions, 4.0)
    assert {database for database, _ in by_class} == {"", "used", "new"}
    assert by_class["used", "cpu"] == 2


def test_where_more_are_in_use_than_are_remembered_the_others_are_counted_as_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(totals, "MOST_DATABASES", 4)
    sessions = postgres.sessions()
    names = ["e", "d", "c", "b", "a"]
    sessions.take(sample(dict.fromkeys([(name, True, None) for name in sorted(names)], 1)), 0.0)
    for now in (1.0, 2.0):
        # In whatever order they come, and though one of those that are known is not there this time.
        sessions.take(sample(dict.fromkeys([(name, True, None) for name in names if now != 1 or name != "b"], 1)), now)
    by_class, _ = seconds(sessions, 2.0)
    cpu = {name: value for (name, wait_class), value in by_class.items() if wait_class == "cpu"}
    assert cpu == {"": 0, "a": 2, "b": 1, "c": 2, totals.OTHERS: 4}
    # It stays as long as it is in use, while another one makes room.
    for hour in range(1, 5):
        now = hour * (totals.FORGOTTEN_SECONDS - 1)
        sessions.take(sample(dict.fromkeys([(name, True, None) for name in "acde"], 1)), now)
    assert seconds(sessions, now)[0][totals.OTHERS, "cpu"] > 4
    assert {name for name, _ in seconds(sessions, now)[0]} == {"", "a", "c", "d", totals.OTHERS}


@pytest.mark.parametrize(
    ("state", "event", "row_lock", "expected"),
    [
        ("executing", None, 0, "cpu"),
        ("", None, 0, "cpu"),
        (None, None, 0, "cpu"),
        ("updating", None, 1, "lock"),
        ("updating", "wait/io/table/sql/handler", 1, "lock"),
        ("User lock", None, 0, "lock"),
        ("Waiting for table metadata lock", None, 0, "metadata_lock"),
        ("Waiting for schema metadata lock", None, 0, "metadata_lock"),
        ("Waiting for global read lock", None, 0, "metadata_lock"),
        ("Waiting for backup lock", None, 0, "metadata_lock"),
        ("Waiting for table flush", None, 0, "metadata_lock"),
        ("Waiting for table level lock", None, 0, "table_lock"),
        # A mutex of MariaDB, though it calls it a lock.
        ("Waiting for query cache lock", None, 0, "lwlock"),
        ("User sleep", None, 0, "timeout"),
        ("waiting for handler commit", None, 0, "commit"),
        ("Commit", None, 0, "commit"),
        ("Waiting for Binlog Group Commit ticket", None, 0, "commit"),
        ("committing alter table to storage engine", None, 0, "cpu"),
        ("Waiting for semi-sync ACK from replica", None, 0, "ipc"),
        ("Waiting for GTID to be committed", None, 0, "ipc"),
        # Galera's, as MariaDB's stages are called.
        ("wsrep: waiting to enter TOI", None, 0, "ipc"),
        ("Waiting for certification", None, 0, "ipc"),
        ("Waiting for flow control", None, 0, "ipc"),
        ("Waiting for TOI DDL", None, 0, "ipc"),
        ("Waiting to execute in isolation", None, 0, "ipc"),
        ("Waiting in MASTER_GTID_WAIT()", None, 0, "ipc"),
        ("Waiting in MASTER_GTID_WAIT() (primary waiter)", None, 0, "ipc"),
        ("Sending to client", None, 0, "client"),
        # MariaDB calls reading rows so, older MySQL too.
        ("Sending data", None, 0, "cpu"),
        ("Waiting for something new", None, 0, "other"),
        ("executing", "wait/io/file/innodb/innodb_data_file", 0, "io"),
        ("executing", "wait/io/table/sql/handler", 0, "cpu"),
        ("executing", "wait/synch/mutex/innodb/trx_mutex", 0, "lwlock"),
        ("Sending to client", "wait/io/socket/sql/client_connection", 0, "client"),
    ],
)
def test_what_mysql_and_mariadb_wait_for(state: str | None, event: str | None, row_lock: int, expected: str) -> None:
    row = {"state": state, "event": event, "row_lock": row_lock}
    assert mysql.classify({**row, "active": 1}) == expected
    assert mysql.classify({**row, "active": 0}) is None
