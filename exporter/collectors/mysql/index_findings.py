"""Indexes that cost more than they give: unused, duplicate, or the beginning of another."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.collectors.mysql.needless_indexes import WEEK, Findings
from exporter.collectors.mysql.performance_schema import READABLE
from exporter.collectors.mysql.remote_tables import LOCAL_MARIADB
from exporter.collectors.mysql.schema_sizes import SEES_TABLES
from exporter.collectors.mysql.schemas import INTERNAL
from exporter.collectors.mysql.shared_tables import STATISTICS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import INNODB, Gate, granted, mariadb, mysql
from exporter.own_sessions import OUR_USER

# Sizes are more than was asked for: where they are not seen, findings are told without.
_SEES_SIZES: Gate = granted(STATISTICS, fix="") & granted("PROCESS", fix="")

# Put together here: in SQL each of these views would be looked through for each index of another.
_INDEXES = f"""
    SELECT 'index' AS part, TABLE_SCHEMA AS `schema`, TABLE_NAME AS `table`, INDEX_NAME AS `index`,
           COALESCE(COLUMN_NAME, {{expression}}) AS `column`, SUB_PART AS length, NON_UNIQUE AS several,
           INDEX_TYPE AS type, SEQ_IN_INDEX AS place, COLLATION AS direction, {{visible}} AS visible
    FROM information_schema.STATISTICS WHERE TABLE_SCHEMA NOT IN ({INTERNAL}) AND {{local}}
    UNION ALL
    SELECT 'reference', TABLE_SCHEMA, TABLE_NAME, NULL, COLUMN_NAME, NULL, NULL, NULL, ORDINAL_POSITION, NULL,
           NULL
    FROM information_schema.KEY_COLUMN_USAGE
    WHERE REFERENCED_TABLE_NAME IS NOT NULL AND ORDINAL_POSITION = 1 AND TABLE_SCHEMA NOT IN ({INTERNAL})
      AND {{local}}
    UNION ALL
    SELECT 'reference', REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, NULL, REFERENCED_COLUMN_NAME, NULL, NULL, NULL,
           ORDINAL_POSITION, NULL, NULL
    FROM information_schema.KEY_COLUMN_USAGE
    WHERE REFERENCED_TABLE_NAME IS NOT NULL AND ORDINAL_POSITION = 1 AND TABLE_SCHEMA NOT IN ({INTERNAL})
      AND {{local}}"""
# Where reads are not counted at all, as some switch off for its cost, or not those of all clients, or there was no room
# to count them, nothing is known to be unused. That an account of ours is left out is no loss.
_UNUSED = f"""
    UNION ALL
    SELECT IF(COUNT_STAR = 0, 'unused', 'used'), OBJECT_SCHEMA, OBJECT_NAME, INDEX_NAME, NULL, NULL, NULL, NULL, NULL,
           NULL, NULL
    FROM performance_schema.table_io_waits_summary_by_index_usage
    WHERE INDEX_NAME IS NOT NULL AND OBJECT_SCHEMA NOT IN ({INTERNAL})
    UNION ALL
    SELECT 'uptime', NULL, NULL, NULL, NULL, VARIABLE_VALUE + 0, NULL, NULL, NULL, NULL, NULL
    FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Uptime'
      AND EXISTS (SELECT 1 FROM performance_schema.setup_instruments
                  WHERE NAME = 'wait/io/table/sql/handler' AND ENABLED = 'YES')
      AND EXISTS (SELECT 1 FROM performance_schema.setup_consumers
                  WHERE NAME = 'global_instrumentation' AND ENABLED = 'YES')
      AND EXISTS (SELECT 1 FROM performance_schema.setup_actors
                  WHERE HOST = '%' AND USER = '%' AND ROLE = '%' AND ENABLED = 'YES')
      AND NOT EXISTS (SELECT 1 FROM performance_schema.setup_actors WHERE ENABLED = 'NO' AND USER <> {OUR_USER})
      AND NOT EXISTS (SELECT 1 FROM performance_schema.global_status
                      WHERE VARIABLE_NAME IN ('Performance_schema_table_handles_lost',
                                              'Performance_schema_thread_instances_lost') AND VARIABLE_VALUE <> '0')
    UNION ALL
    SELECT 'young', TABLE_SCHEMA, TABLE_NAME, NULL, NULL, TIMESTAMPDIFF(SECOND, CREATE_TIME, NOW()),
           NULL, NULL, NULL, NULL, NULL
    FROM information_schema.TABLES
    WHERE CREATE_TIME > NOW() - INTERVAL {WEEK} SECOND AND TABLE_SCHEMA NOT IN ({INTERNAL}) AND {{local}}"""
# In pages, and with the size of those of compressed tables, by the name of the file.
_PAGES = """
    SELECT 'pages' AS part, database_name AS `schema`, table_name AS `table`, index_name AS `index`, NULL AS `column`,
           stat_value AS length, NULL AS several, NULL AS type, NULL AS place, NULL AS direction, NULL AS visible
    FROM mysql.innodb_index_stats WHERE stat_name = 'size'"""
_COMPRESSED_MYSQL = """
    UNION ALL
    SELECT 'compressed', SUBSTRING_INDEX(NAME, '/', 1), SUBSTRING(NAME, 2 + CHAR_LENGTH(SUBSTRING_INDEX(NAME, '/', 1))),
           NULL, NULL, ZIP_PAGE_SIZE, NULL, NULL, NULL, NULL, NULL
    FROM information_schema.INNODB_TABLESPACES WHERE ZIP_PAGE_SIZE > 0 AND SPACE_TYPE = 'Single'
    UNION ALL
    SELECT 'compressed', TABLE_SCHEMA, TABLE_NAME, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM information_schema.TABLES WHERE ENGINE = 'InnoDB' AND ROW_FORMAT = 'Compressed'"""
_COMPRESSED_MARIADB = """
    UNION ALL
    SELECT 'compressed',
           CONVERT(CONVERT(CAST(REPLACE(SUBSTRING_INDEX(NAME, '/', 1), '#', '@0023') AS BINARY) USING filename)
                   USING utf8mb4),
           CONVERT(CONVERT(CAST(REPLACE(SUBSTRING_INDEX(NAME, '/', -1), '#', '@0023') AS BINARY) USING filename)
                   USING utf8mb4),
           NULL, NULL, ZIP_PAGE_SIZE, NULL, NULL, NULL, NULL, NULL
    FROM information_schema.INNODB_SYS_TABLES WHERE ZIP_PAGE_SIZE > 0"""
SIZES_MYSQL, SIZES_MARIADB = _PAGES + _COMPRESSED_MYSQL, _PAGES + _COMPRESSED_MARIADB


def _queries() -> Iterator[Query]:
    # MySQL opens no table for these.
    for servers, expression, visible, local, told in (
        (mysql(8, 0, 13), "EXPRESSION", "IS_VISIBLE = 'YES'", "TRUE", SIZES_MYSQL),
        (mysql(8), "NULL", "IS_VISIBLE = 'YES'", "TRUE", SIZES_MYSQL),
        (mariadb(10, 6), "NULL", "IGNORED = 'NO'", LOCAL_MARIADB, SIZES_MARIADB),
    ):
        indexes = _INDEXES.format(expression=expression, visible=visible, local=local)
        unused = _UNUSED.format(local=local)
        sizes = f"\n    UNION ALL{told}"
        yield Query(servers & READABLE & _SEES_SIZES, indexes + unused + sizes)
        yield Query(servers & READABLE, indexes + unused)
        yield Query(servers & _SEES_SIZES, indexes + sizes)
        yield Query(servers, indexes)


index_findings = Collector(
    name="mysql_index_findings",
    about="Unused, duplicate and redundant indexes: how many, how large, and the largest by name.",
    engine="mysql",
    every=900,
    timeout=60,
    # For each table the server reads its definition, and opens it for its figures.
    tables=10_000,
    when=(mysql(8) | mariadb(10, 6)) & INNODB & SEES_TABLES,
    queries=tuple(_queries()),
    state=Findings,
    blocks=(
        block(
            gauge(
                "mysql_index_findings",
                "findings",
                help="Indexes by kind, unique ones left alone: unused since the server started, which was at least "
                "seven days ago, as was the last change of its table's definition, and the last time that the exporter "
                "saw reads of its table begin anew, when an index that was used no longer was (needs "
                "performance_schema, and setup_actors as it comes, which leaves nobody out; searches of texts are not "
                "counted: FULLTEXT is never among them); duplicate, the "
                "same as another or its reverse; redundant, the beginning of another, or prefixes of what another has "
                "whole.",
            ),
            gauge("mysql_index_findings_bytes", "all_bytes", help="Size of the indexes of a kind."),
            labels=("kind",),
            merge="max",
        ),
        block(
            gauge("mysql_index_finding_info", "one", help="1; the index of a finding, the largest alone."),
            gauge(
                "mysql_index_finding_size_bytes",
                "bytes",
                help="Size of the index; the largest alone, absent where it is not known.",
            ),
            labels=("schema", "table", "index", "kind"),
            merge="max",
        ),
    ),
    grants=("PROCESS", "REFERENCES"),
)
