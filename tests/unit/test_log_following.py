"""Logs are followed through rotation of every kind and through restarts: each entry counts once."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from exporter.subjects.logs import follow, places
from exporter.subjects.logs.events import Event, Statement
from exporter.subjects.logs.files import Files, OpenFile
from exporter.subjects.logs.follow import Follower
from exporter.subjects.logs.mysql_slow import SlowLog
from exporter.subjects.logs.places import Place, Places
from exporter.subjects.logs.positions import PositionFile
from exporter.subjects.logs.postgres_stderr import StderrLog

MOST = 100_000_000


class Log:
    """A log that somebody writes, and a follower of it."""

    def __init__(self, folder: Path, where: Path) -> None:
        self.folder = folder
        self.where = where
        self.path = folder / "slow.log"
        self.state = folder / "state"
        self.state.mkdir()
        self.written = 0
        self.follower = self.begin()

    def begin(self) -> Follower:
        return Follower(Files(str(self.where)), lambda: StderrLog("%p "), PositionFile(self.state, "a server"))

    def restart(self) -> None:
        """Another process goes on."""
        self.follower.close()
        self.follower = self.begin()

    def write(self, entries: int = 1, path: Path | None = None, rest: str = "") -> None:
        path = path or self.path
        before = path.stat().st_mtime_ns if path.exists() else 0
        with path.open("a") as file:
            for _ in range(entries):
                self.written += 1
                file.write(f"1 LOG:  duration: {self.written}.000 ms  statement: select\n\t{'1, ' * 20}2\n")
            file.write(rest)
        # Files written in one tick of the kernel's clock are told apart here as a busy server's are not.
        later = max([before, *(other.stat().st_mtime_ns for other in self.folder.rglob("*log*"))]) + 1
        os.utime(path, ns=(later, later))

    def read(self, most: int = MOST, turns: int = 2) -> list[int]:
        """The numbers of the entries that some turns find; the second one ends the last entry of each file."""
        found: list[int] = []
        for _ in range(turns):
            for events in self.follower.turn(most, 10.0):
                found += [round(event.seconds * 1000) for event in events if isinstance(event, Statement)]
        return sorted(found)


@pytest.fixture(params=["name", "directory", "glob"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    where = {"name": tmp_path / "slow.log", "directory": tmp_path, "glob": tmp_path / "slow*log*"}[request.param]
    made = Log(tmp_path, where)
    yield made
    made.follower.close()


def test_the_first_turn_begins_at_the_end(log: Log) -> None:
    log.write(3)
    assert log.read() == []
    log.write(2)
    assert log.read() == [4, 5]
    assert log.follower.not_understood == 0
    assert log.follower.behind == 0


def test_a_line_that_is_being_written_at_the_first_turn_is_read_whole(log: Log) -> None:
    log.write(1, rest="1 LOG:  duration: 77.0")
    assert log.read() == []
    log.write(0, rest="00 ms  statement: select 1\n")
    assert log.read() == [77]


def test_a_file_that_comes_later_is_read_from_its_beginning(log: Log) -> None:
    assert log.read() == []
    log.write(2)
    assert log.read() == [1, 2]


def test_what_was_written_before_there_was_a_file_to_read_is_history(log: Log) -> None:
    """A file system that is mounted after the exporter has begun."""
    assert log.read() == []
    log.write(2)
    os.utime(log.path, (1_000_000_000, 1_000_000_000))
    assert log.read() == []
    log.write(1)
    assert log.read() == [3]


def move(log: Log) -> None:
    log.path.rename(log.folder / "slow.log.1")


def truncate(log: Log) -> None:
    shutil.copy2(log.path, log.folder / ".copy")
    os.truncate(log.path, 0)


def another_name(log: Log) -> None:
    log.path = log.folder / "slow-2.log"


ROTATIONS = [move, truncate, another_name]


@pytest.mark.parametrize("rotate", ROTATIONS)
@pytest.mark.parametrize("restart", [False, True])
def test_rotation(log: Log, rotate: Callable[[Log], None], restart: bool) -> None:
    if rotate is another_name and log.where.name == "slow.log":
        pytest.skip("one name is one name")
    log.write(3)
    assert log.read() == []
    log.write(2)
    # Truncation loses what was not read, which is nothing here; with the others the rest is read in the next turn.
    before = log.read() if rotate is truncate else []
    rotate(log)
    if restart:
        log.read()
        log.restart()
    log.write(2)
    if restart and rotate is not truncate:
        assert log.read() == [6, 7]
        return
    assert [*before, *log.read()] == [4, 5, 6, 7]
    log.write(1)
    assert log.read() == [8]
    assert log.read() == []
    assert log.follower.not_understood == 0


def test_a_file_that_was_overwritten_and_grew_beyond_is_another_one(log: Log) -> None:
    log.write(3)
    assert log.read() == []
    log.write(1)
    assert log.read() == [4]
    os.truncate(log.path, 0)
    log.write(9)
    assert log.read() == list(range(5, 14))


def test_a_renamed_file_is_read_to_its_end_while_the_server_still_writes_it(log: Log) -> None:
    log.write(1)
    assert log.read() == []
    move(log)
    log.path.touch()
    log.write(1, log.folder / "slow.log.1")
    assert log.read() == [2]
    log.write(1)
    assert log.read() == [3]
    log.write(1)
    assert log.read() == [4]


@pytest.mark.parametrize("turns_before", [1, 2])
def test_a_copy_that_is_seen_before_the_file_is_truncated(log: Log, turns_before: int) -> None:
    log.read()
    log.write(40)
    assert log.read() == list(range(1, 41))
    # As copytruncate of logrotate does it, which may take a while.
    text, copy = log.path.read_bytes(), log.folder / "slow.log.1"
    for length in (len(text) // 2, len(text)):
        copy.write_bytes(text[:length])
        log.write(0, path=copy)
        assert log.read(turns=turns_before) == []
    log.write(1)
    assert log.read() == [41]
    os.truncate(log.path, 0)
    log.write(2)
    assert log.read() == [42, 43]
    log.write(1)
    assert log.read() == [44]
    log.write(1, path=log.folder / "slow.log.2")
    assert log.read() == ([] if log.where == log.path else [45])


def test_a_copy_and_a_truncation_in_one_tick_of_the_clock(log: Log) -> None:
    log.read()
    log.write(40)
    assert log.read() == list(range(1, 41))
    log.write(1)
    copy = log.folder / "slow.log.1"
    shutil.copy2(log.path, copy)
    os.truncate(log.path, 0)
    os.utime(log.path, ns=(copy.stat().st_mtime_ns,) * 2)
    # The copy comes after the file it is of, as far as anybody can tell, and has one more than was read of that.
    assert log.read(turns=3) == ([] if log.where == log.path else [41])
    log.write(2)
    assert log.read() == [42, 43]
    log.write(1)
    assert log.read() == [44]


def test_several_rotations_between_two_turns(tmp_path: Path) -> None:
    log = Log(tmp_path, tmp_path / "slow*log*")
    log.write(1)
    assert log.read() == []
    for number in range(2, 5):
        log.path = tmp_path / f"slow-{number}.log"
        log.write(2)
    assert log.read() == [2, 3, 4, 5, 6, 7]
    log.write(1)
    assert log.read() == [8]
    log.follower.close()


@pytest.mark.parametrize("stop_after", range(4))
def test_a_restart_goes_on_where_it_left_off(log: Log, stop_after: int) -> None:
    log.write(2)
    assert log.read() == []
    found = []
    for _ in range(5):
        log.write(3)
        found += log.read(turns=stop_after)
        log.restart()
    log.write(1)
    assert [*found, *log.read()] == list(range(3, 19))


@pytest.mark.parametrize("rotate", ROTATIONS)
def test_rotation_while_the_exporter_was_down(log: Log, rotate: Callable[[Log], None]) -> None:
    if rotate is another_name and log.where.name == "slow.log":
        pytest.skip("one name is one name")
    log.write(2)
    assert log.read() == []
    log.write(1)
    assert log.read() == [3]
    if rotate is not truncate:
        log.write(1)
    rotate(log)
    log.restart()
    log.write(2)
    assert log.read() == ([4, 5, 6] if rotate is not truncate else [4, 5])


def test_a_file_that_was_removed_while_the_exporter_was_down(log: Log) -> None:
    log.write(2)
    assert log.read() == []
    log.restart()
    # Number and name may be the same; it is another file all the same.
    log.path.unlink()
    log.write(2)
    assert log.read() == [3, 4]


def test_without_a_state_directory_the_end_is_the_beginning(tmp_path: Path) -> None:
    log = Log(tmp_path, tmp_path / "slow.log")
    log.write(2)
    for _ in range(2):
        follower = Follower(Files(str(log.where)), lambda: StderrLog("%p "), PositionFile(None, "s"))
        assert [event for events in follower.turn(MOST, 10.0) for event in events] == []
        follower.close()


def test_a_position_that_makes_no_sense_is_none(log: Log) -> None:
    log.write(2)
    assert log.read() == []
    [kept] = log.state.iterdir()
    for text in ("", "{", "{}", "[1]"):
        kept.write_text(text)
        log.restart()
        assert log.read() == []


def test_a_turn_is_bounded_and_says_how_far_behind_it_is(log: Log) -> None:
    log.write(1)
    assert log.read() == []
    before = log.path.stat().st_size
    log.write(100)
    added = log.path.stat().st_size - before
    assert log.read(most=1000, turns=1) == list(range(2, 10))
    assert log.follower.behind == added - 1000
    assert log.read(most=1000, turns=1)[:1] == [10]
    assert log.follower.behind == added - 2000
    # A piece is read, however little time there is.
    assert list(log.follower.turn(MOST, 0.0))
    assert log.read()[-1] == 101
    assert log.follower.behind == 0


def test_who_is_killed_while_it_counts_counts_nothing_twice(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write(1)
    assert log.read() == []
    log.write(100)
    monkeypatch.setattr(follow, "_PIECE_BYTES", 1000)
    seen: list[int] = []
    for events in log.follower.turn(MOST, 10.0):
        seen += [round(event.seconds * 1000) for event in events if isinstance(event, Statement)]
        if len(seen) > 20:
            break
    log.restart()
    assert seen + log.read() == list(range(2, 102))


@pytest.fixture(params=["directory", "glob"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    """A log in two files that are both being written, such as two servers write them; both have a history."""
    made = Log(tmp_path, {"directory": tmp_path, "glob": tmp_path / "slow*log*"}[request.param])
    made.write(30)
    made.write(30, made.folder / OTHER)
    yield made
    made.follower.close()


# By its name before the other one, by the time of its last entry after it, or before.
OTHER = "slow-2.log"


def write_both(log: Log) -> list[int]:
    """Entries of which some in either file are older than some in the other."""
    before, other = log.written, log.folder / OTHER
    for path in (other, log.path, other, log.path, log.path):
        log.write(1, path)
    return list(range(before + 1, log.written + 1))


def test_two_files_that_are_written_at_once(two: Log) -> None:
    assert two.read() == []
    assert two.follower.behind == 0
    for path in (two.path, two.folder / OTHER, two.folder / OTHER, two.path):
        two.write(1, path)
        assert two.read() == [two.written]
    for _ in range(3):
        written = write_both(two)
        assert two.read() == written
        assert two.read() == []
        assert two.follower.behind == 0
    assert two.follower.lines == 2 * (two.written - 60)
    assert two.follower.not_understood == 0


def test_an_entry_that_is_being_written_waits_while_another_file_is_read(two: Log) -> None:
    assert two.read() == []
    for path, other in ((two.path, two.folder / OTHER), (two.folder / OTHER, two.path)):
        two.write(0, path, rest="1 LOG:  dura")
        assert two.read() == []
        two.write(1, other)
        assert two.read() == [two.written]
        two.write(0, path, rest="tion: 7777.000 ms  statement: select 1\n")
        two.write(1, other)
        assert two.read() == [two.written, 7777]
    assert two.follower.not_understood == 0


def test_two_files_and_a_restart(two: Log) -> None:
    assert two.read() == []
    for _ in range(3):
        written = write_both(two)
        two.restart()
        assert two.read() == written
        two.restart()
        assert two.read() == []
        for path in (two.path, two.folder / OTHER):
            two.write(1, path)
            assert two.read(turns=1) == []
            two.restart()
            # It was not clear yet whether it goes on.
            assert two.read() == [two.written]
    assert two.follower.not_understood == 0
    two.follower.close()
    [kept] = two.state.iterdir()
    kept.unlink()
    write_both(two)
    two.restart()
    assert two.read() == []
    assert two.follower.behind == 0


def test_only_so_many_places_are_kept_and_older_files_are_history_all_the_same(
    two: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_OTHERS_KEPT", 20)
    for number in range(30):
        path = two.folder / f"slow.log.{number}"
        two.write(1, path)
        os.utime(path, ns=(10**18 + number,) * 2)
    write_both(two)
    assert two.read() == []
    written = write_both(two)
    assert two.read() == written
    written = write_both(two)
    two.restart()
    assert two.read() == written


def test_at_a_restart_files_without_a_place_may_have_been_read(two: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_OTHERS_KEPT", 20)
    assert two.read() == []
    paths = [two.folder / f"slow-{number}.log" for number in range(10, 40)]
    for path in paths:
        two.write(1, path)
    assert two.read() == list(range(61, 91))
    for path in paths:
        two.write(1, path)
    two.restart()
    # What was written meanwhile to those that were read last, and nothing twice.
    assert two.read() == list(range(100, 121))
    for path in paths:
        two.write(1, path)
    assert two.read() == list(range(121, 151))


@pytest.mark.parametrize("missing", [("whole",), ("whole", "others")])
def test_a_position_that_says_nothing_of_other_files_counts_none_of_them_again(
    two: Log, missing: tuple[str, ...]
) -> None:
    assert two.read() == []
    write_both(two)
    two.read()
    [kept] = two.state.iterdir()
    kept.write_text(
        json.dumps({name: value for name, value in json.loads(kept.read_text()).items() if name not in missing})
    )
    last = two.written + 1
    for path in (two.folder / OTHER, two.path):
        two.write(1, path)
    two.restart()
    found = two.read()
    assert last + 1 in found
    assert min(found) >= last


def test_a_turn_looks_at_the_files_a_few_times_however_many_have_grown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(tmp_path, tmp_path / "slow*log*")
    paths = [tmp_path / f"slow.log.{number}" for number in range(40)]
    for path in paths:
        path.touch()
    assert log.read() == []
    for path in paths:
        log.write(1, path)
    looks: list[int] = []
    keeps: list[int] = []
    look, write = Files.all, PositionFile.write
    monkeypatch.setattr(Files, "all", lambda *given: looks.append(1) or look(*given))
    monkeypatch.setattr(PositionFile, "write", lambda *given: keeps.append(1) or write(*given))
    assert log.read() == list(range(1, 41))
    assert len(looks) < 10
    assert len(keeps) < 10
    log.follower.close()


def test_a_file_system_that_is_mounted_late_has_a_history(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        away = Path(elsewhere)
        if away.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is one file system")
        mount = tmp_path / "mount"
        log = Log(tmp_path, mount / "slow.log")
        log.path = away / "slow.log"
        assert log.read() == []
        log.write(5)
        # A server writes it just now.
        os.utime(log.path)
        mount.symlink_to(away)
        assert log.read() == []
        log.write(1)
        assert log.read() == [6]
        mount.unlink()
        assert log.read() == []
        mount.symlink_to(away)
        log.write(1)
        assert log.read() == [7]
        # Another file of a file system that is known is new.
        log.path.rename(away / "slow.log.1")
        log.write(1)
        assert log.read() == [8]
        log.follower.close()


@pytest.mark.parametrize("broken", ["slow.log", OTHER])
def test_a_file_whose_reading_fails_keeps_no_other_from_being_read(
    two: Log, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """As on a network file system, where the file has gone while it was open."""
    assert two.read() == []
    read = OpenFile.read

    def fail(self: OpenFile, offset: int, most: int) -> bytes:
        if self.path == str(two.folder / broken):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return read(self, offset, most)

    monkeypatch.setattr(OpenFile, "read", fail)
    found: list[int] = []
    wanted = []
    for _ in range(3):
        two.write(1, two.folder / broken)
        two.write(1, next(path for path in (two.path, two.folder / OTHER) if path.name != broken))
        wanted.append(two.written)
        for _ in range(2):
            turn = two.follower.turn(MOST, 10.0)
            with pytest.raises(OSError, match=os.strerror(errno.ESTALE)):
                found.extend(round(e.seconds * 1000) for events in turn for e in events if isinstance(e, Statement))
    assert found == wanted
    monkeypatch.undo()
    assert two.read() == [number - 1 for number in wanted]


@pytest.mark.parametrize("failing", range(8))
def test_whichever_read_of_a_file_fails_nothing_of_it_is_lost(
    log: Log, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """A young file is read twice: what was added, and what it begins with."""
    assert log.read() == []
    read, reads = OpenFile.read, count()

    def fail(self: OpenFile, offset: int, most: int) -> bytes:
        if next(reads) == failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(self, offset, most)

    monkeypatch.setattr(OpenFile, "read", fail)
    before = len(list(Path("/proc/self/fd").iterdir()))
    log.write(2)
    found: list[int] = []
    for _ in range(4):
        with suppress(OSError):
            for events in log.follower.turn(MOST, 10.0):
                found += [round(event.seconds * 1000) for event in events if isinstance(event, Statement)]
    assert next(reads) > failing
    assert sorted(found) == [1, 2]
    log.follower.close()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_the_last_entry_of_a_file_that_is_removed_outlives_a_restart(two: Log) -> None:
    assert two.read() == []
    two.write(1, two.folder / OTHER)
    two.write(1, two.path)
    assert two.read(turns=1) == []
    (two.folder / OTHER).unlink()
    found = two.read(turns=1)
    two.restart()
    assert sorted(found + two.read()) == [61, 62]


def test_the_rest_of_a_copy_is_read_though_it_looks_as_old_as_its_file(two: Log) -> None:
    assert two.read() == []
    two.write(60)
    found = two.read(most=1500, turns=1)
    assert two.follower.behind
    copy = two.path.with_suffix(".log.1")
    shutil.copy2(two.path, copy)
    os.truncate(two.path, 0)
    os.utime(copy, ns=(10**18,) * 2)
    two.write(1)
    found += two.read(turns=3)
    assert sorted(found) == list(range(61, two.written + 1))


def test_logs_of_two_servers_that_begin_alike_are_two(tmp_path: Path) -> None:
    banner = (
        "/usr/sbin/mysqld, Version: 9.7.0 (MySQL Community Server - GPL). started with:\n"
        "Tcp port: 3306  Unix socket: /run/mysqld/mysqld.sock\nTime                 Id Command    Argument\n"
    )
    paths = [tmp_path / name for name in ("slow-1.log", "slow-2.log")]
    for path in paths:
        path.touch()
    follower = Follower(Files(str(tmp_path / "slow*")), SlowLog, PositionFile(tmp_path / "state", "s"))
    assert databases(follower) == []
    for second, path in enumerate(paths):
        entry = slow_entry("use shop;\n").replace("17:51:27.641751", f"17:51:27.64175{second}")
        path.write_text(banner + entry + slow_entry() * 20)
    assert databases(follower) == ["shop"] * 42
    for path in paths:
        with path.open("a") as file:
            file.write(slow_entry())
    assert databases(follower) == ["shop"] * 2
    follower.close()


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_each_entry_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Of all that can be read: each byte is in some file at some time when it is looked at, or in a copy of it."""
    chance = random.Random(seed)
    folder = tmp_path / "logs"
    folder.mkdir()
    monkeypatch.setattr(follow, "_PIECE_BYTES", chance.choice([65_536, 300, 117]))
    bound = chance.choice([MOST, 150, 400])
    log = Log(tmp_path, chance.choice([folder, folder / "*log*"]))
    log.folder = folder
    live = [folder / "slow.log", folder / OTHER][: chance.choice([1, 2])]
    for path in live:
        path.touch()
    found = log.read()

    def write(path: Path) -> None:
        log.write(chance.randrange(1, 5), path, rest="1 LOG:  of no interest\n" * chance.randrange(3))

    def read() -> None:
        found.extend(log.read(bound, turns=1))

    def rotate(path: Path, old: Path) -> None:
        if chance.random() < 0.3:
            path.rename(old)
            path.touch()
            return
        if chance.random() < 0.5:
            write(path)
        if chance.random() < 0.3:
            # A copy in the making.
            old.write_bytes(path.read_bytes()[: chance.choice([0, 1024, 1500])])
            read()
        shutil.copy2(path, old)
        log.write(0, old)
        if chance.random() < 0.3:
            read()
        os.truncate(path, 0)

    for number in range(chance.randrange(4, 40)):
        what = chance.random()
        if what < 0.5:
            write(chance.choice(live))
        elif what < 0.7:
            read()
        elif what < 0.85:
            path = chance.choice(live)
            rotate(path, path.with_suffix(f".log.{number}"))
        else:
            log.restart()
    read()
    for _ in range(300):
        if not log.follower.behind:
            break
        read()
    assert sorted(found + log.read(turns=3)) == list(range(1, log.written + 1))
    log.follower.close()


def rename(path: Path, old: Path) -> None:
    path.rename(old)


def copytruncate(path: Path, old: Path) -> None:
    shutil.copy(path, old)
    os.truncate(path, 0)


@pytest.mark.parametrize("rotate", [rename, copytruncate])
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("seen", [False, True])
def test_two_files_that_are_rotated_at_once(
    two: Log, rotate: Callable[[Path, Path], None], restart: bool, seen: bool
) -> None:
    assert two.read() == []
    for number in range(3):
        written = write_both(two)
        if seen:
            assert two.read() == written
            written = []
        for path in (two.path, two.folder / OTHER):
            rotate(path, path.with_suffix(f".log.{number}"))
        if restart:
            two.restart()
        written += write_both(two)
        assert two.read() == written
        assert two.read() == []
        assert two.follower.behind == 0
    assert two.follower.not_understood == 0


def test_a_file_that_leaves_a_glob_is_read_to_its_end(tmp_path: Path) -> None:
    log = Log(tmp_path, tmp_path / "slow*log")
    log.write(3)
    log.write(3, tmp_path / OTHER)
    assert log.read() == []
    written = write_both(log)
    for path in (log.path, tmp_path / OTHER):
        path.rename(path.with_suffix(".log.1"))
    # The servers have not noticed yet.
    log.write(1, tmp_path / "slow.log.1")
    log.write(1, tmp_path / "slow-2.log.1")
    assert log.read() == [*written, log.written - 1, log.written]
    assert write_both(log) == log.read()
    log.follower.close()


def test_how_far_behind_in_two_files(two: Log) -> None:
    assert two.read() == []
    paths = (two.path, two.folder / OTHER)
    before = sum(path.stat().st_size for path in paths)
    for path in paths:
        two.write(20, path)
    added = sum(path.stat().st_size for path in paths) - before
    found = two.read(most=1000, turns=1)
    assert two.follower.behind == added - 1000
    # All that is left of the first one, and a part of the other one.
    found += two.read(most=added // 2, turns=1)
    assert two.follower.behind == added - 1000 - added // 2
    found += two.read()
    assert two.follower.behind == 0
    assert sorted(found) == list(range(61, 101))


def test_a_file_that_was_moved_here_is_history_but_what_is_added_to_it(two: Log, tmp_path: Path) -> None:
    assert two.read() == []
    old = tmp_path / "slow.log.9"
    away = tmp_path / ".slow.log.9"
    two.write(5, away)
    os.utime(away, ns=(10**18,) * 2)
    away.rename(old)
    written = write_both(two)
    assert two.read() == written
    assert two.follower.behind == 0
    two.write(1, old)
    assert two.read() == [two.written]


def test_a_file_that_can_not_be_read_is_told_of_when_it_has_grown(two: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    other = two.folder / OTHER
    two.write(1)
    init = OpenFile.__init__

    def refuse(self: OpenFile, path: str) -> None:
        if path == str(other):
            raise PermissionError(13, "Permission denied", path)
        init(self, path)

    monkeypatch.setattr(OpenFile, "__init__", refuse)
    assert two.read() == []
    two.write(1)
    assert two.read() == [two.written]
    two.write(1, other)
    two.write(1)
    found: list[int] = []

    def turn() -> None:
        for events in two.follower.turn(MOST, 10.0):
            found.extend(round(event.seconds * 1000) for event in events if isinstance(event, Statement))

    for _ in range(2):
        with pytest.raises(PermissionError):
            turn()
    assert found == [two.written]
    assert two.follower.behind > 0
    monkeypatch.undo()
    assert two.read() == [two.written - 1]


def test_a_log_that_is_away_for_a_while_is_no_other_one(two: Log) -> None:
    assert two.read() == []
    away = two.folder.with_name("away")
    two.folder.rename(away)
    two.folder.mkdir()
    assert two.read() == []
    two.folder.rmdir()
    away.rename(two.folder)
    written = write_both(two)
    assert two.read() == written


def slow_entry(use: str = "") -> str:
    return (
        "# Time: 2026-11-22T17:51:27.641751Z\n# User@Host: root[root] @ localhost []  Id:     8\n"
        f"# Query_time: 1.5  Lock_time: 0 Rows_sent: 1  Rows_examined: 7\n{use}SET timestamp=1;\nselect 1;\n"
    )


def databases(follower: Follower, most: int = MOST) -> list[str | None]:
    return [
        event.database
        for _ in range(2)
        for events in follower.turn(most, 10.0)
        for event in events
        if isinstance(event, Statement)
    ]


def test_the_database_is_known_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "mysql-slow.log"
    path.write_text(slow_entry("use shop;\n"))

    def found() -> list[str | None]:
        follower = Follower(Files(str(path)), SlowLog, PositionFile(tmp_path, "s"))
        found = databases(follower)
        follower.close()
        return found

    assert found() == []
    with path.open("a") as file:
        file.write(slow_entry() + slow_entry("use pay;\n"))
    assert found() == [None, "pay"]
    with path.open("a") as file:
        file.write(slow_entry())
    assert found() == ["pay"]


def test_the_database_is_known_after_a_truncation_unless_something_was_lost(tmp_path: Path) -> None:
    path = tmp_path / "mysql-slow.log"
    path.touch()
    follower = Follower(Files(str(path)), SlowLog, PositionFile(None, "s"))
    assert databases(follower) == []

    def write(*entries: str) -> None:
        with path.open("a") as file:
            file.write("".join(entries))

    write(slow_entry("use shop;\n"), slow_entry())
    assert databases(follower) == ["shop", "shop"]
    os.truncate(path, 0)
    # The server goes on as if nothing had happened.
    write(slow_entry(), slow_entry("use pay;\n"))
    assert databases(follower) == ["shop", "pay"]
    write(slow_entry(), slow_entry("use shop;\n"))
    assert databases(follower, most=len(slow_entry())) == ["pay"]
    os.truncate(path, 0)
    write(slow_entry())
    assert databases(follower)[-1] is None
    follower.close()


def test_a_copy_that_grows_while_it_is_looked_at_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(tmp_path, tmp_path / "slow*log*")
    assert log.read() == []
    log.write(100)
    assert log.read() == list(range(1, 101))
    text, copy = log.path.read_bytes(), log.folder / "slow.log.copy"
    copy.write_bytes(text[: len(text) // 2])
    settle = Places.settle

    def and_grow(self: Places, file: OpenFile, end: Callable[[Place], list[Event]]) -> list[Event]:
        events = settle(self, file, end)
        if file.path == str(copy) and file.size < len(text):
            copy.write_bytes(text)
        return events

    monkeypatch.setattr(Places, "settle", and_grow)
    assert log.read(turns=4) == []
    assert copy.read_bytes() == text
    log.write(1)
    assert log.read() == [101]
    log.follower.close()


def test_the_database_that_the_last_entry_before_a_truncation_names_is_known_after_it(tmp_path: Path) -> None:
    where = tmp_path / "slow.log"
    entry = "# User@Host: a[a] @ localhost []  Id: 1\n# Query_time: 1.5  Lock_time: 0\n{}SET timestamp=1;\nselect 1;\n"
    follower = Follower(Files(str(tmp_path / "slow.*")), SlowLog, PositionFile(tmp_path, "a server"))

    def databases() -> list[str | None]:
        turns = [events for _ in range(2) for events in follower.turn(MOST, 10.0)]
        return [event.database for events in turns for event in events if isinstance(event, Statement)]

    where.write_text("")
    assert databases() == []
    where.write_text(entry.format("use pay;\n") + entry.format("use shop;\n"))
    read = [event.database for events in follower.turn(MOST, 10.0) for event in events]
    shutil.copy2(where, tmp_path / "slow.copy")
    with (tmp_path / "slow.copy").open("a") as copy:
        copy.write(entry.format(""))
    where.write_text(entry.format(""))
    assert [*read, *databases()] == ["pay", "shop", "shop", "shop"]
    follower.close()


def test_a_file_that_nobody_may_open_keeps_no_other_from_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(tmp_path, tmp_path / "slow*log*")
    other, loop = tmp_path / "slow.log.other", tmp_path / "slow.log.loop"
    log.write(1)
    log.write(1, path=other)
    opens = OpenFile.__init__

    def refuse(self: OpenFile, path: str) -> None:
        if path == str(other):
            raise PermissionError(13, "Permission denied", path)
        opens(self, path)

    monkeypatch.setattr(OpenFile, "__init__", refuse)
    loop.symlink_to(loop)
    assert log.read() == []
    loop.unlink()
    log.write(1)
    loop.symlink_to(loop)
    assert log.read() == [3]
    log.follower.close()


def test_a_directory_that_is_away_for_a_while_is_no_history(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    log = Log(tmp_path, tmp_path / "*" / "slow.log")
    log.write(50, path=tmp_path / "a" / "slow.log")
    log.write(50, path=tmp_path / "b" / "slow.log")
    assert log.read() == []
    (tmp_path / "b").rename(tmp_path / ".b")
    log.write(1, path=tmp_path / "a" / "slow.log")
    assert log.read() == [101]
    (tmp_path / ".b").rename(tmp_path / "b")
    log.write(1, path=tmp_path / "b" / "slow.log")
    os.utime(tmp_path / "b" / "slow.log")
    assert log.read() == [102]
    log.follower.close()


def test_a_file_that_never_comes_to_its_end_keeps_no_other_waiting(tmp_path: Path) -> None:
    log = Log(tmp_path, tmp_path / "slow*log*")
    quiet = tmp_path / "slow.log.quiet"
    log.write(1)
    log.write(1, path=quiet)
    assert log.read() == []
    found: list[int] = []
    for turn in range(4):
        log.write(200)
        if turn == 0:
            log.write(1, path=quiet)
            wanted = log.written
        found += log.read(most=1000, turns=1)
    assert wanted in found
    log.follower.close()
