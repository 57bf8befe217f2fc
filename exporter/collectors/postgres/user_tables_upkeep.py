"""When each user table was last read, and the time that its vacuum and analyze have taken."""

from exporter.collectors.postgres.user_tables import LABELS
from exporter.declare import Collector, Measure, Query, block, counter, gauge
from exporter.gates import pg


def _last(kind: str, sentence: str) -> Measure:
    sql = f"extract(epoch FROM last_{kind}_scan)::float8"
    return gauge(f"pg_stat_user_tables_last_{kind}_scan_timestamp_seconds", f"last_{kind}_scan", sql=sql, help=sentence)


def _seconds(what: str, sentence: str) -> Measure:
    column = f"total_{what}_time"
    name = f"pg_stat_user_tables_{what}_seconds_total"
    return counter(name, column, sql=f"{column} / 1000", when=pg(18), help=sentence)


user_tables_upkeep = Collector(
    name="pg_user_tables_upkeep",
    about="When each user table was last read, and how long its vacuum and analyze have taken.",
    engine="postgres",
    when=pg(16),
    every=300,
    each_database=True,
    share=0.12,
    queries=(
        Query(
            pg(16),
            "SELECT {columns} FROM (SELECT current_database() AS datname, * FROM pg_stat_user_tables) t"
            # Where there is no room for all, the largest come first.
            " WHERE schemaname !~ '^pg_temp_' ORDER BY n_live_tup DESC",
        ),
    ),
    blocks=(
        block(
            _last("seq", "When the table was last read by a sequential scan, in Unix time."),
            _last("idx", "When the table was last read by an index scan, in Unix time."),
            _seconds("vacuum", "Time that vacuum by hand took, waits of the cost limit included."),
            _seconds("autovacuum", "Time that autovacuum took, waits of the cost limit included."),
            _seconds("analyze", "Time that analyze by hand took, waits of the cost limit included."),
            _seconds("autoanalyze", "Time that autovacuum took to analyze, waits of the cost limit included."),
            labels=LABELS,
        ),
    ),
)
