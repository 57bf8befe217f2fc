"""Locks by database and mode."""

from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# Whoever waits for a row waits for a transaction, which belongs to no database, nor does what they share; the session
# does.
_SQL = """
    WITH l AS MATERIALIZED (SELECT database, lower(mode) AS mode, granted, pid FROM pg_locks)
    SELECT datname, modes.mode, coalesce(count, 0) AS count, coalesce(waiting, 0) AS waiting
    FROM (VALUES ('accesssharelock'), ('rowsharelock'), ('rowexclusivelock'), ('shareupdateexclusivelock'),
                 ('sharelock'), ('sharerowexclusivelock'), ('exclusivelock'), ('accessexclusivelock'),
                 ('sireadlock')) modes(mode)
    CROSS JOIN pg_database
    LEFT JOIN (SELECT database, mode, count(*) FROM l WHERE database IS NOT NULL GROUP BY 1, 2) held
        ON held.database = pg_database.oid AND held.mode = modes.mode
    LEFT JOIN (SELECT coalesce(nullif(l.database, 0), a.datid) AS database, count(*) AS waiting
               FROM l LEFT JOIN pg_stat_activity a USING (pid) WHERE NOT granted GROUP BY 1) waits
        ON waits.database = pg_database.oid"""

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
            gauge("pg_locks_waiting", "waiting", help="Locks that sessions of this database wait for, of rows too."),
            labels=("datname",),
            merge="max",
        ),
    ),
)
