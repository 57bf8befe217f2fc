"""Which connections are encrypted, and how."""

from exporter.collectors.mysql.clients import CONNECTED_THREADS
from exporter.collectors.mysql.performance_schema import ALL_THREADS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import mariadb, mysql

# Unencrypted ones count 0 where there are none.
_SQL = f"""
    SELECT COALESCE(version, '') AS version, COALESCE(cipher, '') AS cipher, transport, COUNT(id) AS sessions
    FROM (
        SELECT t.PROCESSLIST_ID AS id, IF(t.CONNECTION_TYPE = 'Socket', 'socket', 'tcp') AS transport,
               {{version}} AS version, {{cipher}} AS cipher
        FROM performance_schema.threads t {{joined}}
        WHERE {CONNECTED_THREADS} AND t.PROCESSLIST_ID <> CONNECTION_ID()
        {{grouped}}
        UNION ALL SELECT NULL, 'tcp', NULL, NULL UNION ALL SELECT NULL, 'socket', NULL, NULL
    ) AS sessions
    GROUP BY 1, 2, 3"""
_VALUE = "MAX(IF(VARIABLE_NAME = '{}', VARIABLE_VALUE, NULL))"
_NAMES = "VARIABLE_NAME IN ('Ssl_version', 'Ssl_cipher')"
# Of sessions of the X protocol the server tells others no more than that they are encrypted.
_TOLD = "COALESCE(NULLIF({}, ''), IF(t.CONNECTION_TYPE = 'SSL/TLS', 'unknown', ''))"
# To look a session up the server writes down all its variables, so that it is done once, and for encrypted ones alone:
# there is no thread whose number is NULL.
_MYSQL = _SQL.format(
    version=_TOLD.format(_VALUE.format("Ssl_version")),
    cipher=_TOLD.format(_VALUE.format("Ssl_cipher")),
    joined=f"""LEFT JOIN performance_schema.status_by_thread v
            ON v.THREAD_ID = IF(t.CONNECTION_TYPE = 'SSL/TLS', t.THREAD_ID, NULL) AND {_NAMES}""",
    grouped="GROUP BY t.THREAD_ID",
)
# MariaDB finds no thread by its number: for each of them it would read the variables of all.
_MARIADB = _SQL.format(
    version="s.version",
    cipher="s.cipher",
    joined=f"""LEFT JOIN (
            SELECT THREAD_ID, {_VALUE.format("Ssl_version")} AS version, {_VALUE.format("Ssl_cipher")} AS cipher
            FROM performance_schema.status_by_thread WHERE {_NAMES}
            GROUP BY THREAD_ID
        ) s ON s.THREAD_ID = t.THREAD_ID""",
    grouped="",
)

connections_tls = Collector(
    name="mysql_connections_tls",
    about="Connections by TLS version and cipher.",
    engine="mysql",
    every=60,
    # MySQL 9.7: 28 ms of its CPU time for 1,000 encrypted sessions.
    core_share=0.001,
    when=(mysql(8) | mariadb(10, 6)) & ALL_THREADS,
    queries=(Query(mysql(8), _MYSQL), Query(mariadb(10, 6), _MARIADB)),
    blocks=(
        block(
            gauge(
                "mysql_tls_connections",
                "sessions",
                help="Connections but for the one that asks; without a version and a cipher: not encrypted. "
                "MySQL tells of encrypted sessions of the X protocol neither: unknown.",
            ),
            labels=("version", "cipher", "transport"),
        ),
    ),
    grants=("SELECT ON performance_schema.*",),
)
