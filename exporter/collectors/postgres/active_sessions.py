"""Active sessions by what they wait for, sampled once a second."""

from exporter.collectors.postgres.own import NOT_OURS, SEES_OTHERS
from exporter.declare import Collector, Query
from exporter.gates import SAMPLED, pg, setting
from exporter.subjects.sessions import postgres
from exporter.subjects.sessions.totals import BLOCKS

# Workers of a parallel plan are no sessions: their leader stands for them. The second part is one row, also where
# nobody is connected. The clock is read when the rest is done, and the transaction has begun before the server parsed
# this, so that they tell what it took the server, without the way to us; with it behind a pooler, where BEGIN is sent
# before.
_SQL = f"""
    SELECT *, extract(epoch FROM clock_timestamp() - now())::float8 AS took
    FROM (
        SELECT datname AS database, active, CASE WHEN active THEN wait_event_type END AS wait_event_type,
               count(*) AS sessions
        FROM (SELECT datname, wait_event_type, state IN ('active', 'fastpath function call') AS active
              FROM pg_stat_activity
              WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND {NOT_OURS}) clients
        GROUP BY 1, 2, 3
        UNION ALL
        SELECT NULL, NULL, NULL, NULL
    ) sessions"""

active_sessions = Collector(
    name="pg_active_sessions",
    about="Active sessions by what they wait for.",
    engine="postgres",
    when=SEES_OTHERS
    & setting("track_activities", "on", fix="set track_activities = on in postgresql.conf and reload it")
    & SAMPLED,
    queries=(Query(pg(13), _SQL),),
    sampled=postgres.sessions,
    timeout=0.9,
    blocks=BLOCKS,
    grants=("pg_monitor",),
)
