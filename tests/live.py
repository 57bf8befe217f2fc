"""The whole product at work: every pair of servers under load, the exporter, and a Prometheus that scrapes it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pymysql
import pytest

from exporter.registry import collectors_of
from tests.exporters import Exporter
from tests.providers.base import DatabaseServer, Kind
from tests.providers.fleet import Fleet
from tests.providers.tools import Prometheus

ROOT = Path(__file__).parents[1]
# A scrape may take that long, too: on a machine that is busy with other tests one takes seconds.
SCRAPE_SECONDS = 5
# Three of these without a good run on a machine that is busy with other tests, and the series are gone.
BACKGROUND = "10s"
SETTLED_SECONDS = 150.0
T = TypeVar("T", bound=Collection[Any])


@dataclass
class Live:
    """What is running.

    Attributes:
        primaries: The servers that the load writes to, by flavor.
        replicas: Theirs, by flavor.
        exporter: Watching all of them.
        prometheus: Scraping it, with the shipped rules loaded.
        stop: Ends all of it.
    """

    primaries: dict[str, DatabaseServer]
    replicas: dict[str, DatabaseServer]
    exporter: Exporter
    prometheus: Prometheus
    stop: Callable[[], None]

    def names(self) -> dict[str, str]:
        """The name of every server in the config, with its role."""
        roles = {server.name: "primary" for server in self.primaries.values()}
        return roles | {f"{flavor}-replica": "replica" for flavor in self.replicas}


def settled(problems: Callable[[], T]) -> T:
    """Ask for what is wrong until nothing is, or until it has had the time to be right; the last answer.

    Rates need some scrapes, what is read in the background comes later, and a scrape may time out on a busy machine:
    what is really wrong stays.
    """
    end = time.monotonic() + SETTLED_SECONDS
    while (found := problems()) and time.monotonic() < end:
        time.sleep(1)
    return found


@pytest.fixture(scope="session")
def live(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Start everything; `settled` waits for what comes later.

    It has servers of its own: its load and its exporter are nothing for other tests.
    """
    primaries, replicas, entries = {}, {}, []
    for flavor in ("postgres", "mysql", "mariadb"):
        chosen = fleet.chosen(flavors=[flavor])
        if not chosen:
            continue
        primary = primaries[flavor] = fleet.provider.create(max(chosen, key=lambda name: Kind.parse(name).release))
        account = primary.account()
        replica = replicas[flavor] = primary.replica()
        # The account reaches a replica by replication, or by a call of its own.
        replica.wait_until_caught_up()
        for name, server in ((primary.name, primary), (f"{flavor}-replica", replica)):
            entries.append(
                {
                    "name": name,
                    "url": server.url(account),
                    "cluster": f"{flavor}-pair",
                    "labels": {"team": "platform"},
                    "size_limit": "10GiB",
                    "projects": [{"pattern": ".*", "project": "everything", "owner": "dba"}],
                    "collectors": {
                        item.name: {"every": BACKGROUND}
                        for item in collectors_of(server.engine)
                        if item.every is not None
                    },
                }
            )
    directory = tmp_path_factory.mktemp("live")
    with contextlib.ExitStack() as stack:
        for primary in primaries.values():
            stack.callback(primary.remove)
            stack.enter_context(_load(primary))
        exporter = stack.enter_context(Exporter(directory, {"servers": entries}))
        prometheus = Prometheus(fleet.workspace, _config(exporter))
        prometheus.start()
        stack.callback(prometheus.stop)
        # Every server through /probe, and the exporter's own page.
        prometheus.wait_for_targets(len(entries) + 1, 150)
        yield Live(primaries, replicas, exporter, prometheus, stack.close)


@pytest.fixture(scope="session")
def live_prometheus(live: Live) -> Prometheus:
    """Give the Prometheus of `live`, to be asked for what panels and rules ask."""
    return live.prometheus


def _config(exporter: Exporter) -> dict[str, object]:
    rules = sorted(str(path) for folder in ("recording", "rules") for path in (ROOT / "alerts" / folder).glob("*.yml"))
    return {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": f"{SCRAPE_SECONDS}s"},
        "rule_files": rules,
        "scrape_configs": [
            {
                "job_name": "database-exporter",
                "static_configs": [{"targets": [f"127.0.0.1:{exporter.port}"]}],
                # The exporter's own page, which asks all servers; those come one target each.
                "scrape_interval": "15s",
                "metric_relabel_configs": [{"source_labels": ["server"], "regex": ".+", "action": "drop"}],
            },
            {
                "job_name": "databases",
                "http_sd_configs": [{"url": f"{exporter.url}/sd", "refresh_interval": "5s"}],
            },
        ],
    }


@contextlib.contextmanager
def _load(server: DatabaseServer) -> Iterator[None]:
    """Write and read a little, all the time."""
    database = "live"
    server.execute(f"CREATE DATABASE {database}")
    text = "text" if server.engine == "postgres" else "varchar(200)"
    server.execute(f"CREATE TABLE rows_of_load (id int PRIMARY KEY, body {text})", database)
    over = threading.Event()

    def repeat(act: Callable[[int], None]) -> None:
        number = 0
        while not over.wait(0.2):
            number += 1
            # A test that stops or fills the server is none of the load's business.
            with contextlib.suppress(psycopg.Error, pymysql.err.Error, OSError):
                act(number)

    def write(number: int) -> None:
        server.execute(f"INSERT INTO rows_of_load VALUES ({number}, 'x')", database)
        server.execute("SELECT count(*) FROM rows_of_load", database)

    def wait(_: int) -> None:
        server.execute("SELECT pg_sleep(1.1)" if server.engine == "postgres" else "SELECT SLEEP(1.1)", database)

    threads = [threading.Thread(target=repeat, args=(act,), daemon=True) for act in (write, wait)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(10)
