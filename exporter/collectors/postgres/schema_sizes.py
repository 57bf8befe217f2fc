"""The size of every schema in every database, and whose it is."""

from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Context, Query, Rows, block
from exporter.gates import pg

# Exact for the {limit} largest tables with their indexes and TOAST, by the pages of the last vacuum or analyze for the
# rest. The size functions lock each table against ACCESS EXCLUSIVE, so whatever is held or waited for in that mode
# (the table, an index, its TOAST) is not asked either. A table that was never analyzed has no pages yet: its rows
# stand in for them, for the order only.
_SQL = """
    WITH busy AS MATERIALIZED (
        SELECT relation FROM pg_locks
        WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock'
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ), parts AS (
        SELECT coalesce(main.oid, base.oid) AS oid, part.relpages, part.oid IN (SELECT relation FROM busy) AS busy,
               pg_stat_get_live_tuples(part.oid) AS live
        FROM pg_class part
        LEFT JOIN pg_index i ON i.indexrelid = part.oid
        JOIN pg_class base ON base.oid = coalesce(i.indrelid, part.oid)
        LEFT JOIN pg_class main ON main.reltoastrelid = base.oid AND base.relkind = 't'
        WHERE part.relkind IN ('r', 'm', 'i', 't', 'S') AND part.relpersistence <> 't'
    ), tables AS (
        SELECT oid, sum(greatest(relpages, 0)) AS pages, bool_or(busy) AS busy,
               row_number() OVER (ORDER BY sum(greatest(relpages, live / 100)) DESC) AS place
        FROM parts GROUP BY oid
    ), sized AS (
        SELECT c.relnamespace,
               CASE WHEN place <= {limit} AND NOT busy THEN pg_total_relation_size(t.oid)
                    ELSE pages * current_setting('block_size')::int8 END AS bytes
        FROM tables t JOIN pg_class c USING (oid)
    )
    SELECT nspname AS schema, coalesce(sum(bytes), 0)::int8 AS bytes
    FROM pg_namespace n LEFT JOIN sized s ON s.relnamespace = n.oid
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    GROUP BY nspname"""


def owned(rows: Rows, context: Context) -> Rows:
    """Add the project that the config has for each schema."""
    found = []
    for row in rows.dicts():
        project = context.server.project_of(row["database"], row["schema"])
        found.append(row | ({"project": project.project, "owner": project.owner, "known": 1} if project else {}))
    return Rows.of((*rows.columns, "project", "owner", "known"), found)


schema_sizes = Collector(
    name="pg_schema_sizes",
    about="The size of every schema in every database, exact for the largest tables, and its project.",
    engine="postgres",
    every=900,
    timeout=30,
    limit=1000,
    each_database=True,
    queries=(Query(pg(13), _SQL),),
    rows=owned,
    blocks=(
        block(
            shared("db_schema_size_bytes", "bytes"),
            labels=("database", "schema"),
        ),
        block(
            shared("db_project_info", "known"),
            labels=("database", "schema", "project", "owner"),
        ),
    ),
)
