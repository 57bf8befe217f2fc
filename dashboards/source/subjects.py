"""The panels of each subject that the alerts watch, the same for every engine."""

from dashboards.source.panels import GREEN, RED, SELECTED, Placed, Query, series, states

SERVER = "job, instance, server"
RATE = "[$__rate_interval]"


def threshold(signal: str) -> Query:
    """The thresholds of the servers shown; where they differ, the lowest, so that one line stays one line."""
    return Query(
        f'min by (severity) (db_threshold{{signal="{signal}", {SELECTED}}})',
        "{{severity}} above",
        dashed=True,
    )


def connections() -> list[Placed]:
    """Connections against the limits of the server, of roles and of databases."""
    return [
        series(
            "Connections in use",
            "Share of the connections that applications may have: the limit less the slots that are kept for "
            "administrators or taken by replicas and the exporter. At 100 % new connections are refused.",
            "percentunit",
            Query(
                f"sum without (state) (db_connections{{{SELECTED}}})\n  / on ({SERVER}) group_left ()\n"
                f"(db_connections_max{{{SELECTED}}} - on ({SERVER}) db_connections_reserved{{{SELECTED}}})",
                "{{server}}",
            ),
            threshold("connections"),
            top=1,
        ),
        series(
            "Connections by state",
            "Sessions of clients on all servers shown; choose a server to see its own. Those idle in transaction hold "
            "locks and keep old rows alive.",
            "none",
            Query(f"sum by (state) (db_connections{{{SELECTED}}})", "{{state}}"),
            stacked=True,
        ),
        series(
            "Connections of roles with a limit",
            "Share of its own limit that each role uses. At 100 % it is refused, whatever room the server has. "
            "Limits below 5 raise no alert.",
            "percentunit",
            Query(
                f"db_role_connections{{{SELECTED}}}\n  / on ({SERVER}, role) group_left ()\n"
                f"(db_role_connections_max{{{SELECTED}}} > 0)",
                "{{server}} {{role}}",
            ),
            threshold("connections"),
            top=1,
        ),
        series(
            "Connections of databases with a limit",
            "Share of its own limit that each database uses; nothing where there are no such limits. Limits below 5 "
            "raise no alert.",
            "percentunit",
            Query(
                f"db_database_connections{{{SELECTED}}}\n  / on ({SERVER}, database) group_left ()\n"
                f"(db_database_connections_max{{{SELECTED}}} > 0)",
                "{{server}} {{database}}",
            ),
            threshold("connections"),
            top=1,
        ),
    ]


def statements() -> list[Placed]:
    """Statements, their time, and slow ones."""
    return [
        series(
            "Statements",
            "Statements executed per second.",
            "ops",
            Query(f"sum by ({SERVER}) (rate(db_statements_total{{{SELECTED}}}{RATE}))", "{{server}}"),
        ),
        series(
            "Time per statement",
            "Mean time of a statement; nothing is drawn while none is executed.",
            "s",
            Query(
                f"sum by ({SERVER}) (rate(db_statement_seconds_total{{{SELECTED}}}{RATE}))\n  / on ({SERVER})\n"
                f"(sum by ({SERVER}) (rate(db_statements_total{{{SELECTED}}}{RATE})) > 0)",
                "{{server}}",
            ),
        ),
        series(
            "Slow statements",
            "Statements per second that took longer than the server's slow-statement threshold, per database.",
            "ops",
            Query(
                f"sum by ({SERVER}, database) (rate(db_slow_statements_total{{{SELECTED}}}{RATE}))",
                "{{server}} {{database}}",
            ),
        ),
        series(
            "Slow-statement threshold",
            "The threshold that each server's source really used, and the one asked for. Between the two, slow "
            "statements go unseen.",
            "s",
            Query(f"db_slow_statement_threshold_seconds{{{SELECTED}}}", "{{server}} ({{source}})"),
            threshold("slow_statements"),
        ),
    ]


def size() -> list[Placed]:
    """Databases, project schemas, and what lies beside them."""
    growth = f"max_over_time(db_size_bytes{{{SELECTED}}}[30m] offset 1d)"
    return [
        series(
            "Largest databases",
            "Size of the 20 largest databases (MySQL, MariaDB: schemas) with tables, indexes and their overhead.",
            "bytes",
            Query(f"topk(20, db_size_bytes{{{SELECTED}}})", "{{server}} {{database}}"),
        ),
        series(
            "Growth within a day",
            "How much larger each of the 20 fastest-growing databases is than a day ago. Nothing for younger ones.",
            "percentunit",
            Query(
                f"topk(20,\n  (db_size_bytes{{{SELECTED}}} - on ({SERVER}, database) group_left () {growth})\n"
                f"    / on ({SERVER}, database) group_left ()\n  ({growth} > 0)\n)",
                "{{server}} {{database}}",
            ),
            threshold("size_growth"),
        ),
        series(
            "Largest project schemas",
            "Size of the 20 largest schemas of shared databases.",
            "bytes",
            Query(f"topk(20, db_schema_size_bytes{{{SELECTED}}})", "{{server}} {{database}} {{schema}}"),
        ),
        series(
            "Storage outside the databases",
            "Logs and other files that fill disks beside the databases: WAL, binary and relay logs, undo, redo, "
            "temporary files, and what replication slots keep.",
            "bytes",
            Query(f"db_storage_bytes{{{SELECTED}}}", "{{server}} {{kind}}"),
        ),
    ]


def cache() -> list[Placed]:
    """How much of what is read comes from memory."""
    hits = f"sum by ({SERVER}) (rate(db_cache_hits_total{{{SELECTED}}}{RATE}))"
    misses = f"sum by ({SERVER}) (rate(db_cache_misses_total{{{SELECTED}}}{RATE}))"
    return [
        series(
            "Cache hit ratio",
            "Share of page reads served from the server's own cache within the interval, not since its start; nothing "
            "is drawn while nothing is read.",
            "percentunit",
            Query(f"{hits}\n  / on ({SERVER})\n({hits} + on ({SERVER}) {misses} > 0)", "{{server}}"),
            top=1,
        ),
        series(
            "Cache misses",
            "Page reads per second that the server's cache did not have, per database.",
            "ops",
            Query(
                f"sum by ({SERVER}, database) (rate(db_cache_misses_total{{{SELECTED}}}{RATE}))",
                "{{server}} {{database}}",
            ),
        ),
    ]


def replication() -> list[Placed]:
    """How far replicas are behind, and whether they run."""
    return [
        series(
            "Replication lag",
            "Seconds that a replica is behind its source, less the delay that is configured on purpose. Absent where "
            "it is unknown, as it is while replication is stopped. A member of a MySQL group has it whether it takes "
            "writes or not.",
            "s",
            Query(
                f"(\n  db_replication_lag_seconds{{{SELECTED}}}\n    - on ({SERVER}, channel) group_left ()\n"
                f"  db_replication_delay_seconds{{{SELECTED}}}\n  or db_replication_lag_seconds{{{SELECTED}}}\n)\n"
                f'  and on ({SERVER}) db_info{{role="replica", {SELECTED}}}\n'
                f'or db_replication_lag_seconds{{channel="group_replication_applier", {SELECTED}}}',
                "{{server}} {{channel}}",
            ),
            threshold("replication_lag"),
        ),
        series(
            "Replication lag in bytes",
            "What a replica has yet to apply.",
            "bytes",
            Query(f"db_replication_lag_bytes{{{SELECTED}}}", "{{server}} {{channel}}"),
        ),
        states(
            "Replication running",
            "Whether a replica both receives and applies.",
            {"0": ("stopped", RED), "1": ("running", GREEN)},
            Query(f"db_replication_running{{{SELECTED}}}", "{{server}} {{channel}}"),
            width=24,
            height=6,
        ),
    ]
