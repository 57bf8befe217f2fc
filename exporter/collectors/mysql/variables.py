"""Settings that other figures are measured against: the most connections, the buffer pool, the slow threshold."""

from __future__ import annotations

from exporter.collectors.mysql.values import number
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Measure, Query, block, gauge
from exporter.gates import ANY, INNODB, Gate, mariadb, mysql

_LOG_FILES = mysql(8, below=(8, 0, 30)) | (mariadb(10, 6) & INNODB)
# What exists on MySQL or on MariaDB alone is gated, since asking for an unknown variable is an error.
_VARIABLES: tuple[tuple[str, str, Gate], ...] = (
    ("max_connections", "Connections that ordinary users may have in all.", ANY),
    ("max_user_connections", "Connections that one account may have, 0 for no limit.", ANY),
    ("innodb_buffer_pool_size", "Bytes of the buffer pool.", INNODB),
    ("innodb_log_buffer_size", "Bytes of the log buffer.", INNODB),
    ("innodb_page_size", "Bytes of a page.", INNODB),
    ("key_buffer_size", "Bytes of the cache for MyISAM indexes.", ANY),
    ("long_query_time", "Seconds from which on a statement counts as slow.", ANY),
    ("slow_query_log", "Whether slow statements are logged.", ANY),
    ("log_bin", "Whether there is a binary log.", ANY),
    ("read_only", "Whether ordinary users may only read.", ANY),
    ("super_read_only", "Whether nobody may write.", mysql(8)),
    ("performance_schema", "Whether performance_schema is on.", ANY),
    ("open_files_limit", "Files that the server may open.", ANY),
    ("table_open_cache", "Tables kept open.", ANY),
    ("thread_cache_size", "Threads kept for new connections.", ANY),
    ("tmp_table_size", "Bytes of an internal temporary table in memory.", ANY),
    ("innodb_log_file_size", "Bytes of a file of the redo log.", _LOG_FILES),
    ("innodb_redo_log_capacity", "Bytes that the redo log may have.", mysql(8, 0, 30)),
    ("server_id", "Who the server is in replication.", ANY),
)


def _native(name: str, about: str, when: Gate) -> Measure:
    metric = f"mysql_global_variables_{name}"
    return gauge(metric, name, help=about, when=when, sql=f"@@GLOBAL.{name}", parse=number, drop_in=True)


_SQL = """
    SELECT {columns}
    FROM (SELECT @@GLOBAL.version AS version, @@GLOBAL.version_comment AS version_comment,
                 {innodb} AS innodb_version, {uuid} AS server_uuid, 'redo' AS kind) AS names"""

variables = Collector(
    name="mysql_variables",
    about="Settings that other figures are measured against, and the version.",
    engine="mysql",
    when=mysql(8) | mariadb(10, 6),
    queries=(
        Query(mysql(8), _SQL.replace("{innodb}", "@@GLOBAL.innodb_version").replace("{uuid}", "@@GLOBAL.server_uuid")),
        # MariaDB has no version of InnoDB beside its own, and no identifier of the server.
        Query(mariadb(10, 6), _SQL.replace("{innodb}", "''").replace("{uuid}", "NULL")),
    ),
    blocks=(
        block(
            *(_native(*entry) for entry in _VARIABLES),
            shared("db_connections_max", "max_connections", sql="@@GLOBAL.max_connections"),
        ),
        block(
            gauge("mysql_version_info", "known", help="1; the version of the server.", sql="1", drop_in=True),
            labels=("innodb_version", "version", "version_comment"),
        ),
        block(
            gauge(
                "mysql_server_uuid_info",
                "known",
                help="1; who the server is in replication: master_uuid of its replicas.",
                sql="1",
                when=mysql(8),
            ),
            labels=("server_uuid",),
        ),
        block(
            # From MySQL 8.0.30 on its size changes, and the status tells it; before, and on MariaDB, it is fixed.
            shared(
                "db_storage_bytes",
                "redo",
                when=mysql(8, below=(8, 0, 30)),
                sql="@@GLOBAL.innodb_log_file_size * @@GLOBAL.innodb_log_files_in_group",
            ),
            shared("db_storage_bytes", "redo", when=mariadb(10, 6) & INNODB, sql="@@GLOBAL.innodb_log_file_size"),
            labels=("kind",),
        ),
    ),
)
