"""What the process does with memory while it serves, seen in a process of its own."""

from __future__ import annotations

import subprocess
import sys

# Of a heap of its own glibc reserves 64 MiB for a thread, of which it opens as much as is needed.
_THREADS = """
import threading
from pathlib import Path
from exporter import memory

memory.settle()
together = threading.Barrier(8)

def work():
    kept = [bytearray(2000) for _ in range(100)]
    together.wait(30)

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
regions = []
for line in Path("/proc/self/maps").read_text().splitlines():
    start, end = (int(address, 16) for address in line.split()[0].split("-"))
    if regions and regions[-1][1] == start and start % 2**26:
        regions[-1][1] = end
    else:
        regions.append([start, end])
print(sum(start % 2**26 == 0 and end - start == 2**26 for start, end in regions))
"""


_CYCLES = """
import gc
import weakref
from exporter import memory

class Thing:
    pass

memory.settle()
searched = []
gc.callbacks.append(lambda phase, _: searched.append(phase))
rows = [(number, [number]) for number in range(4000)]
print(len(searched))
seen = []
for _ in range(20000):
    thing = Thing()
    thing.itself = thing
    seen.append(weakref.ref(thing))
print(sum(one() is None for one in seen) > 5000)
"""


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_no_thread_has_a_heap_of_its_own() -> None:
    assert run(_THREADS) == "0\n"


def test_thousands_of_rows_are_not_searched_for_cycles_and_cycles_go_all_the_same() -> None:
    assert run(_CYCLES) == "0\nTrue\n"


# What reads a server of one engine needs no other engine's driver, and bcrypt only who protects the pages by passwords.
_IMPORTED = """
import sys
from exporter import registry
from exporter.commands import serve
from exporter.engines.known import ENGINES

registry.collectors_by_name()
ENGINES["postgres"]
print({"pymysql", "cryptography", "bcrypt"} & set(sys.modules))
ENGINES["mysql"]
print("pymysql" in sys.modules)
"""


def test_a_driver_that_no_server_needs_is_not_loaded() -> None:
    assert run(_IMPORTED) == "set()\nTrue\n"
