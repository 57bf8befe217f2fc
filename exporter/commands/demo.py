"""`demo`: an embedded PostgreSQL with a workload, and this exporter watching it."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import psycopg
import pymysql
import yaml
from rich.console import Console
from rich.live import Live

from exporter.demo import ending
from exporter.demo.processes import Child, DemoError, stop_all, unprivileged
from exporter.demo.screen import Reading, read, table
from exporter.demo.servers import DemoServer, start_mysql, start_postgres
from exporter.demo.workload import PROJECTS, Workload

FIRST_SCRAPE_SECONDS = 30.0
REFRESH_SECONDS = 2.0
RATE_READINGS = 5
PRINT_SECONDS = 15.0
NAMES = {"mariadb": "MariaDB", "mysql": "MySQL"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own flags."""
    parser.add_argument(
        "--port", type=_port, default=os.environ.get("DEMO_PORT", "9187"), help="port of the exporter (also DEMO_PORT)"
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=os.environ.get("DEMO_SECONDS", "0"),
        help="end by itself after that time; 0 runs until Ctrl-C (also DEMO_SECONDS)",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds; 0 runs until Ctrl-C")
    return seconds


def run(args: argparse.Namespace) -> int:
    """Run the demo until Ctrl-C or for its seconds; 0 at the end, 1 if it could not run."""
    ending.listen()
    # A connection that is cut while the demo ends is nobody's problem.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    console = Console(highlight=False)
    try:
        # Under /tmp, since a unix socket's path must be short and servers run as another user when we are root.
        with tempfile.TemporaryDirectory(prefix="database-exporter-demo-", dir=_scratch()) as directory:
            scratch = Path(directory)
            scratch.chmod(0o755)
            _demo(scratch, args.port, args.seconds, console)
    except ending.Over:
        pass
    except (DemoError, OSError, psycopg.Error, pymysql.err.Error) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    console.print("The demo has ended; nothing of it is left.")
    return 0


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 1 to 65535")
    return int(text)


def _scratch() -> str:
    directory = os.environ.get("TMPDIR", "/tmp")  # noqa: S108 - made unique below it
    if not os.access(directory, os.W_OK):
        raise DemoError(f"can't write to {directory}; set TMPDIR to a directory of yours")
    if unprivileged() and not all(path.stat().st_mode & 0o001 for path in (Path(directory), *Path(directory).parents)):
        raise DemoError(f"the servers run as nobody, who can't reach {directory}; set TMPDIR=/tmp")
    return directory


def _demo(scratch: Path, port: int, seconds: float, console: Console) -> None:
    _check_port(port)
    workload = None
    try:
        console.print("Starting PostgreSQL 18 and a standby …")
        servers = start_postgres(scratch)
        try:
            second = start_mysql(scratch)
        except DemoError as error:
            second = None
            console.print(f"Going on without MySQL and MariaDB: {error}")
        if second is not None:
            servers.append(second)
            console.print(f"The {NAMES[second.name]} of this machine joins in.")
        workload = Workload(servers)
        exporter = _start_exporter(scratch, port, servers)
        url = f"http://127.0.0.1:{port}"
        first = _first_page(exporter, f"{url}/metrics", servers)
        console.print(
            f"The exporter is up: {sum(map(len, first.samples.values()))} series of {len(servers)} server(s)."
        )
        console.print(
            f"  {url}/         start here\n  {url}/metrics  what Prometheus scrapes\n  {url}/sd       its targets"
        )
        console.print("Ctrl-C ends the demo." if seconds <= 0 else f"The demo ends by itself after {seconds:g} s.")
        _watch(first, f"{url}/metrics", seconds, servers, exporter, console)
    finally:
        if workload is not None:
            workload.stop()
        stop_all()


def _check_port(port: int) -> None:
    for host, family in (("127.0.0.1", socket.AF_INET), ("0.0.0.0", socket.AF_INET)):  # noqa: S104 - asked, not served
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise DemoError(
                    f"port {port} is taken or not allowed ({error.strerror}); end what uses it, or set DEMO_PORT=9188"
                ) from None


def _start_exporter(scratch: Path, port: int, servers: Sequence[DemoServer]) -> Child:
    config = {
        "servers": [
            {
                "name": server.name,
                "engine": server.engine,
                "host": "127.0.0.1",
                "port": server.port,
                "user": "exporter",
                "password": server.exporter_password,
                # A demo does not last long enough for the usual intervals.
                "collectors": _quick(server.engine),
            }
            for server in servers
        ],
        "defaults": {
            "projects": [
                {"pattern": rf"platform\.{name}", "project": name, "owner": f"team-{name}"} for name in PROJECTS
            ]
        },
    }
    path = scratch / "exporter.yml"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    argv = [
        sys.executable,
        "-m",
        "exporter",
        "serve",
        f"--config.file={path}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    return Child(argv, scratch / "exporter.log", cwd=Path(__file__).parents[2])


def _quick(engine: str) -> dict[str, dict[str, str]]:
    from exporter.registry import collectors_of  # noqa: PLC0415 - imports every collector

    return {item.name: {"every": "2s"} for item in collectors_of(engine) if item.every is not None}


def _first_page(exporter: Child, url: str, servers: Sequence[DemoServer]) -> Reading:
    """The first page on which every collector has spoken, or what there is of it after a while."""
    end = time.monotonic() + FIRST_SCRAPE_SECONDS
    while True:
        reading = None
        try:
            reading = read(url, time.monotonic())
        except OSError:
            if exporter.ended is not None:
                raise DemoError(f"the exporter did not start: {exporter.last_words()}") from None
        over = time.monotonic() > end
        if reading is not None and (over or _whole(reading, servers)):
            return reading
        if over:
            raise DemoError(f"the exporter does not answer at {url}")
        ending.pause(0.2)


def _whole(reading: Reading, servers: Sequence[DemoServer]) -> bool:
    """Whether what the exporter reads in the background is there, too: it comes a moment later."""
    states = reading.samples.get("database_exporter_collector_state", [])
    told = {(labels["server"], labels["collector"]) for labels, _ in states}
    return all((server.name, name) in told for server in servers for name in _quick(server.engine))


def _watch(
    first: Reading, url: str, seconds: float, servers: Sequence[DemoServer], exporter: Child, console: Console
) -> None:
    names = [server.name for server in servers]
    end = time.monotonic() + seconds if seconds > 0 else float("inf")
    # Rates over some seconds: what the exporter reads in the background moves in steps.
    readings = deque([first], maxlen=RATE_READINGS)
    with Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live:
        if live is not None:
            live.update(table(first, None, names), refresh=True)
        # The first table with rates comes soon, also where tables follow each other on paper.
        pause = REFRESH_SECONDS
        while time.monotonic() < end:
            ending.pause(max(0.0, min(pause, end - time.monotonic())))
            if exporter.ended is not None:
                raise DemoError(f"the exporter has ended: {exporter.last_words()}")
            readings.append(read(url, time.monotonic()))
            view = table(readings[-1], readings[0], names)
            if live is not None:
                live.update(view, refresh=True)
            else:
                console.print(view)
                pause = PRINT_SECONDS
