"""Locks by database and mode."""

from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

_SQL = """
    SELECT datname, modes.mode, coalesce(count, 0) AS count, coalesce(waiting, 0) AS waiting
    FROM (VALUES ('accesssharelock'), ('rowsharelock'), ('rowexclusivelock'), ('shareupdateexclusivelock'),
                 ('sharelock'), ('sharerowexclusivelock'), ('exclusivelock'), ('accessexclusivelock'),
                 ('sireadlock')) modes(mode)
    CROSS JOIN pg_database
    LEFT JOIN (SELECT database, lower(mode) AS mode, count(*), count(*) FILTER (WHERE NOT granted) AS waiting
               FROM pg_locks WHERE database IS NOT NULL GROUP BY 1, 2)
        held ON held.database = pg_database.oid AND held.mode = modes.mode"""

locks = Collector(
    name="pg_locks",
    about="Locks held and waited for, by database and mode.",
    engine="postgres",
    queries=(Query(pg(13), _SQL),),
    blocks=(
        block(
            gauge("pg_locks_count", "count", help="Locks of this mode, held or waited for.", drop_in=True),
            labels=("datname", "mode"),
        ),
        block(
            gauge("pg_locks_waiting", "waiting", help="Locks among those that are waited for."),
            labels=("datname",),
            merge="sum",
        ),
    ),
)
