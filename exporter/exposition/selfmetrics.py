"""What the exporter says about servers and itself, also while a server is down."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from exporter.declare import Block, Rows, block, counter, gauge
from exporter.exposition.render import Family, render_blocks
from exporter.polling.flight import Flight
from exporter.polling.server import Watched
from exporter.polling.snapshot import Snapshot, State
from exporter.polling.tasks import Task

SERVER: tuple[Block, ...] = (
    block(
        gauge("db_up", "up", help="1 if the last connect and ping worked."),
        gauge("db_start_time_seconds", "start", help="When the server started, in Unix time on its own clock."),
        counter(
            "db_identity_changes_total",
            "changes",
            help="Times that another server answered at this address, or this one changed its role.",
        ),
        gauge(
            "database_exporter_connections", "connections", help="Sessions that the exporter has open on the server."
        ),
    ),
    block(
        gauge("db_info", "info", help="1; version, flavor and role of the server."),
        labels=("version", "flavor", "role", "db_cluster"),
    ),
    block(
        gauge(
            "database_exporter_server_failure",
            "failed",
            help="1 with the reason why the server did not answer the last scrape.",
        ),
        labels=("reason",),
    ),
)

DATABASES: tuple[Block, ...] = (
    block(
        gauge(
            "database_exporter_database_failure",
            "one",
            help="1 with the reason why a database can't be entered: what is told only inside it is missing.",
        ),
        labels=("database", "reason"),
    ),
)

THRESHOLDS: tuple[Block, ...] = (
    block(
        gauge("db_threshold", "value", help="A threshold of the config, which rules, panels and pages compare with."),
        labels=("signal", "severity"),
    ),
)

COLLECTORS: tuple[Block, ...] = (
    block(
        gauge(
            "database_exporter_collector_success",
            "success",
            help="1 if the collector's last run worked, 0 if not; absent where it is not supported or switched off.",
        ),
        gauge("database_exporter_collector_duration_seconds", "duration", help="How long its last run took."),
        gauge("database_exporter_collector_age_seconds", "age", help="Age of what is shown of it."),
        gauge("database_exporter_collector_series", "series", help="Series that it shows."),
        gauge(
            "database_exporter_collector_interval_seconds",
            "pace",
            help="From one run of the collector to the next, of those that come more seldom than they are meant to "
            "where they would take the server more than their part of a processor.",
        ),
        gauge(
            "database_exporter_sample_interval_seconds",
            "interval",
            help="From one sample to the next, where the collector is sampled: longer where a sample takes the server "
            "more than 0.5 % of a processor, absent while sampling is suspended for that.",
        ),
        labels=("collector",),
    ),
    block(
        gauge("database_exporter_collector_state", "one", help="1 with the collector's state."),
        labels=("collector", "state"),
    ),
)

FAILURES: tuple[Block, ...] = (
    block(
        gauge(
            "database_exporter_collector_failure",
            "one",
            help="1 with the reason why the collector's last run failed, or why it is not supported.",
        ),
        labels=("collector", "reason"),
    ),
)

COSTS: tuple[Block, ...] = (
    block(
        counter("database_exporter_queries_total", "queries", help="Statements that the exporter has sent."),
        counter(
            "database_exporter_database_seconds_total",
            "seconds",
            help="Time that the exporter has waited for the server; the collector `session` is its own upkeep.",
        ),
        labels=("collector",),
    ),
)

DROPPED: tuple[Block, ...] = (
    block(
        counter("database_exporter_series_dropped_total", "dropped", help="Series left out, by reason."),
        labels=("collector", "reason"),
    ),
)

PEER_POSTGRES: tuple[Block, ...] = (
    block(
        gauge("pg_up", "up", help="1 if the last connect and ping worked.", drop_in=True),
        gauge("pg_exporter_last_scrape_error", "error", help="1 if the last scrape had an error.", drop_in=True),
        gauge("pg_exporter_last_scrape_duration_seconds", "duration", help="How long it took.", drop_in=True),
        counter("pg_exporter_scrapes_total", "scrapes", help="Scrapes of this server so far.", drop_in=True),
    ),
)

PEER_POSTGRES_COLLECTORS: tuple[Block, ...] = (
    block(
        gauge("pg_scrape_collector_success", "success", help="1 if its last run worked.", drop_in=True),
        gauge("pg_scrape_collector_duration_seconds", "duration", help="How long it took.", drop_in=True),
        labels=("collector",),
    ),
)

PEER_MYSQL: tuple[Block, ...] = (
    block(
        gauge("mysql_up", "up", help="1 if the last connect and ping worked.", drop_in=True),
        gauge("mysql_exporter_last_scrape_error", "error", help="1 if the last scrape had an error.", drop_in=True),
        counter("mysql_exporter_scrapes_total", "scrapes", help="Scrapes of this server so far.", drop_in=True),
    ),
)

PEER_MYSQL_COLLECTORS: tuple[Block, ...] = (
    block(
        gauge("mysql_exporter_collector_success", "success", help="1 if its last run worked.", drop_in=True),
        gauge("mysql_exporter_collector_duration_seconds", "duration", help="How long it took.", drop_in=True),
        labels=("collector",),
    ),
)

USER_QUERIES: tuple[Block, ...] = (
    block(
        gauge(
            "pg_exporter_user_queries_load_error",
            "error",
            help="1 if something is wrong with a file of user-defined queries.",
            drop_in=True,
        ),
        labels=("filename", "hashsum"),
    ),
)

_PEERS = {"postgres": (PEER_POSTGRES, PEER_POSTGRES_COLLECTORS), "mysql": (PEER_MYSQL, PEER_MYSQL_COLLECTORS)}

ALL: Mapping[str, tuple[Block, ...]] = {
    "every server": SERVER + DATABASES + THRESHOLDS + COLLECTORS + FAILURES + COSTS + DROPPED,
    "PostgreSQL servers": PEER_POSTGRES + PEER_POSTGRES_COLLECTORS + USER_QUERIES,
    "MySQL and MariaDB servers": PEER_MYSQL + PEER_MYSQL_COLLECTORS,
}


def about(watched: Watched, flight: Flight, outcomes: Iterable[Snapshot]) -> list[Family]:
    """What is said of one server on every page it is on, whatever happened."""
    outcomes = list(outcomes)
    now = time.monotonic()
    collectors = [_collector_row(watched, watched.tasks[item.collector], item, now) for item in outcomes]
    server = _server_row(watched, flight, outcomes)
    costs = [
        {"collector": "session", "queries": watched.sessions.cost.queries, "seconds": watched.sessions.cost.seconds}
    ]
    costs += [
        {"collector": task.name, "queries": task.cost.queries, "seconds": task.cost.seconds}
        for task in watched.tasks.values()
        if task.cost.queries
    ]
    dropped = [
        {"collector": task.name, "reason": reason, "dropped": count}
        for task in watched.tasks.values()
        for reason, count in list(task.dropped.items())
    ]
    failures = [item for item in collectors if item["reason"] is not None]
    thresholds = [
        {"signal": signal, "severity": severity, "value": float(value)}
        for signal, severities in watched.config.thresholds.items()
        for severity, value in severities.items()
    ]
    closed = [
        {"database": name, "reason": failure.reason, "one": 1}
        for name, failure in watched.closed.failures.items()
        if watched.sessions.up
    ]
    files = [
        {"filename": name, "hashsum": digest, "error": int(wrong)}
        for name, digest, wrong in watched.config.files_loaded
    ]
    peer, peer_collectors = _PEERS[watched.engine.name]
    pages: list[tuple[tuple[Block, ...], list[dict[str, Any]]]] = [
        (SERVER, [server]),
        (DATABASES, closed),
        (THRESHOLDS, thresholds),
        (COLLECTORS, collectors),
        (FAILURES, failures),
        (COSTS, costs),
        (DROPPED, dropped),
        (USER_QUERIES, files),
        (peer, [server]),
        (peer_collectors, [item for item in collectors if item["success"] is not None]),
    ]
    families: list[Family] = []
    for blocks, items in pages:
        if items:
            rows = Rows.of(_columns(blocks), items)
            families.extend(render_blocks(blocks, rows, watched.name, watched.engine.name, None).families)
    return families


def up_alone(watched: Watched) -> list[Family]:
    """db_up and nothing else: what /metrics shows of each of very many servers; nothing while it is not known."""
    up = None if watched.config.paused or watched.sessions.up is None else int(watched.sessions.up)
    rows = Rows.of(("up",), [{"up": up}])
    return list(render_blocks((block(SERVER[0].measures[0]),), rows, watched.name, watched.engine.name, None).families)


def _columns(blocks: Iterable[Block]) -> list[str]:
    wanted: dict[str, None] = {}
    for part in blocks:
        wanted.update(dict.fromkeys(part.labels.values()))
        wanted.update(dict.fromkeys(measure.columns[0] for measure in part.measures))
    return list(wanted)


def _server_row(watched: Watched, flight: Flight, outcomes: Iterable[Snapshot]) -> dict[str, Any]:
    facts, failure = watched.sessions.facts, watched.sessions.failure
    up = None if watched.config.paused else _up(watched, flight)
    failed = any(item.state is State.FAILED for item in outcomes)
    reason = None
    if up == 0:
        reason = failure.reason if failure is not None else "timeout"
    return {
        "up": up,
        "start": facts.identity.start_time if facts and up else None,
        "changes": watched.sessions.identity_changes,
        "connections": watched.sessions.connections,
        "info": 1 if facts and up else None,
        "version": facts.version_text if facts else None,
        "flavor": facts.flavor if facts else None,
        "role": facts.role if facts else None,
        "db_cluster": watched.config.cluster,
        "failed": 1 if reason else None,
        "reason": reason,
        "error": 1 if failed or up == 0 else 0,
        "duration": flight.duration,
        "scrapes": watched.scrapes,
    }


def _up(watched: Watched, flight: Flight) -> int | None:
    """1 if this flight had an answer, 0 if it asked and had none, None if it is not known."""
    if flight.answered and watched.sessions.up:
        return 1
    # The page may be due before the flight has landed, or the flight may have come too late to ask at all.
    asked = flight.flown and (flight.duration is not None or flight.deadline.passed)
    return 0 if asked else None


def _collector_row(watched: Watched, task: Task, outcome: Snapshot, now: float) -> dict[str, Any]:
    shown = outcome if task.every is None else watched.served(task)
    ran = outcome.state in (State.OK, State.FAILED)
    sampler = watched.sampler
    return {
        "collector": task.name,
        "success": (1 if outcome.state is State.OK else 0) if ran else None,
        "duration": outcome.duration if ran else None,
        "age": max(0.0, now - shown.at) if ran and shown is not None and shown.families else None,
        "series": (shown.series if shown is not None else 0) if ran else None,
        "state": outcome.state,
        "one": 1,
        "reason": outcome.reason,
        "pace": task.interval if task.pace is not None and ran else None,
        "interval": sampler.interval if sampler is not None and sampler.task is task and ran else None,
    }
