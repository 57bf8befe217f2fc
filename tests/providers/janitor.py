"""Ends servers and deletes their data when the test process is gone without having done so itself.

Runs as a process of its own and reads lines from its standard input: ``run PID SIGNAL``, ``end PID``, ``dir PATH``.
The end of input means that the parent has exited, however that came about.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress


def main() -> None:
    """Collect what the parent announces, then clean up what it left."""
    running: dict[int, int] = {}
    directories: list[str] = []
    for line in sys.stdin:
        verb, _, rest = line.rstrip("\n").partition(" ")
        if verb == "run":
            pid, number = rest.split()
            running[int(pid)] = int(number)
        elif verb == "end":
            running.pop(int(rest), None)
        elif verb == "dir":
            directories.append(rest)
    for pid, number in running.items():
        _signal(pid, signal.SIGCONT)
        _signal(pid, number)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(_signal(pid, 0) for pid in running):
        time.sleep(0.1)
    for pid in running:
        _signal(pid, signal.SIGKILL)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


def _signal(pid: int, number: int) -> bool:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
        return True
    return False


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    main()
