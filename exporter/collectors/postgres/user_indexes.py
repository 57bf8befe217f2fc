"""How each user index is used."""

from exporter.collectors.busiest import busiest
from exporter.collectors.postgres.user_tables import LABELS
from exporter.declare import Collector, Query, block, counter, gauge
from exporter.gates import pg

# In the background everywhere: there are several indexes to a table, and nobody watches one by the second.
user_indexes = Collector(
    name="pg_stat_user_indexes",
    about="Scans of each user index and the rows they read; the busiest where there are very many.",
    engine="postgres",
    every=300,
    each_database=True,
    share=0.25,
    queries=(
        Query(
            pg(13),
            "SELECT {columns} FROM (SELECT current_database() AS datname, * FROM pg_stat_user_indexes) i"
            " WHERE schemaname !~ '^pg_temp_'",
        ),
    ),
    state=busiest(*LABELS, "indexrelname", by=("idx_scan", "idx_tup_read")),
    blocks=(
        block(
            counter("pg_stat_user_indexes_idx_scan_total", "idx_scan", help="Scans of this index begun."),
            counter(
                "pg_stat_user_indexes_idx_tup_read_total", "idx_tup_read", help="Entries that scans of this index gave."
            ),
            gauge(
                "pg_stat_user_indexes_last_idx_scan_timestamp_seconds",
                "last_idx_scan",
                sql="extract(epoch FROM last_idx_scan)::float8",
                when=pg(16),
                help="When this index was last scanned, in Unix time.",
            ),
            labels=(*LABELS, "indexrelname"),
        ),
    ),
)
