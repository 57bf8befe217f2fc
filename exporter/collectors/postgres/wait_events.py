"""What sessions wait for."""

from exporter.collectors.postgres.own import NOT_OURS, SEES_OTHERS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# The server's own processes wait for work all the time. Names of events are the server's and few hundred.
_SQL = f"""
    SELECT coalesce(wait_event_type, '') AS wait_event_type, coalesce(wait_event, '') AS wait_event,
           count(pid) AS sessions
    FROM (SELECT wait_event_type, wait_event, pid FROM pg_stat_activity
          WHERE wait_event_type IS DISTINCT FROM 'Activity' AND {NOT_OURS}
            AND (wait_event_type IS NOT NULL OR state = 'active')
          -- Nobody at work counts 0.
          UNION ALL SELECT NULL, NULL, NULL) sessions
    GROUP BY 1, 2 ORDER BY 3 DESC LIMIT {{limit}}"""

wait_events = Collector(
    name="pg_wait_events",
    about="Sessions by what they wait for.",
    engine="postgres",
    when=SEES_OTHERS,
    limit=100,
    queries=(Query(pg(13), _SQL),),
    blocks=(
        block(
            gauge(
                "pg_wait_event_sessions",
                "sessions",
                help="Sessions that wait for this now, idle ones for their client; without a name: at work.",
            ),
            labels=("wait_event_type", "wait_event"),
        ),
    ),
)
