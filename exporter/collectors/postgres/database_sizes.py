"""The size of every database."""

from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# A database that is dropped while we look has no privileges (NULL); without asking for them the size function would
# fail, and with it every other database's size. An invalid one, which an interrupted DROP DATABASE leaves, still takes
# up what is left of it: files that are gone don't count, and where all are gone there is no size (NULL).
_SQL = """
    SELECT datname,
           CASE WHEN may_connect OR (may_connect IS NOT NULL AND pg_has_role('pg_read_all_stats', 'USAGE'))
                THEN pg_database_size(oid) END AS size
    FROM (SELECT oid, datname, has_database_privilege(oid, 'CONNECT') AS may_connect
          FROM pg_database OFFSET 0) d"""

database_sizes = Collector(
    name="pg_database_sizes",
    about="The size of every database; the server adds up the sizes of its files.",
    engine="postgres",
    every=300,
    timeout=60,
    queries=(Query(pg(13), _SQL),),
    blocks=(
        block(gauge("pg_database_size_bytes", "size", help="Size of the database.", drop_in=True), labels=("datname",)),
        block(shared("db_size_bytes", "size"), labels={"database": "datname"}),
    ),
)
