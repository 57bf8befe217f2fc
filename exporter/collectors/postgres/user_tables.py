"""What happened to each user table: scans, rows, vacuum and analyze."""

from exporter.collectors.busiest import busiest
from exporter.declare import Collector, Measure, Query, block, counter, gauge
from exporter.gates import pg

LABELS = ("datname", "schemaname", "relname")

_COUNTERS = {
    "seq_scan": "Sequential scans begun.",
    "seq_tup_read": "Live rows read by sequential scans.",
    "idx_scan": "Index scans begun; 0 if the table has no index.",
    "idx_tup_fetch": "Live rows fetched by index scans.",
    "n_tup_ins": "Rows inserted.",
    "n_tup_upd": "Rows updated.",
    "n_tup_del": "Rows deleted.",
    "n_tup_hot_upd": "Rows updated without a new entry in any index.",
    "vacuum_count": "Times that the table was vacuumed by hand, not counting VACUUM FULL.",
    "autovacuum_count": "Times that autovacuum vacuumed the table.",
    "analyze_count": "Times that the table was analyzed by hand.",
    "autoanalyze_count": "Times that autovacuum analyzed the table.",
}
_GAUGES = {
    "n_live_tup": "Live rows, as estimated by the statistics.",
    "n_dead_tup": "Dead rows, as estimated by the statistics.",
    "n_mod_since_analyze": "Rows changed since the table was last analyzed, as estimated by the statistics.",
}
_MOMENTS = {
    "last_vacuum": "When the table was last vacuumed by hand, in Unix time.",
    "last_autovacuum": "When autovacuum last vacuumed the table, in Unix time.",
    "last_analyze": "When the table was last analyzed by hand, in Unix time.",
    "last_autoanalyze": "When autovacuum last analyzed the table, in Unix time.",
}


def _counter(column: str, sentence: str) -> Measure:
    # A table without an index has NULL scans, which are none.
    sql = f"coalesce({column}, 0)" if column.startswith("idx_") else None
    return counter(f"pg_stat_user_tables_{column}", column, sql=sql, help=sentence, drop_in=True)


def _moment(column: str, sentence: str) -> Measure:
    sql = f"floor(extract(epoch FROM {column}))::float8"
    return gauge(f"pg_stat_user_tables_{column}", column, sql=sql, help=sentence, drop_in=True)


user_tables = Collector(
    name="pg_stat_user_tables",
    about="Scans, rows, vacuum and analyze of each user table; the busiest where there are very many.",
    engine="postgres",
    elsewhere=300,
    share=0.42,
    queries=(
        Query(
            pg(13),
            "SELECT {columns} FROM (SELECT current_database() AS datname, * FROM pg_stat_user_tables) t"
            # Temporary tables come and go with their sessions.
            " WHERE schemaname !~ '^pg_temp_'",
        ),
    ),
    state=busiest(*LABELS, by=("seq_tup_read", "idx_scan", "idx_tup_fetch", "n_tup_ins", "n_tup_upd", "n_tup_del")),
    blocks=(
        block(
            *(_counter(column, sentence) for column, sentence in _COUNTERS.items()),
            *(
                gauge(f"pg_stat_user_tables_{column}", column, help=sentence, drop_in=True)
                for column, sentence in _GAUGES.items()
            ),
            *(_moment(column, sentence) for column, sentence in _MOMENTS.items()),
            counter(
                "pg_stat_user_tables_n_tup_newpage_upd_total",
                "n_tup_newpage_upd",
                when=pg(16),
                help="Rows updated onto another page, because there was no room on their own.",
            ),
            labels=LABELS,
        ),
    ),
)
