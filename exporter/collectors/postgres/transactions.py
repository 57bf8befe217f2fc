"""Open transactions, those that idle, and those prepared for two-phase commit."""

from __future__ import annotations

from exporter.collectors.postgres.own import NOT_OURS, SEES_OTHERS
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.gates import pg

AGES = (0, 1, 5, 15, 60, 300, 900, 3600, 14400)


def _by_age(what: str, age: str) -> str:
    """An array: how many are at least that old, for each of the ages."""
    return f"ARRAY[{', '.join(f'(count(*) FILTER (WHERE {what} AND {age} >= {least}))::float8' for least in AGES)}]"


def _ages_apart(rows: Rows, _: Context) -> Rows:
    """The arrays as a row for each age. No histogram: what is counted now is less a moment later."""
    found = []
    for row in rows.dicts():
        ages = zip(AGES, row.pop("transaction_ages"), row.pop("statement_ages"), strict=True)
        found += [row, *({"at_least": least, "aged": aged, "running": running} for least, aged, running in ages)]
    return Rows.of((*rows.columns, "at_least", "aged", "running"), found)


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
                   coalesce(max(age) FILTER (WHERE idles), 0) AS idle_oldest,
                   {_by_age("client AND age IS NOT NULL", "greatest(age, 0)")} AS transaction_ages,
                   {_by_age("client AND statement IS NOT NULL", "greatest(statement, 0)")} AS statement_ages
            FROM (
                -- A transaction that failed has no beginning any more, and still idles.
                SELECT xact_start IS NOT NULL AND state IS DISTINCT FROM 'idle'
                       AND query NOT LIKE 'autovacuum:%' AS open,
                       state LIKE 'idle in transaction%' AND {NOT_OURS} AS idles,
                       backend_type = 'client backend' AND {NOT_OURS} AS client,
                       CASE WHEN state IN ('active', 'fastpath function call')
                            THEN extract(epoch FROM clock_timestamp() - query_start)::float8 END AS statement,
                       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age,
                       greatest(extract(epoch FROM clock_timestamp() - state_change), 0)::float8 AS idle
                FROM pg_stat_activity WHERE pid <> pg_backend_pid()
            ) sessions""",
        ),
    ),
    rows=_ages_apart,
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
            merge="max",
        ),
        block(
            gauge("pg_open_transactions", "aged", help="Open transactions of clients that are at least this old."),
            gauge("pg_running_statements", "running", help="Running statements of clients that are at least this old."),
            labels={"at_least_seconds": "at_least"},
            merge="max",
        ),
    ),
)
