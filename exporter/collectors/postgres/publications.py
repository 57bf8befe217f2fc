"""What each database publishes for logical replication."""

from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# What pg_get_publication_tables() counts, which from 16 on opens each of the tables, and waits for whoever has locked
# one. A partition counts by itself, or its topmost published parent does for all (publish_via_partition_root).
_SQL = """
    WITH listed AS MATERIALIZED (
        SELECT p.oid AS publication, c.oid AS relation
        FROM pg_publication p JOIN pg_class c ON puballtables AND relkind IN ('r', 'p')
        UNION SELECT prpubid, prrelid FROM pg_publication_rel
        UNION
        SELECT pnpubid, c.oid
        FROM pg_publication_namespace JOIN pg_class c ON relnamespace = pnnspid AND relkind IN ('r', 'p')
    ), above AS MATERIALIZED (
        -- Each partition is among its own ancestors.
        SELECT c.oid AS relation, a.relid AS ancestor
        FROM pg_class c CROSS JOIN LATERAL pg_partition_ancestors(c.oid) a
        WHERE relispartition AND relkind IN ('r', 'p')
    ), published AS (
        SELECT publication, coalesce(above.relation, listed.relation) AS relation
        FROM listed JOIN pg_publication p ON p.oid = publication AND NOT pubviaroot
        LEFT JOIN above ON ancestor = listed.relation
        UNION
        SELECT publication, relation FROM listed l JOIN pg_publication p ON p.oid = publication AND pubviaroot
        WHERE NOT EXISTS (
            SELECT FROM above JOIN listed parent ON parent.relation = ancestor AND parent.publication = l.publication
            WHERE above.relation = l.relation AND ancestor <> l.relation
        )
    )
    SELECT pubname, count(c.oid) AS tables
    FROM pg_publication p LEFT JOIN published ON publication = p.oid
    LEFT JOIN pg_class c ON c.oid = relation AND (pubviaroot OR relkind = 'r') AND pg_relation_is_publishable(c.oid)
    GROUP BY pubname ORDER BY pubname LIMIT {limit}"""

publications = Collector(
    name="pg_publications",
    about="Publications of every database and how many tables each of them publishes.",
    engine="postgres",
    every=300,
    limit=200,
    each_database=True,
    queries=(
        Query(pg(16), _SQL),
        Query(
            pg(13, below=16),
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
