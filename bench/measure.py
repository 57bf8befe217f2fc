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
    """An exporter under measurement, on a server of its own, so that whatever the server does is its work.

    Attributes:
        name: The exporter's.
        url: Of its page.
        pid: Its process.
        first_process: The first process of its server.
        idle: CPU seconds that its server takes in a second in which nobody asks it, which are not counted.
        seconds: Time of each scrape.
        exporter_cpu: Its CPU seconds from `start` to `end`, between the scrapes too.
        server_cpu: The database server's, meanwhile.
        peak: The most memory it ever had resident, in bytes.
        body: The last page.
    """

    name: str
    url: str
    pid: int
    first_process: int
    idle: float = 0.0
    seconds: list[float] = field(default_factory=list)
    exporter_cpu: float = 0.0
    server_cpu: float = 0.0
    peak: int = 0
    body: bytes = b""
    _started: float = 0.0

    def start(self) -> None:
        """Begin to count."""
        self.seconds.clear()
        self.exporter_cpu, self.server_cpu = -cpu_seconds([self.pid]), -cpu_seconds(tree(self.first_process))
        self._started = time.monotonic()

    def scrape(self) -> None:
        """Scrape once, without compression."""
        started = time.perf_counter()
        with urllib.request.urlopen(self.url, timeout=120) as response:
            self.body = response.read()
        self.seconds.append(time.perf_counter() - started)

    def end(self) -> None:
        """Count no further."""
        self.exporter_cpu += cpu_seconds([self.pid])
        idle = self.idle * (time.monotonic() - self._started)
        self.server_cpu = max(0.0, self.server_cpu + cpu_seconds(tree(self.first_process)) - idle)
        self.peak = peak_rss_bytes(self.pid)

    def quantile(self, q: float) -> float:
        """A quantile of the scrapes' times."""
        if len(self.seconds) == 1:
            return self.seconds[0]
        return statistics.quantiles(self.seconds, n=100, method="inclusive")[round(q * 100) - 1]

    def per_scrape(self) -> dict[str, float]:
        """What a reader compares, by the title of its column."""
        scrapes = len(self.seconds)
        return {
            "p50, ms": self.quantile(0.5) * 1000,
            "p99, ms": self.quantile(0.99) * 1000,
            "exporter CPU, ms": self.exporter_cpu / scrapes * 1000,
            "server CPU, ms": self.server_cpu / scrapes * 1000,
            "peak RSS, MiB": self.peak / 2**20,
            "page, KiB": len(self.body) / 1024,
            "series": float(len(self.samples())),
        }

    def samples(self) -> list[bytes]:
        """The lines of the last page that are samples."""
        return [line for line in self.body.splitlines() if line and not line.startswith(b"#")]

    def names(self) -> set[str]:
        """The metrics on the last page, without those of the process itself."""
        found = {line.partition(b" ")[0].partition(b"{")[0].decode() for line in self.samples()}
        return {name for name in found if not name.startswith(_OF_THE_PROCESS)}

    def left_out(self) -> float:
        """Series that our page says it left out."""
        prefix = b"database_exporter_series_dropped_total"
        return sum(float(line.rpartition(b" ")[2]) for line in self.samples() if line.startswith(prefix))


_OF_THE_PROCESS = (
    "go_", "process_", "promhttp_", "python_", "postgres_exporter_", "pg_exporter_", "pg_scrape_",
    "mysqld_exporter_", "mysql_exporter_",
)  # fmt: skip
