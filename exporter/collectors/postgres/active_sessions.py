"""Active sessions by what they wait for, sampled once a second."""

from exporter.collectors.postgres.own import NOT_OURS, SEES_OTHERS
from exporter.declare import Collector, Query
from exporter.facts import Facts
from exporter.gates import SAMPLED, condition, pg, setting
from exporter.subjects.sessions import postgres
from exporter.subjects.sessions.statements import MOST_STATEMENTS
from exporter.subjects.sessions.totals import blocks

# Workers of a parallel plan are no sessions: their leader stands for them. The second part is one row, also where
# nobody is connected. The clock is read when the rest is done, and the transaction has begun before the server parsed
# this, so that they tell what it took the server, without the way to us; with it behind a pooler, where BEGIN is sent
# before.
_SQL = f"""
    SELECT *, extract(epoch FROM clock_timestamp() - now())::float8 AS took
    FROM (
        SELECT datname AS database, active, CASE WHEN active THEN wait_event_type END AS wait_event_type,
               CASE WHEN active THEN statement END AS statement, count(*) AS sessions
        FROM (SELECT datname, wait_event_type, state IN ('active', 'fastpath function call') AS active,
                     {{statement}} AS statement
              FROM pg_stat_activity
              WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND {NOT_OURS}) clients
        GROUP BY 1, 2, 3, 4
        UNION ALL
        SELECT NULL, NULL, NULL, NULL, NULL
    ) sessions"""


def _names_statements(facts: Facts) -> bool:
    computes = facts.settings.get("compute_query_id", "")
    # Whoever may not see what is loaded can't tell; then the statement of all is unknown at worst.
    asked_for = facts.preloaded is None or "pg_stat_statements" in facts.preloaded
    return computes == "on" or (computes in ("auto", "regress") and asked_for)


_NAMED = condition("compute_query_id = on, or auto with pg_stat_statements loaded", _names_statements)

active_sessions = Collector(
    name="pg_active_sessions",
    about="Active sessions by what they wait for, and by statement; its limit is how many statements have series.",
    engine="postgres",
    when=SEES_OTHERS
    & setting("track_activities", "on", fix="set track_activities = on in postgresql.conf and reload it")
    & SAMPLED,
    queries=(
        Query(pg(14), _SQL.format(statement="query_id")),
        Query(pg(13), _SQL.format(statement="NULL::int8")),
    ),
    sampled=postgres.sessions,
    timeout=0.9,
    limit=MOST_STATEMENTS,
    blocks=blocks("pg", "queryid", pg(14) & _NAMED),
    grants=("pg_monitor",),
)
