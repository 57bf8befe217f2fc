"""The exporter as its own process, for tests that talk to it over HTTP."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parent.parent
_LISTENING = re.compile(r"listening on (http://[^/\"]+)")


class Exporter:
    """A running exporter.

    Attributes:
        url: Where it listens, without a path.
        client: Speaks to it.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log
        self.url = self._wait_for_url()
        self.client = httpx.Client(base_url=self.url, timeout=30)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def log(self) -> str:
        return self._log.read_text()

    def urls(self, count: int) -> list[str]:
        """Everywhere it listens, once it does so on `count` addresses."""
        for _ in range(100):
            if len(found := _LISTENING.findall(self.log())) >= count:
                return found
            time.sleep(0.05)
        raise AssertionError(f"it listens elsewhere: {self.log()}")

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return self.client.get(path, headers=dict(headers or {}))

    def families(self, path: str) -> dict[str, Metric]:
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return {family.name: family for family in text_string_to_metric_families(answer.text)}

    def value(self, path: str, name: str, **labels: str) -> float | None:
        """The value of the one series with at least these labels; None if there is none."""
        found = [
            sample.value
            for family in self.families(path).values()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        assert len(found) <= 1, (name, labels, found)
        return found[0] if found else None

    def end(self, number: int = signal.SIGTERM, seconds: float = 5.0) -> int:
        """Send a signal and wait; gives the exit status."""
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def _wait_for_url(self) -> str:
        for _ in range(300):
            if found := _LISTENING.search(self.log()):
                return found[1]
            assert self.process.poll() is None, self.log()
            time.sleep(0.05)
        raise AssertionError(f"it does not listen: {self.log()}")


@contextmanager
def serving(
    directory: Path,
    config: str,
    *flags: str,
    listen: str | None = "127.0.0.1:0",
    variables: Mapping[str, str] | None = None,
) -> Iterator[Exporter]:
    """Start the exporter with the text of a config file, on a free port of 127.0.0.1; end it with the block."""
    file = directory / "config.yml"
    file.write_text(config)
    file.chmod(0o600)
    log = directory / "log"
    if listen is not None:
        flags = (f"--web.listen-address={listen}", *flags)
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "exporter", f"--config.file={file}", *flags],
            cwd=ROOT,
            env=environment(**(variables or {})),
            stderr=stderr,
        )
    exporter = None
    try:
        exporter = Exporter(process, log)
        yield exporter
    finally:
        if exporter is not None:
            exporter.client.close()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)


def environment(**more: str) -> dict[str, str]:
    """This process' environment without anything that configures an exporter."""
    ours = {
        key: value for key, value in os.environ.items() if not key.startswith(("DATABASE_EXPORTER_", "DATA_SOURCE_"))
    }
    return {**ours, **more}
