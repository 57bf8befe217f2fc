"""Totals against an independent account of what a server did: never falling, never counting twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config.model import ServerConfig
from exporter.declare import Context, Rows
from exporter.facts import Extension, Facts, Identity, Role
from exporter.subjects.statements.mysql import Digests
from exporter.subjects.statements.postgres import PostgresStatements
from exporter.subjects.statements.totals import Reading, Total, Totals

KEYS = range(4)
DATABASES = ("a", "b")
SLOW = 10


@dataclass
class Entry:
    """One life of a statement in the server's table: every execution it has seen, by its duration."""

    born: int
    runs: list[int] = field(default_factory=list)
    seen: int | None = None  # how many of its runs the last reading showed; None if that reading lacked it


class Server:
    """A table of statements as a server keeps it, and what an onlooker can know of it, computed run by run."""

    def __init__(self, *, tells_since: bool) -> None:
        self.tells_since = tells_since
        self.table: dict[int, Entry] = {}
        self.clock = 0
        self.looked = False
        self.visible: Counter[str] = Counter()
        self.time: Counter[str] = Counter()

    def run(self, key: int, duration: int, times: int) -> None:
        self.clock += 1
        self.table.setdefault(key, Entry(self.clock)).runs.extend([duration] * times)

    def forget(self, key: int) -> None:
        self.table.pop(key, None)

    def reset(self) -> None:
        self.table.clear()

    def read(self) -> list[Reading]:
        for key, entry in self.table.items():
            if self.looked:
                new = entry.runs[entry.seen or 0 :]
                self.visible[database(key)] += len(new)
                self.time[database(key)] += sum(new)
            entry.seen = len(entry.runs)
        self.looked = True
        return [
            Reading(
                key,
                database(key),
                len(entry.runs),
                sum(entry.runs),
                max(entry.runs),
                entry.born if self.tells_since else None,
                SLOW,
            )
            for key, entry in self.table.items()
        ]

    def rebase(self) -> None:
        self.looked = False


class InArrays:
    """Totals out of readings as PostgreSQL gives them: a row for each database, with arrays of its statements."""

    def __init__(self) -> None:
        config = ServerConfig(
            name="s", engine="postgres", host="h", port=1, thresholds={"slow_statements": {"warning": SLOW / 1000}}
        )
        extensions = {"pg_stat_statements": Extension((1, 11), "public", "a")}
        identity = Identity("one", 1.0, Role.PRIMARY)
        facts = Facts("postgres", "postgres", (18, 0), "18.0", identity, extensions=extensions)
        self._context = Context(config, facts, 0.0, 1000)
        self._statements = PostgresStatements()
        self.rebase = self._statements.rebase

    def take(self, readings: Sequence[Reading], databases: Sequence[str]) -> dict[str, Total]:
        rows = []
        for number, name in enumerate(databases):
            mine = [
                (10, one.key, one.calls, one.time, one.longest, one.since) for one in readings if one.database == name
            ]
            rows.append((name, number, None, *(map(list, zip(*mine, strict=True)) if mine else [None] * 6)))
        columns = ("database", "dbid", "of", "userids", "queryids", "calls", "times", "longest", "since")
        found = self._statements.feed(Rows(columns, rows), self._context)
        return {row[0]: Total(row[1], round(row[2] * 1000), row[3]) for row in found.rows}


def of_mariadb() -> Context:
    config = ServerConfig(
        name="s", engine="mysql", host="h", port=1, thresholds={"slow_statements": {"warning": SLOW / 1000}}
    )
    facts = Facts("mysql", "mariadb", (11, 8), "11.8", Identity("one", 1.0, Role.PRIMARY))
    return Context(config, facts, 0.0, 1000)


class InDigests:
    """Totals out of readings as MariaDB gives them, each statement a digest."""

    def __init__(self) -> None:
        self._context = of_mariadb()
        self._digests = Digests()
        self.rebase = self._digests.rebase

    def take(self, readings: Sequence[Reading], databases: Sequence[str]) -> dict[str, Total]:
        # What the server itself counts as slow is something else, so that this is an estimate.
        rows: list[tuple[object, ...]] = [("status", *[None] * 2, 0, *[None] * 3)]
        rows += [("schema", name, *[None] * 5) for name in databases]
        rows += [
            (
                "digest",
                one.database,
                str(one.key),
                one.calls,
                int(one.time * 1e9),
                int((one.longest or 0) * 1e9),
                one.since,
            )
            for one in readings
        ]
        columns = ("kind", "database", "digest", "calls", "time", "longest", "since")
        found = self._digests.feed(Rows(columns, rows), self._context)
        return {row[0]: Total(row[1], round(row[2] * 1000), row[3]) for row in found.rows if row[0] is not None}


def database(key: int) -> str:
    return DATABASES[key % 2]


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.sampled_from(KEYS), st.integers(0, 20), st.integers(1, 5)),
        st.tuples(st.just("forget"), st.sampled_from(KEYS)),
        st.tuples(st.just("reset")),
        st.tuples(st.just("rebase")),
        st.tuples(st.just("read")),
        st.tuples(st.just("read")),
    ),
    max_size=60,
)


def play(
    server: Server,
    totals: Totals | InArrays | InDigests,
    actions: list[tuple[object, ...]],
    listed: Sequence[str] = DATABASES,
) -> None:
    """Do what the actions say, and compare after each reading, in which `listed` are the databases that exist."""
    before: dict[str, tuple[int, float, int]] = defaultdict(lambda: (0, 0.0, 0))
    for name, *arguments in actions:
        if name == "rebase":
            totals.rebase()
        if name != "read":
            getattr(server, str(name))(*arguments)
            continue
        found = totals.take(server.read(), listed)
        for where in before.keys() - found.keys():
            # Digests keep it for a while, since it may go on.
            assert not isinstance(totals, InDigests), "a total is gone"
            assert where not in listed
            assert where not in map(database, server.table)
            del before[where], server.visible[where], server.time[where]
        for where, total in found.items():
            now = (total.calls, total.time, total.slow)
            assert all(new >= old for new, old in zip(now, before[where], strict=True)), "a total fell"
            assert total.slow <= total.calls
            if server.tells_since:
                assert (total.calls, total.time) == (server.visible[where], server.time[where])
            else:
                assert total.calls <= server.visible[where], "counted twice"
                assert total.time <= server.time[where], "counted twice"
            before[where] = now


@settings(max_examples=500, deadline=None)
@given(ACTIONS)
def test_totals_are_what_the_readings_showed_where_the_server_tells_when_entries_were_made(actions):
    play(Server(tells_since=True), Totals(), actions)


@settings(max_examples=500, deadline=None)
@given(ACTIONS)
def test_without_creation_times_totals_never_fall_nor_count_twice(actions):
    play(Server(tells_since=False), Totals(), actions)


@settings(max_examples=300, deadline=None)
@given(ACTIONS, st.booleans())
def test_the_same_in_arrays(actions, tells_since):
    play(Server(tells_since=tells_since), InArrays(), actions)


LISTED = st.sampled_from([(), ("a",), ("b",), DATABASES])


@settings(max_examples=300, deadline=None)
@given(ACTIONS, st.booleans(), LISTED)
def test_a_database_that_is_not_listed_goes_with_its_last_statement(actions, tells_since, listed):
    play(Server(tells_since=tells_since), Totals(), actions, listed)


@settings(max_examples=300, deadline=None)
@given(ACTIONS, st.booleans(), LISTED)
def test_the_same_in_digests_which_outlive_their_last_statement(actions, tells_since, listed):
    play(Server(tells_since=tells_since), InDigests(), actions, listed)


@pytest.mark.parametrize("tells_since", [True, False])
def test_of_statements_that_are_all_known_only_what_has_moved_is_counted(tells_since):
    """Between readings some of them run, or all begin anew, in the same order."""
    born = [("run", key, 1, 5) for key in KEYS]
    some = [("run", 0, 5, 2), ("read",), ("run", 0, 12, 3), ("run", 3, 3, 1), ("read",), ("read",)]
    actions = [*born, ("read",), *some, *some, ("reset",), *born, ("read",), *some]
    server, totals = Server(tells_since=tells_since), InArrays()
    play(server, totals, actions)
    found = totals.take(server.read(), DATABASES)
    # One of each database has run as often after the reset as before it, which alone does not show.
    again = 10 if tells_since else 5
    assert {name: (total.calls, total.slow) for name, total in found.items()} == {
        "a": (15 + again, 9),
        "b": (3 + again, 0),
    }


@settings(max_examples=300, deadline=None)
@given(ACTIONS)
def test_the_same_with_sums_that_may_wrap(actions):
    play(Server(tells_since=False), Totals(time_wraps=True), actions)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 20), st.integers(1, 5)), max_size=40))
def test_without_losses_totals_are_exact_even_without_creation_times(runs):
    server, totals = Server(tells_since=False), Totals()
    totals.take(server.read())
    for key, duration, times in runs:
        server.run(key, duration, times)
        found = totals.take(server.read(), DATABASES)
        assert {name: total.calls for name, total in found.items()} == {
            name: server.visible[name] for name in DATABASES
        }
    assert sum(server.visible.values()) == sum(times for _, _, times in runs)


def reading(calls: int, time: float, longest: float | None = None, **more: object) -> Reading:
    return Reading(more.pop("key", 1), "a", calls, time, longest, slow_at=1000.0, **more)


def test_a_clock_that_was_set_back_is_no_new_beginning():
    totals = Totals()
    totals.take([reading(100, 100, since=1_000.5)])
    assert totals.take([reading(103, 103, since=900.5)])["a"].calls == 3
    assert totals.take([reading(104, 104, since=1_000.5)])["a"].calls == 107


def test_the_first_reading_is_no_activity():
    assert Totals().take([reading(1_000_000, 5e9, 9e9)])["a"].calls == 0


def test_the_baseline_after_another_server_answered_is_no_activity():
    totals = Totals()
    totals.take([])
    totals.take([reading(5, 50)])
    totals.rebase()
    assert totals.take([reading(1_000, 50_000)])["a"].calls == 5


def test_as_many_calls_as_before_in_more_time_are_new_ones():
    totals = Totals()
    totals.take([reading(40, 400)])
    total = totals.take([reading(40, 900)])["a"]
    assert (total.calls, total.time) == (40, 900)
    assert totals.take([reading(40, 900)])["a"].calls == 40


def test_where_sums_may_wrap_time_that_is_ahead_of_the_calls_is_no_new_beginning():
    """MySQL adds to the two one after the other, and a reading may come between."""
    totals = Totals(time_wraps=True)
    totals.take([reading(40, 400)])
    assert totals.take([reading(40, 410)])["a"].calls == 0
    assert totals.take([reading(41, 410)])["a"].calls == 1


def test_a_sum_that_wraps_is_neither_a_reset_nor_a_spike():
    totals = Totals(time_wraps=True)
    totals.take([reading(1_000, 2**64 - 10)])
    total = totals.take([reading(1_003, 20)])["a"]
    assert (total.calls, total.time) == (3, 0)
    total = totals.take([reading(1_004, 50)])["a"]
    assert (total.calls, total.time) == (4, 30)


def test_rows_of_one_key_are_added_up():
    totals = Totals()
    totals.take([reading(1, 10), reading(2, 20)])
    total = totals.take([reading(3, 30), reading(4, 40)])["a"]
    assert (total.calls, total.time) == (4, 40)


def test_a_database_that_is_gone_is_forgotten_and_a_new_one_starts_at_zero():
    totals = Totals()
    totals.take([], ["a", "b"])
    totals.take([reading(3, 3)], ["b"])
    found = totals.take([], ["b", "c"])
    assert {name: total.calls for name, total in found.items()} == {"b": 0, "c": 0}


def test_slow_calls_are_all_if_the_mean_is_slow_and_one_if_only_the_longest_is():
    totals = Totals()
    totals.take([reading(10, 100, 20)])
    assert totals.take([reading(12, 4_100, 3_000)])["a"].slow == 2
    # 8 quick ones and one of 3.5 s
    assert totals.take([reading(21, 7_700, 3_500)])["a"].slow == 3
    # The longest is an old one by now: quick calls are quick.
    assert totals.take([reading(40, 7_800, 3_500)])["a"].slow == 3
    # The server's longest was reset alone, and is slow again.
    assert totals.take([reading(50, 9_300, 1_200)])["a"].slow == 4


def test_a_new_statement_that_was_slow_once_counts_once():
    totals = Totals()
    totals.take([])
    assert totals.take([reading(1, 1_200, 1_200)])["a"].slow == 1
    assert totals.take([reading(1, 1_200, 1_200)])["a"].slow == 1


def test_a_session_that_ends_while_sums_are_read_is_no_reset():
    """MySQL adds up sessions and what ended ones have left; one that ends in between is in neither."""
    digests = Digests()

    def statements(calls: int, time: int) -> tuple[int, float]:
        columns = ("kind", "database", "digest", "calls", "time", "longest", "since")
        rows = [("undigested", None, "statement/com/Execute", calls, time, None, None)]
        [found] = [row for row in digests.feed(Rows(columns, rows), of_mariadb()).rows if row[0] == ""]
        return found[1], found[2]

    second = 10**12
    assert statements(1_000_000, 5_000 * second) == (0, 0)
    assert statements(900_000, 4_000 * second) == (0, 0)
    assert statements(1_000_010, 5_001 * second) == (10, 1)
    # Others have run more meanwhile, but not for as long.
    assert statements(1_000_020, 4_900 * second) == (10, 1)
    assert statements(1_000_030, 5_003 * second) == (30, 3)
    assert statements(1_000_040, 40 * second) == (30, 3)
    assert statements(1_000_050, 5_005 * second) == (50, 5)
    # What stays fallen was truncated, whatever was done since.
    assert statements(700_000, 3 * second) == (50, 5)
    assert statements(900_000, 4 * second) == (900_050, 9)
    assert statements(900_001, 5 * second) == (900_051, 10)
    # The sum of times starts from 0 again.
    assert statements(900_002, 2**64 - 1) == (900_052, (2**64 - 1) / 10**12 + 5)
    assert statements(900_003, 5 * second)[0] == 900_053


def of_digests(digests: Digests, rows: list[tuple[object, ...]]) -> list[dict[str, object]]:
    columns = ("kind", "database", "digest", "calls", "time", "longest", "since")
    return digests.feed(Rows(columns, rows), of_mariadb()).dicts()


@pytest.mark.parametrize("other", [40, 1_000_000])
def test_what_another_server_has_without_a_digest_is_no_activity(other):
    """Whether it has less than the one before, which may look like a truncation, or more."""
    digests = Digests()

    def fed(calls: int) -> tuple[object, ...]:
        # A server that counts slow statements itself, from our threshold on.
        found = of_digests(
            digests,
            [
                ("status", None, None, calls, SLOW * 10**9, None, None),
                ("undigested", None, "statement/com/Execute", calls, calls * 10**9, None, None),
                ("digest", None, None, calls, calls * 10**9, None, 1.0),
            ],
        )
        [statements] = [row["statements"] for row in found if row["database"] == ""]
        [(slow, overflow)] = [(row["slow"], row["overflow"]) for row in found if row["database"] is None]
        return statements, slow, overflow

    assert fed(1_000) == (0, 0, 0)
    assert fed(1_010) == (20, 10, 10)
    digests.rebase()
    for _ in range(3):
        assert fed(other) == (20, 10, 10)
    assert fed(other + 1) == (22, 11, 11)


def test_what_found_no_room_is_no_statement_of_which_to_say_that_it_was_slow():
    digests = Digests()

    def slow(calls: int) -> dict[object, object]:
        long = 2 * SLOW * 10**9
        found = of_digests(
            digests,
            [
                ("status", None, None, 0, None, None, None),
                ("digest", "a", "x", calls, calls * long, long, 1.0),
                ("digest", None, None, calls, calls * long, long, 1.0),
            ],
        )
        return {row["database"]: row["slow"] for row in found}

    slow(1)
    assert slow(6) == {"a": 5, "": 0, None: None}
