"""`make bench`: servers with very many tables, scraped by the existing exporter of their engine and by us in turn.

*fresh*: whatever is on their page is read anew for each scrape of ours too, and every line is written anew. *shipped*:
our intervals as they are, a scrape every 15 seconds, and the tables at rest, so that their lines are taken over from
the scrape before. All CPU time is counted, between the scrapes too, once everything in the background has run for the
first time: after that each runs as often as it always does, but for what is due once an hour, which may not be seen.
Each exporter has a server of its own, both built alike.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal

from bench import fresh, report, samples
from bench.measure import Figures, cpu_seconds, tree
from bench.mysql import MySQL
from bench.postgres import Postgres
from bench.subject import Size, Subject
from exporter.registry import collectors_of
from tests.exporters import Exporter, server_entry
from tests.providers.base import DatabaseServer, Kind
from tests.providers.fleet import Fleet
from tests.providers.processes import free_port
from tests.providers.tools import Program, tool

# Longer than a second apart: a result younger than that is reused, which would be no scrape.
PAUSE_SECONDS = 1.5
IDLE_SECONDS = 15.0
_STATE = b"database_exporter_collector_state{"
SCRAPE_INTERVAL_SECONDS = 15.0
SUBJECTS: Mapping[str, Subject] = {"postgres": Postgres(), "mysql": MySQL()}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--servers", default="postgres-18,mysql-9.7", help="what to measure on (default %(default)s)")
    parser.add_argument("--tables", type=int, default=2000, help="tables with three indexes each (default 2000)")
    parser.add_argument("--databases", type=int, default=22, help="databases to connect to (default 22)")
    parser.add_argument("--statements", type=int, default=9500, help="distinct statements (default 9500)")
    parser.add_argument("--scrapes", type=int, default=20, help="fresh scrapes of each exporter (default 20)")
    parser.add_argument("--shipped", type=int, default=60, help="scrapes as shipped, 15 s apart (default 60, 0: none)")
    parser.add_argument(
        "--samples", type=float, default=60, help="seconds for samples of active sessions (default 60, 0: none)"
    )
    parser.add_argument("--settings", default="defaults,more", help="of theirs (default %(default)s)")
    parser.add_argument(
        "--growth", default="100,1000,10000", help="numbers of tables that PostgreSQL grows over; empty for none"
    )
    args = parser.parse_args()
    fleet = Fleet("local", args.servers)
    try:
        for name in fleet.names:
            _measure(SUBJECTS[Kind.parse(name).engine], fleet, name, args)
    finally:
        fleet.close()
    return 0


def _measure(subject: Subject, fleet: Fleet, name: str, args: argparse.Namespace) -> None:
    sizes = [int(size) for size in args.growth.split(",") if size and subject.grows]
    size = Size(args.tables, args.databases, args.statements)
    bench = Bench(subject, fleet, [subject.start(fleet, name, size) for _ in ("theirs", "ours")])
    try:
        grown = {tables: bench.grown(tables, args.scrapes) for tables in sizes if tables < size.tables}
        bench.grow(size.tables)
        known = {subject.run_statements(server, size) for server in bench.servers}
        bench.rest()
        print(f"{subject.says(size, min(known))}, {name}\n", flush=True)
        for setting in args.settings.split(","):
            print(report.comparison("fresh", setting, *bench.fresh(setting, args.scrapes)), flush=True)
            if args.shipped:
                print(report.comparison("shipped", setting, *bench.shipped(setting, args.shipped)), flush=True)
        if args.samples:
            print(report.table(samples.table(bench.samples(args.samples))), flush=True)
        grown |= {tables: bench.grown(tables, args.scrapes) for tables in sizes if tables >= size.tables}
        if grown:
            print(report.growth(grown), flush=True)
    finally:
        for server in bench.servers:
            server.stop()


class Bench:
    """Two servers built alike, theirs and ours."""

    def __init__(self, subject: Subject, fleet: Fleet, servers: Sequence[DatabaseServer]) -> None:
        self.subject = subject
        self.fleet = fleet
        self.servers = servers
        self._accounts = [subject.account(server) for server in servers]
        self._tables = 0
        self._idle = [0.0 for _ in servers]

    def rest(self) -> None:
        """Find out what the servers do by themselves."""
        if self.subject.busy_idle:
            trees = [tree(self.subject.pid(server)) for server in self.servers]
            before = [cpu_seconds(pids) for pids in trees]
            time.sleep(IDLE_SECONDS)
            self._idle = [(cpu_seconds(pids) - used) / IDLE_SECONDS for pids, used in zip(trees, before, strict=True)]

    def grow(self, tables: int) -> None:
        """Have that many tables on both."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: self.subject.add_tables(server, self._tables, tables), self.servers))
        self._tables = max(self._tables, tables)

    def grown(self, tables: int, scrapes: int) -> tuple[Figures, Figures]:
        """Fresh figures at that size."""
        assert self.subject.grows is not None
        self.grow(tables)
        return self.fresh(self.subject.grows, scrapes)

    def fresh(self, setting: str, scrapes: int) -> tuple[Figures, Figures]:
        """Scrapes in quick succession, each with everything of the peer's page read anew."""
        with self._peer(setting) as peer:
            peer.scrape()
            shown = fresh.collectors_of_page(self.subject.engine, peer.names())
            more: dict[str, Any] = {}
            if self.subject.alike is not None:
                # Tables are all that a limit of a collector may cut off here.
                switches = {
                    item.name: {"enabled": True} | ({"limit": self._tables} if item.limit is not None else {})
                    for item in shown
                }
                more = {**self.subject.alike, "collectors": switches}
            variables = {fresh.VARIABLE: ",".join(item.name for item in shown)}
            with self._ours(variables, "bench.fresh", **more) as ours:
                _settle(ours, self.subject.engine)
                both = (peer, ours)
                for figures in both:
                    figures.start()
                for _ in range(scrapes):
                    for figures in both:
                        figures.scrape()
                    time.sleep(PAUSE_SECONDS)
                for figures in both:
                    figures.end()
        return both

    def shipped(self, setting: str, scrapes: int) -> tuple[Figures, Figures]:
        """Scrapes at Prometheus' interval, each exporter's in the middle of the other's."""
        with self._peer(setting) as peer, self._ours() as ours:
            peer.scrape()
            # The first runs of all would count as if they came again every few minutes.
            _settle(ours, self.subject.engine)
            both = (peer, ours)
            for figures in both:
                figures.start()
            started = time.monotonic()
            for number in range(2 * scrapes):
                time.sleep(max(0.0, started + number * SCRAPE_INTERVAL_SECONDS / 2 - time.monotonic()))
                both[number % 2].scrape()
            time.sleep(max(0.0, started + scrapes * SCRAPE_INTERVAL_SECONDS - time.monotonic()))
            for figures in both:
                figures.end()
        return both

    def samples(self, seconds: float) -> Mapping[str, Mapping[bool, samples.Cost]]:
        """What samples of active sessions cost, by what the server does."""
        collector = samples.COLLECTORS[self.subject.engine]

        def ours(on: bool) -> AbstractContextManager[Figures]:
            return self._ours(collectors={collector: on})

        found = {"idle": samples.measured(ours, seconds)}
        with samples.at_work(self.servers[1]):
            name = f"{samples.WORKERS} sessions at work, {samples.SLEEPERS} asleep"
            found[name] = samples.measured(ours, seconds)
        return found

    @contextmanager
    def _peer(self, setting: str) -> Iterator[Figures]:
        server, account = self.servers[0], self._accounts[0]
        name, flags = self.subject.settings[setting]
        url = f"http://127.0.0.1:{free_port()}/metrics"
        address = url.removeprefix("http://").removesuffix("/metrics")
        leads, env = self.subject.connection(server, account)
        program = Program(
            self.fleet.workspace,
            self.subject.peer,
            [tool(self.subject.peer), f"--web.listen-address={address}", "--log.level=error", *leads, *flags],
            env,
        )
        program.start(url.removesuffix("/metrics"))
        try:
            yield Figures(name, url, program.process.pid, self.subject.pid(server), self._idle[0])
        finally:
            program.stop()

    @contextmanager
    def _ours(self, env: Mapping[str, str] | None = None, module: str = "exporter", **more: Any) -> Iterator[Figures]:
        server, account = self.servers[1], self._accounts[1]
        with (
            tempfile.TemporaryDirectory() as directory,
            Exporter(Path(directory), {"servers": [server_entry(server, account, **more)]}, env, module=module) as ours,
        ):
            url = f"{ours.url}/probe?target={server.name}"
            yield Figures("database-exporter", url, ours.process.pid, self.subject.pid(server), self._idle[1])


def _settle(ours: Figures, engine: Literal["postgres", "mysql"]) -> None:
    """Scrape until what runs in the background has run once: each collector has a state."""
    collectors = len(collectors_of(engine))
    for _ in range(40):
        ours.scrape()
        if sum(line.startswith(_STATE) for line in ours.samples()) >= collectors:
            return
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
