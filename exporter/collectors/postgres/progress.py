"""How far ANALYZE, CREATE INDEX, CLUSTER, COPY and base backups are while they run."""

from exporter.collectors.postgres.own import SEES_OTHERS
from exporter.declare import Collector, Measure, Query, block, gauge
from exporter.gates import pg

# Only the database that we are connected to tells the names of its tables; those of others are numbers.
PLACE = """
    LEFT JOIN pg_class c ON c.oid = p.relid AND p.datname = current_database()
    LEFT JOIN pg_namespace n ON n.oid = c.relnamespace"""
# As regclass writes it with the default search_path, which our sessions don't have.
RELNAME = (
    "CASE WHEN n.nspname IN ('public', 'pg_catalog') THEN quote_ident(c.relname)"
    " ELSE coalesce(quote_ident(n.nspname) || '.' || quote_ident(c.relname), p.relid::text) END"
)
_COLUMNS = (
    *("blocks_done", "blocks", "tuples_done", "tuples", "bytes_done", "bytes", "parts_done", "parts", "delay"),
    *("lockers_done", "lockers", "statistics_done", "statistics", "left_out", "skipped", "indexes_rebuilt", "written"),
)


def _part(view: str, labels: str, **columns: str) -> str:
    told = [f"({columns.get(column, 'NULL')})::float8 AS {column}" for column in _COLUMNS]
    return f"SELECT {', '.join([labels, *told])} FROM {view}"


def _sql(version: int) -> str:
    parts = [
        _part(
            "pg_stat_progress_analyze",
            "'ANALYZE' AS command, datname, relid, phase",
            blocks_done="sample_blks_scanned",
            blocks="sample_blks_total",
            parts_done="child_tables_done",
            parts="child_tables_total",
            statistics_done="ext_stats_computed",
            statistics="ext_stats_total",
            **({"delay": "nullif(delay_time, 0) / 1000"} if version >= 18 else {}),
        ),
        _part(
            "pg_stat_progress_create_index",
            "command, datname, relid, phase",
            blocks_done="blocks_done",
            blocks="blocks_total",
            tuples_done="tuples_done",
            tuples="tuples_total",
            parts_done="partitions_done",
            parts="partitions_total",
            lockers_done="lockers_done",
            lockers="lockers_total",
        ),
        _part(
            "pg_stat_progress_cluster",
            "command, datname, relid, phase",
            blocks_done="heap_blks_scanned",
            blocks="heap_blks_total",
            tuples_done="heap_tuples_scanned",
            written="heap_tuples_written",
            indexes_rebuilt="index_rebuild_count",
        ),
        _part(
            "pg_stat_progress_basebackup",
            "'BASE BACKUP', NULL, NULL, phase",
            bytes_done="backup_streamed",
            bytes="backup_total",
            parts_done="tablespaces_streamed",
            parts="tablespaces_total",
        ),
    ]
    if version >= 14:
        # A COPY has no phases, and knows its size only if it reads a file.
        parts.append(
            _part(
                "pg_stat_progress_copy",
                "command, datname, relid, NULL",
                bytes_done="bytes_processed",
                bytes="nullif(bytes_total, 0)",
                tuples_done="tuples_processed",
                left_out="tuples_excluded",
                **({"skipped": "tuples_skipped"} if version >= 17 else {}),
            )
        )
    union = "\n        UNION ALL ".join(parts)
    return f"SELECT p.*, 1 AS one, {RELNAME} AS relname FROM (\n        {union}\n    ) p{PLACE}"


def _measure(name: str, column: str, sentence: str) -> Measure:
    return gauge(f"pg_progress_{name}", column, help=sentence)


progress = Collector(
    name="pg_progress",
    about="How far ANALYZE, CREATE INDEX, CLUSTER, VACUUM FULL, COPY and base backups are.",
    engine="postgres",
    # Five views are dear to plan, and what they tell takes minutes.
    every=15,
    when=SEES_OTHERS,
    queries=tuple(Query(pg(version), _sql(version)) for version in (18, 17, 14, 13)),
    blocks=(
        block(
            _measure("running", "one", "Commands of this kind that run on this table now."),
            _measure("blocks_done", "blocks_done", "Blocks done in this phase."),
            _measure("blocks", "blocks", "Blocks to do in this phase."),
            _measure("tuples_done", "tuples_done", "Rows done in this phase."),
            _measure("tuples", "tuples", "Rows to do in this phase."),
            _measure("bytes_done", "bytes_done", "Bytes copied or streamed."),
            _measure("bytes", "bytes", "Bytes to copy or stream, where it is known."),
            _measure("parts_done", "parts_done", "Partitions, children or tablespaces done."),
            _measure("parts", "parts", "Partitions, children or tablespaces to do."),
            _measure("lockers_done", "lockers_done", "Transactions that are not waited for any more."),
            _measure("lockers", "lockers", "Transactions that CREATE INDEX or REINDEX CONCURRENTLY has to wait for."),
            _measure("statistics_done", "statistics_done", "Extended statistics computed."),
            _measure("statistics", "statistics", "Extended statistics to compute."),
            _measure("tuples_excluded", "left_out", "Rows that the WHERE of COPY left out."),
            _measure("tuples_skipped", "skipped", "Rows that COPY skipped since they were malformed."),
            _measure("tuples_written", "written", "Rows written into the new table."),
            _measure("indexes_rebuilt", "indexes_rebuilt", "Indexes built anew."),
            _measure("delay_seconds", "delay", "How long it has slept for vacuum_cost_delay, if that is timed."),
            labels=("command", "datname", "relname", "phase"),
            merge="sum",
        ),
    ),
)
