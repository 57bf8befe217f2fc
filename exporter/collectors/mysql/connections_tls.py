"""Which connections are encrypted, and how."""

from exporter.collectors.mysql.clients import CONNECTED_THREADS
from exporter.collectors.mysql.performance_schema import READABLE
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import mariadb, mysql

# Unencrypted ones count 0 where there are none.
_SQL = f"""
    SELECT COALESCE(version, '') AS version, COALESCE(cipher, '') AS cipher, transport, COUNT(id) AS sessions
    FROM (
        SELECT t.PROCESSLIST_ID AS id, IF(t.CONNECTION_TYPE = 'Socket', 'socket', 'tcp') AS transport,
               (SELECT v.VARIABLE_VALUE FROM performance_schema.status_by_thread v
                WHERE v.THREAD_ID = t.THREAD_ID AND v.VARIABLE_NAME = 'Ssl_version') AS version,
               (SELECT c.VARIABLE_VALUE FROM performance_schema.status_by_thread c
                WHERE c.THREAD_ID = t.THREAD_ID AND c.VARIABLE_NAME = 'Ssl_cipher') AS cipher
        FROM performance_schema.threads t
        WHERE {CONNECTED_THREADS} AND t.PROCESSLIST_ID <> CONNECTION_ID()
        UNION ALL SELECT NULL, 'tcp', NULL, NULL UNION ALL SELECT NULL, 'socket', NULL, NULL
    ) AS sessions
    GROUP BY 1, 2, 3"""

connections_tls = Collector(
    name="mysql_connections_tls",
    about="Connections by TLS version and cipher.",
    engine="mysql",
    every=60,
    when=(mysql(8) | mariadb(10, 6)) & READABLE,
    queries=(Query(mysql(8) | mariadb(10, 6), _SQL),),
    blocks=(
        block(
            gauge(
                "mysql_tls_connections",
                "sessions",
                help="Connections but for the one that asks; without a version and a cipher: not encrypted.",
            ),
            labels=("version", "cipher", "transport"),
        ),
    ),
    grants=("SELECT ON performance_schema.*",),
)
