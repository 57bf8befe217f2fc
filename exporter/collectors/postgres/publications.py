"""What each database publishes for logical replication."""

from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

publications = Collector(
    name="pg_publications",
    about="Publications of every database and how many tables each of them publishes.",
    engine="postgres",
    every=300,
    limit=200,
    each_database=True,
    queries=(
        Query(
            pg(13),
            """
            SELECT pubname, (SELECT count(*) FROM pg_get_publication_tables(pubname::text)) AS tables
            FROM pg_publication ORDER BY pubname LIMIT {limit}""",
        ),
    ),
    blocks=(
        block(
            gauge("pg_publication_tables", "tables", help="Tables that the publication publishes now."),
            labels={"datname": "database", "pubname": "pubname"},
        ),
    ),
)
