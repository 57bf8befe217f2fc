"""What happened in each database since its statistics were reset: transactions, blocks, rows, deadlocks."""

from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Measure, Query, block, counter, gauge
from exporter.gates import Gate, pg

_COUNTERS = {
    "xact_commit": "Transactions committed.",
    "xact_rollback": "Transactions rolled back.",
    "blks_read": "Blocks that were not in the buffer cache.",
    "blks_hit": "Blocks found in the buffer cache.",
    "tup_returned": "Rows read by scans.",
    "tup_fetched": "Rows fetched by index scans.",
    "tup_inserted": "Rows inserted.",
    "tup_updated": "Rows updated.",
    "tup_deleted": "Rows deleted.",
    "conflicts": "Statements cancelled because of conflicts with recovery; on a standby only.",
    "temp_files": "Temporary files created by statements.",
    "temp_bytes": "Bytes written to temporary files.",
    "deadlocks": "Deadlocks.",
    "blk_read_time": "Milliseconds spent reading blocks, if track_io_timing is on.",
    "blk_write_time": "Milliseconds spent writing blocks, if track_io_timing is on.",
}
# What the existing exporter leaves out: column or expression, where, what it says.
_OURS: dict[str, tuple[str | None, Gate, str]] = {
    "session_seconds": ("session_time / 1000", pg(14), "Time that sessions lasted."),
    "idle_in_transaction_seconds": (
        "idle_in_transaction_time / 1000",
        pg(14),
        "Time in which sessions idled in a transaction.",
    ),
    "sessions": (None, pg(14), "Sessions begun."),
    "sessions_abandoned": (None, pg(14), "Sessions that ended because the client was lost."),
    "sessions_fatal": (None, pg(14), "Sessions that ended with a fatal error."),
    "sessions_killed": (None, pg(14), "Sessions that an operator ended."),
    "parallel_workers_to_launch": (None, pg(18), "Parallel workers that plans asked for."),
    "parallel_workers_launched": (None, pg(18), "Parallel workers that were started."),
}


def _native(column: str, sentence: str) -> Measure:
    return counter(f"pg_stat_database_{column}", column, help=sentence, drop_in=True)


def _transactions(column: str) -> Measure:
    return shared("db_transactions_total", column)


database_activity = Collector(
    name="pg_stat_database",
    about="Transactions, block reads, rows, temporary files and deadlocks of each database.",
    engine="postgres",
    queries=(
        Query(
            pg(13),
            "SELECT {columns} FROM (SELECT *, 'commit' AS committed, 'rollback' AS rolled_back FROM pg_stat_database"
            # Without the row about shared catalogs, which belong to no database.
            " WHERE datname IS NOT NULL) d",
        ),
    ),
    blocks=(
        block(
            gauge("pg_stat_database_numbackends", "numbackends", help="Sessions in the database.", drop_in=True),
            *(_native(column, sentence) for column, sentence in _COUNTERS.items()),
            counter(
                "pg_stat_database_active_time_seconds_total",
                "active_seconds",
                sql="active_time / 1000",
                when=pg(14),
                help="Seconds in which sessions ran statements.",
                drop_in=True,
            ),
            *(
                counter(f"pg_stat_database_{name}_total", name, sql=sql, when=when, help=sentence)
                for name, (sql, when, sentence) in _OURS.items()
            ),
            gauge(
                "pg_stat_database_stats_reset",
                "reset",
                sql="floor(extract(epoch FROM stats_reset))::float8",
                help="When these statistics were last reset.",
                drop_in=True,
            ),
            labels=("datid", "datname"),
        ),
        block(_transactions("xact_commit"), labels={"database": "datname", "outcome": "committed"}),
        block(_transactions("xact_rollback"), labels={"database": "datname", "outcome": "rolled_back"}),
        block(
            shared("db_cache_hits_total", "blks_hit"),
            shared("db_cache_misses_total", "blks_read"),
            shared("db_deadlocks_total", "deadlocks"),
            labels={"database": "datname"},
        ),
    ),
)
