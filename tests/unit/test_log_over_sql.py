"""Logs over SQL: what was added counts once, through rotation, restarts, and when another server answers."""

from __future__ import annotations

import base64
import errno
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from exporter.config.model import ServerConfig, SlowLogSettings
from exporter.declare import Context, Rows
from exporter.facts import Facts, Identity, Role
from exporter.subjects.logs.measures import COLUMNS
from exporter.subjects.logs.positions import PositionFile
from exporter.subjects.logs.postgres_over_sql import MOST_BYTES, LogOverSQL
from exporter.subjects.logs.tally import Rules
from tests.providers.base import wait_for

SETTINGS = {
    "logging_collector": "on",
    "log_destination": "stderr",
    "log_min_duration_statement": "0",
    "log_line_prefix": "%p ",
}
FACTS = Facts("postgres", "postgres", (18, 0), "18.0", Identity("1", 0.0, Role.PRIMARY))


class Server:
    """A server's log files, and what reads them over SQL."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, tuple[bytes, int]] = {}
        self.clock = 1000
        self.state = LogOverSQL()
        # What was shown of slow statements, each time that something was.
        self.slow: list[int] = []
        # What is added to files between a run's look at their sizes and its reading of them.
        self.meanwhile: dict[str, tuple[int, ...]] = {}
        # Bytes that one run reads at most, and those that all have read.
        self.most = MOST_BYTES
        self.given = 0
        # What the last run said of bytes that are not read yet.
        self.behind = 0
        # What the last run said went wrong.
        self.problem = ""

    def write(self, name: str, *seconds: int) -> None:
        """Entries of slow statements, by how long they took."""
        self.clock += 1
        text = b"".join(
            b"%d LOG:  duration: %d000.000 ms  statement: select 1\n" % (self.clock, number) for number in seconds
        )
        self.files[name] = (self.files.get(name, (b"", 0))[0] + text, self.clock)

    def overwrite(self, name: str, *seconds: int) -> None:
        """The same name for a file that begins anew."""
        self.files[name] = (b"", 0)
        self.write(name, *seconds)

    def rename(self, old: str, new: str) -> None:
        """The same file, which whoever has it open writes on."""
        self.files[new] = self.files.pop(old)

    def copy(self, old: str, new: str) -> None:
        """Another file with the same in it."""
        self.clock += 1
        self.files[new] = (self.files[old][0], self.clock)

    def restart_exporter(self) -> None:
        self.state = LogOverSQL()

    def read(self, turns: int = 4) -> float:
        """The seconds that have been counted."""
        server = ServerConfig(
            name="s", engine="postgres", host="h", port=1, slow_log=SlowLogSettings(), state_dir=str(self.folder)
        )
        context = Context(server, FACTS, time.monotonic())
        for _ in range(turns):
            sql = self.state.ask("{file}|{offset}|{heads}", (), context)
            assert sql is not None
            name, offset, heads = sql.replace("'", "").split("|")
            start = int(offset)
            rows = [("setting", *item, None, None) for item in SETTINGS.items()]
            rows += [("file", key, None, len(text), at) for key, (text, at) in self.files.items()]
            for key, seconds in self.meanwhile.items():
                self.write(key, *seconds)
            self.meanwhile = {}
            for other in filter(None, heads.split("/")):
                head = base64.b64encode(self.files[other][0][:1024]).decode() if other in self.files else None
                rows.append(("head", other, head, None, None))
            if name:
                read = self.files[name][0][start:][: self.most] if name in self.files else None
                self.given += len(read or b"")
                piece = base64.b64encode(read).decode() if read is not None else None
                rows.append(("bytes", name, piece, start, None))
            found = self.state.feed(Rows(("kind", "name", "value", "number", "written"), rows), context)
            assert wait_for(lambda: not self.state.busy, 30)
        self.problem = found.problem.message if found.problem is not None else ""
        [self.behind] = [row[-1] for row in found.rows if row[-1] is not None]
        places = [COLUMNS.index(column) for column in ("database", "durations")]
        [slow] = [row[COLUMNS.index("slow")] for row in found.rows if row[COLUMNS.index("durations")]]
        self.slow += [slow] * (slow is not None and slow not in self.slow)
        told = {database: at for database, at in ([row[place] for place in places] for row in found.rows) if at}
        return float(told[""][1])


@pytest.fixture
def logged(tmp_path: Path) -> Server:
    logged = Server(tmp_path)
    logged.write("older.log", 1000)
    logged.write("a.log", 2000)
    assert logged.read() == 0, "it begins at the end"
    return logged


def test_what_is_added_counts_once_through_rotation(logged: Server) -> None:
    logged.write("a.log", 1)
    assert logged.read() == 1
    logged.write("a.log", 2)
    logged.write("b.log", 4)
    logged.write("c.log", 8)
    assert logged.read(8) == 15
    assert logged.read() == 15


def test_a_file_that_is_gone_is_followed_by_what_is_newer(logged: Server) -> None:
    logged.write("a.log", 1)
    assert logged.read() == 1
    del logged.files["a.log"]
    assert logged.read() == 1, "what is older was there before"
    logged.write("older.log", 2)
    assert logged.read() == 3
    del logged.files["older.log"]
    logged.write("b.log", 4)
    logged.write("c.log", 8)
    assert logged.read(8) == 15


@pytest.mark.parametrize("name", ["a.log.1", "a-20261129.log", "z.log", "a.log-20261129"])
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 4])
def test_a_file_is_read_to_its_end_after_it_was_renamed(logged: Server, name: str, restart: bool, turns: int) -> None:
    logged.write("a.log", 1)
    assert logged.read() == 1
    logged.rename("a.log", name)
    # Until the server opens another one; we may have looked meanwhile.
    logged.write(name, 2)
    before = logged.read(turns) if turns else 1
    assert before == (3 if turns == 4 else 1)
    logged.write(name, 4)
    if restart:
        logged.restart_exporter()
    logged.write("a.log", 8)
    assert logged.read(8) == 15 - (before if restart else 0)
    logged.write("a.log", 16)
    assert logged.read(8) == 31 - (before if restart else 0)
    # What was renamed is renamed once more.
    logged.rename(name, "older.log")
    logged.rename("a.log", name)
    logged.write(name, 32)
    logged.write("a.log", 64)
    assert logged.read(12) == 127 - (before if restart else 0)
    assert logged.read(4) == 127 - (before if restart else 0)
    assert logged.behind == 0


def test_what_was_written_before_a_file_was_copied_and_emptied_is_read(logged: Server) -> None:
    logged.write("a.log", 1)
    assert logged.read() == 1
    logged.write("a.log", 2)
    logged.files["a.log.1"] = logged.files["a.log"]
    logged.overwrite("a.log", 4)
    assert logged.read(8) == 7
    assert logged.read(8) == 7


# More than what tells two files apart, and less.
@pytest.mark.parametrize("entries", [40, 4])
@pytest.mark.parametrize("copy", ["a2.log", "z.log"])
def test_a_copy_beside_the_log_counts_once(logged: Server, entries: int, copy: str) -> None:
    logged.write("b.log", *[1] * entries)
    assert logged.read(8) == entries
    logged.copy("b.log", copy)
    assert logged.read(8) == entries
    assert logged.behind == 0
    logged.write("b.log", 100)
    assert logged.read(8) == entries + 100
    logged.copy("b.log", "c.log")
    del logged.files["b.log"]
    assert logged.read(8) == entries + 100
    logged.write("c.log", 200)
    logged.write("d.log", 400)
    assert logged.read(8) == entries + 700
    assert logged.behind == 0


@pytest.mark.parametrize("entries", [40, 4])
def test_what_a_copy_has_that_was_read_in_no_other_counts_once(logged: Server, entries: int) -> None:
    logged.write("b.log", *[1] * entries)
    assert logged.read(8) == entries
    for number in range(4):
        logged.write("b.log", 100)
        logged.copy("b.log", f"b-{number}.log")
        logged.overwrite("b.log", *[1] * entries)
        assert logged.read(12) == entries + (number + 1) * (100 + entries)
        assert logged.behind == 0


def test_copies_that_are_renamed_at_each_rotation_count_once(logged: Server) -> None:
    logged.write("b.log", *[1] * 40)
    assert logged.read(8) == 40
    for number in range(1, 5):
        logged.write("b.log", 100)
        for old in range(number, 1, -1):
            logged.rename(f"b.{old - 1}.log", f"b.{old}.log")
        logged.copy("b.log", "b.1.log")
        logged.overwrite("b.log", *[1] * 40)
        assert logged.read(20) == 40 + number * 140
        assert logged.behind == 0


def test_a_copy_of_what_is_not_read_yet_counts_once(logged: Server) -> None:
    logged.most = 1000
    logged.write("b.log", *[1] * 200)
    logged.read(4)
    logged.copy("b.log", "c.log")
    assert logged.read(2) < 100
    # As who copies a large file does.
    text, at = logged.files["c.log"]
    logged.files["c.log"] = (text[:1500], at)
    assert logged.read(4) < 200
    logged.files["c.log"] = (text, at)
    assert logged.read(40) == 200
    assert logged.behind == 0


@pytest.mark.parametrize("name", ["b.log", "c.log"])
def test_a_name_of_what_was_copied_that_is_used_again_is_read(logged: Server, name: str) -> None:
    logged.write("b.log", *[1] * 60)
    assert logged.read(8) == 60
    logged.copy("b.log", "c.log")
    logged.write("d.log", 100)
    assert logged.read(8) == 160
    # It is shorter than what was copied.
    logged.overwrite(name, *[1] * 30)
    assert logged.read(8) == 190
    assert logged.behind == 0


def test_copies_of_many_files_count_once(logged: Server) -> None:
    for number in range(50):
        logged.write(f"b{number}.log", 1)
    assert logged.read(120) == 50
    for number in range(50):
        logged.copy(f"b{number}.log", f"c{number}.log")
    assert logged.read(20) == 50
    assert logged.behind == 0


def test_a_copy_that_was_made_while_the_exporter_was_away_counts_once(logged: Server) -> None:
    logged.write("b.log", *[1] * 40)
    assert logged.read(8) == 40
    logged.restart_exporter()
    logged.copy("b.log", "c.log")
    logged.write("c.log", 100)
    assert logged.read(8) == 100


def test_a_run_that_began_while_another_was_counting_looks_at_nothing(
    logged: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged.write("a.log", 1)
    assert logged.read() == 1
    logged.write("a.log", 2)
    logged.copy("a.log", "a.log.1")
    logged.overwrite("a.log", 4)
    # Now it wants to know whether the copy is our file.
    logged.read(1)
    with monkeypatch.context() as patch:
        first = iter([True])
        patch.setattr(LogOverSQL, "busy", property(lambda _: next(first, False)))
        logged.read(1)
    assert logged.read(8) == 7


def test_a_file_that_has_its_name_again_goes_on(logged: Server) -> None:
    logged.write("a.log", 1)
    assert logged.read() == 1
    logged.rename("a.log", "b.log")
    logged.read(1)
    logged.rename("b.log", "a.log")
    logged.write("a.log", 2)
    assert logged.read(8) == 3


def test_what_is_left_is_that_of_all_files(logged: Server) -> None:
    logged.most = 1000
    logged.write("a.log", 1)
    assert logged.read(3) == 1
    before = sum(len(text) for text, _ in logged.files.values())
    given = logged.given
    for name in ("a.log", "b.log", "c.log"):
        logged.write(name, *[1] * 30)
    added = sum(len(text) for text, _ in logged.files.values()) - before
    seen = set()
    while logged.read(1) < 1 + 90 or logged.behind:
        assert logged.behind == added - (logged.given - given)
        seen.add(logged.behind)
    assert len(seen) > 4
    # A file that was read before, and is written on after others were.
    logged.write("b.log", 1)
    logged.read(1)
    assert 0 < logged.behind == len(b"1000 LOG:  duration: 1000.000 ms  statement: select 1\n")


def test_what_is_written_while_we_look_counts_once(logged: Server) -> None:
    for seconds in (1, 2, 4):
        logged.meanwhile = {"a.log": (seconds,)}
        logged.read(1)
    assert logged.read() == 7


def test_the_log_has_its_turn_back_when_all_is_read_that_others_counted(logged: Server) -> None:
    logged.most = 1000
    logged.state.turn.silent()
    logged.slow.clear()
    logged.write("a.log", *[1] * 60)
    logged.write("b.log", *[1] * 60)
    while logged.read(1) < 120:
        assert not logged.state.turn.log_counts
    logged.read()
    assert logged.state.turn.log_counts
    assert logged.slow == [0]


def test_a_file_is_not_followed_to_a_name_of_another_format(logged: Server) -> None:
    logged.write("a.log", 1)
    assert logged.read() == 1
    logged.rename("a.log", "a.csv")
    logged.write("a.csv", 2)
    logged.write("b.log", 4)
    assert logged.read(8) == 5


def test_a_truncated_file_is_read_anew(logged: Server) -> None:
    logged.write("a.log", 1, 2)
    assert logged.read() == 3
    logged.files["a.log"] = (b"", 0)
    logged.write("a.log", 4)
    assert logged.read() == 7


def test_a_name_that_is_used_again_counts_what_is_new_in_it(logged: Server) -> None:
    logged.write("b.log", 1)
    assert logged.read(8) == 1
    logged.write("a.log", 2)
    assert logged.read(8) == 3
    logged.write("older.log", 4)
    assert logged.read(8) == 7
    logged.write("b.log", 8)
    assert logged.read(8) == 15
    # As log_truncate_on_rotation does it.
    logged.files["a.log"] = (b"", 0)
    logged.write("a.log", 16)
    assert logged.read(8) == 31


def test_a_restart_goes_on_where_it_left_off(logged: Server) -> None:
    logged.write("a.log", 1)
    assert logged.read() == 1
    logged.write("a.log", 2)
    logged.write("b.log", 4)
    logged.restart_exporter()
    assert logged.read(8) == 6
    logged.write("older.log", 8)
    assert logged.read(8) == 14


def test_a_restart_after_which_the_file_is_gone(logged: Server) -> None:
    logged.write("a.log", 1)
    assert logged.read() == 1
    del logged.files["a.log"]
    logged.write("b.log", 2)
    logged.restart_exporter()
    assert logged.read(8) == 2


@pytest.mark.parametrize("same_names", [False, True])
def test_another_server_s_log_is_read_from_its_end(logged: Server, same_names: bool) -> None:
    logged.write("a.log", 1)
    assert logged.read() == 1
    logged.files.clear()
    for name in ("a.log", "b.log") if same_names else ("x.log", "y.log"):
        logged.write(name, 1000, 1000)
    logged.state.rebase()
    assert logged.read(8) == 1
    logged.write(next(reversed(logged.files)), 2)
    assert logged.read(8) == 3


def test_what_was_written_while_others_counted_is_not_counted(logged: Server) -> None:
    logged.state.turn.silent()
    logged.write("a.log", 1)
    logged.write("b.log", 2)
    logged.write("b.log", 4)
    logged.slow.clear()
    assert logged.read() == 7, "the histogram has all that is in the log"
    assert logged.slow == [0]
    logged.write("b.log", 8)
    assert logged.read() == 15
    assert logged.slow[-1] == 1


def test_a_file_that_was_overwritten_in_place_is_read_anew(logged: Server) -> None:
    logged.write("a.log", 1, 2)
    assert logged.read() == 3
    # By the time we look again it is longer than what we had read of it.
    logged.overwrite("a.log", 4, 8, 16, *[32] * 100)
    assert logged.read(8) == 3 + 4 + 8 + 16 + 3200
    logged.write("a.log", 64)
    assert logged.read() == 3 + 4 + 8 + 16 + 3200 + 64


def test_a_file_that_was_overwritten_while_others_were_written_is_read_anew(logged: Server) -> None:
    logged.write("a.log", 1)
    assert logged.read() == 1
    logged.write("b.log", 2)
    assert logged.read(8) == 3
    # One that we have read to its end, and one that was there before we came.
    logged.overwrite("a.log", 4, *[8] * 100)
    assert logged.read(8) == 3 + 804
    logged.overwrite("older.log", 16, *[32] * 100)
    assert logged.read(8) == 3 + 804 + 3216
    assert logged.read(8) == 3 + 804 + 3216


def test_a_file_that_was_overwritten_while_the_exporter_was_away_is_read_anew(logged: Server) -> None:
    logged.write("a.log", 1)
    assert logged.read() == 1
    logged.restart_exporter()
    logged.write("a.log", 2)
    assert logged.read(8) == 2, "the same file goes on"
    logged.overwrite("a.log", 4, *[8] * 100)
    logged.restart_exporter()
    assert logged.read(8) == 804


def test_a_position_that_can_not_be_kept_keeps_nothing_from_being_read(
    logged: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name, seconds in (("a.log", 1), ("b.log", 2), ("c.log", 4)):
        logged.write(name, seconds)
    with monkeypatch.context() as patch:
        patch.setattr(PositionFile, "write", full)
        for _ in range(8):
            logged.read(1)
        assert os.strerror(errno.ENOSPC) in logged.problem
    assert logged.read(1) == 1 + 2 + 4


class KilledError(Exception):
    """The process is gone."""


def test_who_is_killed_while_it_counts_counts_nothing_twice(logged: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    logged.write("a.log", 1)
    assert logged.read() == 1
    logged.write("a.log", 2, 3)
    add = logged.state.tally.add
    seen: list[float] = []

    def count_and_die(events: Iterable[Any], rules: Rules) -> None:
        some = list(events)
        add(some, rules)
        seen.extend(event.seconds for event in some)
        if some:
            raise KilledError

    monkeypatch.setattr(logged.state.tally, "add", count_and_die)
    with pytest.raises(KilledError):
        logged.read()
    logged.restart_exporter()
    logged.write("a.log", 4)
    assert seen
    assert sum(seen) + logged.read() == 2 + 3 + 4
