"""Subscriptions to other servers: whether they run, how far they got, what failed, and the state of their tables."""

from exporter.collectors.postgres.own import SEES_OTHERS
from exporter.declare import Collector, Query, block, counter, gauge
from exporter.gates import pg

# One row for each worker, and one for a subscription that has none. A worker with a table is one that copies it.
_SQL = """
    SELECT datname, s.subname, subenabled::int AS enabled, (pid IS NOT NULL)::int AS one,
           CASE WHEN pid IS NULL THEN NULL WHEN relid IS NOT NULL THEN 'table_synchronization'
                WHEN parallel THEN 'parallel_apply' ELSE 'apply' END AS worker,
           CASE WHEN NOT parallel THEN extract(epoch FROM last_msg_receipt_time)::float8 END AS heard,
           CASE WHEN NOT parallel THEN extract(epoch FROM latest_end_time)::float8 END AS reported,
           CASE WHEN NOT parallel AND relid IS NULL THEN (received_lsn - '0/0')::int8 END AS received_lsn,
           CASE WHEN NOT parallel AND relid IS NULL THEN (latest_end_lsn - '0/0')::int8 END AS reported_lsn
    FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid
    LEFT JOIN (SELECT *, {parallel} AS parallel FROM pg_stat_subscription) w ON {same}"""


def _sql(parallel: str, same: str) -> str:
    return _SQL.replace("{parallel}", parallel).replace("{same}", same)


subscriptions = Collector(
    name="pg_stat_subscription",
    about="Subscriptions: enabled or not, their workers, and when they last heard from the publisher.",
    engine="postgres",
    when=SEES_OTHERS,
    queries=(
        Query(pg(16), _sql("leader_pid IS NOT NULL", "subid = s.oid")),
        Query(pg(14, below=16), _sql("false", "subid = s.oid")),
        # There the number of a subscription is only for superusers: those of one name in two databases are taken for
        # one another.
        Query(pg(13, below=14), _sql("false", "w.subname = s.subname")),
    ),
    blocks=(
        block(
            gauge("pg_subscription_enabled", "enabled", help="1 if the subscription is enabled."),
            gauge(
                "pg_subscription_last_message_timestamp_seconds",
                "heard",
                help="When the publisher was last heard from.",
            ),
            gauge(
                "pg_subscription_last_report_timestamp_seconds",
                "reported",
                help="When the publisher was last told how far the subscription got.",
            ),
            gauge(
                "pg_subscription_received_lsn_bytes",
                "received_lsn",
                help="Position of the publisher up to which the subscription has received WAL.",
            ),
            gauge(
                "pg_subscription_reported_lsn_bytes",
                "reported_lsn",
                help="Position that the publisher was last told.",
            ),
            labels=("datname", "subname"),
            merge="max",
        ),
        block(
            gauge("pg_subscription_workers", "one", help="Workers of this kind; without a kind and 0: it has none."),
            labels={"datname": "datname", "subname": "subname", "worker": "worker"},
            merge="sum",
        ),
    ),
)

_CONFLICTS = ("insert_exists", "update_origin_differs", "update_exists", "update_missing", "delete_origin_differs",
              "delete_missing", "multiple_unique_conflicts")  # fmt: skip

subscription_stats = Collector(
    name="pg_stat_subscription_stats",
    about="Errors and conflicts of subscriptions.",
    engine="postgres",
    when=pg(15),
    every=60,
    queries=(
        Query(
            pg(15),
            "SELECT {columns} FROM pg_stat_subscription_stats t"
            " JOIN (SELECT s.oid, datname FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid) s"
            " ON s.oid = subid",
        ),
    ),
    blocks=(
        block(
            counter("pg_subscription_apply_errors_total", "apply_error_count", help="Errors when applying changes."),
            counter(
                "pg_subscription_sync_errors_total", "sync_error_count", help="Errors in the first copy of tables."
            ),
            *(
                counter(
                    f"pg_subscription_conflicts_{kind}_total",
                    f"confl_{kind}",
                    help=f"Changes in conflict with what was there: {kind.replace('_', ' ')}.",
                    when=pg(18),
                )
                for kind in _CONFLICTS
            ),
            labels=("datname", "subname"),
        ),
    ),
)

subscription_tables = Collector(
    name="pg_subscription_tables",
    about="Tables of subscriptions by the state of their synchronization.",
    engine="postgres",
    every=300,
    each_database=True,
    queries=(
        Query(
            pg(13),
            """
            SELECT subname, states.name AS state, count(srsubstate) AS tables
            FROM (SELECT DISTINCT subid, subname FROM pg_stat_subscription
                  WHERE subid IN (SELECT srsubid FROM pg_subscription_rel)) s
            CROSS JOIN (VALUES ('i', 'initialize'), ('d', 'copying'), ('f', 'copied'), ('s', 'synchronized'),
                               ('r', 'ready')) states(code, name)
            LEFT JOIN pg_subscription_rel ON srsubid = subid AND srsubstate = states.code
            GROUP BY 1, 2""",
        ),
    ),
    blocks=(
        block(
            gauge("pg_subscription_tables", "tables", help="Tables of the subscription in this state."),
            labels={"datname": "database", "subname": "subname", "state": "state"},
        ),
    ),
)
