"""How far a MariaDB server is in each of its GTID domains, whether it is a source, a replica, or both."""

from __future__ import annotations

from exporter.collectors.mysql.gtid import positions
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.gates import mariadb


def told(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """A row for each domain and server of each position."""
    found = [
        {"domain_id": domain, "server_id": server, position: number}
        for row in rows.dicts()
        for position, text in row.items()
        for domain, server, number in positions(text or "")
    ]
    return Rows.of(("domain_id", "server_id", "binlog", "current"), found)


gtid_positions = Collector(
    name="mysql_gtid_positions",
    about="How far a server of MariaDB is in each GTID domain: in its binary log, and with what it has applied.",
    engine="mysql",
    when=mariadb(10, 6),
    queries=(Query(mariadb(10, 6), "SELECT @@GLOBAL.gtid_binlog_pos AS binlog, @@GLOBAL.gtid_current_pos AS current"),),
    rows=told,
    blocks=(
        block(
            gauge(
                "mysql_gtid_binlog_pos",
                "binlog",
                help="Sequence number of the newest transaction in the binary log, by domain and by the server that "
                "began it.",
            ),
            gauge(
                "mysql_gtid_current_pos",
                "current",
                help="The same of the newest transaction that the server has applied as a replica, or that began on "
                "it and is in the binary log.",
            ),
            # As mysql_slave_status_gtid_slave_pos has them.
            labels=("domain_id", "server_id"),
            merge="max",
        ),
    ),
)
