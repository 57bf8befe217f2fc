"""The metrics that every engine has of its statements in total, and from how long on a statement is slow."""

from __future__ import annotations

from exporter.config.model import DEFAULT_THRESHOLDS
from exporter.declare import Context, block, counter, gauge, histogram

# What the blocks below are fed from. Seconds throughout; a missing value is None, a database that is not known too.
COLUMNS = ("database", "statements", "seconds", "slow", "source", "threshold", "durations")

# What an older extension cannot tell apart; with its default, track = top, there are none.
_NESTED = "pg_stat_statements before 1.9 with track = all counts those inside functions again."
_PREPARED = "What is prepared by the binary protocol has no database on MariaDB and MySQL before 9."
# Digests are by schema and what threads did is not, so the one can't be taken off the other.
_APPLIED = "Replicas of MySQL and MariaDB with performance_schema have what they apply, too."
_FAILED = "PostgreSQL has none that failed or were cancelled."

TOTALS = block(
    counter(
        "db_statements_total",
        "statements",
        help="Statements that clients executed since the exporter began to look, counted on over resets and evictions"
        f"; {_NESTED} {_PREPARED} {_APPLIED} {_FAILED}",
    ),
    counter(
        "db_statement_seconds_total",
        "seconds",
        help="Time in statements of clients since the exporter began to look, counted on over resets and evictions; "
        f"{_NESTED} {_PREPARED} {_APPLIED} {_FAILED}",
    ),
    labels=("database",),
    merge="sum",
)

SLOW = block(
    counter(
        "db_slow_statements_total",
        "slow",
        help="Statements that took at least db_slow_statement_threshold_seconds. The source statements is an estimate: "
        "of the calls of a statement between two readings, all if their mean is over the threshold, one if only "
        "their longest is. The source histogram counts slow statements inside stored programs beside the call, and "
        "those that a replica applies. The source status has one more on MySQL when a replica disconnects. The source "
        "log is the server's own slow log, in which MySQL has no ALTER TABLE and the like without "
        "log_slow_admin_statements.",
    ),
    labels=("database", "source"),
    merge="sum",
)

THRESHOLD = block(
    gauge(
        "db_slow_statement_threshold_seconds",
        "threshold",
        help="From how long on a statement counts in db_slow_statements_total, as its source really has it.",
    ),
    labels=("source",),
    merge="max",
)

DURATIONS = block(
    histogram(
        "db_statement_duration_seconds",
        "durations",
        help="How long statements took, those inside stored programs and those that a replica applies too, since the "
        "exporter began to look.",
    ),
)


def slow_threshold(context: Context) -> float:
    """The threshold for slow statements that the config has for this server, in seconds."""
    limits = context.server.thresholds.get("slow_statements") or DEFAULT_THRESHOLDS["slow_statements"]
    return float(limits["warning"] if "warning" in limits else min(limits.values()))
