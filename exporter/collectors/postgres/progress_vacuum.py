"""How far each running VACUUM is."""

from exporter.collectors.postgres.own import SEES_OTHERS
from exporter.collectors.postgres.progress import PLACE, RELNAME
from exporter.declare import Collector, Measure, Query, block, gauge
from exporter.gates import ANY, Gate, pg

_SQL = f"""
    SELECT {{columns}}
    FROM (SELECT p.*, {RELNAME} AS relname, phases.phase AS step, (p.phase = phases.phase)::int AS now
          FROM pg_stat_progress_vacuum p {PLACE}
          CROSS JOIN (VALUES ('initializing'), ('scanning heap'), ('vacuuming indexes'), ('vacuuming heap'),
                             ('cleaning up indexes'), ('truncating heap'), ('performing final cleanup')) phases(phase)
         ) vacuums"""


def _native(name: str, column: str, sentence: str, when: Gate = ANY) -> Measure:
    return gauge(f"pg_stat_progress_vacuum_{name}", column, help=sentence, when=when, drop_in=True)


progress_vacuum = Collector(
    name="pg_stat_progress_vacuum",
    about="How far each running VACUUM is; tables of other databases are told by their number.",
    engine="postgres",
    when=SEES_OTHERS,
    queries=(Query(pg(13), _SQL),),
    blocks=(
        block(
            _native("phase", "now", "1 for the phase that the vacuum is in, 0 for the others."),
            labels={"datname": "datname", "relname": "relname", "phase": "step"},
        ),
        block(
            _native("heap_blks", "heap_blks_total", "Blocks of the table."),
            _native("heap_blks_scanned", "heap_blks_scanned", "Blocks scanned so far."),
            _native("heap_blks_vacuumed", "heap_blks_vacuumed", "Blocks vacuumed so far."),
            _native("index_vacuums", "index_vacuum_count", "Rounds over the indexes that are done."),
            _native("max_dead_tuples", "max_dead_tuples", "Dead rows that fit into memory.", pg(13, below=17)),
            _native("num_dead_tuples", "num_dead_tuples", "Dead rows found since the last round.", pg(13, below=17)),
            # The peer shows bytes under both of these names from 17 on; the first has no successor but bytes.
            _native("num_dead_tuples", "num_dead_item_ids", "Dead rows found since the last round.", pg(17)),
            gauge(
                "pg_stat_progress_vacuum_dead_tuple_bytes",
                "dead_tuple_bytes",
                help="Memory taken by dead rows since the last round over the indexes.",
                when=pg(17),
            ),
            gauge(
                "pg_stat_progress_vacuum_max_dead_tuple_bytes",
                "max_dead_tuple_bytes",
                help="Memory for dead rows; when it is full the indexes get another round.",
                when=pg(17),
            ),
            gauge("pg_stat_progress_vacuum_indexes", "indexes_total", help="Indexes of this round.", when=pg(17)),
            gauge(
                "pg_stat_progress_vacuum_indexes_processed",
                "indexes_processed",
                help="Indexes of this round that are done.",
                when=pg(17),
            ),
            gauge(
                "pg_stat_progress_vacuum_delay_seconds",
                "delay_seconds",
                sql="nullif(delay_time, 0) / 1000",
                help="How long it has slept for vacuum_cost_delay, if it has and track_cost_delay_timing is on.",
                when=pg(18),
            ),
            labels=("datname", "relname"),
            merge="max",
        ),
    ),
)
