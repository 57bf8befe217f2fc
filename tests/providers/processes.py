"""Programs that tests start: in a workspace of their own, frozen and ended together with all their children."""

from __future__ import annotations

import functools
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.providers import janitor
from tests.providers.base import STOP_SECONDS, ProviderError, wait_for

# Database servers refuse to run as root; as root we start them as this user of every Linux system.
UNPRIVILEGED = pwd.getpwnam("nobody")


def is_root() -> bool:
    """Whether we may switch users and mount."""
    return os.geteuid() == 0


def free_port() -> int:
    """Give a TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Workspace:
    """A temporary directory for servers, deleted at the end, also when this process is killed."""

    def __init__(self) -> None:
        self._count = 0
        self._janitor: subprocess.Popen[str] | None = None

    @functools.cached_property
    def path(self) -> Path:
        """The directory itself; made when first needed."""
        made = Path(tempfile.mkdtemp(prefix="dbx-"))
        made.chmod(0o755)
        self._janitor = subprocess.Popen(
            [sys.executable, janitor.__file__],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._tell(f"dir {made}")
        return made

    def directory(self, name: str, *, unprivileged: bool = False) -> Path:
        """Make a new directory, owned by the user that servers run as if `unprivileged`."""
        self._count += 1
        made = self.path / f"{self._count:02d}-{name}"
        made.mkdir(mode=0o755)
        if unprivileged and is_root():
            os.chown(made, UNPRIVILEGED.pw_uid, UNPRIVILEGED.pw_gid)
        return made

    def started(self, pid: int, stop_signal: int) -> None:
        """Have `pid` ended if this process dies."""
        self._tell(f"run {pid} {int(stop_signal)}")

    def ended(self, pid: int) -> None:
        """Forget `pid`."""
        self._tell(f"end {pid}")

    def close(self) -> None:
        """Delete everything."""
        if self._janitor is not None:
            self._janitor.communicate(timeout=STOP_SECONDS)
            self._janitor = None

    def _tell(self, line: str) -> None:
        assert self._janitor is not None
        assert self._janitor.stdin is not None
        self._janitor.stdin.write(line + "\n")
        self._janitor.stdin.flush()


class Process:
    """One program, its children and its log file."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        workspace: Workspace,
        log: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
        env: Mapping[str, str] | None = None,
        unprivileged: bool = False,
    ) -> None:
        self.argv = [str(word) for word in argv]
        self.log = log
        self._workspace = workspace
        self._stop_signal = stop_signal
        self._env = dict(env or {})
        self._identity = _identity(unprivileged)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The main process."""
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        """Start it; its output goes to the log file."""
        assert not self.alive(), f"{self.argv[0]} runs already"
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | self._env,
                cwd=self.log.parent,
                # Ctrl-C in the terminal is for us; we then stop servers in order.
                start_new_session=True,
                **self._identity,
            )
        self._workspace.started(self.pid, self._stop_signal)

    def alive(self) -> bool:
        """Whether the main process runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Ask it to end; by force after a bounded wait."""
        self._end(self._stop_signal)

    def kill(self) -> None:
        """End it and all its children at once."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it and all its children."""
        # The parent first, so that it starts no child that we do not see.
        self._signal_all(signal.SIGSTOP)
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        self._signal_all(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        children = descendants(self.pid)
        if self.alive():
            self.resume()
            if number == signal.SIGKILL:
                self._signal_all(number)
            else:
                self._process.send_signal(number)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._signal_all(signal.SIGKILL)
                self._process.wait(STOP_SECONDS)
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), STOP_SECONDS)
        self._workspace.ended(self.pid)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in [self.pid, *descendants(self.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _identity(unprivileged: bool) -> dict[str, Any]:
    if not unprivileged or not is_root():
        return {}
    return {"user": UNPRIVILEGED.pw_uid, "group": UNPRIVILEGED.pw_gid, "extra_groups": []}


def descendants(pid: int) -> list[int]:
    """List the children of a process, and theirs."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                # The name in parentheses may contain anything; the parent is the second field after it.
                parent = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    todo = [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def run(argv: Sequence[str | Path], *, unprivileged: bool = False, seconds: float = 600.0, **options: str) -> str:
    """Run a program to its end; its output, or a ProviderError that carries it."""
    words = [str(word) for word in argv]
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            text=True,
            errors="replace",
            check=False,
            env=os.environ | options,
            cwd="/",
            **_identity(unprivileged),
        )
    except FileNotFoundError:
        raise ProviderError(f"the program {words[0]} is not on this machine") from None
    except PermissionError:
        raise ProviderError(
            f"the user {UNPRIVILEGED.pw_name}, who servers run as, cannot reach {words[0]}; set XDG_CACHE_HOME to a "
            "directory that other users may enter"
        ) from None
    except subprocess.TimeoutExpired:
        raise ProviderError(f"{words[0]} did not end in {seconds:g} s") from None
    if done.returncode != 0:
        raise ProviderError(f"{' '.join(words[:6])} failed with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout
