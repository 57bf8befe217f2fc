"""The overview: all servers of all engines, and for each what the alerts watch."""

from grafana_foundation_sdk.models import dashboard as m

from dashboards.source import subjects
from dashboards.source.layout import Row, dashboard
from dashboards.source.panels import (
    GREEN,
    ORANGE,
    RED,
    SELECTED,
    SEVERITIES,
    Placed,
    Query,
    firing,
    number,
    rows,
    series,
    value_names,
)

SERVER, RATE = subjects.SERVER, subjects.RATE
# Where a server is down all its collectors fail: that is said once, elsewhere.
FAILED = f"database_exporter_collector_success{{{SELECTED}}} == 0 and on ({SERVER}) db_up{{{SELECTED}}} == 1"
UP = {"0": ("down", RED), "1": ("up", GREEN)}
# Zero while there are servers: where the exporter is gone nothing is known, and nothing is green.
NONE = f"0 * sum(db_up{{{SELECTED}}})"


def build() -> m.Dashboard:
    """The dashboard, as alerts link to it."""
    return dashboard(
        "database-overview",
        "Databases / Overview",
        "All PostgreSQL, MySQL and MariaDB servers: health, connections, statements, sizes, cache, replication.",
        [
            Row("Health", _health()),
            Row("Connections", subjects.connections()),
            Row("Statements", subjects.statements()),
            Row("Size and growth", subjects.size()),
            Row("Cache", subjects.cache()),
            Row("Replication", subjects.replication()),
            Row("The exporter itself", _exporter()),
        ],
    )


def _health() -> list[Placed]:
    return [
        number(
            "Servers down",
            "Servers to which the exporter cannot connect, or that do not answer its first query.",
            "none",
            f"sum(1 - db_up{{{SELECTED}}})",
            (None, GREEN),
            (1, RED),
        ),
        number(
            "Servers up",
            "Servers that the exporter can use.",
            "none",
            f"sum(db_up{{{SELECTED}}})",
            (None, GREEN),
        ),
        number(
            "Alerts firing",
            "Alerts that fire now, warnings and worse.",
            "none",
            f"count({firing('warning|critical')}) or vector(0)",
            (None, GREEN),
            (1, ORANGE),
        ),
        number(
            "Replication stopped",
            "Replicas, or channels of them, that do not both receive and apply.",
            "none",
            f"sum(1 - db_replication_running{{{SELECTED}}}) or {NONE}",
            (None, GREEN),
            (1, RED),
        ),
        number(
            "Waiting for locks",
            "Sessions that wait for a lock of another session.",
            "none",
            f"sum(db_lock_waiting_sessions{{{SELECTED}}}) or {NONE}",
            (None, GREEN),
            (1, ORANGE),
        ),
        number(
            "Collectors that failed",
            "Collectors whose last run failed, on servers that are up. The last row of panels names them.",
            "none",
            f"count({FAILED}) or {NONE}",
            (None, GREEN),
            (1, ORANGE),
        ),
        rows(
            "Alerts",
            "What fires now, the worst first. Each alert has a runbook in docs/runbooks.",
            {
                "severity": "Severity",
                "alertname": "Alert",
                "server": "Server",
                "instance": "Instance",
                "database": "Database",
                "role": "Role",
            },
            Query(firing()),
            mappings={"Severity": value_names({name: (name, color) for name, color in SEVERITIES.items()})},
            order="Severity",
            empty="No alert fires",
            width=10,
        ),
        rows(
            "Servers",
            "Every server with its version and role; those that are down come first and have neither.",
            {
                "server": "Server",
                "Value #B": "State",
                "role": "Role",
                "flavor": "Flavor",
                "version": "Version",
                "Value #C": "Running for",
            },
            Query(f"db_info{{{SELECTED}}}"),
            Query(f"max by ({SERVER}) (db_up{{{SELECTED}}})"),
            Query(f"max by ({SERVER}) (time() - db_start_time_seconds{{{SELECTED}}})"),
            units={"Running for": "s"},
            mappings={"State": value_names(UP)},
            order="State",
            empty="No server is known: is Prometheus scraping the exporter?",
            width=14,
        ),
    ]


def _exporter() -> list[Placed]:
    return [
        rows(
            "Failed collectors",
            "Collectors whose last run failed, databases that can't be entered, and why, on servers that are up. "
            "`database-exporter check` says how to repair it.",
            {"server": "Server", "collector": "Collector", "database": "Database", "reason": "Reason"},
            Query(
                f"(database_exporter_collector_failure{{{SELECTED}}}\n  and on ({SERVER}, collector) ({FAILED}))\n"
                f"or database_exporter_database_failure{{{SELECTED}}}"
            ),
            order="Server",
            empty="No collector failed",
        ),
        series(
            "Age of collected data",
            "Seconds since the run that is longest ago, on each server. Slow collectors run on their own schedule; "
            "past three intervals their data is dropped.",
            "s",
            Query(
                f"max by ({SERVER}) (database_exporter_collector_age_seconds{{{SELECTED}}})",
                "{{server}}",
            ),
        ),
        series(
            "Database time used by the exporter",
            "Time that each server works for the exporter: 100 % would be one session that is always busy.",
            "percentunit",
            Query(
                f"sum by ({SERVER}) (rate(database_exporter_database_seconds_total{{{SELECTED}}}{RATE}))",
                "{{server}}",
            ),
        ),
        series(
            "Duration of scrapes",
            "How long Prometheus waits for each target that answers for a server.",
            "s",
            Query(
                'scrape_duration_seconds{job=~"$job", instance=~"$instance"}\n'
                f"  and on (job, instance) db_up{{{SELECTED}}}",
                "{{instance}}",
            ),
        ),
    ]
