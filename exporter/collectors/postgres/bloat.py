"""An estimate of the space in tables that holds no row."""

from exporter.collectors.postgres.user_tables import LABELS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# A row is a pointer of 4 bytes, a header of 24, 8 more for the map of its NULLs in many columns, and its columns as
# ANALYZE has found them. A table is left out if it has no statistics of a column, or if we may not see them.
_SQL = """
    WITH block AS (
        SELECT current_setting('block_size')::float8 AS size
    ), widths AS (
        SELECT a.attrelid AS oid, count(*) AS columns, count(s.attname) AS known,
               sum((1 - s.null_frac) * s.avg_width) AS width, bool_or(s.null_frac > 0) AS nulls
        FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
                                AND NOT s.inherited
        WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'm') AND c.relpersistence = 'p'
          AND c.reltuples > 0 AND nspname !~ '^pg_' AND nspname <> 'information_schema'
        GROUP BY a.attrelid
    ), pages AS (
        SELECT oid, relnamespace, relname, relpages,
               ceil(reltuples * (4 + 8 * ceil((23 + CASE WHEN nulls THEN (columns + 7) / 8 ELSE 0 END) / 8.0)
                                 + 8 * ceil(width / 8))
                    / ((size - 24) * coalesce(substring(reloptions::text FROM 'fillfactor=([0-9]+)')::int, 100) / 100)
               ) AS needed
        FROM widths JOIN pg_class USING (oid), block WHERE known = columns
    )
    SELECT current_database() AS datname, nspname AS schemaname, relname,
           (greatest(relpages - needed, 0) * size)::float8 AS bytes,
           greatest(relpages - needed, 0)::float8 / nullif(relpages, 0) AS ratio
    FROM pages JOIN pg_namespace n ON n.oid = relnamespace, block
    ORDER BY 4 DESC LIMIT {limit}"""

bloat = Collector(
    name="pg_bloat_estimate",
    about="An estimate from ANALYZE's statistics of the space in tables that holds no row; of tables that the account "
    "may read.",
    engine="postgres",
    every=3600,
    limit=50,
    default=False,
    each_database=True,
    queries=(Query(pg(13), _SQL),),
    blocks=(
        block(
            gauge(
                "pg_table_bloat_estimated_bytes",
                "bytes",
                help="Estimate of the bytes of the table that hold no row, free space for new ones among them; the "
                "most of each database.",
            ),
            gauge("pg_table_bloat_estimated_ratio", "ratio", help="Estimate of that part of the table."),
            labels=LABELS,
        ),
    ),
)
