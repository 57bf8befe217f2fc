"""Tables that will hurt: foreign keys without an index behind them, and no primary key."""

from exporter.collectors.postgres.user_tables import LABELS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# Behind a foreign key stands an index that finds rows by its columns: the key's come first, in any order, and what it
# leaves out are rows without a key. Of a partitioned table that is asked of each part, and the finding is the key that
# they have it from; its size is that of its parts. Nothing here waits for a lock: the condition is read as stored.
_SQL = """
    WITH RECURSIVE trees AS (
        SELECT pg_partition_root(oid) AS root, sum(greatest(relpages, 0)) AS pages
        FROM pg_class WHERE relkind = 'r' AND relispartition GROUP BY 1
    ), tables AS (
        SELECT c.oid, nspname AS schemaname, relname, relispartition,
               (CASE relkind WHEN 'r' THEN greatest(relpages, 0) ELSE pages END
                * current_setting('block_size')::int8)::int8 AS bytes
        FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace LEFT JOIN trees ON root = c.oid
        WHERE relkind IN ('r', 'p') AND relpersistence <> 't'
          AND nspname !~ '^pg_' AND nspname <> 'information_schema'
    ), keys AS (
        SELECT oid AS root, oid, conrelid, conkey FROM pg_constraint WHERE contype = 'f' AND conparentid = 0
        UNION
        SELECT root, k.oid, k.conrelid, k.conkey FROM keys JOIN pg_constraint k ON k.conparentid = keys.oid
    ), uncovered AS (
        SELECT DISTINCT root
        FROM keys k JOIN pg_class c ON c.oid = conrelid AND relkind = 'r'
        WHERE NOT EXISTS (
            SELECT FROM pg_index i JOIN pg_class x ON x.oid = indexrelid JOIN pg_am m ON m.oid = x.relam
            WHERE indrelid = conrelid AND indisvalid AND amname IN ('btree', 'gist', 'hash')
              AND indnkeyatts >= cardinality(conkey)
              AND (string_to_array(indkey::text, ' ')::int2[])[1:cardinality(conkey)] @> conkey
              AND (indpred IS NULL
                   OR regexp_replace(indpred::text, '{NULLTEST :arg {VAR [^{}]*} :nulltesttype 1 [^{}]*}', '', 'g')
                      ~ '^({BOOLEXPR :boolop and :args \\( *\\) [^{}]*})?$'
                   AND conkey @> ARRAY(SELECT (regexp_matches(indpred::text, ':varattno ([0-9]+)', 'g'))[1]::int2))
        )
    ), found AS (
        SELECT 'foreign_key_without_index' AS kind, t.*, conname
        FROM uncovered JOIN pg_constraint k ON k.oid = root JOIN tables t ON t.oid = k.conrelid
        UNION ALL
        SELECT 'no_primary_key', t.*, NULL FROM tables t
        WHERE NOT relispartition AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.oid AND indisprimary)
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
