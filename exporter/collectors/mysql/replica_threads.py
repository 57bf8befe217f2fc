"""What each thread of replication does: its state, its last error, and the way of the newest transactions."""

from __future__ import annotations

from typing import Any

from exporter.collectors.mysql.performance_schema import GRANTED
from exporter.declare import Collector, Context, Query, Rows, block, counter, gauge
from exporter.gates import mysql

# A stopped thread forgets what it did, and a zero date is the time 0: both are NULL here. The ways: from the commit on
# the source into the relay log, there until a worker takes it, and until that worker has committed it. Where what was
# received last is not what was begun last, the time in the queue is the whole less the way of the former. Commits are
# told by the clock of the source, all else by ours.
_SQL = """
    SELECT c.CHANNEL_NAME AS channel, c.SERVICE_STATE AS receiver, a.SERVICE_STATE = 'ON' AS applies,
           c.LAST_ERROR_NUMBER AS receiver_error,
           COALESCE(NULLIF(o.LAST_ERROR_NUMBER, 0), w.error, 0) AS applier_error,
           NULLIF(UNIX_TIMESTAMP(c.LAST_ERROR_TIMESTAMP), 0) AS receiver_error_at,
           NULLIF(GREATEST(COALESCE(UNIX_TIMESTAMP(o.LAST_ERROR_TIMESTAMP), 0), COALESCE(w.error_at, 0)), 0)
               AS applier_error_at,
           c.COUNT_RECEIVED_HEARTBEATS AS heartbeats, a.COUNT_TRANSACTIONS_RETRIES AS retries,
           w.applying, w.idle, w.stopped,
           CASE WHEN c.LAST_QUEUED_TRANSACTION <> '' THEN GREATEST(TIMESTAMPDIFF(MICROSECOND,
               c.LAST_QUEUED_TRANSACTION_IMMEDIATE_COMMIT_TIMESTAMP,
               c.LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP), 0) / 1e6 END AS transport,
           w.until_begun, w.apply
    FROM performance_schema.replication_connection_status c
    JOIN performance_schema.replication_applier_status a ON a.CHANNEL_NAME = c.CHANNEL_NAME
    LEFT JOIN performance_schema.replication_applier_status_by_coordinator o ON o.CHANNEL_NAME = c.CHANNEL_NAME
    LEFT JOIN (
        SELECT CHANNEL_NAME, MAX(LAST_ERROR_NUMBER) AS error, MAX(UNIX_TIMESTAMP(LAST_ERROR_TIMESTAMP)) AS error_at,
               SUM(SERVICE_STATE = 'ON' AND APPLYING_TRANSACTION <> '') AS applying,
               SUM(SERVICE_STATE = 'ON' AND APPLYING_TRANSACTION = '') AS idle,
               SUM(SERVICE_STATE <> 'ON') AS stopped,
               CAST(SUBSTRING_INDEX(MAX(CONCAT(begun, ' ', until_begun)), ' ', -1) AS DECIMAL(20, 6)) AS until_begun,
               CAST(SUBSTRING_INDEX(MAX(CONCAT(ended, ' ', apply)), ' ', -1) AS DECIMAL(20, 6)) AS apply
        FROM (
            SELECT *,
                   IF(APPLYING_TRANSACTION <> '', UNIX_TIMESTAMP(APPLYING_TRANSACTION_START_APPLY_TIMESTAMP),
                      NULLIF(UNIX_TIMESTAMP(LAST_APPLIED_TRANSACTION_START_APPLY_TIMESTAMP), 0)) AS begun,
                   IF(APPLYING_TRANSACTION <> '',
                      TIMESTAMPDIFF(MICROSECOND, APPLYING_TRANSACTION_IMMEDIATE_COMMIT_TIMESTAMP,
                                    APPLYING_TRANSACTION_START_APPLY_TIMESTAMP),
                      TIMESTAMPDIFF(MICROSECOND, LAST_APPLIED_TRANSACTION_IMMEDIATE_COMMIT_TIMESTAMP,
                                    LAST_APPLIED_TRANSACTION_START_APPLY_TIMESTAMP)) / 1e6 AS until_begun,
                   NULLIF(UNIX_TIMESTAMP(LAST_APPLIED_TRANSACTION_END_APPLY_TIMESTAMP), 0) AS ended,
                   TIMESTAMPDIFF(MICROSECOND, LAST_APPLIED_TRANSACTION_START_APPLY_TIMESTAMP,
                                 LAST_APPLIED_TRANSACTION_END_APPLY_TIMESTAMP) / 1e6 AS apply
            FROM performance_schema.replication_applier_status_by_worker
        ) workers
        GROUP BY CHANNEL_NAME
    ) w ON w.CHANNEL_NAME = c.CHANNEL_NAME"""

# Through it a member gets what it lacks when it joins; from then on it is at rest, of which its last error remains.
_RECOVERY = "group_replication_recovery"
_STATES = ("on", "connecting", "off")
# Of MariaDB, too, which has them elsewhere.
IN_STATE = gauge("mysql_replica_receiver_state", "in_state", help="1 for the state that the receiver is in.")
LAST_ERROR = gauge(
    "mysql_replica_error_number",
    "error",
    help="Number of the last error of the thread, 0 if it had none since it was started.",
)
ERROR_AT = gauge("mysql_replica_error_timestamp_seconds", "error_at", help="When the thread had its last error.")
WORKERS = gauge(
    "mysql_replica_workers",
    "workers",
    help="Workers of the applier, by what they do. Those of MariaDB serve all connections: one counts for the "
    "connection that it works, or last worked, for; where that is none, the channel is empty.",
)


def states(channel: str, receiver: str) -> list[dict[str, Any]]:
    """A row for each state that a receiver can be in."""
    return [{"channel": channel, "state": state, "in_state": int(receiver == state)} for state in _STATES]


def told(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """A row for each state, thread and stage of each channel."""
    out: list[dict[str, Any]] = []
    for row in rows.dicts():
        channel = {"channel": row["channel"]}
        for thread in ("receiver", "applier"):
            error = {"error": row[f"{thread}_error"], "error_at": row[f"{thread}_error_at"]}
            out.append(channel | {"thread": thread} | error)
        if row["channel"] == _RECOVERY and row["receiver"] == "OFF" and not row["applies"]:
            continue
        out.append(channel | {key: row[key] for key in ("applies", "heartbeats", "retries")})
        out += states(row["channel"], row["receiver"].lower())
        out += [channel | {"doing": doing, "workers": row[doing]} for doing in ("applying", "idle", "stopped")]
        begun, transport = row["until_begun"], row["transport"]
        queue = max(begun - transport, 0) if begun is not None and transport is not None else None
        ways = {"transport": transport, "queue": queue, "apply": row["apply"]}
        out += [channel | {"stage": stage, "way": way} for stage, way in ways.items()]
    keys = ("channel", "applies", "heartbeats", "retries", "state", "in_state", "thread", "error", "error_at")
    return Rows.of((*keys, "doing", "workers", "stage", "way"), out)


# Not of replicas alone: a member of a replication group that takes writes applies those of others, too.
replica_threads = Collector(
    name="mysql_replica_threads",
    about="States and errors of receiver, applier and workers, and how long the newest transactions were on the way.",
    engine="mysql",
    when=mysql(8) & GRANTED,
    queries=(Query(mysql(8), _SQL),),
    rows=told,
    blocks=(
        block(
            gauge("mysql_replica_applier_running", "applies", help="1 if the applier of the channel runs."),
            counter(
                "mysql_replica_received_heartbeats_total", "heartbeats", help="Heartbeats received from the source."
            ),
            counter(
                "mysql_replica_transaction_retries_total",
                "retries",
                help="Times that a transaction was applied again after an error that may pass.",
            ),
            labels=("channel",),
            merge="max",
        ),
        block(
            IN_STATE,
            labels=("channel", "state"),
            merge="max",
        ),
        block(
            LAST_ERROR,
            ERROR_AT,
            labels=("channel", "thread"),
            merge="max",
        ),
        block(
            WORKERS,
            labels={"channel": "channel", "state": "doing"},
            merge="max",
        ),
        block(
            gauge(
                "mysql_replica_transaction_duration_seconds",
                "way",
                help="How long the newest transaction took: transport, from its commit on the source, by that server's "
                "clock, into the relay log; queue, until a worker began; apply, until the worker had committed it.",
            ),
            labels=("channel", "stage"),
            merge="max",
        ),
    ),
    grants=("SELECT ON performance_schema.*",),
)
