"""The file of each tablespace of InnoDB: how large it is, and how much of the disk it has."""

from exporter.declare import Collector, Query, block, gauge
from exporter.gates import mariadb, mysql

# The files of 8.0 and newer all have one format. What there is no room for are the smallest.
_SQL = """
    SELECT NAME AS tablespace_name, 'NONE' AS file_format, COALESCE(ROW_FORMAT, 'NONE') AS row_format,
           {space_type} AS space_type, SPACE AS space, FILE_SIZE AS file_size, ALLOCATED_SIZE AS allocated_size
    FROM information_schema.{table}
    ORDER BY FILE_SIZE DESC"""

tablespaces = Collector(
    name="mysql_innodb_tablespaces",
    about="Size of each file of InnoDB, as it seems and as it is on disk; the largest of very many.",
    engine="mysql",
    every=300,
    timeout=30,
    share=0.1,
    default=False,
    when=mysql(8) | mariadb(10, 6),
    queries=(
        Query(mysql(8), _SQL.format(space_type="COALESCE(SPACE_TYPE, 'NONE')", table="INNODB_TABLESPACES")),
        Query(mariadb(10, 6), _SQL.format(space_type="''", table="INNODB_SYS_TABLESPACES")),
    ),
    blocks=(
        block(
            gauge(
                "mysql_info_schema_innodb_tablespace_file_size_bytes",
                "file_size",
                help="Size of the file, holes in it among it.",
                drop_in=True,
            ),
            gauge(
                "mysql_info_schema_innodb_tablespace_allocated_size_bytes",
                "allocated_size",
                help="What the file takes of the disk.",
                drop_in=True,
            ),
            labels=("tablespace_name",),
        ),
        block(
            gauge(
                "mysql_info_schema_innodb_tablespace_space_info",
                "space",
                help="The tablespace's number.",
                drop_in=True,
            ),
            labels=("tablespace_name", "file_format", "row_format", "space_type"),
        ),
    ),
    grants=("PROCESS",),
)
