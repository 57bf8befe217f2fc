"""Many servers in one process: those that are gone don't stand in front of those that answer."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.exporters import Exporter, server_entry
from tests.providers.base import DatabaseServer

DEAD = 120
SCRAPE_SECONDS = 5.0
# What one that is gone takes to be given up; who waits for it waits at least that long.
CONNECT_SECONDS = 3.0
AFTER_SECONDS = 0.7


@pytest.mark.full
def test_a_hundred_silent_servers_do_not_starve_one_that_answers(postgres: DatabaseServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as silent:
        port = silent.getsockname()[1]
        names = [f"dead{number}" for number in range(DEAD)]
        dead = [{"name": name, "url": f"postgresql://u:p@127.0.0.1:{port}/"} for name in names]
        config = {"servers": [*dead, server_entry(postgres, postgres.account())]}
        with Exporter(tmp_path, config) as exporter, ThreadPoolExecutor(DEAD + 1) as crowd:

            def scrape_all() -> tuple[float, float]:
                """Whether the one that answers is up, and how long that took in the middle of the others."""
                others = {name: crowd.submit(exporter.scrape, name, SCRAPE_SECONDS) for name in names}
                time.sleep(AFTER_SECONDS)
                started = time.monotonic()
                page = exporter.scrape(postgres.name, SCRAPE_SECONDS)
                taken = time.monotonic() - started
                for name, other in others.items():
                    assert other.result().value("db_up", server=name) == 0
                return page.value("db_up", server=postgres.name), taken

            # The first time nobody knows who is gone; from then on it is known.
            scrape_all()
            time.sleep(1.1)
            up, taken = scrape_all()
    assert up == 1
    assert taken < CONNECT_SECONDS - AFTER_SECONDS
