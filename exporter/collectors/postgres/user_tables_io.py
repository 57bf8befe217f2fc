"""Blocks of each user table and index that were found in the buffer cache, and that were not."""

from exporter.collectors.busiest import busiest
from exporter.collectors.postgres.user_tables import LABELS
from exporter.declare import Collector, Query, block, counter
from exporter.gates import pg

_PARTS = {
    "heap": "of this table",
    "idx": "of this table's indexes",
    "toast": "of this table's TOAST",
    "tidx": "of the index of this table's TOAST",
}
_KINDS = {"read": "that were not in the buffer cache", "hit": "found in the buffer cache"}
# In the view NULL where a table has no index or no TOAST, of which no block was read.
_COLUMNS = [f"{part}_blks_{kind}" for part in _PARTS for kind in _KINDS]
# What pg_statio_user_tables shows, from the functions below it: the view looks up the indexes of each table and of each
# TOAST by themselves, which took the server half as long again on 2,000 tables.
_SQL = """
    WITH i AS MATERIALIZED (
        SELECT indrelid,
               sum(pg_stat_get_blocks_fetched(indexrelid) - pg_stat_get_blocks_hit(indexrelid))::bigint AS blks_read,
               sum(pg_stat_get_blocks_hit(indexrelid))::bigint AS blks_hit
        FROM pg_index
        GROUP BY indrelid)
    SELECT {columns}
    FROM (
        SELECT current_database() AS datname, nspname AS schemaname, relname,
               pg_stat_get_blocks_fetched(c.oid) - pg_stat_get_blocks_hit(c.oid) AS heap_blks_read,
               pg_stat_get_blocks_hit(c.oid) AS heap_blks_hit,
               i.blks_read AS idx_blks_read, i.blks_hit AS idx_blks_hit,
               pg_stat_get_blocks_fetched(reltoastrelid) - pg_stat_get_blocks_hit(reltoastrelid) AS toast_blks_read,
               pg_stat_get_blocks_hit(reltoastrelid) AS toast_blks_hit,
               t.blks_read AS tidx_blks_read, t.blks_hit AS tidx_blks_hit
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = relnamespace
        LEFT JOIN i ON i.indrelid = c.oid
        LEFT JOIN i t ON t.indrelid = reltoastrelid
        WHERE relkind IN ('r', 't', 'm') AND nspname NOT IN ('pg_catalog', 'information_schema')
          AND nspname !~ '^pg_(toast|temp_)') t"""

user_tables_io = Collector(
    name="pg_statio_user_tables",
    about="Buffer cache hits and misses of each user table; the busiest where there are very many.",
    engine="postgres",
    elsewhere=300,
    share=0.17,
    queries=(Query(pg(13), _SQL),),
    state=busiest(*LABELS, by=tuple(_COLUMNS)),
    blocks=(
        block(
            *(
                counter(
                    f"pg_statio_user_tables_{part}_blocks_{kind}",
                    f"{part}_blks_{kind}",
                    sql=f"coalesce({part}_blks_{kind}, 0)",
                    help=f"Blocks {of} {what}.",
                    drop_in=True,
                )
                for part, of in _PARTS.items()
                for kind, what in _KINDS.items()
            ),
            labels=LABELS,
        ),
    ),
)

user_indexes_io = Collector(
    name="pg_statio_user_indexes",
    about="Buffer cache hits and misses of each user index, and the rows it fetched; the busiest of very many.",
    engine="postgres",
    elsewhere=300,
    share=0.2,
    default=False,
    queries=(
        Query(
            pg(13),
            "SELECT {columns} FROM (SELECT current_database() AS datname, * FROM pg_statio_user_indexes) i"
            " WHERE schemaname !~ '^pg_temp_'",
        ),
    ),
    state=busiest(*LABELS, "indexrelname", by=("idx_blks_read", "idx_blks_hit")),
    blocks=(
        block(
            *(
                counter(
                    f"pg_statio_user_indexes_idx_blks_{kind}_total",
                    f"idx_blks_{kind}",
                    help=f"Blocks of this index {what}.",
                    drop_in=True,
                )
                for kind, what in _KINDS.items()
            ),
            # Here and not with the scans, since it is one more series for every index there is.
            counter(
                "pg_stat_user_indexes_idx_tup_fetch_total",
                "idx_tup_fetch",
                sql="pg_stat_get_tuples_fetched(indexrelid)",
                help="Live rows that simple index scans fetched by this index.",
            ),
            labels=(*LABELS, "indexrelname"),
        ),
    ),
)
