"""`demo`: an embedded PostgreSQL with a workload, and this exporter watching it."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import yaml
from rich.console import Console
from rich.live import Live

from exporter.demo.processes import Child, DemoError
from exporter.demo.screen import Reading, read, table
from exporter.demo.servers import DemoServer, start_mysql, start_postgres
from exporter.demo.workload import PROJECTS, Workload

FIRST_SCRAPE_SECONDS = 30.0
REFRESH_SECONDS = 2.0
PRINT_SECONDS = 15.0


class _Over(Exception):  # noqa: N818 - no error
    """Somebody wants the demo to end."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own flags."""
    parser.add_argument(
        "--port", type=int, default=int(os.environ.get("DEMO_PORT", "9187")), help="port of the exporter"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=float(os.environ.get("DEMO_SECONDS", "0")),
        help="end by itself after that time; 0 runs until Ctrl-C (also DEMO_SECONDS)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo until Ctrl-C or for its seconds; 0 at the end, 1 if it could not run."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    console = Console(highlight=False)
    try:
        # Under /tmp, since a unix socket's path must be short and servers run as another user when we are root.
        with tempfile.TemporaryDirectory(prefix="database-exporter-demo-", dir=_scratch()) as directory:
            scratch = Path(directory)
            scratch.chmod(0o755)
            _demo(scratch, args.port, args.seconds, console)
    except _Over:
        console.print("The demo has ended; nothing of it is left.")
        return 0
    except (DemoError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


def _end(_: int, __: FrameType | None) -> None:
    # Once: a second Ctrl-C must not interrupt the cleaning up.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise _Over


def _scratch() -> str:
    directory = os.environ.get("TMPDIR", "/tmp")  # noqa: S108 - made unique below it
    if not os.access(directory, os.W_OK):
        raise DemoError(f"can't write to {directory}; set TMPDIR to a directory of yours")
    return directory


def _demo(scratch: Path, port: int, seconds: float, console: Console) -> None:
    _check_port(port)
    servers: list[DemoServer] = []
    workload: Workload | None = None
    exporter: Child | None = None
    try:
        console.print("Starting PostgreSQL 18 and a standby …")
        servers.extend(start_postgres(scratch))
        try:
            second = start_mysql(scratch)
        except DemoError as error:
            second = None
            console.print(f"Going on without MySQL: {error}")
        if second is not None:
            servers.append(second)
            console.print(f"{second.name.capitalize()} of this machine joins in.")
        workload = Workload([server for server in servers if server.name != "standby"])
        exporter = _start_exporter(scratch, port, servers)
        url = f"http://127.0.0.1:{port}"
        first = _first_page(exporter, f"{url}/metrics")
        console.print(
            f"The exporter is up: {sum(map(len, first.samples.values()))} series of {len(servers)} server(s)."
        )
        console.print(
            f"  {url}/         start here\n  {url}/metrics  what Prometheus scrapes\n  {url}/sd       its targets"
        )
        console.print("Ctrl-C ends the demo." if seconds <= 0 else f"The demo ends by itself after {seconds:g} s.")
        _watch(first, f"{url}/metrics", seconds, servers, exporter, console)
    finally:
        if exporter is not None:
            exporter.stop()
        if workload is not None:
            workload.stop()
        for server in reversed(servers):
            server.child.stop()


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


def _first_page(exporter: Child, url: str) -> Reading:
    end = time.monotonic() + FIRST_SCRAPE_SECONDS
    while True:
        try:
            return read(url, time.monotonic())
        except OSError:
            if exporter.ended is not None:
                raise DemoError(f"the exporter did not start: {exporter.last_words()}") from None
            if time.monotonic() > end:
                raise DemoError(f"the exporter does not answer at {url}") from None
            time.sleep(0.2)


def _watch(
    first: Reading, url: str, seconds: float, servers: Sequence[DemoServer], exporter: Child, console: Console
) -> None:
    names = [server.name for server in servers]
    end = time.monotonic() + seconds if seconds > 0 else float("inf")
    before, now = None, first
    pause = REFRESH_SECONDS if console.is_terminal else PRINT_SECONDS
    with (
        Live(table(first, None, names), console=console, auto_refresh=False)
        if console.is_terminal
        else _NoLive() as live
    ):
        # Without a terminal the first table comes when there are rates to show.
        quick = 6.0
        while time.monotonic() < end:
            time.sleep(max(0.0, min(quick if not console.is_terminal else pause, end - time.monotonic())))
            quick = pause
            if exporter.ended is not None:
                raise DemoError(f"the exporter has ended: {exporter.last_words()}")
            before, now = now, read(url, time.monotonic())
            if isinstance(live, Live):
                live.update(table(now, before, names), refresh=True)
            else:
                console.print(table(now, before, names))


class _NoLive:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None
