"""Which connections are encrypted, and how; and until when the server's certificate is good."""

from __future__ import annotations

from exporter.collectors.postgres.own import NOT_OURS, SEES_OTHERS
from exporter.declare import Collector, Context, Query, Rows, block, gauge
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


def _with_certificate(rows: Rows, context: Context) -> Rows:
    """SQL does not tell the server's certificate, but the server has shown it to us."""
    ends = context.facts.certificate_expiry
    return Rows((*rows.columns, "ends"), [(*row, ends) for row in rows.rows])


connections_tls = Collector(
    name="pg_stat_ssl",
    about="Connections of clients and standbys by TLS version and cipher, and the end of the server's certificate.",
    engine="postgres",
    every=60,
    when=SEES_OTHERS,
    queries=(Query(pg(13), _SQL),),
    rows=_with_certificate,
    blocks=(
        block(
            gauge(
                "pg_stat_ssl_connections",
                "sessions",
                help="Connections of clients and standbys; without a version and a cipher: not encrypted.",
            ),
            labels=("version", "cipher", "transport"),
        ),
        block(
            gauge(
                "pg_server_certificate_expiry_timestamp_seconds",
                "ends",
                help="When the certificate ends that the server, or the pooler in front of it, showed the exporter at "
                "connect; absent without TLS.",
            ),
            merge="max",
        ),
    ),
)
