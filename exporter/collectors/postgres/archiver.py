"""The archiver: what it has archived, what failed, and what waits for it."""

from exporter.declare import Collector, Query, block, counter, gauge
from exporter.gates import pg

archiver = Collector(
    name="pg_stat_archiver",
    about="WAL archived, failures to do so, and when they were.",
    engine="postgres",
    queries=(
        Query(
            pg(13),
            """
            SELECT archived_count, failed_count, extract(epoch FROM now() - last_archived_time)::float8 AS age,
                   extract(epoch FROM last_archived_time)::float8 AS archived,
                   extract(epoch FROM last_failed_time)::float8 AS failed,
                   CASE WHEN current_setting('archive_mode') <> 'off'
                        THEN coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false)::int
                   END AS failing
            FROM pg_stat_archiver""",
        ),
    ),
    blocks=(
        block(
            counter("pg_stat_archiver_archived_count", "archived_count", help="WAL files archived.", drop_in=True),
            counter("pg_stat_archiver_failed_count", "failed_count", help="Failed attempts to archive.", drop_in=True),
            gauge("pg_stat_archiver_last_archive_age", "age", help="Seconds since the last success.", drop_in=True),
            gauge("pg_archiver_last_archived_timestamp_seconds", "archived", help="When a file was last archived."),
            gauge("pg_archiver_last_failed_timestamp_seconds", "failed", help="When an attempt last failed."),
            gauge(
                "pg_archiver_failing",
                "failing",
                help="1 if the last attempt to archive failed, absent while archive_mode is off.",
            ),
        ),
    ),
)

backlog = Collector(
    name="pg_archiver_backlog",
    about="WAL that is ready to be archived and still waits.",
    engine="postgres",
    every=60,
    timeout=15,
    queries=(
        Query(
            pg(13),
            """
            -- Histories of timelines and backups are archived as well, and are small.
            SELECT count(*) AS files, (count(*) FILTER (WHERE name ~ '^[0-9A-F]{24}(\\.partial)?\\.ready$')
                                       * pg_size_bytes(current_setting('wal_segment_size')))::int8 AS bytes,
                   CASE WHEN count(*) > 0
                        THEN greatest(extract(epoch FROM now() - min(modification)), 0)::float8 END AS oldest
            FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'""",
        ),
    ),
    blocks=(
        block(
            gauge("pg_archiver_ready_files", "files", help="Files that are ready to be archived."),
            gauge("pg_archiver_ready_bytes", "bytes", help="Bytes of WAL in segments that are ready to be archived."),
            gauge(
                "pg_archiver_ready_oldest_seconds",
                "oldest",
                help="How long the first of them has waited, if one waits.",
            ),
        ),
    ),
    grants=("pg_monitor",),
)
