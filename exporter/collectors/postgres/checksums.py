"""Blocks whose checksum was wrong when they were read."""

from exporter.declare import Collector, Query, block, counter, gauge
from exporter.gates import pg

checksums = Collector(
    name="pg_checksums",
    about="Blocks whose checksum was wrong, by database; those of shared catalogs have no database.",
    engine="postgres",
    every=60,
    queries=(
        Query(
            pg(13),
            """
            SELECT coalesce(datname, '') AS datname, checksum_failures,
                   extract(epoch FROM checksum_last_failure)::float8 AS last_failure
            FROM pg_stat_database""",
        ),
    ),
    blocks=(
        block(
            counter(
                "pg_stat_database_checksum_failures_total",
                "checksum_failures",
                help="Blocks whose checksum was wrong; absent where blocks have none.",
            ),
            gauge(
                "pg_stat_database_checksum_last_failure_timestamp_seconds",
                "last_failure",
                help="When the last of them was found.",
            ),
            labels=("datname",),
        ),
    ),
)
