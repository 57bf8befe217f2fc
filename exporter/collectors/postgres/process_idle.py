"""How long sessions have been idle, by state and application."""

from __future__ import annotations

from exporter.collectors.postgres.own import SEES_OTHERS
from exporter.declare import Collector, Context, Query, Rows, block, histogram
from exporter.gates import pg

BOUNDS = (1, 2, 5, 15, 30, 60, 90, 120, 300)

# The sum is one of whole seconds, as the existing exporter has it.
_SQL = f"""
    SELECT state, application_name, sum(idle::int8)::float8 AS total, count(*) AS sessions,
           {", ".join(f"count(*) FILTER (WHERE idle <= {bound}) AS under_{bound}" for bound in BOUNDS)}
    FROM (SELECT state, application_name, extract(epoch FROM now() - state_change)::float8 AS idle
          FROM pg_stat_activity WHERE state LIKE 'idle%' AND pid <> pg_backend_pid()) sessions
    GROUP BY 1, 2"""


def _histograms(rows: Rows, _: Context) -> Rows:
    """The counts of a row as one histogram."""
    found = [
        (state, application, (tuple(zip(BOUNDS, below, strict=True)), total, sessions))
        for state, application, total, sessions, *below in rows.rows
    ]
    return Rows(("state", "application_name", "idle"), found)


process_idle = Collector(
    name="pg_process_idle",
    about="How long sessions have been idle, by state and application; one histogram for each.",
    engine="postgres",
    when=SEES_OTHERS,
    default=False,
    queries=(Query(pg(13), _SQL),),
    rows=_histograms,
    blocks=(
        block(
            histogram("pg_process_idle_seconds", "idle", help="How long sessions have been idle now."),
            labels=("state", "application_name"),
        ),
    ),
)
