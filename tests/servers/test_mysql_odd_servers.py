"""Servers that are set up in ways that hardly any test server is: nothing fails on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from exporter.polling.snapshot import State
from exporter.registry import collectors_of
from tests.exporters import Exporter, server_entry
from tests.providers.base import DatabaseServer
from tests.servers.statement_runs import watching

pytestmark = pytest.mark.engine("mysql")
Fresh = Callable[..., DatabaseServer]


def failed(server: DatabaseServer) -> dict[str, str | None]:
    """Collectors that fail, and why: all of them, those that are off by default, too."""
    with watching(server, server.account()) as watch:
        # Samples are taken otherwise, and logs read by a thread.
        names = [item.name for item in collectors_of("mysql") if not item.name.endswith(("_log", "_active_sessions"))]
        found = {name: watch.snapshot(name) for name in names}
    return {name: one.message for name, one in found.items() if one.state is State.FAILED}


@pytest.mark.parametrize("settings", [{"lower_case_table_names": "1"}, {"autocommit": "OFF"}], ids=str)
def test_nothing_fails(fresh_server: Fresh, server: DatabaseServer, settings: Mapping[str, str]) -> None:
    made = fresh_server(server.name, dict(settings))
    made.execute("CREATE DATABASE Odd")
    made.execute("CREATE TABLE Odd.Things (id int PRIMARY KEY AUTO_INCREMENT, what text)")
    assert failed(made) == {}


@pytest.mark.flavor("mariadb")
def test_without_innodb_the_server_is_up(fresh_server: Fresh, server: DatabaseServer, tmp_path: Path) -> None:
    made = fresh_server(server.name)
    made.restart(innodb="OFF", default_storage_engine="Aria", default_tmp_storage_engine="Aria")
    account = made.account()
    with Exporter(tmp_path, {"servers": [server_entry(made, account)]}) as exporter:
        page = exporter.scrape()
        assert page.value("db_up") == 1
        assert page.value("db_connections_max") == int(made.execute("SELECT @@max_connections")[0][0])
    assert failed(made) == {}
