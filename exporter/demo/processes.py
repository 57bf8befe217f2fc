"""Child processes of the demo: apart from the terminal, never as root, and gone when the demo ends."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from exporter.demo.ending import uninterrupted

RUN_SECONDS = 120.0


class DemoError(Exception):
    """Why the demo can't run, as a sentence that says what to do."""


def unprivileged() -> tuple[int, int] | None:
    """User and group for servers that refuse to run as root; None if we are nobody special ourselves."""
    if os.name != "posix" or os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise DemoError(
            "PostgreSQL refuses to run as root, and there is no user nobody; run make demo as yourself"
        ) from None
    return nobody.pw_uid, nobody.pw_gid


def hand_over(path: Path) -> None:
    """Give a directory and all in it to the user that the servers run as."""
    account = unprivileged()
    if account is None:
        return
    os.chown(path, *account)
    for root, directories, files in os.walk(path):
        for name in directories + files:
            os.chown(Path(root) / name, *account, follow_symlinks=False)


def run(argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a program to its end as the servers' user.

    Raises:
        DemoError: It failed or could not be run; its last words are in the message.
    """
    name = Path(argv[0]).name
    log = cwd / f"{name}.log"
    program = Child(argv, log, cwd=cwd, as_server=True, env=env, stop_signal=signal.SIGKILL)
    try:
        status = program.wait(RUN_SECONDS)
    finally:
        # Also when Ctrl-C comes in between: nothing may write there once the directory is being deleted.
        program.stop()
    if status is None:
        raise DemoError(f"{name} did not end in {RUN_SECONDS:.0f} s")
    if status != 0:
        raise DemoError(f"{name} failed: {program.last_words()}")


class Child:
    """A program that runs as long as the demo does."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        log: Path,
        *,
        cwd: Path,
        as_server: bool = False,
        stop_signal: int = signal.SIGTERM,
        env: Mapping[str, str] | None = None,
    ) -> None:
        account = (unprivileged() if as_server else None) or (None, None)
        self._stop_signal = stop_signal
        self._log = log
        with log.open("wb") as output, uninterrupted():
            # A session of its own: Ctrl-C reaches the demo, which then stops its children in order.
            self._process = subprocess.Popen(
                [str(item) for item in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=dict(os.environ if env is None else env),
                start_new_session=True,
                user=account[0],
                group=account[1],
            )
            _RUNNING.append(self)

    @property
    def ended(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        """Its exit status once it has ended, None if it still runs after that time."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def last_words(self) -> str:
        """The end of what it printed."""
        return " ".join(self._log.read_text(errors="replace").strip().splitlines()[-3:])

    def stop(self, seconds: float = 8.0) -> None:
        """End it, and all that it started."""
        if self._process.poll() is None:
            self._process.send_signal(self._stop_signal)
            self.wait(seconds)
        end = time.monotonic() + 5
        with contextlib.suppress(ProcessLookupError):
            # What is left of its session, until nothing is.
            while time.monotonic() < end:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.poll()
                time.sleep(0.05)
        if self in _RUNNING:
            _RUNNING.remove(self)


_RUNNING: list[Child] = []


def stop_all() -> None:
    """End every program that runs, the youngest first."""
    for child in reversed(tuple(_RUNNING)):
        child.stop()


def free_port() -> int:
    """A port of the loopback address that nobody has right now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def readable_by_servers(source: Path, scratch: Path) -> Path:
    """The installation at `source`, copied where the servers' user can read it if need be."""
    account = unprivileged()
    if account is None:
        return source
    target = scratch / source.parent.name
    # Beside the package lie the libraries that its programs are linked to.
    for part in source.parent.parent.glob(f"{source.parent.name}*"):
        if part.is_dir():
            shutil.copytree(part, scratch / part.name, symlinks=True)
    hand_over(scratch)
    return target / source.name
