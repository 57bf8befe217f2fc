"""`make bench`: a PostgreSQL with many tables, scraped by postgres_exporter and by us in turn."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.measure import Figures, peak_rss_bytes
from tests.exporters import Exporter, free_port, server_entry
from tests.providers.base import DatabaseServer
from tests.providers.fleet import Fleet
from tests.providers.tools import Program, tool

# Longer than a second apart: a result younger than that is reused, which would be no scrape.
PAUSE_SECONDS = 1.2


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--tables", type=int, default=500, help="tables with three indexes each (default 500)")
    parser.add_argument("--scrapes", type=int, default=15, help="measured scrapes of each exporter (default 15)")
    parser.add_argument("--server", default="postgres-18")
    args = parser.parse_args()
    fleet = Fleet("local", args.server)
    try:
        server = fleet.server(args.server)
        _fill(server, args.tables)
        figures = _measure(fleet, server, args.scrapes)
    finally:
        fleet.close()
    _print(figures, args.tables)
    return 0


def _fill(server: DatabaseServer, tables: int) -> None:
    with server.connect("postgres") as session:
        for number in range(tables):
            session.execute(f"CREATE TABLE t{number} (id int PRIMARY KEY, a int, b text)")
            session.execute(f"CREATE INDEX ON t{number} (a)")
            session.execute(f"CREATE INDEX ON t{number} (b)")
        session.execute("ANALYZE")


def _measure(fleet: Fleet, server: DatabaseServer, scrapes: int) -> list[Figures]:
    assert server.data is not None
    postmaster = int((server.data / "postmaster.pid").read_text().splitlines()[0])
    account = server.account()
    with tempfile.TemporaryDirectory() as directory:
        peer_port = free_port()
        peer = Program(
            fleet.workspace,
            "postgres_exporter",
            [tool("postgres_exporter"), f"--web.listen-address=127.0.0.1:{peer_port}", "--log.level=error"],
            {"DATA_SOURCE_NAME": server.url(account) + "?sslmode=disable"},
        )
        peer.start(f"http://127.0.0.1:{peer_port}/metrics")
        try:
            with Exporter(Path(directory), {"servers": [server_entry(server, account)]}) as ours:
                both = [
                    Figures("postgres_exporter", f"http://127.0.0.1:{peer_port}/metrics", peer.process.pid),
                    Figures("database-exporter", f"{ours.url}/probe?target={server.name}", ours.process.pid),
                ]
                for figures in both:
                    figures.scrape(postmaster)
                    figures.seconds.clear()
                    figures.exporter_cpu = figures.server_cpu = 0.0
                for _ in range(scrapes):
                    for figures in both:
                        figures.scrape(postmaster)
                    time.sleep(PAUSE_SECONDS)
                memory = [peak_rss_bytes(figures.pid) for figures in both]
        finally:
            peer.stop()
    for figures, peak in zip(both, memory, strict=True):
        figures.peak = peak
    return both


def _print(figures: list[Figures], tables: int) -> None:
    peer, ours = figures
    view = Table(title=f"per scrape, {tables} tables, {len(ours.seconds)} scrapes each", title_justify="left")
    for column in ("", peer.name, ours.name, "ours / theirs"):
        view.add_column(column, justify="left" if not column else "right")
    rows: list[tuple[str, list[float]]] = [
        ("p50, ms", [item.quantile(0.5) * 1000 for item in figures]),
        ("p99, ms", [item.quantile(0.99) * 1000 for item in figures]),
        ("exporter CPU, ms", [item.exporter_cpu / len(item.seconds) * 1000 for item in figures]),
        ("server CPU, ms", [item.server_cpu / len(item.seconds) * 1000 for item in figures]),
        ("peak RSS, MiB", [item.peak / 2**20 for item in figures]),
        ("page, KiB", [item.size / 1024 for item in figures]),
        ("series", [item.series for item in figures]),
    ]
    for name, (theirs, mine) in rows:
        ratio = f"{mine / theirs:.2f}" if theirs else "–"
        view.add_row(name, f"{theirs:.1f}", f"{mine:.1f}", ratio)
    console = Console()
    console.print(view)
    console.print("The pages are not alike yet: theirs has every table's statistics, ours the five subjects.")


if __name__ == "__main__":
    sys.exit(main())
