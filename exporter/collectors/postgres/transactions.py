"""Open transactions, those that idle, and those prepared for two-phase commit."""

from exporter.collectors.postgres.own import NOT_OURS, SEES_OTHERS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

transactions = Collector(
    name="pg_long_running_transactions",
    about="Open transactions and the oldest of them, and how long sessions idle in one.",
    engine="postgres",
    when=SEES_OTHERS,
    queries=(
        Query(
            pg(13),
            f"""
            SELECT count(*) FILTER (WHERE open) AS transactions,
                   coalesce(max(age) FILTER (WHERE open), 0) AS oldest,
                   count(*) FILTER (WHERE idles) AS idle, coalesce(max(idle) FILTER (WHERE idles), 0) AS idle_longest,
                   coalesce(max(age) FILTER (WHERE idles), 0) AS idle_oldest
            FROM (
                -- A transaction that failed has no beginning any more, and still idles.
                SELECT xact_start IS NOT NULL AND state IS DISTINCT FROM 'idle'
                       AND query NOT LIKE 'autovacuum:%' AS open,
                       state LIKE 'idle in transaction%' AND {NOT_OURS} AS idles,
                       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age,
                       greatest(extract(epoch FROM clock_timestamp() - state_change), 0)::float8 AS idle
                FROM pg_stat_activity WHERE pid <> pg_backend_pid()
            ) sessions""",
        ),
    ),
    blocks=(
        block(
            gauge(
                "pg_long_running_transactions",
                "transactions",
                help="Open transactions, however long they run, but for those of autovacuum.",
                drop_in=True,
            ),
            gauge(
                "pg_long_running_transactions_oldest_timestamp_seconds",
                "oldest",
                help="Age in seconds of the oldest of them, 0 if there is none.",
                drop_in=True,
            ),
            gauge("pg_idle_in_transaction_sessions", "idle", help="Sessions that idle in an open transaction."),
            gauge(
                "pg_idle_in_transaction_longest_seconds",
                "idle_longest",
                help="How long one of them has been idle at the longest, 0 if there is none.",
            ),
            gauge(
                "pg_idle_in_transaction_oldest_seconds",
                "idle_oldest",
                help="Age of the oldest transaction that a session idles in, 0 if there is none.",
            ),
        ),
    ),
)
