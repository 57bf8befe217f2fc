"""`make bench`: PostgreSQL with very many tables, scraped by postgres_exporter and by us in turn.

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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import fresh, report, setup
from bench.measure import Figures
from exporter.registry import collectors_of
from tests.exporters import Exporter, server_entry
from tests.providers.base import Account, DatabaseServer
from tests.providers.fleet import Fleet
from tests.providers.processes import free_port
from tests.providers.tools import Program, tool

# Longer than a second apart: a result younger than that is reused, which would be no scrape.
PAUSE_SECONDS = 1.5
# Half of theirs takes no password with a space.
ACCOUNT = Account("exporter", "secret")
SCRAPE_INTERVAL_SECONDS = 15.0
MORE = (
    "buffercache_summary", "database_wraparound", "long_running_transactions", "postmaster", "process_idle",
    "stat_activity_autovacuum", "stat_checkpointer", "stat_wal_receiver", "statio_user_indexes", "stat_statements",
    "stat_statements.include_query", "stat_statements.limit=500",
)  # fmt: skip
PEERS = {
    "defaults": ("postgres_exporter", ()),
    "more": ("postgres_exporter, + statements, indexes and 8 more", tuple(f"--collector.{name}" for name in MORE)),
}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--server", default="postgres-18")
    parser.add_argument("--tables", type=int, default=2000, help="tables with three indexes each (default 2000)")
    parser.add_argument("--databases", type=int, default=22, help="databases to connect to (default 22)")
    parser.add_argument("--statements", type=int, default=9500, help="distinct statements (default 9500)")
    parser.add_argument("--scrapes", type=int, default=20, help="fresh scrapes of each exporter (default 20)")
    parser.add_argument("--shipped", type=int, default=60, help="scrapes as shipped, 15 s apart (default 60, 0: none)")
    parser.add_argument("--growth", default="100,1000,10000", help="numbers of tables to grow over; empty for none")
    args = parser.parse_args()
    sizes = [int(size) for size in args.growth.split(",") if size]
    fleet = Fleet("local", args.server)
    try:
        bench = Bench(fleet, [setup.start(fleet, args.server, args.databases) for _ in ("theirs", "ours")])
        grown = {size: bench.grown(size, args.scrapes) for size in sizes if size < args.tables}
        bench.grow(args.tables)
        known = {setup.run_statements(server, args.statements, args.tables) for server in bench.servers}
        print(f"{args.tables} tables, {args.databases} databases, {min(known)} statements, {args.server}\n", flush=True)
        for setting in PEERS:
            print(report.comparison("fresh", setting, *bench.fresh(setting, args.scrapes)), flush=True)
            if args.shipped:
                print(report.comparison("shipped", setting, *bench.shipped(setting, args.shipped)), flush=True)
        grown |= {size: bench.grown(size, args.scrapes) for size in sizes if size >= args.tables}
        if grown:
            print(report.growth(grown))
    finally:
        fleet.close()
    return 0


class Bench:
    """Two servers built alike, theirs and ours."""

    def __init__(self, fleet: Fleet, servers: Sequence[DatabaseServer]) -> None:
        self.fleet = fleet
        self.servers = servers
        # Theirs opens sessions anew for each scrape, while old ones still count against a limit of three.
        for server in servers:
            server.account(f"ALTER ROLE {ACCOUNT.user} PASSWORD '{ACCOUNT.password}'", name=ACCOUNT.user, limit=20)
        self._tables = 0

    def grow(self, tables: int) -> None:
        """Have that many tables on both."""
        for server in self.servers:
            setup.add_tables(server, self._tables, tables)
        self._tables = max(self._tables, tables)

    def grown(self, tables: int, scrapes: int) -> tuple[Figures, Figures]:
        """Fresh figures at that size."""
        self.grow(tables)
        return self.fresh("defaults", scrapes)

    def fresh(self, setting: str, scrapes: int) -> tuple[Figures, Figures]:
        """Scrapes in quick succession, each with everything of the peer's page read anew."""
        with self._peer(setting) as peer:
            peer.scrape()
            names = [
                item.name
                for item in collectors_of("postgres")
                if item.elsewhere_of is None and peer.names() & {one.name for one in item.measures()}
            ]
            with self._ours({fresh.VARIABLE: ",".join(names)}, "bench.fresh") as ours:
                _settle(ours)
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
            _settle(ours)
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

    @contextmanager
    def _peer(self, setting: str) -> Iterator[Figures]:
        server = self.servers[0]
        name, flags = PEERS[setting]
        url = f"http://127.0.0.1:{free_port()}/metrics"
        address = url.removeprefix("http://").removesuffix("/metrics")
        program = Program(
            self.fleet.workspace,
            "postgres_exporter",
            [tool("postgres_exporter"), f"--web.listen-address={address}", "--log.level=error", *flags],
            {"DATA_SOURCE_NAME": server.url(ACCOUNT) + "?sslmode=disable"},
        )
        program.start(url.removesuffix("/metrics"))
        try:
            yield Figures(name, url, program.process.pid, _postmaster(server))
        finally:
            program.stop()

    @contextmanager
    def _ours(self, env: dict[str, str] | None = None, module: str = "exporter") -> Iterator[Figures]:
        server = self.servers[1]
        with (
            tempfile.TemporaryDirectory() as directory,
            Exporter(Path(directory), {"servers": [server_entry(server, ACCOUNT)]}, env, module=module) as ours,
        ):
            url = f"{ours.url}/probe?target={server.name}"
            yield Figures("database-exporter", url, ours.process.pid, _postmaster(server))


def _settle(ours: Figures) -> None:
    """Scrape until what runs in the background has run once: the page grows no more."""
    sizes: list[int] = []
    while (len(sizes) < 40 and len(set(sizes[-4:])) != 1) or len(sizes) < 4:
        ours.scrape()
        sizes.append(len(ours.samples()))
        time.sleep(PAUSE_SECONDS)


def _postmaster(server: DatabaseServer) -> int:
    assert server.data is not None
    return int((server.data / "postmaster.pid").read_text().splitlines()[0])


if __name__ == "__main__":
    sys.exit(main())
