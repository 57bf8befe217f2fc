"""The largest indexes of each database."""

from exporter.collectors.postgres.locked import BUSY
from exporter.collectors.postgres.user_tables import LABELS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# By the pages of the last vacuum or analyze, which also stand in for the size of one that somebody locks.
_SQL = """
    WITH {busy}, largest AS (
        SELECT c.oid, nspname, t.relname, c.relname AS indexrelname, c.relpages
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
        JOIN pg_namespace n ON n.oid = t.relnamespace
        WHERE c.relkind = 'i' AND c.relpersistence <> 't'
          AND nspname !~ '^pg_' AND nspname <> 'information_schema'
        ORDER BY c.relpages DESC, c.oid LIMIT greatest({limit}, 1)
    )
    SELECT current_database() AS datname, nspname AS schemaname, relname, indexrelname,
           CASE WHEN {limit} > 0 AND oid NOT IN (SELECT relation FROM busy) THEN pg_relation_size(oid)
                ELSE relpages * current_setting('block_size')::int8 END AS bytes
    FROM largest"""

index_sizes = Collector(
    name="pg_index_sizes",
    about="The size of the largest indexes of each database.",
    engine="postgres",
    every=900,
    timeout=15,
    limit=50,
    each_database=True,
    queries=(Query(pg(13), _SQL.replace("{busy}", BUSY), lockless=True),),
    blocks=(
        block(
            gauge("pg_index_size_bytes", "bytes", help="Size of the index; the largest of each database alone."),
            labels=(*LABELS, "indexrelname"),
        ),
    ),
)
