"""WAL: how much is written, received and replayed, on which timeline, and what writing it takes."""

from exporter.declare import Collector, Query, block, counter, gauge
from exporter.gates import pg

positions = Collector(
    name="pg_wal_positions",
    about="WAL written, received and replayed, as positions that only grow, and the timeline.",
    engine="postgres",
    queries=(
        Query(
            pg(13),
            """
            SELECT CASE WHEN NOT pg_is_in_recovery() THEN (pg_current_wal_lsn() - '0/0')::int8 END AS written,
                   CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_receive_lsn() - '0/0')::int8 END AS received,
                   CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0')::int8 END AS replayed,
                   CASE WHEN NOT pg_is_in_recovery()
                        THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int
                        ELSE coalesce((SELECT received_tli FROM pg_stat_wal_receiver),
                                      (SELECT timeline_id FROM pg_control_checkpoint())) END AS timeline""",
        ),
    ),
    blocks=(
        block(
            counter("pg_wal_written_bytes_total", "written", help="Position of the WAL written on a primary."),
            counter("pg_wal_received_bytes_total", "received", help="Position of the WAL that a standby received."),
            counter("pg_wal_replayed_bytes_total", "replayed", help="Position of the WAL that a standby replayed."),
            gauge(
                "pg_timeline_id",
                "timeline",
                help="Timeline that is written or received; without a receiver that of the last restartpoint.",
            ),
        ),
    ),
)

# Writing is counted in pg_stat_io from 18 on, where making a segment counts as well: that is no WAL. A time of 0 is one
# that is not taken, unless nothing was written.
_SQL = """
    SELECT wal_records, wal_fpi, wal_bytes, wal_buffers_full, writes, syncs,
           nullif(write_time, 0) / 1000 AS write_seconds, nullif(sync_time, 0) / 1000 AS sync_seconds
    FROM pg_stat_wal CROSS JOIN {}"""
_IO = """(SELECT sum(writes)::int8 AS writes, sum(fsyncs)::int8 AS syncs, sum(write_time) AS write_time,
                 sum(fsync_time) AS sync_time FROM pg_stat_io
          WHERE object = 'wal' AND context = 'normal') io"""

wal = Collector(
    name="pg_stat_wal",
    about="WAL generated, and the writes and syncs that it took.",
    engine="postgres",
    when=pg(14),
    queries=(
        Query(pg(18), _SQL.format(_IO)),
        Query(
            pg(14),
            _SQL.format(
                "LATERAL (SELECT wal_write AS writes, wal_sync AS syncs, wal_write_time AS write_time,"
                " wal_sync_time AS sync_time) io"
            ),
        ),
    ),
    blocks=(
        block(
            counter("pg_stat_wal_records_total", "wal_records", help="WAL records generated."),
            counter("pg_stat_wal_fpi_total", "wal_fpi", help="Images of whole pages in the WAL."),
            counter("pg_stat_wal_bytes_total", "wal_bytes", help="Bytes of WAL generated."),
            counter(
                "pg_stat_wal_buffers_full_total",
                "wal_buffers_full",
                help="Times that WAL was written because its buffers were full.",
            ),
            counter("pg_stat_wal_writes_total", "writes", help="Writes of WAL buffers."),
            counter("pg_stat_wal_syncs_total", "syncs", help="Files of WAL synchronized."),
            counter(
                "pg_stat_wal_write_seconds_total", "write_seconds", help="Time in writes, if track_wal_io_timing is on."
            ),
            counter("pg_stat_wal_sync_seconds_total", "sync_seconds", help="Time in syncs, if that is timed."),
        ),
    ),
)
