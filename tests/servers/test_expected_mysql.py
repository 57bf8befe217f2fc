"""Under load, every collector has on every MySQL and MariaDB what tests/expected/mysql.yml lists, and nothing odd."""

from __future__ import annotations

import math
from fnmatch import filter as fnfilter
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.collectors.mysql.gtid import Errant
from exporter.registry import collectors_of
from tests.providers.base import DatabaseServer
from tests.servers.collecting import Samples, watching

pytestmark = pytest.mark.engine("mysql")
LISTED = yaml.safe_load((Path(__file__).parents[1] / "expected/mysql.yml").read_text())
# Statements have a list of their own tests.
OURS = [c.name for c in collectors_of("mysql") if "statement" not in c.name and "slow_log" not in c.name]


@pytest.fixture(scope="module")
def pair(server: DatabaseServer, replica: DatabaseServer) -> dict[str, DatabaseServer]:
    """Give a primary and its replica with something of everything on them."""
    for statement in (
        "CREATE DATABASE IF NOT EXISTS expected",
        "CREATE TABLE IF NOT EXISTS expected.items (id int PRIMARY KEY AUTO_INCREMENT, what text)",
        "CREATE DATABASE IF NOT EXISTS heartbeat",
        "CREATE TABLE IF NOT EXISTS heartbeat.heartbeat (ts varchar(26) NOT NULL, server_id int unsigned PRIMARY KEY)",
        "REPLACE INTO heartbeat.heartbeat VALUES (NOW(6), 1)",
        "CREATE TABLE IF NOT EXISTS expected.twice (id int PRIMARY KEY, a int, KEY one (a), KEY two (a))",
        "INSERT INTO expected.items (what) VALUES ('one'), ('two')",
        "UPDATE expected.items SET what = 'three' WHERE what = 'two'",
        "DROP USER IF EXISTS expected_tenant",
        "CREATE USER expected_tenant IDENTIFIED BY 'x' WITH MAX_USER_CONNECTIONS 5",
    ):
        server.execute(statement)
    # For the collectors that say that they need it.
    server.account("GRANT SELECT ON mysql.user TO exporter", "GRANT SELECT ON heartbeat.heartbeat TO exporter")
    replica.wait_until_caught_up()
    return {"primary": server, "replica": replica}


def everything(server: DatabaseServer, account: Any) -> dict[str, Samples]:
    """What each collector yields in its second run, in which what counts from the first has something to tell."""
    more: dict[str, Any] = {
        "size_limit": {"expected": "1GiB"},
        "projects": [{"pattern": "expected", "project": "expected"}],
    }
    with watching(server, account, **more) as watch:
        facts = watch.facts()
        for name in OURS:
            if _runs(name, facts):
                watch.run(name, facts)
        return {name: watch.run(name, facts) if _runs(name, facts) else Samples("") for name in OURS}


def _runs(name: str, facts: Any) -> bool:
    return any(c.name == name and c.when.passes(facts) for c in collectors_of("mysql"))


@pytest.mark.parametrize("role", ["primary", "replica"])
def test_nothing_expected_is_empty(pair: dict[str, DatabaseServer], role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = pair[role]
    # As if the source were not watched: where it is, what the replica has waits for the source's next reading.
    monkeypatch.setattr(Errant, "_executed", {})
    found = everything(server, pair["primary"].known_account)
    empty = [
        f"{collector}: {metric}"
        for part in LISTED
        for collector, metrics in part["collectors"].items()
        for metric in metrics
        if role in part["roles"]
        and server.flavor in part.get("flavors", [server.flavor])
        and server.version >= tuple(part.get("since", ()))
        and not fnfilter(found[collector].names(), metric)
    ]
    assert not empty
    listed = {metric for part in LISTED for metrics in part["collectors"].values() for metric in metrics}
    names = {metric for samples in found.values() for metric in samples.names()}
    assert not [name for name in names if not any(fnmatch(name, pattern) for pattern in listed)]
    for samples in found.values():
        for name, labels, value in samples.all:
            assert math.isfinite(value), (name, labels)
            # Settings of -1 leave it to the server, and what is in no cluster has -1 for its number there.
            assert value >= 0 or name.startswith(("mysql_global_variables_", "mysql_global_status_wsrep_")), name


def test_the_list_knows_every_collector() -> None:
    assert {collector for part in LISTED for collector in part["collectors"]} == set(OURS)
