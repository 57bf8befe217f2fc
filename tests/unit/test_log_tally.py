"""What a log adds up to, who counts slow statements, and that nobody waits for a log that is long."""

from __future__ import annotations

import errno
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from exporter.config import load_text
from exporter.config.model import ServerConfig, SlowLogSettings, Statements
from exporter.declare import Context, Rows
from exporter.facts import Facts, Identity, Role
from exporter.failure import Failure, Reason
from exporter.polling.runs import Reading, rendered, taken_in
from exporter.polling.snapshot import State
from exporter.polling.tasks import Task
from exporter.registry import collectors_by_name
from exporter.statement import filled
from exporter.subjects.logs import reader
from exporter.subjects.logs.choice import StandIn, counting_slow
from exporter.subjects.logs.events import Error, Event, Statement, TemporaryFile
from exporter.subjects.logs.files import Files, OpenFile
from exporter.subjects.logs.lines import Line, LogParser
from exporter.subjects.logs.measures import COLUMNS
from exporter.subjects.logs.mysql import reader as mysql_reader
from exporter.subjects.logs.mysql import rules as mysql_rules
from exporter.subjects.logs.mysql_table import SlowLogTable
from exporter.subjects.logs.postgres import Told
from exporter.subjects.logs.postgres import reader as postgres_reader
from exporter.subjects.logs.postgres import rules as postgres_rules
from exporter.subjects.logs.postgres_over_sql import LogOverSQL
from exporter.subjects.logs.reader import Counting, LogReader
from exporter.subjects.logs.tally import Rules, Tally
from exporter.subjects.logs.turn import Turn
from tests.providers.base import wait_for

FACTS = {
    engine: Facts(engine, engine, (18, 0), "18.0", Identity("1", 0.0, Role.PRIMARY))
    for engine in ("postgres", "mysql")
}  # fmt: skip


def by(rows: list[tuple[Any, ...]], *wanted: str) -> dict[Any, Any]:
    """Rows by their first wanted column or columns, with the last one's value, where there is one."""
    places = [COLUMNS.index(name) for name in wanted]
    found = {}
    for row in rows:
        *key, value = (row[place] for place in places)
        if value is not None and None not in key:
            found[tuple(key) if len(key) > 1 else key[0]] = value
    return found


def test_sums_are_those_of_the_events() -> None:
    chance = random.Random(7)
    events: list[Event] = [
        Statement(
            chance.choice(["a", "b", None]),
            f"select {chance.randrange(9)} from t{chance.randrange(4)}",
            chance.choice([0.05, 0.1, 0.9, 1.0, 1.5, 400.0, 9999.0]),
            lock_seconds=chance.random(),
            rows_examined=chance.randrange(100),
            rows_sent=3,
            times=chance.choice([1, 1, 10]),
        )
        for _ in range(500)
    ]
    tally, rules = Tally("mysql"), Rules(1.0)
    tally.add(events[:200], rules)
    tally.add(events[200:], rules)
    rows = [*tally.by_database(rules), *tally.by_statement()]
    statements = [event for event in events if isinstance(event, Statement)]
    for name in ("a", "b", ""):
        mine = [event for event in statements if (event.database or "") == name]
        over = [event for event in mine if event.seconds >= 1.0]
        assert by(rows, "database", "slow")[name] == sum(event.times for event in over)
        buckets, seconds, count = by(rows, "database", "durations")[name]
        assert count == sum(event.times for event in mine)
        assert seconds == pytest.approx(sum(event.seconds * event.times for event in mine))
        assert dict(buckets) == {
            bound: sum(event.times for event in mine if event.seconds <= bound) for bound, _ in buckets
        }
        assert by(rows, "database", "rows_examined")[name] == sum((e.rows_examined or 0) * e.times for e in mine)
        names = by(rows, "database", "fingerprint", "query")
        shown = by(rows, "database", "fingerprint", "executions")
        expected: Counter[str] = Counter()
        for event in over:
            expected[re.sub(r"\b\d", "?", event.text)] += event.times
        assert {names[key]: value for key, value in shown.items() if key[0] == name} == expected


def test_errors_deadlocks_and_files() -> None:
    tally, rules = Tally("postgres"), Rules(1.0, databases=frozenset({"a", "b"}))
    tally.add(
        [
            Error("a", "40P01", deadlock=True),
            Error("a", "40001", deadlock=False),
            Error("a", "", deadlock=False),
            Error("of nobody", "3D000", deadlock=False),
            TemporaryFile("a", 7),
            TemporaryFile(None, 5),
        ],
        rules,
    )
    first, rows = (list(tally.by_database(rules)) for _ in range(2))
    # From 0 on: rate() sees nothing of a series that begins with what it has counted.
    assert by(first, "database", "sqlstate_class", "errors") == {("a", "40"): 0, ("a", ""): 0, ("", "3D"): 0}
    assert by(rows, "database", "sqlstate_class", "errors") == {("a", "40"): 2, ("a", ""): 1, ("", "3D"): 1}
    assert by(rows, "database", "deadlocks") == {"a": 1, "b": 0, "": 0}
    assert by(rows, "database", "temporary_bytes") == {"a": 7, "b": 0, "": 5}


def test_a_client_s_own_classes_of_errors_are_one() -> None:
    tally, rules = Tally("postgres"), Rules(1.0)
    tally.add([Error("a", f"{first}{second}001", deadlock=False) for first in "AZ0" for second in "QRST9"], rules)
    _, rows = (list(tally.by_database(rules)) for _ in range(2))
    assert by(rows, "database", "sqlstate_class", "errors") == {("a", "other"): 14, ("a", "09"): 1}


def test_a_queryid_does_not_go_to_and_fro() -> None:
    tally, rules = Tally("postgres"), Rules(1.0)
    seen = []
    for number in (None, 7, 7, 8, 7, 8, None):
        tally.add([Statement("a", "select * from t where a in (1, 2)", 2.0, query_id=number)], rules)
        seen += by(list(tally.by_statement()), "queryid", "query").keys()
    assert seen == ["", "7", "7", "", "", "", ""]


def test_what_counts_as_an_execution() -> None:
    events: list[Event] = [
        Statement("a", "select 1", 2.0, step) for step in ("statement", "execute", "parse", "bind", "plan")
    ]
    events += [Statement("a", "", 2.0, "bare"), Statement("a", "", 0.5, "bare")]
    for rules, slow, count in ((Rules(1.0), 3, 3), (Rules(1.0, plans=True), 1, 1), (Rules(None), None, 2)):
        tally = Tally("postgres")
        tally.add(events, rules)
        rows = list(tally.by_database(rules))
        assert by(rows, "database", "slow").get("a") == slow, rules
        assert by(rows, "database", "durations")["a"][2] == count, rules


def test_names_and_statements_are_bounded() -> None:
    tally, rules = Tally("mysql"), Rules(1.0)
    tally.add((Statement(f"d{n}", f"select c{n}", 2.0) for n in range(5000)), rules)
    assert len(list(tally.by_database(rules))) < 600
    assert len(list(tally.by_statement())) == 2000
    known = Rules(1.0, databases=frozenset({"d1"}))
    assert set(by(list(tally.by_database(known)), "database", "slow")) == {"", "d1"}


def test_a_statement_that_is_shown_never_falls_however_many_others_come(tmp_path: Path) -> None:
    state, rules, run = Counting("mysql"), Rules(1.0), context(tmp_path)
    report = Statement("d", "select report", 1000.0)
    state.tally.add([report] * 10, rules)
    for turn in range(1, 4):
        others = (Statement("d", f"select c{turn}_{n}", 1.5) for n in range(2500))
        state.tally.add([*others, report], rules)
        rows = state.rows(rules, replace(run, now=run.now + turn), (None, None, None), at_end=True).rows
        assert len(list(state.tally.by_statement())) == 2000
        executions = by(list(rows), "database", "fingerprint", "executions")
        assert len(executions) == reader.SHOWN
        # Before it was ever shown it could be forgotten: of the first turn there is the one at its end.
        assert max(executions.values()) == turn


def test_where_all_statements_are_shown_no_other_is_remembered() -> None:
    tally, rules = Tally("mysql"), Rules(1.0)
    tally.add((Statement("d", f"select c{n}", 2.0) for n in range(2000)), rules)
    kept = set(by(list(tally.by_statement()), "database", "fingerprint", "executions"))
    tally.shown = frozenset(kept)
    tally.add((Statement("d", f"select d{n}", 2.0) for n in range(10)), rules)
    assert set(by(list(tally.by_statement()), "database", "fingerprint", "executions")) == kept
    assert by(list(tally.by_database(rules)), "database", "slow")["d"] == 2010


def test_of_statements_that_are_not_shown_the_one_that_came_longest_ago_is_forgotten() -> None:
    tally, rules = Tally("mysql"), Rules(1.0)

    def came(*tables: int) -> None:
        tally.add([Statement("d", f"select * from t{table}_", 2.0) for table in tables], rules)

    came(0, *range(1, 2000))
    # The first comes again, and one of those that are shown is among the oldest.
    tally.shown = frozenset(key for key, found in tally._statements.items() if found.text == "select * from t1_")
    came(0, *range(2000, 2100))
    texts = {row[COLUMNS.index("query")] for row in tally.by_statement()}
    assert len(texts) == 2000
    assert {"select * from t0_", "select * from t1_", "select * from t2099_"} <= texts
    assert not texts & {f"select * from t{table}_" for table in range(2, 102)}


def test_a_database_that_was_dropped_and_made_anew_starts_at_zero() -> None:
    tally = Tally("postgres")

    def slow(*databases: str) -> dict[str, int]:
        return by(list(tally.by_database(Rules(1.0, databases=frozenset(databases)))), "database", "slow")

    tally.add([Statement("a", "select 1", 2.0)], Rules(1.0, databases=frozenset("a")))
    assert slow("a") == {"": 0, "a": 1}
    assert slow("b") == {"": 0, "b": 0}
    assert slow("a", "b") == {"": 0, "a": 0, "b": 0}


def test_statements_go_with_their_database() -> None:
    tally, both = Tally("postgres"), Rules(1.0, databases=frozenset({"a", "b"}))
    tally.add([Statement("a", "select 1", 2.0), Statement("b", "select 1", 2.0), Statement(None, "x", 2.0)], both)
    list(tally.by_database(Rules(1.0, databases=frozenset({"b"}))))
    assert {key[0] for key in by(list(tally.by_statement()), "database", "fingerprint", "executions")} == {"b", ""}


# Who counts


@pytest.mark.parametrize("engine", ["postgres", "mysql"])
@pytest.mark.parametrize("slow_log", ["true", "sql", "{file: x.log}", "false", "{enabled: false}"])
def test_one_source_counts_slow_statements(engine: str, slow_log: str) -> None:
    text = f"servers:\n  - {{engine: {engine}, host: h, slow_log: {slow_log}}}\n"
    [server] = load_text(text, directory=Path("/etc/x")).servers
    mine = [item for item in collectors_by_name().values() if item.engine == engine]
    kept = counting_slow(mine, server)
    counting = {
        item.name: item.state()
        for item in kept
        if "db_slow_statements_total" in {measure.name for measure in item.measures()} and item.state is not None
    }
    assert len(counting) > 2
    logs = {name: state for name, state in counting.items() if "slow_log" in name}
    others = [state for name, state in counting.items() if name not in logs]
    if "false" in slow_log:
        assert kept == mine
    else:
        # All else that they tell of is still told.
        names = [{m.name for item in these for m in item.measures()} for these in (mine, kept)]
        assert names[0] == names[1]
        turns = {id(state.turn) for state in logs.values() if isinstance(state, Counting)}
        assert all(isinstance(state, StandIn) for state in others)
        assert turns == {id(state._turn) for state in others if isinstance(state, StandIn)}, "one turn for all"
        assert [item.name in logs for item in kept] == sorted((item.name in logs for item in kept), reverse=True)
    if "file" in slow_log:
        assert server.slow_log is not None
        assert server.slow_log.file == "/etc/x/x.log"


def test_a_log_can_be_switched_off_and_told_how_often_to_be_read() -> None:
    text = "servers:\n  - {url: 'mysql://h', slow_log: true, collectors: {mysql_slow_log: {every: 5s}}}\n"
    [server] = load_text(text).servers
    assert server.collectors["mysql_slow_log"].every == 5.0
    assert server.collectors["mysql_slow_log"].enabled is True
    defaults = "servers:\n  - {url: 'mysql://h', slow_log: false}\ndefaults: {slow_log: true}\nstate_dir: state\n"
    [server] = load_text(defaults, directory=Path("/etc/x")).servers
    assert not server.reads_log
    assert server.state_dir == "/etc/x/state"


# Reading


def context(tmp_path: Path, engine: str = "mysql", **slow_log: Any) -> Context:
    server = ServerConfig(
        name="s",
        engine=engine,
        host="h",
        port=1,
        slow_log=SlowLogSettings(**slow_log),
        state_dir=str(tmp_path / "state"),
    )  # type: ignore[arg-type]
    return Context(server, FACTS[engine], time.monotonic())


MYSQL = Rows(
    ("Variable_name", "Value"),
    [("slow_query_log", "ON"), ("long_query_time", "0.5"), ("log_output", "FILE"), ("datadir", "/nowhere/"),
     ("slow_query_log_file", "slow.log")],
)  # fmt: skip
ENTRY = (
    "# Time: 2026-11-22T17:51:27.641751Z\n# User@Host: root[root] @ localhost []  Id:     8\n"
    "# Query_time: 1.5  Lock_time: 0 Rows_sent: 1  Rows_examined: 7\nuse shop;\nSET timestamp=1;\nselect {} from t{};\n"
)


@pytest.mark.full
def test_a_burst_is_shown_piece_by_piece_and_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "slow.log"
    file.touch()
    state, run = mysql_reader(), context(tmp_path, file=str(file))
    state.feed(MYSQL, run)
    entries = 100_000
    with file.open("w") as out:
        out.writelines(ENTRY.format(number, number % 100) for number in range(entries))
    # Long enough a turn for all of it, so that whoever waits for its end waits for all of it.
    monkeypatch.setattr(reader, "_TURN_SECONDS", 300.0)
    seen = []
    started = time.monotonic()

    def counted() -> bool:
        began = time.monotonic()
        rows = list(state.feed(MYSQL, run).rows)
        seen.append((by(rows, "database", "slow").get("shop", 0), time.monotonic() - began))
        return bool(seen[-1][0] >= entries - 1)

    assert wait_for(counted, 120)
    whole = time.monotonic() - started
    # The last entry counts when nothing comes after it.
    assert wait_for(lambda: by(list(state.feed(MYSQL, run).rows), "database", "slow")["shop"] == entries, 10)
    assert len({count for count, _ in seen}) > 3, "it is shown as it is read"
    assert max(took for _, took in seen) < whole / 2
    assert len(by(list(state.feed(MYSQL, run).rows), "fingerprint", "executions")) == reader.SHOWN


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        ({}, "select a from länder"),
        ({"text": "label"}, "select a from länder"),
        ({"text_bytes": 15}, "select a from l"),
        # In the middle of the letter.
        ({"text_bytes": 16}, "select a from l"),
        ({"text": "none"}, ""),
    ],
)
def test_texts_are_as_long_as_those_of_single_statements_and_where_these_are(
    tmp_path: Path, config: dict[str, Any], shown: str
) -> None:
    file = tmp_path / "slow.log"
    file.touch()
    run = context(tmp_path, file=str(file))
    run = replace(run, server=run.server.model_copy(update={"statements": Statements(**config)}))
    state = mysql_reader()
    state.feed(MYSQL, run)
    file.write_text(ENTRY.replace("select {} from t{}", "select a from länder") * 2)

    def texts() -> dict[Any, Any]:
        return by(list(state.feed(MYSQL, run).rows), "fingerprint", "query")

    assert wait_for(lambda: bool(texts()), 10)
    assert list(texts().values()) == [shown]
    assert list(by(list(state.feed(MYSQL, run).rows), "fingerprint", "info").values()) == [1]


def test_what_can_not_be_read_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow.log").mkdir()
    state = mysql_reader()

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied", "/var/log/slow.log")

    monkeypatch.setattr("exporter.subjects.logs.files.Files.all", refuse)
    problem = state.feed(MYSQL, context(tmp_path, file=str(tmp_path / "slow.log"))).problem
    assert problem is not None
    assert problem.reason is Reason.PERMISSION
    assert problem.message == "/var/log/slow.log: Permission denied"
    assert problem.fix == "let the user that runs the exporter read /var/log/slow.log"


class Slow:
    """What reads a log's files, and takes longer each time than anybody waits; it fails while it is told to."""

    def __init__(self, state: LogReader, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = False
        self._state = state
        self._may_end = threading.Semaphore(0)
        read = OpenFile.read

        def slowly(file: OpenFile, offset: int, most: int) -> bytes:
            if most < 65_536:
                # Only a look at its beginning.
                return read(file, offset, most)
            assert self._may_end.acquire(timeout=60)
            if self.fails:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), file.path)
            return read(file, offset, most)

        monkeypatch.setattr(OpenFile, "read", slowly)

    def end(self) -> None:
        """Let the turn end that is under way."""
        assert self._state.busy
        # One read gives what is there, a second one the end.
        self._may_end.release(2)
        assert wait_for(lambda: not self._state.busy, 30)
        while self._may_end.acquire(blocking=False):
            pass


def followed(tmp_path: Path) -> tuple[Path, reader.LogReader, Context]:
    """A log with an entry, and who has begun to read it."""
    file, state = tmp_path / "slow.log", mysql_reader()
    run = context(tmp_path, file=str(file))
    file.write_text(ENTRY.format(1, 1))
    state.feed(MYSQL, run)
    assert wait_for(lambda: not state.busy, 30)
    return file, state, run


BANNER = """\
/usr/sbin/mysqld, Version: 9.7.4 (MySQL Community Server - GPL). started with:
Tcp port: 3306  Unix socket: /run/mysqld.sock
Time                 Id Command    Argument
"""


@pytest.mark.parametrize("history", [0, 4])
def test_where_the_server_writes_its_log_to_another_file_nothing_is_lost(tmp_path: Path, history: int) -> None:
    """It was written to both before we looked; the other one may have been there before, which counts nothing."""
    file, state, here = followed(tmp_path)
    other = tmp_path / "other.log"
    elsewhere = context(tmp_path, file=str(other))
    if history:
        other.write_text(BANNER + ENTRY.format(9, 9) * history)
        os.utime(other, (time.time() - 3600,) * 2)

    def slow(where: Context) -> Any:
        assert wait_for(lambda: not state.busy, 30)
        return by(list(state.feed(MYSQL, where).rows), "database", "slow").get("shop")

    def write(path: Path, text: str) -> None:
        with path.open("a") as out:
            out.write(text)

    write(file, ENTRY.format(2, 2) * 3)
    write(other, BANNER + ENTRY.format(2, 2) * 2)
    assert wait_for(lambda: slow(elsewhere) == 5, 30), slow(elsewhere)
    # And back to where it was.
    write(other, ENTRY.format(2, 2))
    write(file, BANNER + ENTRY.format(2, 2) * 2)
    assert wait_for(lambda: slow(here) == 8, 30), slow(here)
    # Nothing comes twice, and the lines of both count: three of banners twice, six of each entry.
    for _ in range(3):
        assert slow(here) == 8
    [read] = [row[COLUMNS.index("lines")] for row in state.feed(MYSQL, here).rows if row[COLUMNS.index("lines")]]
    assert read == 2 * 3 + 8 * 6


def test_that_a_long_turn_failed_is_told_until_one_ends_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, state, run = followed(tmp_path)
    slow = Slow(state, monkeypatch)
    slow.fails = True
    state.feed(MYSQL, run)
    slow.end()
    for _ in range(3):
        # While the next one is under way, too.
        problem = state.feed(MYSQL, run).problem
        assert problem is not None
        assert problem.message == f"{file}: {os.strerror(errno.ESTALE)}"
        slow.end()
    with file.open("a") as out:
        out.write(ENTRY.format(2, 2) * 3)
    slow.fails = False
    assert state.feed(MYSQL, run).problem is not None
    slow.end()
    shown = state.feed(MYSQL, run)
    assert shown.problem is None
    assert by(list(shown.rows), "database", "slow")["shop"] >= 2
    slow.end()


def test_a_log_whose_turn_failed_is_not_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, state, run = followed(tmp_path)
    state.turn.silent()
    slow = Slow(state, monkeypatch)
    slow.fails = True
    look = state.look

    def look_until_it_ends(where: str = "the log") -> None:
        look(where)
        # Between the look at it and the rows.
        slow.end()

    monkeypatch.setattr(state, "look", look_until_it_ends)
    state.feed(MYSQL, run)
    assert not state.turn.log_counts


def test_a_log_that_fails_is_not_heard_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, state, run = followed(tmp_path)
    slow = Slow(state, monkeypatch)
    slow.fails = True
    state.feed(MYSQL, run)
    _, heard = state.turn.asked(run.now)
    for _ in range(2):
        slow.end()
        assert state.feed(MYSQL, replace(run, now=time.monotonic())).problem is not None
    slow.end()
    assert state.turn.asked(time.monotonic()) == (False, heard)


PATIENCE = 45.0


def test_while_one_of_several_files_can_not_be_read_the_rest_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The newest one is open from the beginning.
    other, here = tmp_path / "slow-1.log", tmp_path / "slow-2.log"
    state, run = mysql_reader(), context(tmp_path, file=str(tmp_path / "slow-*.log"))
    state.turn = Turn(PATIENCE)
    # Whoever stands in counts as many more with each reading.
    stands_in = StandIn(Estimated(), state.turn)

    def write(file: Path) -> None:
        with file.open("a") as out:
            out.write(ENTRY.format(1, 1) * 2)

    def shown(at: float) -> tuple[int | None, int | None, bool]:
        """What the log and the other one show so many seconds later, and whether the log has a problem."""
        for _ in range(2):
            log = state.feed(MYSQL, replace(run, now=run.now + at))
            assert wait_for(lambda: not state.busy, 30)
        log = state.feed(MYSQL, replace(run, now=run.now + at))
        assert wait_for(lambda: not state.busy, 30)
        [row] = stands_in.feed(Rows((), []), replace(run, now=run.now + at)).rows
        return by(list(log.rows), "database", "slow").get("shop"), row[1], log.problem is not None

    other.touch()
    here.touch()
    shown(0)
    init = OpenFile.__init__

    def refuse(self: OpenFile, path: str) -> None:
        if path == str(other):
            raise PermissionError(13, "Permission denied", path)
        init(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(OpenFile, "__init__", refuse)
        write(here)
        write(other)
        assert shown(1) == (2, None, True)
        write(here)
        assert shown(2) == (4, None, True)
        # Nobody has heard of the log for too long: the other one counts until the log can be read to its end.
        assert shown(PATIENCE * 2)[::2] == (4, True)
        late = [shown(PATIENCE * 2 + after) for after in (1, 2)]
        write(here)
        late.append(shown(PATIENCE * 2 + 3))
        assert [(log, failed) for log, _, failed in late] == [(None, True)] * 3
        told = [other for _, other, _ in late if other is not None]
        assert [count - told[0] for count in told] == [0, Estimated.EACH, 2 * Estimated.EACH]
    # What was slow before was not the log's to count.
    assert wait_for(lambda: shown(PATIENCE * 2 + 4) == (4, None, False), 30)


class Estimated:
    """Another source of slow statements, which finds as many more each time it is asked."""

    EACH = 3

    def __init__(self) -> None:
        self._slow = 0

    def feed(self, _: Rows, __: Context) -> Rows:
        self._slow += self.EACH
        return Rows(("database", "slow", "source", "threshold"), [("shop", self._slow, "status", 1.0)])

    def rebase(self) -> None:
        """Nothing is kept."""


def test_a_log_that_nobody_may_read_does_not_keep_others_from_counting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, state, run = followed(tmp_path)
    state.turn = Turn(PATIENCE)
    state.feed(MYSQL, run)
    assert wait_for(lambda: not state.busy, 30)

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr("exporter.subjects.logs.files.Files.all", refuse)
    for at in (1.0, PATIENCE / 2, PATIENCE + 1.0):
        state.feed(MYSQL, replace(run, now=run.now + at))
        assert wait_for(lambda: not state.busy, 30)
        assert state.feed(MYSQL, replace(run, now=run.now + at)).problem is not None
        assert wait_for(lambda: not state.busy, 30)
        ours, _ = state.turn.asked(run.now + at)
        assert ours is (at > PATIENCE)
    assert by(list(state.feed(MYSQL, run).rows), "database", "slow") == {}


def test_a_log_whose_position_can_not_be_kept_is_heard_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, state, run = followed(tmp_path)
    state.turn = Turn(PATIENCE)
    state.feed(MYSQL, run)
    assert wait_for(lambda: not state.busy, 30)

    def refuse(self: Path, *_: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "write_text", refuse)
    with file.open("a") as out:
        out.write(ENTRY.format(1, 1) * 3)
    for at in (PATIENCE, PATIENCE * 2):
        for _ in range(2):
            shown = state.feed(MYSQL, replace(run, now=run.now + at))
            assert wait_for(lambda: not state.busy, 30)
        shown = state.feed(MYSQL, replace(run, now=run.now + at))
        assert wait_for(lambda: not state.busy, 30)
        assert shown.problem is not None
        assert shown.problem.reason is Reason.PERMISSION
        assert f"write {tmp_path / 'state'}" in (shown.problem.fix or "")
        assert by(list(shown.rows), "database", "slow")["shop"] == 3
        assert state.turn.asked(run.now + at + 1.0)[0] is False


def test_a_turn_that_ends_while_rows_are_made_may_have_left_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, state, run = followed(tmp_path)
    state.turn.silent()
    monkeypatch.setattr(reader, "_MOST_BYTES", 65_536)
    with file.open("a") as out:
        out.write(ENTRY.format(1, 1) * 2000)
    slow, rows = Slow(state, monkeypatch), state.rows

    def after_its_end(*given: Any, **more: Any) -> Rows:
        slow.end()
        return rows(*given, **more)

    monkeypatch.setattr(state, "rows", after_its_end)
    state.feed(MYSQL, run)
    assert state._follower is not None
    assert state._follower.behind > 0
    assert not state.turn.log_counts


def test_a_log_that_hangs_is_a_failure_until_it_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, state, run = tmp_path / "slow.log", mysql_reader(), context(tmp_path, file=str(tmp_path / "slow.log"))
    file.touch()
    state.feed(MYSQL, run)
    answers = threading.Event()
    read = OpenFile.read

    def hang(self: OpenFile, offset: int, most: int) -> bytes:
        answers.wait(60)
        return read(self, offset, most)

    monkeypatch.setattr(OpenFile, "read", hang)
    state.feed(MYSQL, run)
    monkeypatch.setattr(reader, "_HANGS_SECONDS", 0.0)
    with pytest.raises(Failure) as raised:
        state.feed(MYSQL, run)
    assert raised.value.reason is Reason.TIMEOUT
    assert str(file) in raised.value.message
    answers.set()
    assert wait_for(lambda: not state.busy, 30)
    monkeypatch.setattr(reader, "_HANGS_SECONDS", 60.0)
    state.feed(MYSQL, run)


def test_logs_that_hang_keep_no_other_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    read = OpenFile.read

    def hang(self: OpenFile, offset: int, most: int) -> bytes:
        if "away" in self.path:
            answers.wait(60)
        return read(self, offset, most)

    files = [tmp_path / name for name in (*(f"away{number}.log" for number in range(8)), "here.log")]
    logs = [(mysql_reader(), context(tmp_path / file.stem, file=str(file))) for file in files]
    for file, (state, run) in zip(files, logs, strict=True):
        file.touch()
        state.feed(MYSQL, run)
    assert wait_for(lambda: not any(state.busy for state, _ in logs), 30)
    monkeypatch.setattr(OpenFile, "read", hang)
    try:
        monkeypatch.setattr(reader, "_WAIT_SECONDS", 0.0)
        *away, (here, run) = logs
        for state, its in away:
            state.feed(MYSQL, its)
        with files[-1].open("a") as out:
            out.write(ENTRY.format(1, 1) * 3)
        assert wait_for(lambda: by(list(here.feed(MYSQL, run).rows), "database", "slow").get("shop") == 3, 10)
        assert all(state.busy for state, _ in away)
        monkeypatch.setattr(reader, "_HANGS_SECONDS", 0.0)
        for file, (state, its) in zip(files, away, strict=False):
            with pytest.raises(Failure) as raised:
                state.feed(MYSQL, its)
            assert str(file) in raised.value.message
    finally:
        answers.set()
    assert wait_for(lambda: not any(state.busy for state, _ in logs), 30)


def test_a_log_that_hangs_does_not_keep_the_process_alive() -> None:
    script = """if True:
        import threading
        from exporter.subjects.logs.reader import Counting
        counting = Counting("mysql")
        counting.begin(lambda: threading.Event().wait())
        counting.look()
        print("busy" if counting.busy else "over")
    """
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout == "busy\n"


class Busy(LogParser):
    """Makes a statement of each line, and notes how many threads are at work at once."""

    lock = threading.Lock()
    now = most = 0

    def _line(self, line: Line, events: list[Event]) -> None:
        with self.at_work():
            events.append(Statement("d", "select 1", 2.0))

    @classmethod
    @contextmanager
    def at_work(cls) -> Iterator[None]:
        with cls.lock:
            cls.now += 1
            cls.most = max(cls.most, cls.now)
        time.sleep(0.001)
        yield
        with cls.lock:
            cls.now -= 1


@pytest.mark.parametrize("counts", [False, True])
def test_few_logs_are_read_at_once(counts: bool) -> None:
    Busy.most = 0
    logs = [Counting("mysql") for _ in range(16)]

    def turn(state: Counting) -> None:
        events = Busy().feed(b"x\n" * 60)
        if counts:
            state.add(events, Rules(1.0))

    for state in logs:
        if counts:
            add = state.tally.add

            def counting(events: Iterable[Event], rules: Rules, add: Any = add) -> None:
                with Busy.at_work():
                    add(events, rules)

            state.tally.add = counting  # type: ignore[method-assign]
        state.begin(partial(turn, state))
    assert wait_for(lambda: not any(state.busy for state in logs), 60)
    assert 2 <= Busy.most <= 4
    if counts:
        assert [sum(by(list(s.tally.by_statement()), "database", "executions").values()) for s in logs] == [60] * 16


def test_a_scrape_waits_for_few_events_only() -> None:
    """A reader of many events lets others in between."""
    state = mysql_reader()
    held: list[int] = []

    def add(events: Iterable[Event], _: Rules) -> None:
        assert state.lock.locked()
        held.append(len(list(events)))

    state.tally.add = add  # type: ignore[method-assign]
    state.add((Statement("d", "select 1", 2.0) for _ in range(1000)), Rules(1.0))
    assert sum(held) == 1000
    assert max(held) <= 100


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({}, (2.0, False)),
        ({"log_min_duration_statement": "2000"}, (2.0, False)),
        ({"log_min_duration_statement": "0"}, (1.0, False)),
        ({"log_min_duration_statement": "-1"}, (None, False)),
        ({"log_min_duration_statement": "-1", "log_duration": "on"}, (1.0, False)),
        ({"log_min_duration_statement": "-1", "auto_explain.log_min_duration": "3000"}, (3.0, True)),
        ({"log_min_duration_statement": "-1", "auto_explain.log_min_duration": "3000",
          "auto_explain.sample_rate": "0.5"}, (None, False)),
        ({"log_min_duration_statement": "-1", "auto_explain.log_min_duration": "3000",
          "auto_explain.log_level": "log"}, (3.0, True)),
        ({"log_min_duration_statement": "-1", "auto_explain.log_min_duration": "3000",
          "auto_explain.log_level": "notice"}, (None, False)),
    ],
)  # fmt: skip
def test_postgres_s_own_threshold(tmp_path: Path, settings: dict[str, str], found: tuple[float | None, bool]) -> None:
    given = {"log_min_duration_statement": "2000", "log_line_prefix": "%p "} | settings
    rows = Rows(("kind", "name", "value"), [("setting", name, value) for name, value in given.items()])
    state = postgres_reader()
    (tmp_path / "x.log").touch()
    shown = list(state.feed(rows, context(tmp_path, "postgres", file=str(tmp_path / "x.log"))).rows)
    assert by(shown, "source", "threshold").get("log") == found[0]
    source = state._find(rows, context(tmp_path, "postgres", file=str(tmp_path / "x.log")))
    assert source.rules.plans == found[1]
    assert source.format == "stderr"


@pytest.mark.parametrize("over_sql", [False, True])
@pytest.mark.parametrize(
    ("of_our_session", "settings", "trusted"),
    [
        ("log_min_duration_statement", {}, False),
        ("log_min_duration_statement", {"log_min_duration_statement": "-1"}, False),
        ("log_duration", {"log_min_duration_statement": "-1", "log_duration": "on"}, False),
        ("auto_explain.log_min_duration", {"log_min_duration_statement": "-1"}, False),
        ("auto_explain.log_level", {"log_min_duration_statement": "-1"}, False),
        # What doesn't matter.
        ("log_duration", {"log_duration": "on"}, True),
    ],
)  # fmt: skip
def test_the_threshold_of_our_own_session_is_not_the_log_s(
    tmp_path: Path, of_our_session: str, settings: dict[str, str], trusted: bool, over_sql: bool
) -> None:
    given = {
        "log_min_duration_statement": "2000", "log_line_prefix": "%p ", "logging_collector": "on",
        "log_destination": "stderr", "auto_explain.log_min_duration": "1000",
    } | settings  # fmt: skip
    fix = f"ALTER ROLE monitor RESET {of_our_session}"
    found = [("setting", name, value) for name, value in given.items()] + [("own", of_our_session, fix)]
    more = (None, None) if over_sql else ()
    rows = Rows(("kind", "name", "value", "number", "written")[: 3 + len(more)], [(*row, *more) for row in found])
    state = LogOverSQL() if over_sql else postgres_reader()
    (tmp_path / "x.log").touch()
    shown = state.feed(rows, context(tmp_path, "postgres", file=None if over_sql else str(tmp_path / "x.log")))
    assert by(list(shown.rows), "source", "threshold").get("log") == (2.0 if trusted else None)
    assert state.turn.log_counts is trusted
    if trusted:
        assert shown.problem is None
    else:
        assert shown.problem is not None
        assert of_our_session in shown.problem.message
        assert (shown.problem.fix or "").startswith(fix)


@pytest.mark.parametrize(
    ("destination", "read"),
    [
        ("stderr", {"a.log", "b", "c.csv"}),
        ("stderr,csvlog", {"c.csv"}),
        ("stderr,jsonlog,csvlog", {"d.json"}),
    ],
)
def test_of_a_directory_the_files_of_one_format_are_read(tmp_path: Path, destination: str, read: set[str]) -> None:
    folder = tmp_path / "log[1]"
    folder.mkdir()
    for name in ("a.log", "b", "c.csv", *(["d.json"] if "json" in destination else [])):
        (folder / name).touch()
    rows = Rows(("kind", "name", "value"), [("setting", "log_destination", destination)])
    source = postgres_reader()._find(rows, context(tmp_path, "postgres", file=str(folder)))
    assert {Path(file.path).name for file in Files(source.where).all()} == read


@pytest.mark.parametrize("on", [True, False])
def test_a_log_without_slow_statements_is_a_failure_beside_all_else_that_it_tells(tmp_path: Path, on: bool) -> None:
    run = context(tmp_path, "postgres", file=str(tmp_path / "x.log"))
    (tmp_path / "x.log").touch()
    threshold = "100" if on else "-1"
    rows = Rows(
        ("kind", "name", "value"), [("setting", "log_min_duration_statement", threshold), ("database", "d", None)]
    )
    task = Task.of(collectors_by_name()["pg_slow_log"], run.server)
    reading = taken_in(task, Reading(rows, None, time.monotonic()), run.server, run.facts, 1000)
    assert isinstance(reading, Reading)
    snapshot = rendered(task, reading, run.server, run.facts, 1000)
    page = "".join(family.text for family in snapshot.families)
    assert 'pg_log_deadlocks_total{database="d"' in page.replace('server="s",', "")
    assert ("db_slow_statements_total" in page) is on
    assert snapshot.state is (State.OK if on else State.FAILED)
    assert ("log_min_duration_statement" in (snapshot.fix or "")) is not on


def test_a_log_that_is_not_there_counts_nothing(tmp_path: Path) -> None:
    file, state = tmp_path / "slow.log", mysql_reader()
    run = context(tmp_path, file=str(file))
    rows = state.feed(MYSQL, run)
    assert rows.problem is not None
    assert str(file) in rows.problem.message
    assert not state.turn.log_counts
    assert by(list(rows.rows), "database", "slow").get("") is None
    assert by(list(rows.rows), "source", "threshold").get("log") is None
    # What is in it when it comes was counted by others.
    file.write_text(ENTRY.format(1, 1) * 2)
    assert wait_for(lambda: state.feed(MYSQL, run).problem is None and state.turn.log_counts, 10)
    state.feed(MYSQL, run)
    with file.open("a") as out:
        out.write(ENTRY.format(1, 1) * 3)
    assert wait_for(lambda: by(list(state.feed(MYSQL, run).rows), "database", "durations")["shop"][2] == 5, 10)
    assert by(list(state.feed(MYSQL, run).rows), "database", "slow")["shop"] == 3


@pytest.mark.parametrize("in_table", [False, True])
@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("min_examined_row_limit", "1000", "SET GLOBAL min_examined_row_limit = 0;"),
        ("log_slow_disabled_statements", "admin,call,sp", "SET GLOBAL log_slow_disabled_statements = 'sp';"),
        ("log_slow_filter", "full_scan,tmp_table", "SET GLOBAL log_slow_filter = DEFAULT;"),
        (
            "log_throttle_queries_not_using_indexes",
            "10",
            "SET GLOBAL log_throttle_queries_not_using_indexes = 0;",
        ),
        # What hides none.
        ("min_examined_row_limit", "0", None),
        ("log_throttle_queries_not_using_indexes", "0", None),
        ("log_slow_disabled_statements", "sp", None),
        ("log_slow_filter", "", None),
        ("log_slow_filter", "admin,full_join,query_cache,query_cache_miss,tmp_table", None),
    ],
)
def test_a_slow_log_that_leaves_some_out_does_not_count(
    tmp_path: Path, name: str, value: str, fix: str | None, in_table: bool
) -> None:
    settings = [*MYSQL.rows, ("log_queries_not_using_indexes", "ON"), (name, value)]
    if in_table:
        rows: list[tuple[Any, ...]] = [("setting", *row, *[None] * 6) for row in settings if row[0] != "log_output"]
        rows.append(("setting", "log_output", "TABLE", *[None] * 6))
        rows += [("count", "0", *[None] * 7), ("first", *[None] * 8)]
        columns = ("kind", "name", "value", "database", "seconds", "locked", "sent", "examined", "user")
        table, run = SlowLogTable(), context(tmp_path)
        table.ask("{counted} {offset} {most}", (), run)
        state: SlowLogTable | reader.LogReader = table
        shown = table.feed(Rows(columns, rows), run)
    else:
        (tmp_path / "slow.log").touch()
        state = mysql_reader()
        shown = state.feed(Rows(MYSQL.columns, settings), context(tmp_path, file=str(tmp_path / "slow.log")))
    assert state.turn.log_counts is (fix is None)
    assert by(list(shown.rows), "source", "threshold").get("log") == (1.0 if fix is None else None)
    assert (shown.problem.fix if shown.problem else None) == fix


@pytest.mark.parametrize("name", ["log_slow_always_query_time", "slow_query_log_always_write_time"])
def test_in_a_log_of_samples_what_is_always_written_stands_for_itself(tmp_path: Path, name: str) -> None:
    mariadb, percona = name.startswith("log"), name.startswith("slow")
    run = context(tmp_path)
    run = replace(run, facts=replace(run.facts, flavor="mariadb" if mariadb else "mysql"))
    taken = mysql_rules({**dict(MYSQL.rows), "log_slow_rate_limit": "100", name: "10.000000"}, run)
    # Percona Server says in the log itself how many it stands for.
    times = 100 if percona else 1
    tally = Tally("mysql")
    tally.add([Statement("d", f"select c{s}", s, times=times) for s in (12.0, 10.0, 9.9)], taken)
    assert by(list(tally.by_database(taken)), "database", "slow")["d"] == 102
    assert sorted(by(list(tally.by_statement()), "fingerprint", "executions").values()) == [1, 1, 100]


@pytest.mark.parametrize(("level", "fix"), [("log", None), ("fatal", "warning"), ("panic", "warning")])
def test_a_log_for_which_slow_statements_are_not_important_enough_does_not_count(
    tmp_path: Path, level: str, fix: str | None
) -> None:
    given = {"log_min_duration_statement": "2000", "log_min_messages": level}
    taken = postgres_rules(Told(given, frozenset({"a"}), {}, ()), context(tmp_path, "postgres"))
    assert taken.threshold == (2.0 if fix is None else None)
    said = taken.untold.fix if taken.untold is not None else None
    assert said == (None if fix is None else f"ALTER SYSTEM SET log_min_messages = '{fix}'; SELECT pg_reload_conf();")


MINIMUM = "log_min_duration_statement"


@pytest.mark.parametrize("over_sql", [False, True])
@pytest.mark.parametrize(
    ("settings", "item", "hides"),
    [
        ({}, f"{MINIMUM}=-1", True),
        ({}, f"{MINIMUM}=1min", True),
        ({}, f"{MINIMUM}=2001", True),
        ({}, f"{MINIMUM}=2 s", False),
        ({}, f"{MINIMUM}=100ms", False),
        ({}, "log_min_messages=panic", True),
        ({}, "log_min_messages=error", False),
        # What doesn't matter.
        ({}, "log_duration=off", False),
        ({}, "auto_explain.log_min_duration=-1", False),
        ({"log_duration": "on"}, f"{MINIMUM}=-1", False),
        ({MINIMUM: "-1", "log_duration": "on"}, "log_duration=fal", True),
        ({MINIMUM: "-1", "log_duration": "on"}, "log_duration=Tr", False),
        ({MINIMUM: "-1", "log_duration": "on"}, f"{MINIMUM}=-1", False),
        ({MINIMUM: "-1"}, "auto_explain.log_min_duration=5s", True),
        ({MINIMUM: "-1"}, "auto_explain.sample_rate=0.5", True),
        ({MINIMUM: "-1"}, "auto_explain.sample_rate=1", False),
    ],
)
def test_a_role_or_database_whose_slow_statements_are_not_logged(
    tmp_path: Path, settings: dict[str, str], item: str, hides: bool, over_sql: bool
) -> None:
    given = {
        MINIMUM: "2000", "log_line_prefix": "%p ", "logging_collector": "on", "log_destination": "stderr",
        "auto_explain.log_min_duration": "1000",
    } | settings  # fmt: skip
    whose = 'ALTER ROLE batch IN DATABASE "an app"'
    found = [("setting", name, value) for name, value in given.items()] + [("theirs", item, whose)]
    more = (None, None) if over_sql else ()
    rows = Rows(("kind", "name", "value", "number", "written")[: 3 + len(more)], [(*row, *more) for row in found])
    state = LogOverSQL() if over_sql else postgres_reader()
    (tmp_path / "x.log").touch()
    shown = state.feed(rows, context(tmp_path, "postgres", file=None if over_sql else str(tmp_path / "x.log")))
    assert state.turn.log_counts is not hides
    assert (shown.problem is not None) is hides
    if shown.problem is not None:
        assert f'ROLE batch IN DATABASE "an app": {item}' in shown.problem.message
        assert shown.problem.fix == f"{whose} RESET {item.partition('=')[0]};"


@pytest.mark.parametrize("output", ["NONE", "TABLE"])
@pytest.mark.parametrize("file", [None, "slow.log"])
def test_a_server_that_writes_no_slow_log_is_a_failure(tmp_path: Path, output: str, file: str | None) -> None:
    settings = [("log_output", output) if name == "log_output" else (name, value) for name, value in MYSQL.rows]
    with pytest.raises(Failure) as raised:
        mysql_reader().feed(Rows(MYSQL.columns, settings), context(tmp_path, file=file))
    assert raised.value.message == f"log_output = {output}: the slow log is in no file"


def test_a_value_in_sql_is_a_literal() -> None:
    assert filled("a {x} {y}", {"x": "it's", "y": 5}) == "a 'it''s' 5"
    for odd in ("a\\", "a\nb"):
        with pytest.raises(ValueError, match="literal"):
            filled("{x}", {"x": odd})
