"""Where disks fill outside the databases: WAL, what slots hold back of it, temporary files."""

from exporter.collectors.postgres.lsn import LATEST
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

storage = Collector(
    name="pg_storage",
    about="Bytes of WAL, of WAL that replication slots hold back, and of temporary files.",
    engine="postgres",
    every=60,
    timeout=30,
    queries=(
        Query(
            pg(13),
            f"""
            WITH wal AS MATERIALIZED (
                SELECT count(*) FILTER (WHERE segment) AS segments,
                       sum(size) FILTER (WHERE segment)::int8 AS segment_bytes, sum(size)::int8 AS bytes
                FROM (SELECT size, name ~ '^[0-9A-F]{{24}}$' AS segment FROM pg_ls_waldir()) files
            )
            SELECT 'wal' AS kind, coalesce(bytes, 0) AS bytes, segments, segment_bytes, NULL::int8 AS temp_files,
                   NULL::float8 AS temp_oldest FROM wal
            UNION ALL
            SELECT 'temp', coalesce(sum(size)::int8, 0), NULL, NULL, count(size),
                   CASE WHEN count(size) > 0
                        THEN greatest(extract(epoch FROM now() - min(modification)), 0)::float8 END
            FROM pg_tablespace t CROSS JOIN LATERAL pg_ls_tmpdir(t.oid) WHERE spcname <> 'pg_global'
            UNION ALL
            SELECT 'slot_retained', greatest(max(pg_wal_lsn_diff({LATEST}, restart_lsn)), 0)::int8, NULL, NULL,
                   NULL, NULL
            FROM pg_replication_slots""",
        ),
    ),
    blocks=(
        block(
            shared("db_storage_bytes", "bytes"),
            labels=("kind",),
        ),
        block(
            gauge("pg_wal_segments", "segments", help="WAL segments.", drop_in=True),
            gauge("pg_wal_size_bytes", "segment_bytes", help="Bytes of all WAL segments.", drop_in=True),
            gauge("pg_temp_files", "temp_files", help="Temporary files of statements that run now."),
            gauge(
                "pg_temp_file_oldest_seconds",
                "temp_oldest",
                help="How long ago the one that has been left alone longest was written to; absent if there is none.",
            ),
            merge="max",
        ),
    ),
    grants=("pg_monitor",),
)
