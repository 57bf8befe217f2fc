"""Slow statements by the server's own status counter, over times in which it counts by other things."""

from __future__ import annotations

import pytest

from exporter.config.model import ServerConfig
from exporter.declare import Context, Rows
from exporter.facts import Facts, Identity, Role
from exporter.failure import Failure
from exporter.subjects.statements.status import SlowQueries

SERVER = ServerConfig(name="tested", engine="mysql", host="127.0.0.1", port=3306)
CONTEXT = Context(SERVER, Facts("mysql", "mysql", (9, 7), "9.7", Identity("", 0, Role.PRIMARY)), 0)


def fed(state: SlowQueries, counter: int, **wrong: int) -> int:
    settings = {"long_query_time": 1, "log_queries_not_using_indexes": 0, "min_examined_row_limit": 0} | wrong
    (row,) = state.feed(Rows(("slow_queries", *settings), [(counter, *settings.values())]), CONTEXT).dicts()
    return int(row["slow"])


@pytest.mark.parametrize(
    "wrong", [{"long_query_time": 10}, {"log_queries_not_using_indexes": 1}, {"min_examined_row_limit": 1000}]
)
def test_what_is_counted_by_other_things_is_never_taken_for_slow_statements(wrong: dict[str, int]) -> None:
    state = SlowQueries()
    assert fed(state, 100) == 0
    assert fed(state, 105) == 5
    for counter in (106, 50_000):
        with pytest.raises(Failure):
            fed(state, counter, **wrong)
    assert fed(state, 100_105) == 5
    assert fed(state, 100_107) == 7


def test_what_sessions_did_that_stay_open_over_a_flush_is_not_counted_again() -> None:
    state = SlowQueries()
    fed(state, 300)
    assert fed(state, 507) == 207
    # FLUSH GLOBAL STATUS takes off what sessions did that have ended.
    assert fed(state, 505) == 207
    assert fed(state, 510) == 212
