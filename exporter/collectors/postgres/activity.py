"""Sessions by state and what they wait for, and the oldest transaction and statement among them."""

from exporter.collectors.postgres.own import NOT_OURS, SEES_OTHERS
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# A state without sessions counts 0 in every database, as the existing exporter has it. Sessions outside of databases
# and states (replication, login in progress) have no place there, but they take slots, so db_connections counts them.
# Without track_activities the ages are unknown.
_SQL = f"""
    WITH groups AS (
        SELECT datname, state, usename, application_name, backend_type, wait_event_type, wait_event,
               count(*) AS sessions, max(xact_age) AS max_age, count(*) FILTER (WHERE client) AS clients,
               max(xact_age) FILTER (WHERE client) AS transaction_age,
               max(query_age) FILTER (WHERE client AND state IN ('active', 'fastpath function call')) AS statement_age
        FROM (SELECT *, extract(epoch FROM now() - xact_start)::float8 AS xact_age,
                     extract(epoch FROM now() - query_start)::float8 AS query_age,
                     backend_type = 'client backend' AND {NOT_OURS} AS client
              FROM pg_stat_activity WHERE pid <> pg_backend_pid()) a
        GROUP BY 1, 2, 3, 4, 5, 6, 7
    ), places(state, kind) AS (
        VALUES ('active', 'active'), ('fastpath function call', 'active'), ('idle', 'idle'),
               ('idle in transaction', 'idle_in_transaction'),
               ('idle in transaction (aborted)', 'idle_in_transaction'), ('disabled', 'other')
    ), known AS (
        SELECT CASE WHEN current_setting('track_activities')::bool THEN 0::float8 END AS none
    )
    SELECT p.datname, p.state, usename, application_name, backend_type, wait_event_type, wait_event,
           CASE WHEN kind IS NOT NULL THEN coalesce(sessions, 0) END AS sessions,
           CASE WHEN kind IS NOT NULL THEN greatest(max_age, 0) END AS max_age, g.sessions AS processes,
           coalesce(kind, 'other') AS kind, coalesce(clients, 0) AS clients,
           greatest(transaction_age, none) AS transaction_age, greatest(statement_age, none) AS statement_age
    FROM (SELECT datname, state, kind FROM pg_database, places) p
    FULL JOIN groups g ON g.datname = p.datname AND g.state = p.state CROSS JOIN known"""

activity = Collector(
    name="pg_activity",
    about="Sessions by state and wait, and the oldest transaction and statement among them.",
    engine="postgres",
    when=SEES_OTHERS,
    queries=(Query(pg(13), _SQL),),
    blocks=(
        block(
            gauge("pg_stat_activity_count", "sessions", help="Sessions in this state.", drop_in=True),
            gauge(
                "pg_stat_activity_max_tx_duration",
                "max_age",
                help="Seconds since the oldest open transaction of these sessions began, 0 if none is open.",
                drop_in=True,
            ),
            labels=("datname", "state", "usename", "application_name", "backend_type", "wait_event_type", "wait_event"),
        ),
        block(
            gauge("pg_backends", "processes", help="Processes of the server by their kind, without the one that asks."),
            labels=("backend_type",),
            merge="sum",
        ),
        block(
            shared("db_connections", "clients"),
            labels={"state": "kind"},
            merge="sum",
        ),
        block(
            shared("db_transaction_longest_seconds", "transaction_age"),
            shared("db_statement_longest_seconds", "statement_age"),
            merge="max",
        ),
    ),
)
