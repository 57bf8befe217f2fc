"""Positions in the WAL: SQL that several collectors share."""

# Up to where this server has WAL. A standby whose receiver ended may have replayed more from the archive than it ever
# received, so neither position alone is the latest.
LATEST = (
    "CASE WHEN pg_is_in_recovery() THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())"
    " ELSE pg_current_wal_lsn() END"
)
