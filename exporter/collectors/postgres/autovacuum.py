"""Autovacuum's workers: what they work on and since when, and how many of them are taken."""

from exporter.collectors.postgres.own import SEES_OTHERS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

autovacuum = Collector(
    name="pg_stat_activity_autovacuum",
    about="What autovacuum works on, since when, and how many of its workers are taken.",
    engine="postgres",
    when=SEES_OTHERS,
    queries=(
        Query(
            pg(13),
            # A row without a worker keeps the counts where nobody works. From 18 on workers need slots, maybe too few.
            """
            SELECT split_part(query, '.', 2) AS relname, 1 AS worker,
                   (query LIKE '%(to prevent wraparound)')::int AS urgent,
                   CASE WHEN query LIKE 'autovacuum:%' THEN extract(epoch FROM xact_start)::float8 END AS started,
                   NULL AS most
            FROM pg_stat_get_activity(NULL) WHERE backend_type = 'autovacuum worker'
            UNION ALL
            SELECT NULL, 0, 0, NULL, least(current_setting('autovacuum_max_workers')::int,
                                           current_setting('autovacuum_worker_slots', true)::int)""",
        ),
    ),
    blocks=(
        block(
            gauge(
                "pg_stat_activity_autovacuum_timestamp_seconds",
                "started",
                help="When autovacuum began with the table of this name, the earliest if there are several.",
                drop_in=True,
            ),
            labels=("relname",),
            merge="min",
        ),
        block(
            gauge("pg_autovacuum_workers", "worker", help="Workers of autovacuum that are at work."),
            gauge("pg_autovacuum_workers_wraparound", "urgent", help="Those among them that prevent wraparound."),
            merge="sum",
        ),
        block(
            gauge("pg_autovacuum_workers_max", "most", help="Workers that autovacuum may have."),
            merge="max",
        ),
    ),
)
