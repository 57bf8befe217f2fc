"""Indexes that cost more than they give: unused, duplicate, invalid."""

from exporter.collectors.postgres.locked import BUSY
from exporter.collectors.postgres.user_tables import LABELS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# A crash discards all statistics, and of a database it leaves no trace; what has been reset along with them tells.
SINCE = """
    SELECT greatest(coalesce(stats_reset, pg_postmaster_start_time()),
                    (SELECT least(w.stats_reset, a.stats_reset) FROM pg_stat_bgwriter w, pg_stat_archiver a)) AS since
    FROM pg_stat_database WHERE datname = current_database()"""

# An index that keeps rows unique, or that a constraint or a publication needs, is never called unused. Whether one is
# used, the statistics know only if they are old enough, and of this server only: a standby's own are told apart. The
# parts of a partitioned index can't be dropped alone, so they are judged with it. Where an expression stands in its
# statement doesn't tell two indexes apart. Of equal ones the one stays that something depends on; one that keeps rows
# unique is equal to those alone that promise the same.
_SQL = """
    WITH {busy}, trees AS (
        SELECT pg_partition_root(i.indexrelid) AS root, sum(c.relpages) AS pages,
               sum(pg_stat_get_numscans(i.indexrelid)) AS scans, bool_or(i.indisreplident) AS replident
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE c.relkind = 'i' AND c.relispartition GROUP BY 1
    ), indexes AS (
        SELECT i.*, n.nspname AS schemaname, t.relname, c.relname AS indexrelname, c.relkind, c.relispartition, c.relam,
               i.indisvalid AND i.indisready AS valid, i.indisunique AND i.indimmediate AS strict,
               i.indexrelid IN (SELECT conindid FROM pg_constraint) AS constrained,
               i.indisreplident OR coalesce(trees.replident, false) AS replident,
               coalesce(trees.pages, c.relpages) AS pages,
               CASE c.relkind WHEN 'i' THEN pg_stat_get_numscans(i.indexrelid) ELSE trees.scans END AS scans
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
        JOIN pg_namespace n ON n.oid = t.relnamespace LEFT JOIN trees ON trees.root = i.indexrelid
        WHERE c.relkind IN ('i', 'I') AND c.relpersistence <> 't'
          AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    ), shaped AS (
        SELECT *, row(indrelid, relam, indkey, indnkeyatts, indclass, indcollation, indoption,
                      regexp_replace(indexprs::text, ':location -?[0-9]+', '', 'g'),
                      regexp_replace(indpred::text, ':location -?[0-9]+', '', 'g'))::text AS shape,
               row(indisprimary, constrained, replident, indisunique, -indexrelid::int8) AS worth
        FROM indexes WHERE valid AND NOT relispartition
    ), compared AS (
        SELECT *, CASE WHEN strict THEN row_number() OVER (PARTITION BY shape, strict, {nulls} ORDER BY worth DESC)
                       ELSE row_number() OVER (PARTITION BY shape ORDER BY worth DESC) END AS place
        FROM shaped
    ), statistics AS (
        {since}
    ), kinds AS (
        SELECT CASE WHEN pg_is_in_recovery() THEN 'unused_on_standby' ELSE 'unused' END AS unused
    ), found AS (
        SELECT unused AS kind, indexrelid, schemaname, relname, indexrelname, relkind, pages
        FROM compared, statistics, kinds
        WHERE scans = 0 AND since < now() - interval '7 days'
          AND NOT (indisunique OR indisexclusion OR indisclustered OR constrained OR replident)
        UNION ALL
        SELECT 'duplicate', indexrelid, schemaname, relname, indexrelname, relkind, pages FROM compared
        WHERE place > 1 AND NOT constrained AND NOT replident
        UNION ALL
        SELECT 'invalid', indexrelid, schemaname, relname, indexrelname, relkind, pages FROM indexes
        WHERE NOT valid AND relkind = 'i'
          AND indexrelid NOT IN (SELECT index_relid FROM pg_stat_progress_create_index WHERE index_relid IS NOT NULL)
    ), ordered AS (
        SELECT *, row_number() OVER (ORDER BY pages DESC, indexrelid) AS size_place FROM found
    ), sized AS (
        SELECT *, CASE WHEN size_place <= {limit} AND relkind = 'i' AND indexrelid NOT IN (SELECT relation FROM busy)
                       THEN pg_relation_size(indexrelid)
                       ELSE pages * current_setting('block_size')::int8 END AS bytes
        FROM ordered
    )
    SELECT current_database() AS datname, kind, count(indexrelid) AS findings,
           coalesce(sum(bytes), 0)::int8 AS all_bytes, NULL AS schemaname, NULL AS relname, NULL AS indexrelname,
           NULL::int8 AS bytes
    FROM (SELECT unused AS kind FROM kinds UNION ALL VALUES ('duplicate'), ('invalid')) k LEFT JOIN sized USING (kind)
    GROUP BY kind
    UNION ALL
    SELECT current_database(), kind, NULL, NULL, schemaname, relname, indexrelname, bytes
    FROM sized WHERE size_place <= {limit}""".replace("{busy}", BUSY).replace("{since}", SINCE)

index_findings = Collector(
    name="pg_index_findings",
    about="Unused, duplicate and invalid indexes of each database: how many, how large, and the largest by name.",
    engine="postgres",
    every=900,
    timeout=30,
    limit=100,
    each_database=True,
    queries=(
        Query(pg(15), _SQL.replace("{nulls}", "indnullsnotdistinct"), lockless=True),
        Query(pg(13), _SQL.replace("{nulls}", "NULL::text"), lockless=True),
    ),
    blocks=(
        block(
            gauge(
                "pg_index_findings",
                "findings",
                help="Indexes by kind: unused since statistics began, which was at least seven days ago, even if the "
                "index was made after that, on a standby unused_on_standby; duplicate, the same as another; invalid, "
                "left behind by a build that failed.",
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
