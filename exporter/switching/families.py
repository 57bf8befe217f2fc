"""Which metrics each collector of postgres_exporter has: here their collectors may be others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

# From its sources, 0.19.1 and 0.20.1: by collector the metrics that it gives, as a pattern of the whole name.
COLLECTORS: Mapping[str, str] = {
    "buffercache_summary": "pg_buffercache_summary_.*",
    "database": "pg_database_(size_bytes|connection_limit)",
    "database_wraparound": "pg_database_wraparound_.*",
    "locks": "pg_locks_count",
    "long_running_transactions": "pg_long_running_transactions.*",
    "postmaster": "pg_postmaster_.*",
    "process_idle": "pg_process_idle_.*",
    "replication": "pg_replication_(lag_seconds|is_replica|last_replay_seconds)",
    "replication_slot": "pg_replication_slot_.*",
    "replication_slots": "pg_replication_slots?_.*",
    "roles": "pg_roles_.*",
    "settings": "pg_settings_.*",
    "stat_activity": "pg_stat_activity_(count|max_tx_duration)",
    "stat_activity_autovacuum": "pg_stat_activity_autovacuum_.*",
    "stat_archiver": "pg_stat_archiver_.*",
    "stat_bgwriter": "pg_stat_bgwriter_.*",
    "stat_checkpointer": "pg_stat_checkpointer_.*",
    "stat_database": "pg_stat_database_(?!conflicts_).*",
    "stat_progress_vacuum": "pg_stat_progress_vacuum_.*",
    "stat_replication": "pg_stat_replication_(?!slots_).*",
    "stat_statements": "pg_stat_statements_.*",
    "stat_user_tables": "pg_stat_user_tables_.*",
    "stat_wal_receiver": "pg_stat_wal_receiver_.*",
    "statio_user_indexes": "pg_statio_user_indexes_.*",
    "statio_user_tables": "pg_statio_user_tables_.*",
    "wal": "pg_wal_(segments|size_bytes)",
    "xlog_location": "pg_xlog_location_.*",
}
DEFAULT_METRICS = (
    "pg_stat_database_conflicts_.*",
    COLLECTORS["stat_replication"],
    "pg_replication_slots_(active|pg_wal_lsn_diff)",
    COLLECTORS["stat_archiver"],
    COLLECTORS["stat_activity"],
    "pg_static",
)
"""What its --disable-default-metrics leaves out, and its --metric-prefix renames: not the metrics of its collectors."""


def matcher(patterns: Iterable[str]) -> re.Pattern[str]:
    """One pattern that matches the whole of a metric's name; one that never does if there are none."""
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns) or r"(?!)")
