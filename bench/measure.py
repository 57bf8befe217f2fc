"""CPU, memory and time of processes and scrapes."""

from __future__ import annotations

import os
import statistics
import time
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of processes, and of their children that have ended."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15]))
    return total / _TICK


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                todo.extend(int(child) for child in task.read_text().split())
            except OSError:
                continue
    return found


def peak_rss_bytes(pid: int) -> int:
    """The most memory that a process ever had resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"process {pid} has no VmHWM")


@dataclass
class Figures:
    """What was measured of one exporter.

    Attributes:
        name: The exporter's.
        url: Of its page.
        pid: Its process.
        seconds: Time of each scrape.
        exporter_cpu: Its CPU seconds over all scrapes.
        server_cpu: The database server's, meanwhile.
        size: Bytes of a page.
        series: Samples of a page.
        peak: The most memory it ever had resident, in bytes.
    """

    name: str
    url: str
    pid: int
    seconds: list[float] = field(default_factory=list)
    exporter_cpu: float = 0.0
    server_cpu: float = 0.0
    size: int = 0
    series: int = 0
    peak: int = 0

    def scrape(self, server: int) -> None:
        """Scrape once, with what it costs on both sides; `server` is the database's first process."""
        before = cpu_seconds([self.pid]), cpu_seconds(tree(server))
        started = time.perf_counter()
        with urllib.request.urlopen(self.url, timeout=120) as response:
            body = response.read()
        self.seconds.append(time.perf_counter() - started)
        # A session that ends hands its time to the server's first process a moment later.
        time.sleep(0.2)
        self.exporter_cpu += cpu_seconds([self.pid]) - before[0]
        self.server_cpu += cpu_seconds(tree(server)) - before[1]
        self.size = len(body)
        self.series = sum(1 for line in body.splitlines() if line and not line.startswith(b"#"))

    def quantile(self, q: float) -> float:
        """A quantile of the scrapes' times."""
        return statistics.quantiles(self.seconds, n=100, method="inclusive")[round(q * 100) - 1]
