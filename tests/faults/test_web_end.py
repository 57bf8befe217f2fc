"""The end: SIGTERM and SIGINT finish what runs and exit 0 within five seconds, whatever databases and clients do."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.commands.serve import CLOSING_SECONDS
from exporter.registry import collectors_of
from exporter.web.server import GRACE_SECONDS
from tests.exporters import Exporter, wait_for

SECONDS = 5.0
# What a busy machine may add; whatever the end wrongly waited for here would take longer still.
SLACK = 10.0


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts every connection and never says a word."""
    accepted = []
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:

        def accept() -> None:
            while True:
                try:
                    accepted.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for connection in accepted:
            connection.close()


def _config(port: int) -> dict[str, Any]:
    """Servers that only scrapes connect to; longer than the end may take, so that nothing else can cut it short."""
    timeouts = {"connect": 30, "scrape_default": 40}
    return {
        "servers": [
            {
                "name": f"silent-{name}",
                "url": f"{engine}://u:p@127.0.0.1:{port}/d",
                "timeouts": timeouts,
                "collectors": {item.name: False for item in collectors_of(engine) if item.every or item.sampled},
            }
            for name, engine in (("pg", "postgres"), ("my", "mysql"))
        ]
    }


AWAY = "servers:\n  - {name: away, url: 'mysql://u@127.0.0.1:1'}\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_with_nothing_to_do_it_ends_at_once(tmp_path: Path, number: int) -> None:
    with Exporter(tmp_path, AWAY) as exporter:
        assert exporter.client.get("/metrics").status_code == 200
        assert exporter.end(number, SECONDS + SLACK) == 0
        assert "Traceback" not in exporter.log()
        assert "level=error" not in exporter.log()
        with pytest.raises(httpx.ConnectError):
            httpx.get(exporter.url)


def test_with_idle_and_silent_clients(tmp_path: Path) -> None:
    with Exporter(tmp_path, AWAY) as exporter:
        clients = [socket.create_connection(exporter.address, 5) for _ in range(20)]
        try:
            for client in clients[:10]:
                client.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
                assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
            clients[10].sendall(b"GET /metrics HTT")
            assert exporter.end(seconds=SECONDS + SLACK) == 0
            assert "Traceback" not in exporter.log()
        finally:
            for client in clients:
                client.close()


def test_a_scrape_of_a_silent_database_is_answered_before_the_end(tmp_path: Path, silent_port: int) -> None:
    with Exporter(tmp_path, _config(silent_port)) as exporter, ThreadPoolExecutor(1) as pool:
        scrape = pool.submit(httpx.get, f"{exporter.url}/metrics", timeout=30)
        _wait_until_scraping(exporter, silent_port)
        assert not scrape.done()
        assert exporter.end(seconds=SECONDS + SLACK) == 0
        answer = scrape.result(10)
        assert answer.status_code == 200
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        assert {sample.labels["server"] for sample in families["db_threshold"].samples} == {"silent-pg", "silent-my"}
        # Nobody has waited long enough to say that they are down; that they are up nobody may say.
        assert 1 not in [sample.value for sample in families["db_up"].samples] if "db_up" in families else True
        assert "Traceback" not in exporter.log()
        assert "level=error" not in exporter.log()
    # All that it ever waits for fits into what is promised.
    assert GRACE_SECONDS + CLOSING_SECONDS < SECONDS


def test_a_second_signal_ends_at_once(tmp_path: Path, silent_port: int) -> None:
    with Exporter(tmp_path, _config(silent_port)) as exporter, ThreadPoolExecutor(1) as pool:
        scrape = pool.submit(httpx.get, f"{exporter.url}/metrics", timeout=30)
        _wait_until_scraping(exporter, silent_port)
        # Two different ones: the system makes one of two alike that come before the first is understood. Of two that
        # come together, either may be taken for the second.
        exporter.process.send_signal(signal.SIGTERM)
        assert exporter.end(signal.SIGINT, SECONDS + SLACK) in (128 + signal.SIGTERM, 128 + signal.SIGINT)
        # The first alone would have let the scrape have its answer.
        with pytest.raises(httpx.TransportError):
            scrape.result(10)


def test_a_silent_database_does_not_delay_health_or_other_pages(tmp_path: Path, silent_port: int) -> None:
    budget = 8
    with Exporter(tmp_path, _config(silent_port)) as exporter, ThreadPoolExecutor(30) as pool:
        scrapes = [
            pool.submit(
                httpx.get,
                f"{exporter.url}/metrics",
                headers={"x-prometheus-scrape-timeout-seconds": str(budget)},
                timeout=60,
            )
            for _ in range(30)
        ]
        _wait_until_scraping(exporter, silent_port)
        for path in ("/-/healthy", "/-/ready", "/sd", "/", "/probe?target=none"):
            exporter.get(path)
        assert not any(scrape.done() for scrape in scrapes)
        for scrape in scrapes:
            answer = scrape.result(60)
            assert answer.status_code == 200
            # Connecting may take 30.
            assert answer.elapsed.total_seconds() < budget + SLACK
            assert 'db_up{server="silent-pg",engine="postgres"} 0\n' in answer.text


def _wait_until_scraping(exporter: Exporter, port: int) -> None:
    """Wait until the exporter has a connection to both silent servers."""
    wait_for(lambda: exporter.connections_to(port) >= 2)
