"""Estimates of the space in tables and indexes that holds no row."""

from exporter.collectors.postgres.user_tables import LABELS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# A row is a pointer of 4 bytes, a header of 24, 8 more for the map of its NULLs in many columns, and its columns as
# ANALYZE has found them. A table is left out if it has no statistics of a column, or if we may not see them.
_SQL = """
    WITH block AS (
        SELECT current_setting('block_size')::float8 AS size
    ), widths AS (
        -- A virtual column is stored as NULL, and has no statistics.
        SELECT a.attrelid AS oid, count(*) AS columns,
               count(*) FILTER (WHERE s.attname IS NOT NULL OR a.attgenerated = 'v') AS known,
               sum((1 - s.null_frac) * s.avg_width) AS width,
               bool_or(s.null_frac > 0 OR a.attgenerated = 'v') AS nulls
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

# An entry of a B-tree is a pointer of 4 bytes, a header of 8, 8 more for the map of NULLs if it has one, and its
# columns; equal ones share an entry from 13 on, so that the estimate is rather too low. A page leaves a tenth free.
_INDEXES = """
    WITH block AS (
        SELECT current_setting('block_size')::float8 AS size
    ), widths AS (
        SELECT i.indexrelid AS oid, count(*) AS columns, count(s.attname) AS known,
               sum((1 - s.null_frac) * s.avg_width) AS width, bool_or(s.null_frac > 0) AS nulls
        FROM pg_index i
        JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
        JOIN pg_namespace n ON n.oid = t.relnamespace
        JOIN pg_am m ON m.oid = c.relam AND m.amname = 'btree'
        JOIN pg_attribute own ON own.attrelid = i.indexrelid
        -- A column has the statistics of the table's, an expression its own under the name of the index,
        -- which those see that are superusers or have pg_read_all_data.
        LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[own.attnum - 1] AND a.attnum > 0
        LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND NOT s.inherited
                                AND s.tablename = CASE WHEN a.attnum IS NULL THEN c.relname ELSE t.relname END
                                AND s.attname = coalesce(a.attname, own.attname)
        WHERE c.relkind = 'i' AND c.relpersistence = 'p' AND c.reltuples > 0 AND i.indisvalid
          AND nspname !~ '^pg_' AND nspname <> 'information_schema'
        GROUP BY i.indexrelid
    ), pages AS (
        SELECT oid, indrelid, c.relname AS indexrelname, relpages,
               coalesce(substring(reloptions::text FROM 'fillfactor=([0-9]+)')::int, 90) AS filled,
               reltuples * (4 + 8 * ceil((8 + CASE WHEN nulls THEN 8 ELSE 0 END + width) / 8.0)) AS entries
        FROM widths JOIN pg_class c USING (oid) JOIN pg_index ON indexrelid = oid WHERE known = columns
    ), needs AS (
        SELECT *, 1 + ceil(entries / ((size - 40) * filled / 100)) AS needed FROM pages, block
    )
    SELECT current_database() AS datname, nspname AS schemaname, t.relname, indexrelname,
           (greatest(i.relpages - needed, 0) * size)::float8 AS bytes,
           greatest(i.relpages - needed, 0)::float8 / nullif(i.relpages, 0) AS ratio
    FROM needs i JOIN pg_class t ON t.oid = indrelid JOIN pg_namespace n ON n.oid = t.relnamespace
    ORDER BY 5 DESC LIMIT {limit}"""

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

index_bloat = Collector(
    name="pg_index_bloat_estimate",
    about="An estimate from ANALYZE's statistics of the space in B-tree indexes that holds no entry; of tables that "
    "the account may read.",
    engine="postgres",
    every=3600,
    timeout=15,
    limit=50,
    default=False,
    each_database=True,
    queries=(Query(pg(13), _INDEXES),),
    blocks=(
        block(
            gauge(
                "pg_index_bloat_estimated_bytes",
                "bytes",
                help="Estimate of the bytes of the index that hold no entry, free space for new ones among them; the "
                "most of each database.",
            ),
            gauge("pg_index_bloat_estimated_ratio", "ratio", help="Estimate of that part of the index."),
            labels=(*LABELS, "indexrelname"),
        ),
    ),
)
