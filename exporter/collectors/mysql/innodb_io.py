"""Reads and writes of InnoDB's files and of binary logs, and the time they took: how fast the disk is."""

from exporter.collectors.mysql.performance_schema import READABLE
from exporter.declare import Collector, Query, block, counter
from exporter.gates import mariadb, mysql

_SQL = """
    SELECT SUBSTRING_INDEX(EVENT_NAME, '/', -1) AS file,
           COUNT_READ AS `reads`, SUM_TIMER_READ / 1e12 AS read_time, SUM_NUMBER_OF_BYTES_READ AS read_bytes,
           COUNT_WRITE AS `writes`, SUM_TIMER_WRITE / 1e12 AS write_time, SUM_NUMBER_OF_BYTES_WRITE AS write_bytes,
           COUNT_MISC AS others, SUM_TIMER_MISC / 1e12 AS other_time
    FROM performance_schema.file_summary_by_event_name
    WHERE EVENT_NAME IN ('wait/io/file/innodb/innodb_data_file', 'wait/io/file/innodb/innodb_log_file',
                         'wait/io/file/innodb/innodb_temp_file', 'wait/io/file/innodb/innodb_dblwr_file',
                         'wait/io/file/sql/binlog', 'wait/io/file/sql/relaylog')"""
_FIGURES = {
    "reads_total": ("reads", "Reads from files of this kind."),
    "read_seconds_total": ("read_time", "Time in reads; divided by the reads, how long one takes."),
    "read_bytes_total": ("read_bytes", "Bytes read."),
    "writes_total": ("writes", "Writes to files of this kind."),
    "write_seconds_total": ("write_time", "Time in writes."),
    "written_bytes_total": ("write_bytes", "Bytes written."),
    "other_operations_total": ("others", "Other operations on files of this kind: syncs above all, and opens."),
    "other_operations_seconds_total": ("other_time", "Time in other operations: syncs above all."),
}

innodb_io = Collector(
    name="mysql_innodb_io",
    about="Reads, writes and syncs of InnoDB's files and of binary logs, and their time.",
    engine="mysql",
    when=(mysql(8) | mariadb(10, 6)) & READABLE,
    queries=(Query(mysql(8) | mariadb(10, 6), _SQL),),
    blocks=(
        block(
            *(counter(f"mysql_file_{name}", column, help=about) for name, (column, about) in _FIGURES.items()),
            labels=("file",),
        ),
    ),
    grants=("SELECT ON performance_schema.*",),
)
