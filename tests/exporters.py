"""The exporter as its users run it: a process with a config file, scraped over HTTP."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[1]
_LISTENING = re.compile(r"listening on (https?://[^/\"]+)")


@dataclass
class Samples:
    """A page, read with prometheus_client's parser."""

    text: str
    samples: list[tuple[str, dict[str, str], float]] = field(default_factory=list)
    families: dict[str, Metric] = field(default_factory=dict)

    @staticmethod
    def of(text: str) -> Samples:
        families = {family.name: family for family in text_string_to_metric_families(text)}
        found = [
            (sample.name, dict(sample.labels), float(sample.value))
            for family in families.values()
            for sample in family.samples
        ]
        return Samples(text, found, families)

    def all(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        return [
            (have, value)
            for found, have, value in self.samples
            if found == name and all(have.get(label) == wanted for label, wanted in labels.items())
        ]

    def value(self, name: str, **labels: str) -> float:
        found = self.all(name, **labels)
        assert len(found) == 1, f"{name}{labels}: {len(found)} series, not one: {found[:5]}"
        return found[0][1]

    def has(self, name: str, **labels: str) -> bool:
        return bool(self.all(name, **labels))

    def names(self, **labels: str) -> set[str]:
        return {name for name, have, _ in self.samples if all(have.get(key) == value for key, value in labels.items())}

    def failures(self, server: str) -> dict[str, str]:
        return {
            labels["collector"]: labels["reason"]
            for labels, _ in self.all("database_exporter_collector_failure", server=server)
        }


def environment(**more: str) -> dict[str, str]:
    """This process' environment without anything that configures an exporter."""
    ours = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("DATABASE_EXPORTER_", "DATA_SOURCE_", "PG_EXPORTER_", "MYSQLD_EXPORTER_"))
    }
    return {**ours, **more}


class Exporter:
    """A running `database-exporter serve`; a `with` block begins when it is ready, and ends it."""

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, Any] | str | None,
        env: Mapping[str, str] | None = None,
        module: str = "exporter",
        *,
        flags: Sequence[str] = (),
        listen: str | None = "127.0.0.1:0",
        client: Mapping[str, Any] | None = None,
    ) -> None:
        """Start it.

        Args:
            directory: Its config and log go into a new folder there.
            config: The config file as its text or as what stands in it; None for none.
            env: Variables for it alone.
            module: What is run as `python -m`.
            flags: Flags beside the config file and the address.
            listen: The address; None leaves it to the flags, variables and config.
            client: How httpx asks it, where it has to show or know something.
        """
        self._client = dict(client or {})
        folder = Path(tempfile.mkdtemp(prefix="exporter-", dir=directory))
        self._log = folder / "log"
        command = [sys.executable, "-m", module, "serve", *flags]
        if listen is not None:
            command.append(f"--web.listen-address={listen}")
        if config is not None:
            path = folder / "config.yml"
            path.write_text(config if isinstance(config, str) else yaml.safe_dump(dict(config)))
            path.chmod(0o600)
            command.append(f"--config.file={path}")
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(**(env or {})), cwd=ROOT)

    def __enter__(self) -> Exporter:
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if "client" in vars(self):
            self.client.close()
        self.stop()

    def wait_until_ready(self, seconds: float = 60.0) -> None:
        """Wait until it listens and says that it is ready; a busy machine takes many seconds to start a Python."""

        def ready() -> bool:
            assert self.process.poll() is None, f"the exporter ended with {self.process.returncode}:\n{self.log()}"
            if not _LISTENING.search(self.log()):
                return False
            with contextlib.suppress(httpx.TransportError):
                return self.client.get("/-/ready").status_code == 200
            return False

        try:
            wait_for(ready, seconds)
        except AssertionError as error:
            raise AssertionError(f"the exporter is not ready: {error}\n{self.log()}") from None

    def urls(self) -> list[str]:
        """Everywhere it listens, without paths."""
        return _LISTENING.findall(self.log())

    @cached_property
    def url(self) -> str:
        """Where it listens, the first address, without a path."""
        return self.urls()[0]

    @cached_property
    def client(self) -> httpx.Client:
        """Asks it for what has more to tell than a status and a text."""
        return httpx.Client(base_url=self.url, timeout=60, limits=httpx.Limits(max_connections=None), **self._client)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.partition("://")[2].rpartition(":")
        return host, int(port)

    @property
    def port(self) -> int:
        return self.address[1]

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        answer = self.client.get(path, headers=dict(headers or {}))
        return answer.status_code, answer.text

    def scrape(self, target: str | None = None, timeout: float | None = None) -> Samples:
        """One page; `timeout` is what Prometheus says in its header, in seconds."""
        headers = {} if timeout is None else {"X-Prometheus-Scrape-Timeout-Seconds": str(timeout)}
        status, text = self.get("/metrics" if target is None else f"/probe?target={quote(target, safe='')}", headers)
        assert status == 200, text
        return Samples.of(text)

    def scrape_until(self, condition: Any, target: str | None = None, seconds: float = 60.0) -> Samples:
        """Scrape until the page fulfils a condition; what runs in the background appears after a while."""
        end = time.monotonic() + seconds
        while True:
            samples = self.scrape(target)
            if condition(samples):
                return samples
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s:\n{samples.text}\n{self.log()}")
            time.sleep(0.3)

    def connections_to(self, port: int) -> int:
        """Connections from here to a port of an IPv4 address, counted by the system."""
        found = Path(f"/proc/{self.process.pid}/net/tcp").read_text().splitlines()
        return sum(f":{port:04X} 01 " in line for line in found)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def end(self, number: int = signal.SIGTERM, seconds: float = 30.0) -> int:
        """Send a signal and wait; gives the exit status."""
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def stop(self, seconds: float = 10.0) -> int:
        """End it if it still runs, by force if it does not end; gives the exit status."""
        if self.process.poll() is None:
            try:
                self.end(seconds=seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        return int(self.process.returncode)


Start = Callable[..., Exporter]


@pytest.fixture(name="exporter")
def starting(tmp_path: Path) -> Iterator[Start]:
    """Start exporters that end with the test: ``exporter(entry, entry, web={...})``, each entry a server's config."""
    with contextlib.ExitStack() as stack:

        def start(*servers: dict[str, Any], **more: Any) -> Exporter:
            return stack.enter_context(Exporter(tmp_path, {"servers": list(servers), **more}))

        yield start


class Proxy:
    """A TCP address whose other end can be moved, cut or silenced."""

    def __init__(self, host: str, port: int) -> None:
        self.upstream: tuple[str, int] | None = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        # Which wakes who waits for a client there.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()
        self.cut()

    def move(self, host: str, port: int) -> None:
        """From now on another server answers here; what is open is cut."""
        self.upstream = (host, port)
        self.cut()

    def silence(self) -> None:
        """Accept and say nothing; what is open is cut."""
        self.upstream = None
        self.cut()

    def cut(self) -> None:
        # One by one, since more may come meanwhile.
        while self._open:
            end = self._open.pop()
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            if self.upstream is None:
                continue
            try:
                server = socket.create_connection(self.upstream, timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self._open.append(server)
            for here, there in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=(here, there), daemon=True).start()


def _pump(here: socket.socket, there: socket.socket) -> None:
    try:
        while data := here.recv(65536):
            there.sendall(data)
    except OSError:
        pass
    for end in (here, there):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def server_entry(server: Any, account: Any, **more: Any) -> dict[str, Any]:
    """The config of a server under test; its name is the server's."""
    return {"name": server.name, "url": server.url(account), **more}


def wait_for(condition: Any, seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)
