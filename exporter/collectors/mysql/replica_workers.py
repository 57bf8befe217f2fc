"""When each worker of replication began and ended its transactions, under mysqld_exporter's names."""

from exporter.collectors.mysql.performance_schema import GRANTED
from exporter.declare import Collector, Measure, Query, block, gauge
from exporter.gates import mysql

_WHEN = {
    "original_commit": "it was committed on the server where it began",
    "immediate_commit": "it was committed on the source",
    "start_apply": "the worker began with it",
    "end_apply": "the worker was done with it",
}


def _measure(which: str, what: str) -> Measure:
    column = f"{which}_transaction_{what}_timestamp"
    transaction = "the transaction that the worker applies" if which == "applying" else "its last transaction"
    return gauge(
        f"mysql_perf_schema_{column}_seconds",
        column,
        # A zero date is the time 0; there was no such transaction.
        sql=f"NULLIF(UNIX_TIMESTAMP({column.upper()}), 0)",
        help=f"Of {transaction}: when {_WHEN[what]}.",
        drop_in=True,
    )


# Not of replicas alone: a member of a replication group that takes writes applies those of others, too.
replica_workers = Collector(
    name="mysql_replica_workers",
    about="When each worker of replication began and ended its transactions.",
    engine="mysql",
    when=mysql(8) & GRANTED,
    share=0.02,
    queries=(
        Query(
            mysql(8),
            "SELECT {columns} FROM (SELECT *, CHANNEL_NAME AS channel_name_, WORKER_ID AS worker_ "
            "FROM performance_schema.replication_applier_status_by_worker) AS workers",
        ),
    ),
    blocks=(
        block(
            *(_measure("last_applied", what) for what in _WHEN),
            *(_measure("applying", what) for what in _WHEN if what != "end_apply"),
            # Theirs calls a worker's number member_id.
            labels={"channel_name": "channel_name_", "member_id": "worker_"},
        ),
    ),
    grants=("SELECT ON performance_schema.*",),
)
