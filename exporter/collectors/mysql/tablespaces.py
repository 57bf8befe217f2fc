"""The file of every InnoDB table: how large it is, how much of the disk it takes, and how much of it is free."""

from exporter.collectors.mysql.performance_schema import READABLE
from exporter.collectors.mysql.schema_sizes import FILE_SIZE, SEES_TABLES
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import mariadb, mysql

# Fresh from the files, without opening a table; the largest first, since there may not be room for all. What is free
# in a file is asked for the largest alone: there it matters, and the server has to look into each. Of equal ones, which
# most are that hold little, it is always the same that are told.
_ROOMY = 100
_FILES = """
    SELECT NAME AS name, 'NONE' AS file_format, COALESCE(ROW_FORMAT, 'NONE') AS row_format, {type} AS space_type,
           SPACE AS space, FILE_SIZE AS file_size, ALLOCATED_SIZE AS allocated, COUNT(*) OVER () AS known,
           ROW_NUMBER() OVER (ORDER BY FILE_SIZE DESC, NAME) AS place
    FROM information_schema.{table}
    ORDER BY FILE_SIZE DESC, NAME LIMIT {limit}"""
# Of the system tablespace, ibdata1 as a rule, the list of tablespaces has nothing on MySQL; of what files after the
# first take on disk nothing is known but their size.
_WITH_SYSTEM = f"""(
        SELECT NAME, ROW_FORMAT, SPACE_TYPE, SPACE, {FILE_SIZE} AS FILE_SIZE,
               ALLOCATED_SIZE + {FILE_SIZE} - FILE_SIZE AS ALLOCATED_SIZE
        FROM information_schema.INNODB_TABLESPACES
        UNION ALL
        SELECT TABLESPACE_NAME, NULL, 'System', 0, MAX(TOTAL_EXTENTS * EXTENT_SIZE), MAX(TOTAL_EXTENTS * EXTENT_SIZE)
        FROM information_schema.FILES WHERE TABLESPACE_NAME = 'innodb_system' GROUP BY TABLESPACE_NAME
    ) AS tablespaces"""
_MYSQL = _FILES.replace("{type}", "COALESCE(SPACE_TYPE, 'NONE')").replace("information_schema.{table}", _WITH_SYSTEM)
# What is free in a file MySQL tells after whoever alters or locks its table: for each such file that would be a second.
_FREE_TO_LOOK = """NOT EXISTS (
                SELECT 1 FROM performance_schema.metadata_locks l
                WHERE l.OBJECT_TYPE = 'TABLESPACE' AND l.OBJECT_NAME = files.name AND l.LOCK_TYPE <> 'SHARED')"""
_MARIADB = _FILES.replace("{type}", "''").replace("{table}", "INNODB_SYS_TABLESPACES")
# MariaDB opens a table for this, and names in a condition are looked at before, if the condition is left where it is:
# with a limit the query is not merged into the one around it. A partition's file is no table of this list.
_FREE = f"""
    SELECT CONCAT(CAST(CONVERT(TABLE_SCHEMA USING filename) AS BINARY), '/',
                  CAST(CONVERT(TABLE_NAME USING filename) AS BINARY)) AS name, DATA_FREE AS free
    FROM information_schema.TABLES
    WHERE FIND_IN_SET(CONCAT(CAST(CONVERT(TABLE_SCHEMA USING filename) AS BINARY), '/',
                             CAST(CONVERT(TABLE_NAME USING filename) AS BINARY)),
                      (SELECT COALESCE(GROUP_CONCAT(NAME), '') FROM (
                          SELECT NAME FROM information_schema.INNODB_SYS_TABLESPACES
                          ORDER BY FILE_SIZE DESC, NAME LIMIT {_ROOMY}) AS largest)) > 0
    LIMIT {_ROOMY}"""


def _with_free(condition: str) -> str:
    # A tablespace of several files has a row for each, and all say the same of the whole.
    return f"""SELECT DISTINCT files.*, f.DATA_FREE AS free
            FROM ({_MYSQL}) AS files
            LEFT JOIN information_schema.FILES f
                ON f.TABLESPACE_NAME = files.name AND files.place <= {_ROOMY} AND {condition}
            ORDER BY files.place"""


tablespaces = Collector(
    name="mysql_tablespaces",
    about="The largest tablespaces: the size of the file, what it takes on disk, and what is free in it.",
    engine="mysql",
    every=300,
    timeout=30,
    limit=2000,
    share=0.1,
    when=mysql(8) | mariadb(10, 6),
    queries=(
        Query(mysql(8) & READABLE, _with_free(_FREE_TO_LOOK)),
        Query(mysql(8), _with_free("TRUE")),
        Query(
            mariadb(10, 6) & SEES_TABLES,
            f"""SELECT files.*, f.free FROM ({_MARIADB}) AS files LEFT JOIN ({_FREE}) AS f ON f.name = files.name
            ORDER BY files.place""",
        ),
        Query(mariadb(10, 6), _MARIADB),
    ),
    blocks=(
        block(
            gauge(
                "mysql_tablespaces",
                "known",
                help="Tablespaces there are; sizes are told of the largest of them.",
            ),
            merge="max",
        ),
        block(
            gauge(
                "mysql_info_schema_innodb_tablespace_file_size_bytes",
                "file_size",
                help="Size of the file, holes in it among it.",
                drop_in=True,
            ),
            gauge(
                "mysql_info_schema_innodb_tablespace_allocated_size_bytes",
                "allocated",
                help="What the file takes on disk, less where it has holes or is compressed.",
                drop_in=True,
            ),
            gauge(
                "mysql_innodb_tablespace_free_bytes",
                "free",
                help="What is free in the file, in whole extents: the tables in it may use it again, the disk has it "
                f"back when they are built anew. Of the {_ROOMY} largest.",
            ),
            labels={"tablespace_name": "name"},
        ),
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
    ),
    grants=("PROCESS", "REFERENCES", "SELECT ON performance_schema.*"),
)
