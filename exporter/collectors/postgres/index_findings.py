"""Indexes that cost more than they give: unused, duplicate, invalid."""

from exporter.collectors.postgres.user_tables import LABELS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# An index that keeps rows unique, or that a constraint or a publication needs, is never called unused. Whether one is
# used, the statistics know only if they are old enough, and of this server only: a standby's own are told apart.
# Where an expression stands in its statement doesn't tell two indexes apart.
_SQL = """
    WITH busy AS MATERIALIZED (
        SELECT relation FROM pg_locks
        WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock'
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ), indexes AS (
        SELECT i.indexrelid, i.indrelid, n.nspname AS schemaname, t.relname, c.relname AS indexrelname, c.relpages,
               i.indisvalid AND i.indisready AS valid,
               i.indisunique OR i.indisprimary OR i.indisexclusion OR i.indisreplident OR i.indisclustered
               OR EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid) AS needed,
               pg_stat_get_numscans(i.indexrelid) AS scans,
               row_number() OVER (
                   PARTITION BY i.indrelid, c.relam, i.indkey::text, i.indnkeyatts, i.indclass::text,
                                i.indcollation::text, i.indoption::text,
                                regexp_replace(i.indexprs::text, ':location -?[0-9]+', '', 'g'),
                                regexp_replace(i.indpred::text, ':location -?[0-9]+', '', 'g'),
                                i.indisvalid AND i.indisready
                   ORDER BY i.indisprimary DESC, i.indisunique DESC, i.indisreplident DESC, i.indexrelid
               ) AS place
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
        JOIN pg_namespace n ON n.oid = t.relnamespace
        WHERE c.relkind = 'i' AND c.relpersistence <> 't'
          AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    ), statistics AS (
        SELECT coalesce(stats_reset, pg_postmaster_start_time()) AS since
        FROM pg_stat_database WHERE datname = current_database()
    ), kinds AS (
        SELECT CASE WHEN pg_is_in_recovery() THEN 'unused_on_standby' ELSE 'unused' END AS unused
    ), found AS (
        SELECT kinds.unused AS kind, indexes.*
        FROM indexes, statistics, kinds
        WHERE valid AND NOT needed AND scans = 0 AND since < now() - interval '7 days'
        UNION ALL
        SELECT 'duplicate', indexes.* FROM indexes
        WHERE valid AND place > 1
          AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexes.indexrelid)
        UNION ALL
        SELECT 'invalid', indexes.* FROM indexes
        WHERE NOT valid
          AND indexrelid NOT IN (SELECT index_relid FROM pg_stat_progress_create_index WHERE index_relid IS NOT NULL)
    ), ordered AS (
        SELECT *, row_number() OVER (ORDER BY relpages DESC, indexrelid) AS size_place FROM found
    ), sized AS (
        SELECT *, CASE WHEN size_place <= {limit} AND indexrelid NOT IN (SELECT relation FROM busy)
                       THEN pg_relation_size(indexrelid)
                       ELSE relpages * current_setting('block_size')::int8 END AS bytes
        FROM ordered
    )
    SELECT current_database() AS datname, kind, count(indexrelid) AS findings,
           coalesce(sum(bytes), 0)::int8 AS all_bytes, NULL AS schemaname, NULL AS relname, NULL AS indexrelname,
           NULL::int8 AS bytes
    FROM (SELECT unused AS kind FROM kinds UNION ALL VALUES ('duplicate'), ('invalid')) k LEFT JOIN sized USING (kind)
    GROUP BY kind
    UNION ALL
    SELECT current_database(), kind, NULL, NULL, schemaname, relname, indexrelname, bytes
    FROM sized WHERE size_place <= {limit}"""

index_findings = Collector(
    name="pg_index_findings",
    about="Unused, duplicate and invalid indexes of each database: how many, how large, and the largest by name.",
    engine="postgres",
    every=900,
    timeout=30,
    limit=100,
    each_database=True,
    queries=(Query(pg(13), _SQL),),
    blocks=(
        block(
            gauge(
                "pg_index_findings",
                "findings",
                help="Indexes by kind: unused since statistics began, which was at least seven days ago, on a standby "
                "unused_on_standby; duplicate, the same as another; invalid, left behind by a build that failed.",
            ),
            gauge("pg_index_findings_bytes", "all_bytes", help="Size of the indexes of a kind."),
            labels=("datname", "kind"),
            merge="max",
        ),
        block(
            gauge(
                "pg_index_finding_size_bytes", "bytes", help="Size of the index; the largest of each database alone."
            ),
            labels=(*LABELS, "indexrelname", "kind"),
            merge="max",
        ),
    ),
)
