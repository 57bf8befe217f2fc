"""Totals of MySQL's databases over a TRUNCATE of the digests, also of those that the account's schemas lack."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.config.model import ServerConfig
from exporter.declare import Context, Rows
from exporter.facts import Facts, Identity, Role
from exporter.subjects.statements.mysql import Digests

SERVER = ServerConfig(name="tested", engine="mysql", host="127.0.0.1", port=3306)
CONTEXT = Context(SERVER, Facts("mysql", "mysql", (9, 7), "9.7", Identity("", 0, Role.PRIMARY)), 0)


def fed(state: Digests, now: float = 0.0, **digests: int) -> dict[str, int]:
    """The totals after a reading at `now` of these databases' digests (none: of those without a database)."""
    rows = [("schema", "listed", None, None, None, None, None)]
    rows += [("digest", None if name == "none" else name, "", n, n, None, None) for name, n in digests.items()]
    columns = ("kind", "database", "digest", "calls", "time", "longest", "since")
    found = state.feed(Rows(columns, rows), replace(CONTEXT, now=now))
    return {row["database"]: row["statements"] for row in found.dicts() if row["database"] is not None}


@pytest.mark.parametrize("name", ["none", "unseen", "listed"])
def test_a_total_outlives_a_truncation(name: str) -> None:
    state, shown = Digests(), "" if name == "none" else name
    fed(state, **{name: 10})
    assert fed(state, **{name: 1_010})[shown] == 1_000
    for _ in range(3):
        assert fed(state)[shown] == 1_000
    assert fed(state, **{name: 50})[shown] == 1_050


@pytest.mark.parametrize("interval", [15, 480])
def test_a_database_that_is_gone_is_forgotten_after_an_hour_and_what_had_none_is_not(interval: int) -> None:
    state = Digests()
    fed(state, 0.0, gone=1, none=1)
    fed(state, 100.0, gone=1, none=1)
    for at in range(100 + interval, 3_700, interval):
        assert fed(state, at) == {"": 0, "gone": 0, "listed": 0}
    assert fed(state, 3_700.0) == {"": 0, "listed": 0}
    assert fed(state, 3_700.0 + interval, none=7) == {"": 7, "listed": 0}
