"""Sessions that wait for a lock, and how long the longest wait has lasted."""

from exporter.collectors.postgres.own import NOT_OURS, SEES_OTHERS
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Query, block
from exporter.gates import pg

# pg_locks is read only while somebody waits: reading it stops everybody who takes a lock.
_SINCE_14 = """(
        SELECT pid, min(waitstart) AS since FROM pg_locks WHERE NOT granted AND EXISTS (SELECT FROM waiting) GROUP BY 1
    )"""
# Before 14 nobody knows when a wait began; it is not older than its statement.
_SINCE_13 = "(SELECT pid, query_start AS since FROM waiting)"


def _sql(since: str) -> str:
    return f"""
    WITH waiting AS MATERIALIZED (
        SELECT pid, datid, query_start FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND backend_type = 'client backend' AND {NOT_OURS}
    ), waits AS MATERIALIZED {since}
    SELECT datname, count(waiting.pid) AS sessions,
           greatest(extract(epoch FROM now() - min(since)), 0)::float8 AS longest
    FROM pg_database LEFT JOIN waiting ON datid = oid LEFT JOIN waits USING (pid)
    GROUP BY datname"""


lock_waits = Collector(
    name="pg_lock_waits",
    about="Sessions that wait for a lock, and how long the longest wait has lasted.",
    engine="postgres",
    when=SEES_OTHERS,
    queries=(Query(pg(14), _sql(_SINCE_14)), Query(pg(13, below=14), _sql(_SINCE_13))),
    blocks=(
        block(
            shared("db_lock_waiting_sessions", "sessions"),
            shared("db_lock_wait_longest_seconds", "longest"),
            labels={"database": "datname"},
        ),
    ),
)
