"""Asynchronous I/O that is under way now, which PostgreSQL 18 brought."""

from exporter.collectors.postgres.own import SEES_OTHERS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# A handle that is done with stays in the view until whoever asked comes back for it. From the operations that there
# are, so that none under way counts 0.
_SQL = """
    SELECT known.operation, count(*) FILTER (WHERE pending) AS pending,
           coalesce(sum(length) FILTER (WHERE pending), 0)::int8 AS bytes,
           count(*) FILTER (WHERE state LIKE 'COMPLETED%') AS completed
    FROM (VALUES ('readv'), ('writev')) known(operation)
    LEFT JOIN (SELECT *, state IN ('DEFINED', 'STAGED', 'SUBMITTED') AS pending FROM pg_get_aios()) a USING (operation)
    GROUP BY 1"""

asynchronous_io = Collector(
    name="pg_aios",
    about="Asynchronous reads and writes that are under way, or done and not yet taken notice of.",
    engine="postgres",
    when=pg(18) & SEES_OTHERS,
    every=15,
    queries=(Query(pg(18), _SQL),),
    blocks=(
        block(
            gauge("pg_aios_pending", "pending", help="Operations that were begun and are not done."),
            gauge("pg_aios_pending_bytes", "bytes", help="Bytes of those."),
            gauge("pg_aios_completed", "completed", help="Operations done that nobody has come back for yet."),
            labels=("operation",),
        ),
    ),
)
