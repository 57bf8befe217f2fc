"""The file of every InnoDB table: how large it is, and how much of the disk it takes."""

from exporter.collectors.mysql.schema_sizes import SEES_TABLES
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import mariadb, mysql

# Fresh from the files, without opening a table; the largest first, since there may not be room for all.
_SQL = """
    SELECT NAME AS name, 'NONE' AS file_format, COALESCE(ROW_FORMAT, 'NONE') AS row_format, {type} AS space_type,
           SPACE AS space, FILE_SIZE AS file_size, ALLOCATED_SIZE AS allocated, COUNT(*) OVER () AS known
    FROM information_schema.{table}
    ORDER BY FILE_SIZE DESC LIMIT {limit}"""

tablespaces = Collector(
    name="mysql_tablespaces",
    about="The largest tablespaces: the size of the file, and what it takes on disk.",
    engine="mysql",
    every=300,
    timeout=30,
    limit=1000,
    share=0.05,
    when=(mysql(8) | mariadb(10, 6)) & SEES_TABLES,
    queries=(
        Query(
            mysql(8),
            _SQL.replace("{type}", "COALESCE(SPACE_TYPE, 'NONE')").replace("{table}", "INNODB_TABLESPACES"),
        ),
        Query(mariadb(10, 6), _SQL.replace("{type}", "''").replace("{table}", "INNODB_SYS_TABLESPACES")),
    ),
    blocks=(
        block(
            gauge(
                "mysql_info_schema_innodb_tablespace_space_info",
                "space",
                help="The number of the tablespace.",
                drop_in=True,
            ),
            labels={
                "tablespace_name": "name",
                "file_format": "file_format",
                "row_format": "row_format",
                "space_type": "space_type",
            },
        ),
        block(
            gauge(
                "mysql_info_schema_innodb_tablespace_file_size_bytes",
                "file_size",
                help="Size of the file.",
                drop_in=True,
            ),
            gauge(
                "mysql_info_schema_innodb_tablespace_allocated_size_bytes",
                "allocated",
                help="What the file takes on disk, less where it has holes or is compressed.",
                drop_in=True,
            ),
            labels={"tablespace_name": "name"},
        ),
        block(
            gauge(
                "mysql_tablespaces",
                "known",
                help="Tablespaces there are; sizes are told of the largest of them.",
            ),
            merge="max",
        ),
    ),
    grants=("PROCESS", "REFERENCES"),
)
