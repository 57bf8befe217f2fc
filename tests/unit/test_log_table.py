"""The slow log in MySQL's table: each row counts once, through restarts, and when another server answers."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.config.model import ServerConfig, SlowLogSettings
from exporter.declare import Context, Rows
from exporter.engines.deadline import MORE_THREADS
from exporter.facts import Facts, Identity, Role
from exporter.failure import Failure
from exporter.subjects.logs.measures import COLUMNS
from exporter.subjects.logs.mysql_table import MOST_ROWS, SlowLogTable
from exporter.subjects.logs.positions import Position, PositionFile
from exporter.subjects.logs.tally import Rules
from tests.providers.base import wait_for

SETTINGS = {"log_output": "TABLE", "slow_query_log": "ON", "long_query_time": "0"}
FACTS = Facts("mysql", "mysql", (9, 7), "9.7", Identity("a uuid", 0.0, Role.PRIMARY))


class Table:
    """A server's table, and what reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[tuple[str, int]] = []
        self.clock = 0
        self.user = "root[root] @ h []"
        self.facts = FACTS
        self.state = SlowLogTable()

    def add(self, *seconds: int) -> None:
        for number in seconds:
            self.clock += 1
            self.rows.append((f"{self.clock} 1", number))

    def restart_exporter(self) -> None:
        self.state = SlowLogTable()

    def read(self, turns: int = 3) -> float:
        """The seconds that have been counted."""
        for _ in range(turns):
            asked = self.ask()
            # Each would read the whole table.
            assert asked[0] + bool(asked[2]) == 1
            found = self.feed(asked)
            assert wait_for(lambda: not self.state.busy, 30)
        return float(told[1]) if (told := of_d(found, "durations")) else 0.0

    def ask(self) -> list[int]:
        """What a run asks for: whether the rows are counted, how many are left out, and how many wanted."""
        asked = self.state.ask("{counted} {offset} {most}", (), self.context())
        assert asked is not None
        return [int(part) for part in asked.split()]

    def feed(self, asked: list[int]) -> Rows:
        """Give a run what it asked for."""
        counted, offset, most = asked
        rows = [("setting", *item, *[None] * 6) for item in SETTINGS.items()]
        rows.append(("count", len(self.rows) if counted else 0, *[None] * 7))
        rows.append(("first", None, self.rows[0][0] if self.rows else None, *[None] * 6))
        rows += [
            ("entry", None, "select 1", "d", f"00:00:{number}", "00:00:00", 0, 0, self.user)
            for _, number in self.rows[offset:][:most]
        ]
        names = ("kind", "name", "value", "database", "seconds", "locked", "sent", "examined", "user")
        return self.state.feed(Rows(names, rows), self.context())

    def context(self) -> Context:
        """Of a run now."""
        server = ServerConfig(
            name="s", engine="mysql", host="h", port=1, slow_log=SlowLogSettings(), state_dir=str(self.folder)
        )
        return Context(server, self.facts, time.monotonic())


def of_d(rows: Rows, column: str) -> Any:
    """What is told of the database of all rows."""
    database, value = COLUMNS.index("database"), COLUMNS.index(column)
    return next((row[value] for row in rows.rows if row[database] == "d" and row[value] is not None), None)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    table = Table(tmp_path)
    table.add(50, 50)
    assert table.read() == 0, "it begins at the end"
    table.add(1)
    assert table.read() == 1
    return table


def test_an_emptied_table_is_read_anew(table: Table) -> None:
    table.rows.clear()
    table.add(2)
    assert table.read() == 3
    # As RENAME TABLE does it: another table, with more rows.
    table.rows.clear()
    table.add(4, 8, 16)
    assert table.read() == 31


@pytest.mark.parametrize("emptied", [False, True])
def test_a_restart_goes_on_where_it_left_off(table: Table, emptied: bool) -> None:
    if emptied:
        table.rows.clear()
    table.add(2, 4)
    table.restart_exporter()
    assert table.read() == 6


def test_after_a_restart_another_server_s_table_is_read_from_its_end(table: Table) -> None:
    table.facts = replace(FACTS, identity=Identity("another uuid", 0.0, Role.PRIMARY))
    table.add(2)
    table.restart_exporter()
    assert table.read() == 0
    table.add(4)
    assert table.read() == 4


def test_a_restart_of_the_server_misses_nothing(table: Table) -> None:
    table.add(2)
    table.state.rebase()
    assert table.read() == 3


@pytest.mark.parametrize("rows", [1, 3, 9])
def test_another_server_s_table_is_read_from_its_end(table: Table, rows: int) -> None:
    table.rows.clear()
    table.add(*[50] * rows)
    table.state.rebase()
    assert table.read() == 1
    table.add(2)
    assert table.read() == 3
    # From now on it is ours.
    table.rows.clear()
    table.add(4)
    assert table.read() == 7


def test_a_run_that_asked_for_nothing_has_not_found_the_end(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    table.state.turn.silent()
    answers = threading.Event()
    write = PositionFile.write

    def slowly(kept: PositionFile, position: Position) -> None:
        assert answers.wait(10)
        write(kept, position)

    monkeypatch.setattr(PositionFile, "write", slowly)
    # Others count these while the log is read that fell silent.
    table.add(2)
    table.feed(table.ask())
    table.add(4, 8)
    asked = table.ask()
    assert not any(asked[::2])
    answers.set()
    assert wait_for(lambda: not table.state.busy, 30)
    table.feed(asked)
    assert not table.state.turn.log_counts
    assert table.read() == 1 + 2 + 4 + 8
    assert table.state.turn.log_counts
    table.add(16)
    assert table.read() == 1 + 2 + 4 + 8 + 16
    # Slow statements of the log are the one before it fell silent and the last one.
    assert of_d(table.feed(table.ask()), "slow") == 2


def test_where_no_thread_can_be_had_the_same_rows_are_read_again(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    table.add(2, 4)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(Failure) as raised:
            table.read()
    assert raised.value.fix == MORE_THREADS
    assert table.read() == 7


def test_a_position_that_can_not_be_kept_loses_no_rows(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    table.add(*[2] * 900)
    with monkeypatch.context() as patch:
        patch.setattr(PositionFile, "write", full)
        table.read()
        problem = table.feed(table.ask()).problem
        assert problem is not None
        assert os.strerror(errno.ENOSPC) in problem.message
    assert wait_for(lambda: not table.state.busy, 30)
    assert table.read() == 1 + 1800


def test_the_log_has_its_turn_back_when_all_is_read_that_others_counted(table: Table) -> None:
    table.state.turn.silent()
    table.add(*[2] * (MOST_ROWS + 1))
    table.read(1)
    assert not table.state.turn.log_counts
    assert table.read() == 1 + 2 * (MOST_ROWS + 1)
    assert table.state.turn.log_counts
    assert of_d(table.feed(table.ask()), "slow") == 1, "what others counted is theirs"


@pytest.mark.parametrize("user", ["system user[] @  []", "[SQL_SLAVE] @ []", "SQL_SLAVE[SQL_SLAVE] @  []"])
def test_what_an_applier_did_is_no_statement_of_a_client(table: Table, user: str) -> None:
    table.user = user
    table.add(2)
    assert table.read(1) == 1
    table.read()
    table.user = "root[root] @ h []"
    table.add(4)
    assert table.read() == 1 + 4


class KilledError(Exception):
    """The process is gone."""


def test_who_is_killed_while_it_counts_counts_nothing_twice(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    table.add(2, 3)
    add = table.state.tally.add
    seen: list[float] = []

    def count_and_die(events: Iterable[Any], rules: Rules) -> None:
        some = list(events)
        add(some, rules)
        seen.extend(event.seconds for event in some)
        if some:
            raise KilledError

    monkeypatch.setattr(table.state.tally, "add", count_and_die)
    with pytest.raises(KilledError):
        table.read()
    table.restart_exporter()
    table.add(4)
    assert seen
    assert sum(seen) + table.read() == 2 + 3 + 4
