"""What becomes of a collector on a server: run, unsupported or failed, with the reason that can be mended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from exporter.config.model import FlagSettings, ServerConfig
from exporter.declare import Collector, Query, Rows, block, gauge
from exporter.engines.deadline import Deadline
from exporter.engines.known import ENGINES
from exporter.facts import Facts, Identity, Role
from exporter.failure import Failure, Reason
from exporter.gates import ANY, Gate, extension, granted, pg
from exporter.polling.runs import fetch
from exporter.polling.server import Watched
from exporter.polling.shapes import pivoted
from exporter.polling.snapshot import Snapshot, State
from exporter.polling.tasks import Task

FACTS = Facts("postgres", "postgres", (15, 4), "15.4", Identity("1", 0.0, Role.PRIMARY), database="shop")
MONITOR = granted("pg_monitor", fix="GRANT pg_monitor TO {account};")
SLOW = ServerConfig.model_validate({
    "name": "s", "engine": "postgres", "host": "h", "port": 1, "timeouts": {"statement": 20}
})  # fmt: skip


def task(*gates: Gate, when: Gate = ANY, settings: Any = None, **more: Any) -> Task:
    collector = Collector(
        name="probe",
        about="A number.",
        engine="postgres",
        when=when,
        queries=tuple(Query(gate, "SELECT 1") for gate in gates or (ANY,)),
        blocks=(block(gauge("db_probe", "value", help="A number.")),),
        **more,
    )
    config = {"name": "s", "engine": "postgres", "host": "h", "port": 1}
    collectors = {} if settings is None else {"probe": settings}
    return Task.of(collector, ServerConfig.model_validate({**config, "collectors": collectors}))


@pytest.mark.parametrize(
    ("settings", "default", "enabled", "by_name"),
    [
        (None, True, True, False),
        (None, False, False, False),
        (True, False, True, True),
        (True, True, True, True),
        (False, True, False, False),
        # Settings alone switch nothing on or off.
        ({"every": "5m"}, True, True, False),
        ({"every": "5m"}, False, False, False),
        ({"enabled": True, "limit": 5}, False, True, True),
    ],
)
def test_the_config_switches(settings: Any, default: bool, enabled: bool, by_name: bool) -> None:
    made = task(settings=settings, default=default)
    assert (made.enabled, made.by_name) == (enabled, by_name)


def test_the_config_overrides_interval_and_time() -> None:
    assert task().every is None
    assert task(every=60).every == 60
    assert task(every=60, settings={"every": "2m"}).every == 120
    assert replace(task(), server=SLOW).timeout == 20
    assert task(timeout=7).timeout == 7
    assert replace(task(timeout=7), server=SLOW).timeout == 7
    assert task(timeout=7, settings={"timeout": "250ms"}).timeout == 0.25


def test_what_no_one_can_mend_is_unsupported_without_a_reason() -> None:
    made = task(when=pg(17))
    miss = made.miss(FACTS)
    assert miss is not None
    outcome = made.unsupported(miss)
    assert (outcome.state, outcome.reason, outcome.fix) == (State.UNSUPPORTED, None, None)
    assert outcome.message == "needs PostgreSQL ≥ 17"


@pytest.mark.parametrize(
    ("tables", "settings", "runs"),
    [(100, None, True), (101, None, False), (101, {"every": "5m"}, False), (101, True, True)],
)
def test_above_its_number_of_tables_it_steps_down_unless_the_config_insists(
    tables: int | None, settings: Any, runs: bool
) -> None:
    made = task(tables=100, settings=settings)
    miss = made.miss(replace(FACTS, tables=tables))
    assert (miss is None) == runs
    if miss is not None:
        outcome = made.unsupported(miss)
        assert (outcome.state, outcome.reason) == (State.UNSUPPORTED, Reason.TOO_MANY_TABLES)
        assert outcome.message == "steps down above 100 tables"
        assert outcome.fix == "collectors: {probe: true} in the config, where the server can bear it"


def test_where_nobody_could_count_the_tables_they_may_be_too_many() -> None:
    miss = task(tables=100).miss(FACTS)
    assert miss is not None
    assert (miss.text, miss.reason) == (
        "steps down above 100 tables, and nobody could count them",
        Reason.TOO_MANY_TABLES,
    )
    assert task(tables=100, settings=True).miss(FACTS) is None
    assert task().miss(FACTS) is None


class Locked:
    """A session on which whatever looks at a table closely meets a lock."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.statements = 0

    def run(self, sql: str, deadline: Deadline) -> Rows:
        self.asked.append(sql)
        if sql != "LOOK AT 0":
            raise Failure(Reason.LOCK, "locked")
        return Rows(("value",), [(1,)])


def test_where_somebody_has_locked_a_table_a_query_that_can_do_without_does() -> None:
    session = Locked()
    made, deadline = task(limit=5), Deadline.after(10)
    rows = fetch(made, Query(ANY, "LOOK AT {limit}", lockless=True), cast("Any", session), FACTS, deadline)
    assert (rows.rows, session.asked) == ([(1,)], ["LOOK AT 5", "LOOK AT 0"])


def test_where_somebody_has_locked_a_table_a_limit_of_nothing_is_no_answer() -> None:
    session = Locked()
    with pytest.raises(Failure, match="locked"):
        fetch(task(limit=5), Query(ANY, "LOOK AT {limit}"), cast("Any", session), FACTS, Deadline.after(10))
    assert session.asked == ["LOOK AT 5"]


def test_what_can_be_mended_is_unsupported_with_a_reason_and_a_fix() -> None:
    made = task(when=MONITOR)
    miss = made.miss(replace(FACTS, account='"o\'brien"'))
    assert miss is not None
    outcome = made.unsupported(miss)
    assert (outcome.state, outcome.reason) == (State.UNSUPPORTED, Reason.PERMISSION)
    assert outcome.fix == 'GRANT pg_monitor TO "o\'brien";'


@pytest.mark.parametrize(("gate", "reason"), [(pg(17), Reason.ERROR), (MONITOR, Reason.PERMISSION)])
def test_what_was_asked_for_by_name_fails(gate: Gate, reason: Reason) -> None:
    made = task(when=gate, settings=True)
    miss = made.miss(FACTS)
    assert miss is not None
    outcome = made.unsupported(miss)
    assert (outcome.state, outcome.reason) == (State.FAILED, reason)


@pytest.mark.parametrize(("gate", "failed"), [(pg(17), False), (MONITOR, True)])
def test_what_a_flag_of_another_exporter_asks_for_fails_if_it_can_be_mended(gate: Gate, failed: bool) -> None:
    made = replace(task(when=gate), settings=FlagSettings(enabled=True))
    miss = made.miss(FACTS)
    assert miss is not None
    assert made.unsupported(miss).state is (State.FAILED if failed else State.UNSUPPORTED)


def test_of_several_closed_queries_the_one_that_can_be_mended_is_told() -> None:
    miss = task(pg(17), pg(13) & extension("pg_stat_statements"), pg(16)).miss(FACTS)
    assert miss is not None
    assert miss.fix == "in database shop: CREATE EXTENSION pg_stat_statements;"
    assert task(pg(17), pg(13)).miss(FACTS) is None


@pytest.mark.parametrize("reason", list(Reason))
def test_a_failure_at_run_time(reason: Reason) -> None:
    failure = Failure(reason, "why", fix="what to do")
    soft = reason in {Reason.PERMISSION, Reason.MISSING_EXTENSION}
    outcome = task().fail(failure, 0.0)
    assert outcome.state is (State.UNSUPPORTED if soft else State.FAILED)
    assert task(settings=True).fail(failure, 0.0).state is State.FAILED
    assert (outcome.reason, outcome.message, outcome.fix) == (reason, "why", "what to do")


def test_names_and_values_become_one_row() -> None:
    rows = pivoted(
        Rows(
            ("Variable_name", "Value"),
            [("Uptime", "17"), ("Rate", "0.5"), ("Mode", "ON"), ("Gone", None), ("Name", "10_1")],
        )
    )
    assert rows.columns == ("uptime", "rate", "mode", "gone", "name")
    assert rows.rows == [(17, 0.5, "ON", None, "10_1")]
    assert isinstance(rows.rows[0][0], int)


def test_a_budget_is_what_the_others_leave_and_half_at_most() -> None:
    config = ServerConfig(name="s", engine="postgres", host="h", port=1, max_series=100)
    watched = Watched(config, ENGINES["postgres"], [replace(task().collector, name=name) for name in "abcd"])

    def shows(name: str, series: int) -> None:
        watched.latest[name] = Snapshot(name, State.OK, 0.0, series=series)

    def budget(name: str) -> int:
        return watched.outcomes.budget(watched.tasks[name])

    shows("a", 30)
    shows("b", 50)
    assert budget("c") == 20
    # What it had itself it may have again.
    assert budget("a") == 50
    # One that floods leaves something for the others.
    assert budget("b") == 50
    # Those of objects have a share, and leave the last of it to all others.
    objects = replace(task().collector, name="o", share=0.6)
    assert watched.outcomes.budget(Task.of(objects, config)) == 15
    shows("b", 1)
    assert watched.outcomes.budget(Task.of(objects, config)) == 60
    shows("d", 500)
    assert budget("c") == 0
    assert watched.outcomes.budget(Task.of(objects, config)) == 0
