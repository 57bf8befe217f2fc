"""The watchdog ends a wait that nothing else ends: a read from a peer that stays silent."""

import socket
import subprocess
import sys
import threading
import time

import pytest

from exporter.engines.deadline import Deadline, Watchdog
from exporter.failure import Failure
from tests.providers.base import wait_for


def test_a_silent_read_ends_at_its_deadline():
    watchdog = Watchdog()
    ours, theirs = socket.socketpair()
    with ours, theirs, watchdog.guard(ours.fileno(), Deadline.after(0.2)) as guard:
        # Without the watchdog this waits for ever: the socket has no timeout.
        assert ours.recv(1) == b""
    assert guard.fired


def test_a_wait_that_ends_in_time_is_left_alone():
    watchdog = Watchdog()
    ours, theirs = socket.socketpair()
    silent, other = socket.socketpair()
    with ours, theirs, silent, other:
        with watchdog.guard(ours.fileno(), Deadline.after(2)) as guard:
            theirs.send(b"x")
            assert ours.recv(1) == b"x"
        # Deadlines come in order, so that of the first wait has passed with that of the second.
        with watchdog.guard(silent.fileno(), Deadline.after(2)):
            assert silent.recv(1) == b""
        assert not guard.fired
        theirs.send(b"y")
        assert ours.recv(1) == b"y"


def test_the_earlier_of_two_deadlines_comes_first_though_it_was_set_later():
    watchdog = Watchdog()
    pairs = [socket.socketpair() for _ in range(2)]
    ended: list[str] = []

    def wait(name: str, end: socket.socket, seconds: float) -> None:
        with watchdog.guard(end.fileno(), Deadline.after(seconds)):
            end.recv(1)
            ended.append(name)

    late = threading.Thread(target=wait, args=("late", pairs[0][0], 3))
    late.start()
    time.sleep(0.1)
    early = threading.Thread(target=wait, args=("early", pairs[1][0], 0.1))
    early.start()
    for thread in (early, late):
        thread.join(15)
    for pair in pairs:
        for end in pair:
            end.close()
    assert ended == ["early", "late"]


def test_many_waits_at_once_all_end():
    watchdog = Watchdog()
    pairs = [socket.socketpair() for _ in range(50)]
    ended: list[int] = []

    def wait(number: int, end: socket.socket) -> None:
        with watchdog.guard(end.fileno(), Deadline.after(0.05 + number % 5 / 50)):
            end.recv(1)
            ended.append(number)

    threads = [threading.Thread(target=wait, args=(number, pair[0])) for number, pair in enumerate(pairs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    for pair in pairs:
        for end in pair:
            end.close()
    assert sorted(ended) == list(range(50))


def test_a_wait_that_can_not_be_ended_does_not_end_the_watchdog():
    watchdog = Watchdog()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        # Somebody has closed the socket.
        with watchdog.guard(-1, Deadline.after(0)) as guard:
            assert wait_for(lambda: guard.fired, 10)
        with watchdog.guard(ours.fileno(), Deadline.after(0.1)):
            ours.settimeout(30)
            assert ours.recv(1) == b""


OUT_OF_DESCRIPTORS = """
import os, resource, socket, sys
from exporter.engines.deadline import Deadline, Watchdog

watchdog = Watchdog()
ours, theirs = socket.socketpair()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        os.dup(0)
except OSError:
    pass
with watchdog.guard(ours.fileno(), Deadline.after(0.2)) as guard:
    got = ours.recv(1)
assert (got, guard.fired) == (b"", True)
# The descriptor is still the caller's.
ours.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
print("ended", flush=True)
# A thread that is ended with the interpreter needs a descriptor for that, and would say so.
os._exit(0)
"""


def test_a_wait_ends_at_its_deadline_when_descriptors_have_run_out():
    run = subprocess.run(
        [sys.executable, "-c", OUT_OF_DESCRIPTORS], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.stdout, run.stderr) == ("ended\n", "")


def test_a_watchdog_that_could_not_be_started_is_started_by_the_next_wait():
    watchdog = Watchdog()
    ours, theirs = socket.socketpair()
    before = threading.stack_size(1 << 60)
    with ours, theirs:
        try:
            with pytest.raises(Failure, match="can't start new thread"), watchdog.guard(ours.fileno(), Deadline(0)):
                pytest.fail("an unguarded wait has begun")
        finally:
            threading.stack_size(before)
        with watchdog.guard(ours.fileno(), Deadline.after(0.1)) as guard:
            assert ours.recv(1) == b""
        assert guard.fired


NO_DESCRIPTOR_FOR_A_CONNECTION = """
import os, resource
from exporter.config.model import ServerConfig
from exporter.engines.deadline import Deadline
from exporter.engines.known import ENGINES
from exporter.failure import Failure

# Imported when first asked for, which is before anything is connected to.
engines = dict(ENGINES)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        os.dup(0)
except OSError:
    pass
for name, engine in engines.items():
    try:
        there = ServerConfig(name=name, engine=name, host="127.0.0.1", port=1, user="x", tls={"mode": "disable"})
        engine.connect(there, Deadline.after(5))
    except Failure as failure:
        print(name, failure.reason)
"""


def test_connecting_fails_in_an_orderly_way_when_descriptors_have_run_out():
    run = subprocess.run(
        [sys.executable, "-c", NO_DESCRIPTOR_FOR_A_CONNECTION], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.stdout, run.stderr) == ("postgres connect\nmysql connect\n", "")
