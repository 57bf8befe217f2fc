"""Under load, every collector has on every PostgreSQL what tests/expected/postgres.yml lists, and nothing odd."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from exporter.config.model import SLOW_LOG_COLLECTORS
from exporter.registry import collectors_of
from tests.providers.base import DatabaseServer, wait_for
from tests.servers.collecting import Samples, watching

pytestmark = pytest.mark.engine("postgres")
LISTED = yaml.safe_load((Path(__file__).parents[1] / "expected/postgres.yml").read_text())
DATABASE, ROLE, SLOT = "expected", "expected_tenant", "expected_slot"
# -1 is how the server says "no limit", and -2 "half dropped".
MAY_BE_NEGATIVE = {"pg_roles_connection_limit", "pg_database_connection_limit"}


@pytest.fixture(scope="module")
def pair(server: DatabaseServer, replica: DatabaseServer) -> Iterator[dict[str, DatabaseServer]]:
    """Give a primary and its standby with something of everything on them."""
    server.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
    server.execute(f"DROP ROLE IF EXISTS {ROLE}")
    server.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'x' CONNECTION LIMIT 5")
    server.execute(f"CREATE DATABASE {DATABASE} CONNECTION LIMIT 20")
    server.execute("SELECT pg_create_physical_replication_slot(%s, true)", params=(SLOT,))
    server.execute("ALTER SYSTEM SET track_functions = 'pl'")
    server.execute("SELECT pg_reload_conf()")
    with server.connect(DATABASE) as connection:
        connection.execute("CREATE SCHEMA project")
        connection.execute("CREATE TABLE project.items AS SELECT i AS id FROM generate_series(1, 5000) i")
        connection.execute("CREATE UNIQUE INDEX ON project.items (id)")
        connection.execute("CREATE INDEX ON project.items (id)")
        connection.execute("CREATE INDEX ON project.items (id)")
        connection.execute("CREATE SEQUENCE project.numbers")
        connection.execute("SELECT nextval('project.numbers')")
        connection.execute("GRANT USAGE ON SCHEMA project TO PUBLIC")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA project TO PUBLIC")
        connection.execute("GRANT SELECT ON ALL SEQUENCES IN SCHEMA project TO PUBLIC")
        connection.execute("UPDATE project.items SET id = id + 10000 WHERE id < 100")
        connection.execute("VACUUM ANALYZE project.items")
        connection.execute("CREATE PUBLICATION items FOR TABLE project.items")
        connection.execute(
            "CREATE FUNCTION project.twice(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 2 * $1; END'"
        )
        assert wait_for(lambda: connection.execute("SHOW track_functions").fetchone() == ("pl",), 10)
        connection.execute("SELECT project.twice(1)")
        connection.execute("SET enable_seqscan = off")
        connection.execute("SELECT * FROM project.items WHERE id = 700")
        with contextlib.suppress(psycopg.Error):
            connection.execute("SELECT 1/0")
    replica.wait_until_caught_up()
    yield {"primary": server, "replica": replica}
    server.execute("SELECT pg_drop_replication_slot(%s)", params=(SLOT,))
    server.execute("ALTER SYSTEM RESET track_functions")
    server.execute("SELECT pg_reload_conf()")


def everything(server: DatabaseServer) -> dict[str, Samples]:
    """What each collector yields in its second run, in which what counts from the first has something to tell."""
    more: dict[str, Any] = {
        "size_limit": {DATABASE: "1GiB"},
        "projects": [{"pattern": DATABASE, "project": "expected"}],
    }
    with watching(server, **more) as watch:
        facts = watch.facts()
        names = [item.name for item in collectors_of("postgres") if item.name not in SLOW_LOG_COLLECTORS.values()]
        for name in names:
            watch.run(name, facts)
        return {name: watch.run(name, facts) for name in names}


@pytest.mark.parametrize("role", ["primary", "replica"])
def test_nothing_expected_is_empty(pair: dict[str, DatabaseServer], role: str) -> None:
    server = pair[role]
    primary = pair["primary"]
    assert wait_for(lambda: primary.execute("SELECT count(*) FROM pg_stat_replication")[0][0] > 0, 15)
    found = everything(server)
    empty = [
        f"{collector}: {metric}"
        for part in LISTED
        if role in part["roles"] and server.version[0] >= part.get("since", 0)
        for collector, metrics in part["collectors"].items()
        for metric in metrics
        if metric not in found[collector].names()
    ]
    assert not empty
    too_new = [
        f"{collector}: {metric}"
        for part in LISTED
        if server.version[0] < part.get("since", 0)
        for collector, metrics in part["collectors"].items()
        for metric in metrics
        if metric in found[collector].names()
    ]
    assert not too_new
    for samples in found.values():
        for name, labels, value in samples.all:
            assert math.isfinite(value), (name, labels)
            may = name in MAY_BE_NEGATIVE or name.startswith("pg_settings_")
            assert value >= 0 or may, (name, labels, value)


def test_the_list_knows_every_collector() -> None:
    listed = {collector for part in LISTED for collector in part["collectors"]}
    unknown = listed - {collector.name for collector in collectors_of("postgres")}
    assert not unknown
