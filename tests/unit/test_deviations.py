"""The list of what differs on purpose: every entry is proven by a test, and the document is written from it."""

from __future__ import annotations

import ast

import pytest

from exporter.compare.deviations import Deviation, applying, of
from exporter.compare.deviations.__main__ import FILE, document
from exporter.compare.pages import parse
from exporter.compare.series import Reading, compare
from exporter.gates import RECOVERING
from exporter.registry import collectors_by_name
from tests.exporters import ROOT

ALL = [*of("postgres"), *of("mysql")]


def _name(item: Deviation) -> str:
    return " ".join((item.metrics[0], *item.aspects[:1]))


@pytest.mark.parametrize("item", ALL, ids=_name)
def test_the_proof_is_there(item: Deviation) -> None:
    file, _, name = item.test.partition("::")
    tests = {node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)}
    assert name in tests if name else any(test.startswith("test_") for test in tests)


@pytest.mark.parametrize("item", ALL, ids=_name)
def test_an_entry_says_what_and_why(item: Deviation) -> None:
    assert all((item.metrics, item.theirs, item.ours, item.why, item.source))
    assert not any(text.endswith(".") for text in (item.theirs, item.ours, item.why))
    assert not item.ignore or item.aspects == ("label",)
    # Of a type that is another anything could be said.
    assert item.kinds != ("*", "*") or "type" not in item.aspects or item.metrics[0] == "go_*"


def test_no_entry_explains_everything() -> None:
    drop_in = {measure.name for item in collectors_by_name().values() for measure in item.measures() if measure.drop_in}
    for item in ALL:
        covered = sum(item.is_about(name) for name in drop_in)
        assert covered < len(drop_in) / 2, item.metrics


@pytest.mark.parametrize("item", [item for item in of("postgres") if {"missing", "value"} & {*item.aspects}], ids=_name)
def test_what_is_excused_has_a_condition(item: Deviation) -> None:
    """Else the metric could go, or show any number."""
    whole = ("pg_stat_statements_*", "pg_stat_progress_vacuum_max_dead_tuples", "go_*")
    own_work = ("pg_exporter_last_scrape_duration_seconds",)
    bound = item.value is not None or item.holds is not None or bool(item.labels)
    assert bound or item.partly or item.when is RECOVERING or item.metrics[0] in whole + own_work


def said(theirs: str, ours: str, server: str = 'version="18.1",role="replica"') -> list[tuple[str, str]]:
    page = parse(f'db_info{{flavor="postgres",{server}}} 1\n{ours}')
    result = compare([Reading(page, parse(theirs), page)], applying(of("postgres"), page))
    return [(item.aspect, item.metric) for item in result.unexplained()]


@pytest.mark.parametrize(
    "line",
    [
        'pg_database_size_bytes{datname="shop"} 1e6',
        "pg_replication_lag_seconds 0",
        'pg_stat_wal_receiver_flushed_lsn{slot_name="",status="streaming"} 1e6',
        'pg_stat_database_numbackends{datname="shop"} 4',
        'pg_stat_activity_count{application_name="",backend_type="client backend",state="idle"} 1',
        'pg_process_idle_seconds_count{application_name="",state="idle"} 1',
        'pg_scrape_collector_success{collector="wal"} 1',
        "pg_exporter_last_scrape_error 0",
    ],
)
def test_no_entry_excuses_that_a_metric_is_gone(line: str) -> None:
    metric = line.partition("{")[0].partition(" ")[0]
    assert ("missing", metric) in said(line + "\n", "")


def test_values_are_excused_as_far_as_the_entry_goes() -> None:
    replica, receiver = "pg_replication_is_replica 1\n", "pg_stat_wal_receiver_flushed_lsn 1\n"
    lag = "pg_replication_lag_seconds "
    # A dead receiver, for which theirs shows 0.
    assert said(f"{lag}0\n", f"{lag}999\n{replica}") == []
    differs = [("value", "pg_replication_lag_seconds")]
    assert said(f"{lag}0\n", f"{lag}999\n{replica}{receiver}") == differs
    assert said(f"{lag}3\n", f"{lag}999\n{replica}") == differs
    assert said(f"{lag}0\n", f"{lag}999\npg_replication_is_replica 0\n", 'version="18.1",role="primary"') == differs
    # The age of the last transaction, which theirs shows while anything is not replayed.
    age = "pg_replication_last_replay_seconds 120.5\n"
    assert said(f"{lag}120.5\n{age}", f"{lag}4\n{age}{replica}{receiver}") == []
    assert said(f"{lag}120.5\n{age}", f"{lag}500\n{age}{replica}{receiver}") == differs
    assert said(f"{lag}60\n{age}", f"{lag}4\n{age}{replica}{receiver}") == differs
    # In point-in-time recovery there is none.
    assert said(f"{lag}3\n", replica, 'version="18.1",role="recovering"') == []
    assert said(f"{lag}3\n", replica) == [("missing", "pg_replication_lag_seconds")]
    sessions = 'pg_stat_database_numbackends{datname="shop"} '
    assert said(f"{sessions}4\n", f"{sessions}6\n") == []
    assert said(f"{sessions}4\n", f"{sessions}4000\n") == [("value", "pg_stat_database_numbackends")]
    locks = 'pg_locks_count{datname="shop",mode="%s"} %d\n'
    for mode, more, excused in (
        ("accesssharelock", 2, True),
        ("accesssharelock", 200, False),
        ("exclusivelock", 2, False),
    ):
        found = said(locks % (mode, 1), locks % (mode, 1 + more))
        assert found == ([] if excused else [("value", "pg_locks_count")])
    # Theirs has no sizes at all when one can't be had; what it has is here, too.
    size = 'pg_database_size_bytes{datname="shop"} 1\n'
    assert said(size, "pg_database_size_bytes 1\n")[0] == ("label", "pg_database_size_bytes")
    # Rows and bytes, since 17.
    dead = "pg_stat_progress_vacuum_num_dead_tuples "
    assert said(f"{dead}24576\n", f"{dead}10\n", 'version="18.1",role="primary"') == []
    for theirs, ours, version in ((10, 24576, "18.1"), (24576, 10, "16.9")):
        server = f'version="{version}",role="primary"'
        assert said(f"{dead}{theirs}\n", f"{dead}{ours}\n", server) == [
            ("value", "pg_stat_progress_vacuum_num_dead_tuples")
        ]


def test_the_document_is_current() -> None:
    text = FILE.read_text()
    assert text.count("<!-- deviations: ") == 2
    assert document(text) == text, "docs/migrating.md is not current: run make docs"
