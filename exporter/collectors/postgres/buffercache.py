"""What the buffer cache holds, from the extension pg_buffercache."""

from exporter.declare import Collector, Query, block, gauge
from exporter.gates import extension, granted, pg

# EXECUTE on it belongs to pg_monitor. It takes no lock, but looks at every buffer.
buffercache = Collector(
    name="pg_buffercache_summary",
    about="Buffers in use, dirty and pinned; needs the extension pg_buffercache.",
    engine="postgres",
    every=60,
    # The extension is one that few servers have; once it is asked for, `check` says what it lacks.
    default=False,
    when=pg(16) & extension("pg_buffercache", 1, 4) & granted("pg_monitor", fix="GRANT pg_monitor TO {account};"),
    queries=(Query(pg(16), "SELECT * FROM {schema:pg_buffercache}.pg_buffercache_summary()"),),
    blocks=(
        block(
            gauge("pg_buffercache_summary_buffers_used", "buffers_used", help="Buffers in use.", drop_in=True),
            gauge("pg_buffercache_summary_buffers_unused", "buffers_unused", help="Buffers not in use.", drop_in=True),
            gauge("pg_buffercache_summary_buffers_dirty", "buffers_dirty", help="Dirty buffers.", drop_in=True),
            gauge("pg_buffercache_summary_buffers_pinned", "buffers_pinned", help="Pinned buffers.", drop_in=True),
            gauge(
                "pg_buffercache_summary_usagecount_avg",
                "usagecount_avg",
                help="Mean usage count of the buffers in use.",
                drop_in=True,
            ),
        ),
    ),
)
