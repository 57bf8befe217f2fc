"""Replay on a standby: what it waits for, whether it is paused, what it reads ahead."""

from exporter.collectors.postgres.own import SEES_OTHERS
from exporter.declare import Collector, Query, block, counter, gauge
from exporter.gates import PRIMARY, pg

replay = Collector(
    name="pg_replay",
    about="What replay waits for on a standby, whom it waits for, and whether it is paused.",
    engine="postgres",
    when=~PRIMARY & SEES_OTHERS,
    queries=(
        Query(
            pg(13),
            """
            SELECT pg_is_wal_replay_paused()::int AS paused, wait_event_type, wait_event,
                   CASE WHEN wait_event_type <> 'Activity'
                             AND wait_event NOT IN ('RecoveryWalStream', 'RecoveryRetrieveRetryInterval')
                        THEN 1 END AS waits,
                   -- pg_blocking_pids knows no blockers of this process; it only ever asks for the strongest lock.
                   CASE WHEN wait_event_type = 'Lock' THEN (
                       SELECT count(DISTINCT held.pid)
                       FROM pg_locks wanted JOIN pg_locks held USING (locktype, database, relation)
                       WHERE wanted.pid = startup.pid AND NOT wanted.granted AND held.granted
                   ) ELSE 0 END AS blockers
            FROM (SELECT) always LEFT JOIN pg_stat_activity startup ON backend_type = 'startup'""",
        ),
    ),
    blocks=(
        block(
            gauge("pg_replay_paused", "paused", help="1 if replay is paused, or was told to."),
            gauge("pg_replay_blocking_sessions", "blockers", help="Sessions whose locks replay waits for."),
        ),
        block(
            gauge("pg_replay_waiting", "waits", help="1; what replay waits for, other than WAL to come."),
            labels=("wait_event_type", "wait_event"),
        ),
    ),
)

_PREFETCH = {
    "prefetch": "Blocks read ahead because they were not in the buffer cache.",
    "hit": "Blocks not read ahead because they were in the buffer cache.",
    "skip_init": "Blocks not read ahead because they would be made anew.",
    "skip_new": "Blocks not read ahead because they did not exist yet.",
    "skip_fpw": "Blocks not read ahead because the WAL had all of them.",
    "skip_rep": "Blocks not read ahead because they had been shortly before.",
}

recovery_prefetch = Collector(
    name="pg_stat_recovery_prefetch",
    about="What replay reads ahead.",
    engine="postgres",
    when=pg(15) & ~PRIMARY,
    queries=(Query(pg(15), "SELECT {columns} FROM pg_stat_recovery_prefetch"),),
    blocks=(
        block(
            *(counter(f"pg_recovery_prefetch_{name}_total", name, help=text) for name, text in _PREFETCH.items()),
            gauge("pg_recovery_prefetch_wal_distance_bytes", "wal_distance", help="How far ahead it looks."),
            gauge("pg_recovery_prefetch_block_distance_blocks", "block_distance", help="Blocks it has begun to read."),
            gauge("pg_recovery_prefetch_io_depth", "io_depth", help="Reads that are under way."),
        ),
    ),
)
