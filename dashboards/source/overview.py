"""The overview: all servers of all engines, and for each what the alerts watch."""

from grafana_foundation_sdk.models import dashboard as m

from dashboards.source import subjects
from dashboards.source.layout import Row, dashboard
from dashboards.source.panels import (
    GREEN,
    ORANGE,
    RED,
    SELECTED,
    Placed,
    Query,
    number,
    rows,
    series,
    value_names,
)

RATE = "[$__rate_interval]"
UP = {"0": ("down", RED), "1": ("up", GREEN)}


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
            "Servers up",
            "Servers that the exporter can use.",
            "none",
            f"sum(max by (server) (db_up{{{SELECTED}}}))",
            (None, GREEN),
        ),
        number(
            "Servers down",
            "Servers to which the exporter cannot connect, or that do not answer its first query.",
            "none",
            f"sum(1 - max by (server) (db_up{{{SELECTED}}}))",
            (None, GREEN),
            (1, RED),
        ),
        number(
            "Alerts firing",
            "Alerts of these servers that fire now, warnings and worse.",
            "none",
            f'count(ALERTS{{alertname=~"Database.*", alertstate="firing", severity=~"warning|critical", {SELECTED}}})'
            " or vector(0)",
            (None, GREEN),
            (1, ORANGE),
        ),
        rows(
            "Alerts",
            "What fires now. Each alert has a runbook in docs/runbooks.",
            {"alertname": "Alert", "severity": "Severity", "server": "Server", "database": "Database", "role": "Role"},
            Query(f'ALERTS{{alertname=~"Database.*", alertstate="firing", {SELECTED}}}'),
        ),
        rows(
            "Servers",
            "Every server with its version and role. A server that is down has neither.",
            {
                "server": "Server",
                "engine": "Engine",
                "flavor": "Flavor",
                "version": "Version",
                "role": "Role",
                "Value #B": "State",
                "Value #C": "Running for",
            },
            Query(f"db_info{{{SELECTED}}}"),
            Query(f"db_up{{{SELECTED}}}"),
            Query(f"time() - db_start_time_seconds{{{SELECTED}}}"),
            units={"Running for": "s"},
            mappings={"State": value_names(UP)},
            width=24,
        ),
    ]


def _exporter() -> list[Placed]:
    return [
        rows(
            "Collectors that fail",
            "Collectors whose last run failed. `database-exporter check` prints why and how to repair it.",
            {"server": "Server", "collector": "Collector"},
            Query(f"database_exporter_collector_success{{{SELECTED}}} == 0"),
        ),
        series(
            "Age of collected data",
            "Seconds since each collector's last run. Slow collectors run on their own schedule; past three intervals "
            "their data is dropped.",
            "s",
            Query(f"topk(20, database_exporter_collector_age_seconds{{{SELECTED}}})", "{{server}} {{collector}}"),
        ),
        series(
            "Database time used by the exporter",
            "Seconds of work per second that the exporter causes on each server.",
            "s",
            Query(
                f"sum by (job, instance, server) (rate(database_exporter_database_seconds_total{{{SELECTED}}}{RATE}))",
                "{{server}}",
            ),
        ),
        series(
            "Duration of scrapes",
            "How long Prometheus waits for each target.",
            "s",
            Query('scrape_duration_seconds{job=~"$job", instance=~"$instance"}', "{{job}} {{instance}}"),
        ),
    ]
