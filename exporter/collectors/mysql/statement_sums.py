"""The columns of all statement digests added up, as mysqld_exporter names them."""

from exporter.collectors.mysql.performance_schema import READABLE
from exporter.declare import Collector, Query, block, counter
from exporter.gates import mariadb, mysql

_SUMS = {
    "total": ("COUNT_STAR", "Statements."),
    "timer_wait": ("SUM_TIMER_WAIT / 1e12", "Time in statements, in seconds."),
    "lock_time": ("SUM_LOCK_TIME", "Time in waits for locks on tables, in picoseconds."),
    "errors": ("SUM_ERRORS", "Statements that failed."),
    "warnings": ("SUM_WARNINGS", "Warnings."),
    "rows_affected": ("SUM_ROWS_AFFECTED", "Rows changed."),
    "rows_sent": ("SUM_ROWS_SENT", "Rows sent."),
    "rows_examined": ("SUM_ROWS_EXAMINED", "Rows looked at."),
    "created_tmp_disk_tables": ("SUM_CREATED_TMP_DISK_TABLES", "Temporary tables on disk."),
    "created_tmp_tables": ("SUM_CREATED_TMP_TABLES", "Temporary tables."),
    "select_full_join": ("SUM_SELECT_FULL_JOIN", "Joins without an index."),
    "select_full_range_join": ("SUM_SELECT_FULL_RANGE_JOIN", "Joins by a range of the other table."),
    "select_range": ("SUM_SELECT_RANGE", "Joins by a range of the first table."),
    "select_range_check": ("SUM_SELECT_RANGE_CHECK", "Joins that looked for an index for each row."),
    "select_scan": ("SUM_SELECT_SCAN", "Joins that scanned the first table."),
    "sort_merge_passes": ("SUM_SORT_MERGE_PASSES", "Merge passes of sorts."),
    "sort_range": ("SUM_SORT_RANGE", "Sorts of a range."),
    "sort_rows": ("SUM_SORT_ROWS", "Rows sorted."),
    "sort_scan": ("SUM_SORT_SCAN", "Sorts of a scan."),
    "no_index_used": ("SUM_NO_INDEX_USED", "Scans without an index."),
    "no_good_index_used": ("SUM_NO_GOOD_INDEX_USED", "Scans without a good index."),
}
_COLUMNS = ", ".join(f"SUM({column}) AS {name}" for name, (column, _) in _SUMS.items())

statement_sums = Collector(
    name="mysql_statement_sums",
    about="The columns of all statement digests added up; they fall when digests are forgotten.",
    engine="mysql",
    every=60,
    core_share=0.002,
    timeout=30,
    default=False,
    when=(mysql(8) | mariadb(10, 6)) & READABLE,
    queries=(
        Query(
            mysql(8) | mariadb(10, 6),
            f"SELECT {_COLUMNS} FROM performance_schema.events_statements_summary_by_digest",
        ),
    ),
    blocks=(
        block(
            *(
                counter(f"mysql_perf_schema_events_statements_sum_{name}", name, help=about, drop_in=True)
                for name, (_, about) in _SUMS.items()
            )
        ),
    ),
    grants=("SELECT ON performance_schema.*",),
)
