"""Extensions of every database, and those that a newer version is installed for."""

from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

extensions = Collector(
    name="pg_extensions",
    about="Extensions of every database, and which of them could be updated.",
    engine="postgres",
    every=3600,
    limit=200,
    each_database=True,
    queries=(
        Query(
            pg(13),
            """
            SELECT extname, extversion, default_version, 1 AS one,
                   CASE WHEN default_version <> extversion THEN 1 END AS outdated,
                   (default_version IS DISTINCT FROM extversion AND default_version IS NOT NULL)::int AS behind
            FROM pg_extension LEFT JOIN pg_available_extensions ON name = extname
            ORDER BY extname LIMIT {limit}""",
        ),
    ),
    blocks=(
        block(
            gauge("pg_extension_info", "one", help="1; an extension and its version."),
            labels={"datname": "database", "extension": "extname", "version": "extversion"},
        ),
        block(
            gauge("pg_extension_outdated", "outdated", help="1; ALTER EXTENSION UPDATE would give this version."),
            labels={"datname": "database", "extension": "extname", "default_version": "default_version"},
        ),
        block(
            gauge("pg_extensions_outdated", "behind", help="Extensions of the database that could be updated."),
            labels={"datname": "database"},
            merge="sum",
        ),
    ),
)
