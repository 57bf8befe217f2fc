"""When the server's statistics about itself began; each view of the server's has a moment of its own."""

from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg


def _sql(*views: str) -> str:
    parts = [
        f"SELECT '{view}' AS view, max(extract(epoch FROM stats_reset))::float8 AS reset FROM {view}" for view in views
    ]
    return "\n    UNION ALL ".join(parts)


_13 = ("pg_stat_archiver", "pg_stat_bgwriter", "pg_stat_slru")
_14 = (*_13, "pg_stat_wal", "pg_stat_replication_slots")
_15 = (*_14, "pg_stat_recovery_prefetch", "pg_stat_subscription_stats")
_16 = (*_15, "pg_stat_io")
_17 = (*_16, "pg_stat_checkpointer")

statistics_resets = Collector(
    name="pg_statistics_resets",
    about="When the server's statistics about itself were last reset, by view; of several rows the latest counts.",
    engine="postgres",
    every=300,
    queries=(
        Query(pg(17), _sql(*_17)),
        Query(pg(16), _sql(*_16)),
        Query(pg(15), _sql(*_15)),
        Query(pg(14), _sql(*_14)),
        Query(pg(13), _sql(*_13)),
    ),
    blocks=(
        block(
            gauge(
                "pg_statistics_reset_timestamp_seconds",
                "reset",
                help="When the statistics in this view, or a part of them, were last reset.",
            ),
            labels=("view",),
        ),
    ),
)
