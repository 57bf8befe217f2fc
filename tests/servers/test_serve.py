"""`serve` on real servers: pages in every format, the end of a scrape, and no session left behind."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from exporter.registry import collectors_of
from tests.exporters import Exporter
from tests.providers.base import Account, DatabaseServer, wait_for

FORMATS = {
    "text/plain;version=0.0.4": "text/plain; version=0.0.4",
    "text/plain;version=1.0.0": "text/plain; version=1.0.0",
    "application/openmetrics-text;version=0.0.1": "application/openmetrics-text; version=0.0.1",
    "application/openmetrics-text;version=1.0.0": "application/openmetrics-text; version=1.0.0",
}


@pytest.fixture
def account(server: DatabaseServer) -> Account:
    return server.account(name="serve_test")


@pytest.fixture
def exporter(server: DatabaseServer, account: Account, tmp_path: Path) -> Iterator[Exporter]:
    away = {"name": "away", "url": "postgresql://u@127.0.0.1:1"}
    config = {"servers": [{"name": "here", "url": server.url(account), "labels": {"env": "test"}}, away]}
    with Exporter(tmp_path, config) as running:
        yield running


def sessions(server: DatabaseServer, account: Account) -> int:
    """Sessions of an account, as the server itself counts them."""
    if server.engine == "postgres":
        sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
    else:
        sql = "SELECT count(*) FROM information_schema.processlist WHERE user = %s"
    return int(server.execute(sql, params=(account.user,))[0][0])


def test_a_server_that_is_away_leaves_the_others_page_complete(exporter: Exporter, server: DatabaseServer) -> None:
    # The page that has to have more comes after: the background goes on meanwhile.
    alone = {name for name in exporter.scrape("here").families if name.startswith("db_")}
    page = exporter.scrape()
    assert page.value("db_up", server="here", env="test") == 1
    assert page.value("db_up", server="away") == 0
    assert page.value("db_info", server="here", flavor=server.flavor) == 1
    assert {"db_up", "db_info", "db_start_time_seconds", "db_connections"} <= alone
    assert alone <= page.families.keys()


def _collectors_told(exporter: Exporter) -> int:
    return len(exporter.scrape("here").all("database_exporter_collector_state"))


def test_every_format_says_the_same(exporter: Exporter, server: DatabaseServer) -> None:
    # What runs in the background comes a little later, and must not come between two pages.
    everything = len(collectors_of(server.engine))
    assert wait_for(lambda: _collectors_told(exporter) == everything, 30)

    def different() -> list[str]:
        found: list[set[str]] = []
        for accept, content_type in FORMATS.items():
            answer = exporter.client.get("/metrics", headers={"accept": accept})
            assert answer.headers["content-type"].startswith(content_type)
            if "openmetrics" in accept:
                families = list(openmetrics.text_string_to_metric_families(answer.text))  # type: ignore[no-untyped-call]
            else:
                families = list(text_string_to_metric_families(answer.text))
            # The text parser adds _total where a counter has none.
            found.append({sample.name.removesuffix("_total") for family in families for sample in family.samples})
        assert len(found[0]) > 30
        return sorted(set.union(*found) - set.intersection(*found))

    # A standby may come or go between two pages; what a format leaves out it leaves out every time.
    assert wait_for(lambda: different() == [], 30), different()


def test_many_scrapes_at_once_are_one(exporter: Exporter, server: DatabaseServer, account: Account) -> None:
    exporter.get("/probe?target=here")
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: httpx.get(f"{exporter.url}/probe?target=here", timeout=20), range(12)))
        assert all(answer.status_code == 200 for answer in answers)
        assert sessions(server, account) <= 3
    scrapes = "pg_exporter_scrapes_total" if server.engine == "postgres" else "mysql_exporter_scrapes_total"
    assert exporter.scrape("here").value(scrapes, server="here") < 12


def test_the_end_leaves_no_session(exporter: Exporter, server: DatabaseServer, account: Account) -> None:
    assert exporter.scrape().value("db_up", server="here") == 1
    assert sessions(server, account) >= 1
    assert exporter.end(seconds=15) == 0
    assert wait_for(lambda: sessions(server, account) == 0, 5)
    assert "level=error" not in exporter.log()


def test_the_end_does_not_wait_for_a_server_that_hangs(exporter: Exporter, server: DatabaseServer) -> None:
    assert exporter.scrape().value("db_up", server="here") == 1
    server.pause()
    try:
        with ThreadPoolExecutor(1) as pool:
            timeout = {"x-prometheus-scrape-timeout-seconds": "30"}
            scrape = pool.submit(_scrape_until_it_hangs, exporter.url, timeout)
            with pytest.raises(subprocess.TimeoutExpired):
                exporter.process.wait(2)
            assert exporter.end(seconds=15) == 0
            assert scrape.result(5) == 200
    finally:
        server.resume()
    assert "Traceback" not in exporter.log()


def _scrape_until_it_hangs(url: str, headers: dict[str, str]) -> int:
    """Ask again while old results are given out; gives the status of the last answer before the end."""
    status = 0
    for _ in range(1000):
        try:
            status = httpx.get(f"{url}/probe?target=here", headers=headers, timeout=40).status_code
        except httpx.ConnectError:
            break
    return status
