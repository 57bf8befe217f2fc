"""The histogram of all statements over truncations, against the statements themselves."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config.model import ServerConfig
from exporter.declare import Context, Rows
from exporter.engines.mysql.lasted import LASTED
from exporter.facts import Facts, Identity, Role
from exporter.subjects.statements.histogram import Buckets, MySQLHistogram
from exporter.subjects.statements.ours import Ours

# As MySQL has them: the first bucket ends at 10 µs, fifty make a factor of ten, the last has no end.
BOUNDS = [round(10**7 * 10 ** (step / 50)) for step in range(449)] + [2**64 - 1]
SERVER = ServerConfig(name="tested", engine="mysql", host="127.0.0.1", port=3306)
CONTEXT = Context(SERVER, Facts("mysql", "mysql", (9, 7), "9.7", Identity("", 0, Role.PRIMARY)), 0)


class Table:
    """What a server would say: `senders` are in the buckets too, `unseen` of them only from the next reading on."""

    def __init__(self) -> None:
        # Whether our own statements are among them.
        self.ours = False
        self.statements: list[int] = []
        self.senders: list[int] = []
        self.unseen: list[int] = []
        # What the sums have, which outlive a truncation of the buckets.
        self.ended: list[int] = []

    def end(self, *durations: int, seen: bool = True) -> None:
        self.ended += durations
        (self.senders if seen else self.unseen).extend(durations)

    def truncate(self) -> None:
        self.statements, self.senders = [], []

    def read(self) -> Rows:
        counts = dict.fromkeys(BOUNDS, 0)
        for duration in (*self.statements, *self.senders):
            counts[next(bound for bound in BOUNDS if duration < bound)] += 1
        self.senders, self.unseen = self.senders + self.unseen, []
        return Rows(
            ("kind", "bound", "count", "time"),
            [
                *(("bucket", bound, count, None) for bound, count in counts.items()),
                ("client", None, len(self.statements), sum(self.statements)),
                ("sender", None, len(self.ended), sum(self.ended) % 2**64),
                *([("ours", None, None, None)] if self.ours else []),
            ],
        )


def fed(histogram: MySQLHistogram, table: Table) -> dict[str, object]:
    (row,) = histogram.feed(table.read(), CONTEXT).dicts()
    return row


DURATIONS = st.lists(st.integers(0, 5 * 10**12), max_size=8)


@settings(max_examples=60, deadline=None)
@given(DURATIONS, st.lists(DURATIONS, max_size=6))
def test_without_truncation_each_bucket_holds_what_ran_since_the_baseline(before, later):
    histogram, table = MySQLHistogram(), Table()
    table.statements = list(before)
    assert fed(histogram, table)["durations"][2] == 0
    ran: list[int] = []
    for turn in later:
        table.statements += turn
        ran += turn
        row = fed(histogram, table)
        buckets, total, count = row["durations"]
        assert total == pytest.approx(sum(ran) / 1e12)
        assert count == len(ran)
        for bound, below in buckets:
            assert below == sum(duration < round(bound * 1e12) for duration in ran)
        assert row["threshold"] == 1.0
        assert row["slow"] == sum(duration >= 10**12 for duration in ran)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(DURATIONS, st.sampled_from(["truncate", "rebase"])), max_size=12))
def test_over_truncations_all_counts_once(actions):
    """But for what a rebase left out; between two truncations there are two readings."""
    histogram, table = MySQLHistogram(), Table()
    before = fed(histogram, table)
    ran: list[int] = []
    for action in actions:
        if action == "truncate":
            table.truncate()
        elif action == "rebase":
            histogram.rebase()
        else:
            table.statements += action
            ran += action
        # The first shows at least what was there before, less what it may have seen already; the second all.
        first, row = fed(histogram, table), fed(histogram, table)
        for now, earlier in ((first, before), (row, first)):
            assert now["slow"] >= earlier["slow"]
            assert now["durations"][1] >= earlier["durations"][1]
            for (bound, below), (same, least) in zip(now["durations"][0], earlier["durations"][0], strict=True):
                assert bound == same
                assert below >= least
        assert row["slow"] == sum(duration >= 10**12 for duration in ran)
        for bound, below in row["durations"][0]:
            assert below == sum(duration < round(bound * 1e12) for duration in ran)
        assert row["durations"][2] == len(ran)
        before = row


def test_slow_statements_after_a_truncation_count_though_their_bucket_has_more_than_before():
    histogram, table = MySQLHistogram(), Table()
    table.statements = [10**9] * 1000 + [10 * SECOND] * 2
    fed(histogram, table)
    table.truncate()
    table.statements = [10**9] * 5 + [10 * SECOND] * 3
    # One is certain at once; that the others are no old ones the next reading tells.
    assert fed(histogram, table)["slow"] == 1
    for _ in range(2):
        row = fed(histogram, table)
        assert (row["slow"], row["durations"][2]) == (3, 8)


# Buckets, of which the last one shows every truncation.
FEW = range(4)
MARK = 4
SOME = st.dictionaries(st.sampled_from(FEW), st.integers(1, 5)).map(Counter)
# Truncated while it is read: these buckets were read before they were reset.
TORN = st.sets(st.sampled_from([*FEW, MARK]))


def reading(held: Counter[int]) -> dict[int, int]:
    return {bucket: held[bucket] for bucket in (*FEW, MARK)}


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.one_of(
            SOME,
            SOME,
            st.sampled_from(["truncate", "read", "read"]),
            st.tuples(TORN, st.one_of(st.just(Counter()), SOME)),
        ),
        max_size=40,
    )
)
def test_a_bucket_never_shows_more_than_came_however_it_is_truncated(actions):
    buckets = Buckets()
    held, came, shown, amid = Counter(), Counter(), Counter(), Counter()
    buckets.take(reading(held))
    for action in actions:
        if isinstance(action, Counter):
            held += action
            came += action
            continue
        if action == "truncate":
            held.clear()
            continue
        found = reading(held)
        if action != "read":
            # Of what comes between a reset and a reading that are microseconds apart nobody can tell that it is new.
            old, between = action
            held = Counter({bucket: count for bucket, count in between.items() if bucket not in old})
            found = {bucket: found[bucket] if bucket in old else held[bucket] for bucket in found}
            came += held
            amid += held
        new = buckets.take(found)
        assert all(count >= 0 for count in new.values())
        shown += Counter(new)
        assert shown <= came + amid


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.lists(SOME, min_size=3, max_size=5), SOME, st.one_of(st.none(), TORN)), max_size=5))
def test_over_truncations_every_bucket_shows_all_but_what_no_whole_reading_saw(lives):
    """Each life of the table has some readings, and what comes after the last; a torn one may see some of that."""
    buckets = Buckets()
    held, seen, shown, unseen = Counter(), Counter(), Counter(), Counter()
    buckets.take(reading(held))
    for turns, last, torn in lives:
        for number, some in enumerate(turns, 1):
            come = some + Counter({MARK: 1} if number == len(turns) else {})
            held += come
            seen += come
            shown += Counter(buckets.take(reading(held)))
        assert seen <= shown <= seen + unseen
        if torn is not None:
            found = reading(held + last)
            shown += Counter(buckets.take({bucket: found[bucket] if bucket in torn else 0 for bucket in found}))
            unseen += last
        held.clear()


def test_the_bounds_are_the_server_s_own_and_one_second_is_among_them():
    buckets, _, _ = fed(MySQLHistogram(), Table())["durations"]
    bounds = [bound for bound, _ in buckets]
    assert 1.0 in bounds
    assert len(bounds) == 20
    assert {round(bound * 10**12) for bound in bounds} <= set(BOUNDS)


SECOND = 10**12
MONTH = 30 * 86_400 * SECOND


@pytest.mark.parametrize(
    ("senders", "clients"),
    [
        ([10 * SECOND], []),
        ([MONTH], [SECOND // 1000] * 5),
        ([10 * SECOND, 10 * SECOND], [15 * SECOND]),
        ([MONTH, 10 * SECOND], [15 * SECOND, SECOND // 10]),
        ([MONTH, MONTH, 2 * MONTH], [60 * SECOND]),
        ([SECOND // 100] * 4, [2 * SECOND, SECOND // 100]),
        # Over the end of the server's sum of time.
        ([3 * MONTH, 3 * MONTH, 3 * MONTH], [SECOND]),
    ],
)
def test_connections_of_replicas_that_end_are_no_statements(senders, clients):
    assert_none_counts(senders, clients, seen=True)


@pytest.mark.parametrize(
    ("senders", "clients"),
    [([10 * SECOND], [SECOND]), ([10 * SECOND, 10 * SECOND], [SECOND]), ([MONTH], [60 * SECOND])],
)
def test_a_connection_whose_end_the_buckets_show_later(senders, clients):
    assert_none_counts(senders, clients, seen=False)


def assert_none_counts(senders: list[int], clients: list[int], *, seen: bool) -> None:
    histogram, table = MySQLHistogram(), Table()
    table.statements, table.ended = [SECOND] * 3, [3 * MONTH]
    fed(histogram, table)
    table.statements += clients
    table.end(*senders, seen=seen)
    for _ in range(3):
        row = fed(histogram, table)
        assert row["slow"] == sum(duration >= SECOND for duration in clients)
        assert row["durations"][1] == pytest.approx(sum(clients) / SECOND)
        assert row["durations"][2] == len(clients)


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, MONTH), max_size=4),
            DURATIONS,
            st.booleans(),
            st.sampled_from(["", "", "truncate", "rebase", "reset"]),
        ),
        max_size=8,
    )
)
@settings(max_examples=60, deadline=None)
def test_it_never_falls_whatever_replicas_do(turns):
    histogram, table = MySQLHistogram(), Table()
    before = fed(histogram, table)["durations"]
    for senders, clients, seen, action in turns:
        if action == "truncate":
            table.truncate()
        elif action == "reset":
            table.ended = []
        elif action == "rebase":
            histogram.rebase()
        table.statements += clients
        table.end(*senders, seen=seen)
        now = fed(histogram, table)["durations"]
        assert now[2] >= before[2]
        assert now[1] >= before[1]
        assert all(below >= earlier for (_, below), (_, earlier) in zip(now[0], before[0], strict=True))
        before = now


def test_a_table_without_a_row_tells_nothing_and_is_no_baseline():
    histogram, table = MySQLHistogram(), Table()
    empty = Rows(("kind", "bound", "count", "time"), [("client", None, 7, 7), ("sender", None, 0, 0)])
    assert histogram.feed(empty, CONTEXT).rows == []
    table.statements = [1] * 5
    assert fed(histogram, table)["durations"][2] == 0
    assert histogram.feed(empty, CONTEXT).rows == []
    table.statements += [1]
    assert fed(histogram, table)["durations"][2] == 1


def test_of_our_own_statements_each_is_taken_off_once_and_nobody_else_s() -> None:
    ours = Ours()

    def left(**new: int) -> dict[str, int]:
        """Buckets by the tenths of a second that they end at."""
        buckets = {tenths * 10**11: new.get(f"_{tenths}", 0) for tenths in (5, 8, 10, 12, 50, 60)}
        ours.take_off(buckets, "one")
        return {name: buckets[int(name[1:]) * 10**11] for name in new}

    LASTED.note("one", 5.0)
    assert left(_10=1, _60=1) == {"_10": 1, "_60": 1}, "the first reading is a baseline"
    LASTED.note("one", 0.95)
    LASTED.note("another", 5.5)
    assert left(_10=1, _60=1) == {"_10": 0, "_60": 1}
    # The client has waited longer than the server worked, but not for so long.
    LASTED.note("one", 1.15)
    assert left(_5=1, _10=2, _60=1) == {"_5": 1, "_10": 1, "_60": 1}
    LASTED.note("one", 5.5)
    assert left(_10=1, _60=0) == {"_10": 1, "_60": 0}
    assert left(_10=1, _60=2) == {"_10": 1, "_60": 1}, "its bucket was read before it was in it"
    LASTED.note("one", 0.001)
    assert left(_10=1, _60=1) == {"_10": 1, "_60": 1}


def test_our_own_statements_are_in_the_sum_no_more_than_in_the_count() -> None:
    histogram, table = MySQLHistogram(), Table()

    def found(*seconds: float) -> tuple[float, int]:
        table.statements += [round(each * 10**12) for each in seconds]
        _, total, count = fed(histogram, table)["durations"]
        return total, count

    table.ours = True
    found()
    LASTED.note("", 3.1)
    # As well as a bucket tells: they are 4.7 % wide.
    assert found(0.02, 3.0) == (pytest.approx(0.02, abs=3.0 * 0.047), 1)
    before, _ = found()
    assert found(0.3) == (pytest.approx(before + 0.3), 2)
    # They are not recorded for a while: then they are not looked for, neither then nor later.
    table.ours = False
    LASTED.note("", 1.1)
    assert found(1.0) == (pytest.approx(before + 1.3), 3)
    table.ours = True
    assert found(1.05) == (pytest.approx(before + 2.35), 4)
