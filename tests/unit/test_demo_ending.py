"""The demo ends when it is told to, also where the exception that tells it so gets lost."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, signal
from exporter.demo import ending

class Told:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

ending.listen()
told = Told()
del told
print("went on", flush=True)
for _ in range(50):
    ending.pause(0.01)
print("never ended")
"""


def test_an_interruption_in_a_destructor_is_not_lost() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert run.stdout == "went on\n"
    assert run.stderr.endswith("exporter.demo.ending.Over\n")
