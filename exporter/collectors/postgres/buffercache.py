"""What the buffer cache holds, from the extension pg_buffercache."""

from exporter.declare import Collector, Query, block, gauge
from exporter.gates import extension, granted, pg

_MONITOR = granted("pg_monitor", fix="GRANT pg_monitor TO {account};")

# EXECUTE on it belongs to pg_monitor. It takes no lock, but looks at every buffer.
buffercache = Collector(
    name="pg_buffercache_summary",
    about="Buffers in use, dirty and pinned; needs the extension pg_buffercache.",
    engine="postgres",
    every=60,
    # The extension is one that few servers have; once it is asked for, `check` says what it lacks.
    default=False,
    when=pg(16) & extension("pg_buffercache", 1, 4) & _MONITOR,
    queries=(Query(pg(16), "SELECT * FROM {schema:pg_buffercache}.pg_buffercache_summary()"),),
    blocks=(
        block(
            gauge("pg_buffercache_summary_buffers_used", "buffers_used", help="Buffers in use.", drop_in=True),
            gauge("pg_buffercache_summary_buffers_unused", "buffers_unused", help="Buffers not in use.", drop_in=True),
            gauge("pg_buffercache_summary_buffers_dirty", "buffers_dirty", help="Dirty buffers.", drop_in=True),
            gauge("pg_buffercache_summary_buffers_pinned", "buffers_pinned", help="Pinned buffers.", drop_in=True),
            gauge(
                "pg_buffercache_summary_usagecount_avg",
                "usagecount_avg",
                help="Mean usage count of the buffers in use.",
                drop_in=True,
            ),
        ),
    ),
)

usage_counts = Collector(
    name="pg_buffercache_usage_counts",
    about="Buffers by how often they were used of late; needs the extension pg_buffercache.",
    engine="postgres",
    every=60,
    default=False,
    when=pg(16) & extension("pg_buffercache", 1, 4) & _MONITOR,
    queries=(Query(pg(16), "SELECT * FROM {schema:pg_buffercache}.pg_buffercache_usage_counts()"),),
    blocks=(
        block(
            gauge("pg_buffercache_usage_buffers", "buffers", help="Buffers with this usage count."),
            gauge("pg_buffercache_usage_buffers_dirty", "dirty", help="Dirty ones among them."),
            gauge("pg_buffercache_usage_buffers_pinned", "pinned", help="Pinned ones among them."),
            labels=("usage_count",),
        ),
    ),
)

# Of the relations of other databases nobody here knows the names.
_RELATIONS = """
    WITH buffers AS MATERIALIZED (
        SELECT reldatabase, relfilenode, count(*) AS buffers, count(*) FILTER (WHERE isdirty) AS dirty
        FROM {schema:pg_buffercache}.pg_buffercache WHERE relfilenode IS NOT NULL GROUP BY 1, 2
    ), relations AS (
        SELECT c.oid, nspname, relname, buffers, dirty
        FROM buffers JOIN pg_class c ON pg_relation_filenode(c.oid) = buffers.relfilenode
        JOIN pg_namespace n ON n.oid = relnamespace
        WHERE reldatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
        ORDER BY buffers DESC, c.oid LIMIT {limit}
    )
    SELECT coalesce(datname, '') AS datname, NULL AS schemaname, NULL AS relname, sum(buffers)::int8 AS of_database,
           sum(dirty)::int8 AS dirty_of_database, NULL::int8 AS of_relation, NULL::int8 AS dirty_of_relation
    FROM buffers LEFT JOIN pg_database d ON d.oid = reldatabase GROUP BY 1
    UNION ALL
    SELECT current_database(), nspname, relname, NULL, NULL, buffers, dirty FROM relations"""

relations = Collector(
    name="pg_buffercache_relations",
    about="Whose blocks fill the buffer cache, by database and by relation; needs the extension pg_buffercache.",
    engine="postgres",
    # It asks every buffer one by one.
    every=300,
    timeout=15,
    limit=50,
    default=False,
    when=pg(13) & extension("pg_buffercache") & _MONITOR,
    queries=(Query(pg(13), _RELATIONS),),
    blocks=(
        block(
            gauge(
                "pg_buffercache_database_buffers",
                "of_database",
                help="Buffers with blocks of the database; without a name: of catalogs that all databases share.",
            ),
            gauge("pg_buffercache_database_buffers_dirty", "dirty_of_database", help="Dirty ones among them."),
            labels=("datname",),
            merge="max",
        ),
        block(
            gauge(
                "pg_buffercache_relation_buffers",
                "of_relation",
                help="Buffers with blocks of the table or index, of the connected database; those with most alone.",
            ),
            gauge("pg_buffercache_relation_buffers_dirty", "dirty_of_relation", help="Dirty ones among them."),
            labels=("datname", "schemaname", "relname"),
            merge="max",
        ),
    ),
)
