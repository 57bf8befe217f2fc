"""The SQL of the runbooks runs on real servers: at night nobody should have to correct it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.alerts.rules import ROOT
from tests.providers.base import DatabaseServer

FLAVORS = {"PostgreSQL": "postgres", "MySQL": "mysql", "MariaDB": "mariadb"}


@dataclass(frozen=True)
class Statement:
    """One statement of a runbook, for which flavors, and on which end of replication."""

    runbook: str
    flavors: frozenset[str]
    on_replica: bool
    sql: str


def _statements() -> Iterator[Statement]:
    for path in sorted((ROOT / "docs" / "runbooks").glob("*.md")):
        for block in re.findall(r"```sql\n(.*?)```", path.read_text(), re.DOTALL):
            # Each part of a block begins with a comment that says where it runs.
            for heading, body in re.findall(r"^-- (.*)\n((?:(?!-- ).*\n?)*)", block, re.MULTILINE):
                flavors = frozenset(flavor for name, flavor in FLAVORS.items() if name in heading)
                assert flavors, f"{path.name}: '-- {heading}' names no engine"
                for sql in filter(None, map(str.strip, body.split(";"))):
                    yield Statement(path.stem, flavors, "on the replica" in heading, sql)


STATEMENTS = list(_statements())


def _run(server: DatabaseServer, *, replica: bool) -> None:
    chosen = [one for one in STATEMENTS if server.flavor in one.flavors and one.on_replica == replica]
    assert chosen
    for statement in chosen:
        try:
            server.execute(statement.sql)
        except Exception as error:  # noqa: BLE001 - any error of any driver is the finding
            pytest.fail(f"{statement.runbook} on {server.name}: {error}\n{statement.sql}")


def test_diagnosis_runs(server: DatabaseServer) -> None:
    if server.engine == "postgres":
        server.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    _run(server, replica=False)


@pytest.mark.flavor("postgres")
def test_diagnosis_of_a_standby_runs(replica: DatabaseServer) -> None:
    _run(replica, replica=True)
