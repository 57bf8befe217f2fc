"""Sessions by state, what they wait for, and the oldest transaction and statement among them."""

from exporter.collectors.postgres.own import NOT_OURS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# A state without sessions counts 0 in every database, as the existing exporter has it. Sessions outside of databases
# and states (replication, login in progress) have no place there, but they take slots, so db_connections counts them.
# Without track_activities the ages are unknown. pg_locks is read only while somebody waits: reading it stops
# everybody who takes a lock.
_SQL = """
    WITH sessions AS MATERIALIZED (
        SELECT pid, datname, state, usename, application_name, backend_type, wait_event_type, wait_event,
               extract(epoch FROM now() - xact_start)::float8 AS xact_age,
               extract(epoch FROM now() - query_start)::float8 AS query_age,
               backend_type = 'client backend' AND {not_ours} AS client
        FROM pg_stat_activity
        WHERE pid <> pg_backend_pid()
    ), waits AS MATERIALIZED (
        SELECT pid, extract(epoch FROM now() - min({wait_start}))::float8 AS wait_age
        FROM pg_locks
        WHERE NOT granted AND EXISTS (SELECT FROM sessions WHERE wait_event_type = 'Lock')
        GROUP BY pid
    ), groups AS (
        SELECT datname, state, usename, application_name, backend_type, wait_event_type, wait_event,
               count(*) AS sessions,
               max(xact_age) AS max_age,
               count(*) FILTER (WHERE client) AS clients,
               max(xact_age) FILTER (WHERE client) AS transaction_age,
               max(query_age) FILTER (WHERE client AND state IN ('active', 'fastpath function call')) AS statement_age,
               count(*) FILTER (WHERE client AND wait_event_type = 'Lock') AS waiting,
               max({wait_age}) FILTER (WHERE client AND wait_event_type = 'Lock') AS wait_age
        FROM sessions LEFT JOIN waits USING (pid)
        GROUP BY 1, 2, 3, 4, 5, 6, 7
    ), places AS (
        SELECT d.datname, s.state
        FROM pg_database d
        CROSS JOIN (VALUES ('active'), ('idle'), ('idle in transaction'), ('idle in transaction (aborted)'),
                           ('fastpath function call'), ('disabled')) s(state)
    ), known AS (
        SELECT CASE WHEN current_setting('track_activities')::bool THEN 0::float8 END AS none
    )
    SELECT coalesce(p.datname, g.datname) AS datname, coalesce(p.state, g.state) AS state, usename, application_name,
           backend_type, wait_event_type, wait_event,
           CASE WHEN p.state IS NOT NULL THEN coalesce(sessions, 0) END AS sessions,
           CASE WHEN p.state IS NOT NULL THEN greatest(max_age, 0) END AS max_age,
           CASE WHEN coalesce(p.state, g.state) IN ('active', 'fastpath function call') THEN 'active'
                WHEN coalesce(p.state, g.state) = 'idle' THEN 'idle'
                WHEN coalesce(p.state, g.state) LIKE 'idle in transaction%' THEN 'idle_in_transaction'
                ELSE 'other' END AS kind,
           coalesce(clients, 0) AS clients,
           greatest(transaction_age, none) AS transaction_age,
           greatest(statement_age, none) AS statement_age,
           CASE WHEN coalesce(p.datname, g.datname) IS NOT NULL THEN coalesce(waiting, 0) END AS waiting,
           CASE WHEN coalesce(p.datname, g.datname) IS NOT NULL THEN greatest(wait_age, 0) END AS wait_age
    FROM places p FULL JOIN groups g ON g.datname = p.datname AND g.state = p.state CROSS JOIN known"""


def _sql(wait_start: str, wait_age: str) -> str:
    return _SQL.replace("{not_ours}", NOT_OURS).replace("{wait_start}", wait_start).replace("{wait_age}", wait_age)


activity = Collector(
    name="pg_activity",
    about="Sessions by state and wait, and the oldest transaction, statement and wait for a lock among them.",
    engine="postgres",
    queries=(
        Query(pg(14), _sql("waitstart", "wait_age")),
        # Before 14 nobody knows when a wait began; it is not older than its statement.
        Query(pg(13, below=14), _sql("NULL::timestamptz", "query_age")),
    ),
    blocks=(
        block(
            gauge("pg_stat_activity_count", "sessions", help="Sessions in this state.", drop_in=True),
            gauge(
                "pg_stat_activity_max_tx_duration",
                "max_age",
                help="Seconds since the oldest open transaction of these sessions began, 0 if none is open.",
                drop_in=True,
            ),
            labels=(
                "datname", "state", "usename", "application_name", "backend_type", "wait_event_type", "wait_event",
            ),
        ),
        block(
            gauge("db_connections", "clients", help="Client connections, without the exporter's own, by state."),
            labels={"state": "kind"},
            merge="sum",
        ),
        block(
            gauge(
                "db_transaction_longest_seconds",
                "transaction_age",
                help="Age of the oldest open transaction of a client, 0 if none is open.",
            ),
            gauge(
                "db_statement_longest_seconds",
                "statement_age",
                help="Age of the longest running statement of a client, 0 if none runs.",
            ),
            merge="max",
        ),
        block(
            gauge("db_lock_waiting_sessions", "waiting", help="Client sessions that wait for a lock."),
            labels={"database": "datname"},
            merge="sum",
        ),
        block(
            gauge(
                "db_lock_wait_longest_seconds",
                "wait_age",
                help="How long the longest wait for a lock has lasted, 0 if nobody waits; before PostgreSQL 14 the age "
                "of the waiting statement.",
            ),
            labels={"database": "datname"},
            merge="max",
        ),
    ),
)  # fmt: skip
