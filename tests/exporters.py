"""The exporter as its users run it: a process with a config file, scraped over HTTP."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

Labels = Mapping[str, str]


@dataclass
class Samples:
    """A page, read with prometheus_client's parser."""

    text: str
    samples: list[tuple[str, dict[str, str], float]] = field(default_factory=list)

    @staticmethod
    def of(text: str) -> Samples:
        found = [
            (sample.name, dict(sample.labels), float(sample.value))
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
        return Samples(text, found)

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


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Exporter:
    """A running `database-exporter serve`."""

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, Any] | None,
        env: Mapping[str, str] | None = None,
        module: str = "exporter",
    ) -> None:
        self.port = free_port()
        self.log_path = directory / f"exporter-{self.port}.log"
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", module, "serve", f"--web.listen-address=127.0.0.1:{self.port}"]
        if config is not None:
            path = directory / f"exporter-{self.port}.yml"
            path.write_text(yaml.safe_dump(dict(config)))
            path.chmod(0o600)
            command.append(f"--config.file={path}")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DATA_SOURCE")}
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**environment, **(env or {})}, cwd=Path(__file__).parents[1]
            )

    def __enter__(self) -> Exporter:
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_until_ready(self, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"the exporter ended with {self.process.returncode}:\n{self.log()}")
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as response:
                    if response.status == 200:
                        return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"the exporter is not ready after {seconds} s:\n{self.log()}")

    def get(self, path: str, headers: Mapping[str, str] | None = None, timeout: float = 60.0) -> tuple[int, str]:
        request = urllib.request.Request(self.url + path, headers=dict(headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def scrape(self, target: str | None = None, timeout: float | None = None) -> Samples:
        """One page; `timeout` is what Prometheus says in its header, in seconds."""
        headers = {} if timeout is None else {"X-Prometheus-Scrape-Timeout-Seconds": str(timeout)}
        status, text = self.get("/metrics" if target is None else f"/probe?target={target}", headers)
        assert status == 200, text
        return Samples.of(text)

    def scrape_until(self, condition: Any, target: str | None = None, seconds: float = 30.0) -> Samples:
        """Scrape until the page fulfils a condition; what runs in the background appears after a while."""
        end = time.monotonic() + seconds
        while True:
            samples = self.scrape(target)
            if condition(samples):
                return samples
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s:\n{samples.text}\n{self.log()}")
            time.sleep(0.3)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def stop(self, seconds: float = 10.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        return int(self.process.returncode)


class Proxy:
    """A TCP address whose other end can be moved, cut or silenced."""

    def __init__(self, host: str, port: int) -> None:
        self.upstream: tuple[str, int] | None = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        self._ended = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
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
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open.clear()

    def _accept(self) -> None:
        while not self._ended:
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


def wait_for(condition: Any, seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)
