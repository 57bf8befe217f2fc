"""Which connections are encrypted, and how."""

from exporter.collectors.postgres.own import NOT_OURS, SEES_OTHERS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

_SQL = f"""
    SELECT coalesce(version, '') AS version, coalesce(cipher, '') AS cipher, transport, count(pid) AS sessions
    FROM (SELECT s.pid, CASE WHEN ssl THEN s.version END AS version, CASE WHEN ssl THEN cipher END AS cipher,
                 CASE WHEN client_addr IS NULL THEN 'socket' ELSE 'tcp' END AS transport
          FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)
          WHERE backend_type IN ('client backend', 'walsender') AND {NOT_OURS}
          -- Unencrypted ones count 0 where there are none.
          UNION ALL VALUES (NULL::int, NULL::text, NULL::text, 'tcp'), (NULL, NULL, NULL, 'socket')) sessions
    GROUP BY 1, 2, 3"""

connections_tls = Collector(
    name="pg_stat_ssl",
    about="Connections of clients and standbys by TLS version and cipher.",
    engine="postgres",
    every=60,
    when=SEES_OTHERS,
    queries=(Query(pg(13), _SQL),),
    blocks=(
        block(
            gauge(
                "pg_stat_ssl_connections",
                "sessions",
                help="Connections of clients and standbys; without a version and a cipher: not encrypted.",
            ),
            labels={"version": "version", "cipher": "cipher", "transport": "transport"},
        ),
    ),
)
