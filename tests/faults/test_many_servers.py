"""Many servers in one process: those that are gone don't stand in front of those that answer."""

from __future__ import annotations

import socket
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from exporter.polling.scrape import MAX_THREADS
from tests.exporters import Exporter, Samples, server_entry, wait_for
from tests.providers.base import DatabaseServer

DEAD = 120
# What one that is gone takes to be given up; who waits for it waits at least that long.
CONNECT_SECONDS = 10
SCRAPE_SECONDS = 12.0


@pytest.mark.full
def test_a_hundred_silent_servers_do_not_starve_one_that_answers(postgres: DatabaseServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as silent:
        port = silent.getsockname()[1]
        url = f"postgresql://u:p@127.0.0.1:{port}/"
        names = [f"dead{number}" for number in range(DEAD)]
        dead = [{"name": name, "url": url, "timeouts": {"connect": CONNECT_SECONDS}} for name in names]
        config = {"servers": [*dead, server_entry(postgres, postgres.account())]}
        with Exporter(tmp_path, config) as exporter, ThreadPoolExecutor(DEAD + 1) as crowd:

            def scrape_dead() -> dict[str, Future[Samples]]:
                return {name: crowd.submit(exporter.scrape, name, SCRAPE_SECONDS) for name in names}

            # The first time nobody knows who is gone; from then on it is known.
            for name, page in scrape_dead().items():
                assert page.result().value("db_up", server=name) == 0
            gone = scrape_dead()
            # More of them are waited for than the threads for servers that answer could do.
            wait_for(lambda: exporter.connections_to(port) > MAX_THREADS)
            page = exporter.scrape(postgres.name, SCRAPE_SECONDS)
            assert not any(other.done() for other in gone.values())
            assert page.value("db_up", server=postgres.name) == 1
            for name, other in gone.items():
                assert other.result().value("db_up", server=name) == 0
