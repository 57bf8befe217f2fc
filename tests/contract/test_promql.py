"""In a real Prometheus, rules and panels have the same answers over two targets of ours as over two of theirs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.contract.peers import scene_exporters
from tests.contract.scene import scene
from tests.live import settled
from tests.providers.base import DatabaseServer
from tests.providers.fleet import Fleet
from tests.providers.tools import Prometheus

SCRAPE_SECONDS = 2
# JOB stands for the job, the one thing that tells the two apart. Each exporter sees the other's sessions.
STEADY = (
    "pg_up{JOB} == 1",
    "pg_replication_is_replica{JOB}",
    "count by (instance) (pg_settings_max_connections{JOB})",
    (
        'sum by (instance) (pg_stat_activity_count{JOB,usename!~"exporter|peer"}) '
        "/ on (instance) pg_settings_max_connections{JOB}"
    ),
    'sum by (datname) (pg_stat_activity_count{JOB,usename!~"exporter|peer"}) > 0',
    (
        "sum by (instance) (pg_settings_max_connections{JOB}) "
        "- sum by (instance) (pg_settings_superuser_reserved_connections{JOB}) > 10"
    ),
    "pg_settings_shared_buffers_bytes{JOB} / pg_settings_effective_cache_size_bytes{JOB}",
    "pg_settings_autovacuum_vacuum_scale_factor{JOB} * 100",
    "pg_settings_checkpoint_timeout_seconds{JOB} == bool 3600",
    'pg_database_size_bytes{JOB,datname="tenant"} > bool 1e6',
    'topk by (instance) (1, pg_database_connection_limit{JOB,datname!~"template.*"})',
    'sum by (datname, mode) (pg_locks_count{JOB,mode=~"accessexclusivelock|rowexclusivelock"}) > 0',
    'max by (instance) (pg_locks_count{JOB,mode="accessexclusivelock",datname="tenant"})',
    "count by (instance) (pg_replication_slot_slot_is_active{JOB} == 0)",
    "pg_replication_slot_slot_is_active{JOB} unless on (instance) (pg_replication_is_replica{JOB} == 1)",
    "sum by (instance, slot_type) (pg_replication_slot_slot_is_active{JOB})",
    "pg_replication_lag_seconds{JOB} > bool 60 and on (instance) (pg_replication_is_replica{JOB} == 1)",
    (
        'pg_stat_user_tables_n_dead_tup{JOB,datname="shop",relname!~"swept.*"} '
        "> on (instance) group_left () "
        "(pg_settings_autovacuum_vacuum_threshold{JOB} + 0 * pg_settings_autovacuum_vacuum_scale_factor{JOB})"
    ),
    (
        'pg_stat_user_tables_n_live_tup{JOB,relname="orders",datname="shop",instance="primary"} '
        '/ (pg_stat_user_tables_n_live_tup{JOB,relname="orders",datname="shop",instance="primary"} '
        '+ pg_stat_user_tables_n_dead_tup{JOB,relname="orders",datname="shop",instance="primary"})'
    ),
    'time() - pg_stat_user_tables_last_vacuum{JOB,relname="orders",datname="shop",instance="primary"} < bool 86400',
    'sum by (relname) (pg_stat_user_tables_table_size_bytes{JOB,datname="shop"})',
    'count by (datname) (pg_statio_user_tables_heap_blocks_hit{JOB,datname="shop"})',
    "pg_long_running_transactions{JOB} > bool 0",
    "count(pg_stat_progress_vacuum_phase{JOB} == 1) by (phase)",
    'label_replace(pg_roles_connection_limit{JOB,rolname="shopkeeper"}, "who", "$1", "rolname", "(.*)")',
    'absent(pg_stat_database_numbackends{JOB,datname="nowhere"})',
)
MOVING = (
    'sum by (datname) (rate(pg_stat_database_xact_commit{JOB,datname="tenant",instance="primary"}[20s]))',
    'sum by (instance) (rate(pg_stat_database_tup_inserted{JOB,datname="tenant",instance="primary"}[20s]))',
    (
        'rate(pg_stat_database_blks_hit{JOB,datname="tenant",instance="primary"}[20s]) '
        '/ (rate(pg_stat_database_blks_hit{JOB,datname="tenant",instance="primary"}[20s]) '
        '+ rate(pg_stat_database_blks_read{JOB,datname="tenant",instance="primary"}[20s]))'
    ),
    "max by (instance) (pg_stat_activity_max_tx_duration{JOB})",
    "time() - pg_postmaster_start_time_seconds{JOB}",
)
APART = ("job", "server")

Answer = dict[frozenset[tuple[str, str]], float]


@pytest.fixture(scope="module")
def prometheus_of_both(
    postgres: DatabaseServer, fleet: Fleet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Scrape a pair through ours, found through /sd, and through one of theirs for each server; with some load."""
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(scene(fleet, postgres.name))
        exporter, peers = scene_exporters(fleet, made, tmp_path_factory.mktemp("promql"), stack)
        stack.enter_context(_load(made.primary))
        theirs = [
            {"targets": [url.split("/")[2]], "labels": {"instance": role}} for role, url in peers.items()
        ]  # fmt: skip
        prometheus = Prometheus(
            fleet.workspace,
            {
                "global": {"scrape_interval": f"{SCRAPE_SECONDS}s"},
                "scrape_configs": [
                    {"job_name": "ours", "http_sd_configs": [{"url": f"{exporter.url}/sd", "refresh_interval": "5s"}]},
                    {"job_name": "theirs", "static_configs": theirs},
                ],
            },
        )
        prometheus.start()
        stack.callback(prometheus.stop)
        prometheus.wait_for_targets(4)
        yield prometheus


@pytest.mark.parametrize("expression", STEADY)
def test_what_stands_still(prometheus_of_both: Prometheus, expression: str) -> None:
    def different() -> list[tuple[Answer, Answer]]:
        theirs, ours = (ask(prometheus_of_both, expression, job) for job in ("theirs", "ours"))
        return [] if theirs and theirs == ours else [(theirs, ours)]

    assert settled(different) == []


@pytest.mark.parametrize("expression", MOVING)
def test_what_moves(prometheus_of_both: Prometheus, expression: str) -> None:
    """The two are scraped at different moments, so their rates are a little apart."""

    def different() -> list[tuple[Answer, Answer]]:
        theirs, ours = (ask(prometheus_of_both, expression, job) for job in ("theirs", "ours"))
        same = theirs and theirs.keys() == ours.keys() and all(theirs.values())
        near = same and all(ours[key] == pytest.approx(value, rel=0.25) for key, value in theirs.items())
        return [] if near else [(theirs, ours)]

    assert settled(different) == []


def ask(prometheus: Prometheus, expression: str, job: str) -> Answer:
    found: list[dict[str, Any]] = prometheus.query(expression.replace("JOB", f'job="{job}"'))
    return {
        frozenset((name, value) for name, value in item["metric"].items() if name not in APART): float(item["value"][1])
        for item in found
    }


@contextlib.contextmanager
def _load(server: DatabaseServer) -> Iterator[None]:
    """Write a little, at an even pace."""
    server.execute("CREATE TABLE load (id int) WITH (autovacuum_enabled = off)", "tenant")
    over = threading.Event()

    def write() -> None:
        with contextlib.suppress(psycopg.Error), server.connect("tenant", application_name="load") as client:
            while not over.wait(0.1):
                client.execute("INSERT INTO load VALUES (1)")
                client.execute("SELECT count(*) FROM load")

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10)
