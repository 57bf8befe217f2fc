"""Tables that will hurt: foreign keys without an index behind them, and no primary key."""

from exporter.collectors.postgres.user_tables import LABELS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# Behind a foreign key stands an index whose first columns are the key's, in any order. Of a partitioned table the
# parent stands for all its partitions.
_SQL = """
    WITH tables AS (
        SELECT c.oid, nspname AS schemaname, relname,
               greatest(relpages, 0) * current_setting('block_size')::int8 AS bytes
        FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
        WHERE relkind IN ('r', 'p') AND NOT relispartition AND relpersistence <> 't'
          AND nspname !~ '^pg_' AND nspname <> 'information_schema'
    ), found AS (
        SELECT 'foreign_key_without_index' AS kind, t.*, conname
        FROM tables t JOIN pg_constraint k ON k.conrelid = t.oid
        WHERE contype = 'f' AND conparentid = 0 AND NOT EXISTS (
            SELECT FROM pg_index i
            WHERE i.indrelid = t.oid AND indisvalid AND indpred IS NULL
              AND (string_to_array(indkey::text, ' ')::int2[])[1:cardinality(conkey)] @> conkey
        )
        UNION ALL
        SELECT 'no_primary_key', t.*, NULL FROM tables t
        WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.oid AND indisprimary)
    ), ordered AS (
        SELECT *, row_number() OVER (PARTITION BY kind ORDER BY bytes DESC, oid) AS place FROM found
    )
    SELECT current_database() AS datname, kind, count(oid) AS findings, NULL AS schemaname, NULL AS relname,
           NULL AS conname, NULL::int8 AS bytes
    FROM (VALUES ('foreign_key_without_index'), ('no_primary_key')) k (kind) LEFT JOIN found USING (kind) GROUP BY kind
    UNION ALL
    SELECT current_database(), kind, NULL, schemaname, relname, conname, bytes FROM ordered WHERE place <= {limit}"""

table_findings = Collector(
    name="pg_table_findings",
    about="Foreign keys without an index and tables without a primary key: how many, and the largest by name.",
    engine="postgres",
    every=900,
    limit=50,
    each_database=True,
    queries=(Query(pg(13), _SQL),),
    blocks=(
        block(
            gauge(
                "pg_table_findings",
                "findings",
                help="Findings by kind: foreign_key_without_index, where a DELETE on the other side reads this table "
                "whole; no_primary_key, where logical replication cannot tell rows apart.",
            ),
            labels=("datname", "kind"),
            merge="max",
        ),
        block(
            gauge(
                "pg_table_finding_size_bytes",
                "bytes",
                help="Size of the table as of its last vacuum or analyze; the largest of each database alone.",
            ),
            labels=(*LABELS, "conname", "kind"),
            merge="max",
        ),
    ),
)
