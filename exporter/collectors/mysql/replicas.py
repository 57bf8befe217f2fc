"""The replicas of a source: who is registered, and how many are being sent the binary log."""

from exporter.collectors.mysql.clients import SEES_SESSIONS
from exporter.collectors.mysql.performance_schema import ALL_THREADS
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.gates import Gate, granted, mariadb, mysql

# It would allow to read the whole binary log, so the printed account has it not.
_SEES: Gate = (mysql(8) & granted("REPLICATION SLAVE", fix="GRANT REPLICATION SLAVE ON *.* TO {account};")) | (
    mariadb(10, 6) & granted("REPLICATION MASTER ADMIN", fix="GRANT REPLICATION MASTER ADMIN ON *.* TO {account};")
)


def named(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """Each replica by the names of old."""
    out = [
        {
            "server_id": row["server_id"],
            "host": row["host"],
            "port": row["port"],
            "source": row.get("source_id", row.get("master_id")),
            "uuid": row.get("replica_uuid", row.get("slave_uuid")),
            "known": 1,
        }
        for row in rows.dicts()
    ]
    return Rows.of(("server_id", "host", "port", "source", "uuid", "known"), out)


replicas = Collector(
    name="mysql_replicas",
    about="The replicas that are registered with this server.",
    engine="mysql",
    when=(mysql(8) | mariadb(10, 6)) & _SEES,
    queries=(
        Query(mysql(8, 0, 22), "SHOW REPLICAS"),
        Query(mysql(8, below=(8, 0, 22)) | mariadb(10, 6), "SHOW SLAVE HOSTS"),
    ),
    rows=named,
    default=False,
    blocks=(
        block(
            gauge(
                "mysql_heartbeat_mysql_slave_hosts_info",
                "known",
                help="1; a replica that is registered with this server.",
                drop_in=True,
            ),
            labels={
                "server_id": "server_id",
                "slave_host": "host",
                "port": "port",
                "master_id": "source",
                "slave_uuid": "uuid",
            },
        ),
    ),
)

_DUMPS = "SELECT COUNT(*) AS sent FROM {} WHERE {} IN ('Binlog Dump', 'Binlog Dump GTID')"

senders = Collector(
    name="mysql_senders",
    about="How many replicas are connected and sent the binary log.",
    engine="mysql",
    when=mysql(8) | mariadb(10, 6),
    queries=(
        Query(mysql(8) & ALL_THREADS, _DUMPS.format("performance_schema.threads", "PROCESSLIST_COMMAND")),
        Query((mysql(8) | mariadb(10, 6)) & SEES_SESSIONS, _DUMPS.format("information_schema.PROCESSLIST", "COMMAND")),
    ),
    blocks=(
        block(
            gauge(
                "mysql_source_connected_replicas",
                "sent",
                help="Connections over which the binary log is sent, one for each replica and channel.",
            ),
        ),
    ),
    grants=("PROCESS",),
)
