"""The size of every table and schema in every database, and whose the schema is."""

from exporter.collectors.postgres.locked import BUSY
from exporter.collectors.postgres.user_tables import LABELS
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.gates import pg

# Exact for the {limit} largest tables with their indexes and TOAST, by the pages of the last vacuum or analyze for the
# rest. The size functions lock each table against ACCESS EXCLUSIVE, so whatever is held or waited for in that mode
# (the table, an index, its TOAST) is not asked either. A table that was never analyzed has no pages yet: its rows
# stand in for them, for the order only, and its size is not known.
_SQL = """
    WITH schemas AS (
        SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    ), {busy}, parts AS (
        SELECT coalesce(main.oid, base.oid) AS oid, greatest(part.relpages, 0) AS pages,
               main.oid IS NOT NULL AS is_toast, main.oid IS NULL AND i.indexrelid IS NOT NULL AS is_index,
               part.oid IN (SELECT relation FROM busy) AS busy, pg_stat_get_live_tuples(part.oid) AS live
        FROM pg_class part
        LEFT JOIN pg_index i ON i.indexrelid = part.oid
        JOIN pg_class base ON base.oid = coalesce(i.indrelid, part.oid)
        LEFT JOIN pg_class main ON main.reltoastrelid = base.oid AND base.relkind = 't'
        WHERE part.relkind IN ('r', 'm', 'p', 'i', 't', 'S') AND part.relpersistence <> 't'
    ), tables AS (
        SELECT parts.oid, sum(pages) FILTER (WHERE NOT is_index) AS table_pages,
               sum(pages) FILTER (WHERE is_index) AS index_pages, sum(pages) FILTER (WHERE is_toast) AS toast_pages,
               bool_or(busy) AS busy, bool_or(NOT is_index AND pages = 0 AND live > 0) AS unknown,
               row_number() OVER (ORDER BY sum(greatest(pages, live / 100)) DESC) AS place
        FROM parts JOIN pg_class c USING (oid) JOIN schemas n ON n.oid = c.relnamespace
        GROUP BY parts.oid
    ), sized AS (
        SELECT c.relnamespace, c.relname, c.relkind, NOT exact AS estimated,
               CASE WHEN exact THEN pg_table_size(c.oid)
                    WHEN NOT unknown THEN table_pages * block END AS table_bytes,
               CASE WHEN exact THEN pg_indexes_size(c.oid)
                    WHEN NOT unknown THEN coalesce(index_pages, 0) * block END AS index_bytes,
               CASE WHEN c.reltoastrelid = 0 THEN 0
                    WHEN exact THEN pg_total_relation_size(c.reltoastrelid)
                    WHEN NOT unknown THEN coalesce(toast_pages, 0) * block END AS toast_bytes
        FROM (SELECT *, place <= {limit} AND NOT busy AS exact, current_setting('block_size')::int8 AS block
              FROM tables) t
        JOIN pg_class c USING (oid)
    )
    SELECT current_database() AS datname, nspname AS schemaname, relname, (table_bytes + index_bytes)::int8 AS bytes,
           CASE WHEN relkind <> 'S' THEN table_bytes::int8 END AS table_bytes,
           CASE WHEN relkind <> 'S' THEN index_bytes::int8 END AS index_bytes,
           CASE WHEN relkind <> 'S' THEN toast_bytes::int8 END AS toast_bytes,
           CASE WHEN relkind <> 'S' THEN estimated::int END AS estimated
    FROM schemas n LEFT JOIN sized s ON s.relnamespace = n.oid
    -- What there is no room for are the smallest.
    ORDER BY relkind = 'S', table_bytes + index_bytes DESC NULLS LAST"""


def owned(rows: Rows, context: Context) -> Rows:
    """Add the project that the config has for each schema; 0 bytes for a schema without a table."""
    found = []
    # By schema: to look through a hundred patterns for each of 10,000 tables took over a second.
    of_schema: dict[tuple[str, str], dict[str, object]] = {}
    for row in rows.dicts():
        schema = row["datname"], row["schemaname"]
        if schema not in of_schema:
            project = context.server.project_of(*schema)
            of_schema[schema] = {"project": project.project, "owner": project.owner, "known": 1} if project else {}
        found.append(row | of_schema[schema] | {"bytes": row["bytes"] or 0})
    return Rows.of((*rows.columns, "project", "owner", "known"), found)


table_sizes = Collector(
    name="pg_table_sizes",
    about="The size of every table and schema in every database, exact for the largest; projects of schemas.",
    engine="postgres",
    every=300,
    limit=2500,
    share=0.08,
    each_database=True,
    queries=(Query(pg(13), _SQL.replace("{busy}", BUSY), lockless=True),),
    rows=owned,
    blocks=(
        block(
            shared("db_schema_size_bytes", "bytes"),
            labels={"database": "datname", "schema": "schemaname"},
            merge="sum",
        ),
        block(
            shared("db_project_info", "known"),
            labels={"database": "datname", "schema": "schemaname", "project": "project", "owner": "owner"},
            merge="max",
        ),
        block(
            gauge(
                "pg_tables_size_estimated",
                "estimated",
                help="Tables whose size is that of their last vacuum or analyze, since they are not among the largest "
                "or somebody has locked them; none is shown of those that were never vacuumed or analyzed.",
            ),
            labels=("datname",),
            merge="sum",
        ),
        block(
            gauge(
                "pg_stat_user_tables_table_size_bytes",
                "table_bytes",
                help="Size of the table with its TOAST, without indexes.",
                drop_in=True,
            ),
            gauge(
                "pg_stat_user_tables_index_size_bytes",
                "index_bytes",
                help="Size of all indexes of the table.",
                drop_in=True,
            ),
            gauge(
                "pg_stat_user_tables_toast_size_bytes",
                "toast_bytes",
                help="Size of the table's TOAST and its index, a part of its table_size.",
            ),
            labels=LABELS,
        ),
    ),
)
