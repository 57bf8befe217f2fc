"""What the workers of MariaDB's parallel replication do, and when the applier had its last error."""

from exporter.collectors.mysql.performance_schema import READABLE
from exporter.collectors.mysql.replica_threads import ERROR_AT, WORKERS
from exporter.declare import Collector, Context, Query, Rows, block
from exporter.gates import REPLICA, mariadb

# All connections share one pool of workers. What the server keeps of a pool that has ended it also shows after any
# connection was stopped, while the workers go on for the others, and after there is to be none: so a worker has stopped
# only where no applier runs. Whether one applies its state alone tells.
_SQL = """
    SELECT CHANNEL_NAME AS channel, NULLIF(UNIX_TIMESTAMP(LAST_ERROR_TIMESTAMP), 0) AS error_at,
           NULL AS applying, NULL AS idle, NULL AS stopped
    FROM performance_schema.replication_applier_status_by_coordinator
    UNION ALL
    SELECT w.CHANNEL_NAME, NULL, SUM(t.state <> 'Waiting for work from SQL thread'),
           SUM(t.state = 'Waiting for work from SQL thread'), SUM(w.SERVICE_STATE = 'OFF')
    FROM performance_schema.replication_applier_status_by_worker w
    LEFT JOIN (
        SELECT THREAD_ID, COALESCE(PROCESSLIST_STATE, '') AS state FROM performance_schema.threads
        WHERE NAME LIKE 'thread/sql/rpl\\_parallel%'
    ) t ON t.THREAD_ID = w.THREAD_ID
    WHERE @@GLOBAL.slave_parallel_threads > 0 AND (w.SERVICE_STATE = 'ON' OR NOT EXISTS (
        SELECT 1 FROM performance_schema.replication_applier_status WHERE SERVICE_STATE = 'ON'
    ))
    GROUP BY w.CHANNEL_NAME"""


def told(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """A row for each applier, and one for each thing that workers of a connection can be at."""
    out = []
    for row in rows.dicts():
        channel = {"channel": row["channel"]}
        out.append(channel | {"thread": "applier", "error_at": row["error_at"]})
        out += [channel | {"doing": doing, "workers": row[doing]} for doing in ("applying", "idle", "stopped")]
    return Rows.of(("channel", "thread", "error_at", "doing", "workers"), out)


replica_pool = Collector(
    name="mysql_replica_pool",
    about="What the workers of MariaDB's parallel replication do, and when the applier had its last error.",
    engine="mysql",
    when=mariadb(10, 6) & REPLICA & READABLE,
    queries=(Query(mariadb(10, 6), _SQL),),
    rows=told,
    blocks=(
        block(WORKERS, labels={"channel": "channel", "state": "doing"}, merge="max"),
        block(ERROR_AT, labels=("channel", "thread"), merge="max"),
    ),
    grants=("SELECT ON performance_schema.*",),
)
