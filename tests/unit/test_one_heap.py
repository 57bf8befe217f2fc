"""Threads of the exporter allocate from one heap: what each of them once needed does not stay with each of them."""

from __future__ import annotations

import subprocess
import sys

# Of a heap of its own glibc reserves 64 MiB for a thread, of which it opens as much as is needed.
_PROGRAM = """
import threading
from pathlib import Path
from exporter.commands.serve import share_one_heap

share_one_heap()
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


def test_no_thread_has_a_heap_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
