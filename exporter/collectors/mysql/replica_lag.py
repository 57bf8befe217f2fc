"""How far a MySQL replica is behind its source, in microseconds, from what its threads are working on."""

from exporter.collectors.mysql.performance_schema import GRANTED
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Query, block
from exporter.gates import mysql

# A transaction carries the time of its commit on the server where it began. What is older than anything: the one that
# is being received, scheduled or applied, the one that a delayed applier holds back, and one that was received and
# that nobody has touched yet. None of these: the replica is level. All times are of this server's session, so no time
# zone matters; a zero date is NULL, and then the age is not known. Both delays are unsigned, and what remains may be
# more than what is desired by a second.
#
# A source that has nothing to send sends a heartbeat every HEARTBEAT_INTERVAL seconds. One that hangs, or whose network
# does, looks like it until replica_net_timeout, which may be an hour; so after one and a half of that interval without
# a sign of life nothing is received. With an interval of 0 there are no heartbeats, and after a minute nobody can tell.
# The receiver's own age is the silence before the first sign; it is unknown where performance_schema is off, and then
# what came counts alone. What is being received is one sign, and a group has others. A receiver that waits until the
# applier frees relay logs (relay_log_space_limit) takes in nothing, heartbeats neither, and works all the same.
#
# Whether a group's channel runs is what the member says of itself: where its applier stops, or the group puts it out,
# it is in ERROR. While it joins, which may take hours, that is not known, and once it has left nothing is to run.
_SQL = """
    SELECT channel, CASE WHEN applier = 'ON' AND (receives = 1 OR age > 0) THEN age END AS behind,
           CASE WHEN channel NOT LIKE 'group\\_replication\\_%' THEN applier = 'ON' AND receives ELSE (
               SELECT CASE MEMBER_STATE WHEN 'ONLINE' THEN 1 WHEN 'ERROR' THEN 0 END
               FROM performance_schema.replication_group_members WHERE MEMBER_ID = @@server_uuid
           ) END AS running,
           CASE WHEN channel NOT LIKE 'group\\_replication\\_%' THEN delay END AS delay
    FROM (
        SELECT c.CHANNEL_NAME AS channel, a.SERVICE_STATE AS applier, g.DESIRED_DELAY AS delay,
               CASE WHEN c.SERVICE_STATE <> 'ON' THEN 0
                    WHEN c.CHANNEL_NAME LIKE 'group\\_replication\\_%' THEN 1
                    WHEN c.QUEUEING_TRANSACTION <> '' THEN 1
                    WHEN t.PROCESSLIST_STATE LIKE 'Waiting for the % SQL thread to free%relay log space' THEN 1
                    WHEN LEAST(
                        COALESCE(t.PROCESSLIST_TIME, IF(c.COUNT_RECEIVED_HEARTBEATS > 0, 1e9, 0)),
                        COALESCE(TIMESTAMPDIFF(SECOND, c.LAST_HEARTBEAT_TIMESTAMP, NOW(6)), 1e9),
                        COALESCE(TIMESTAMPDIFF(SECOND, c.LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP, NOW(6)), 1e9)
                    ) <= 1.5 * COALESCE(NULLIF(n.HEARTBEAT_INTERVAL, 0), 40) THEN 1
                    WHEN n.HEARTBEAT_INTERVAL > 0 THEN 0 END AS receives,
               CASE WHEN w.age IS NULL AND w.busy > 0 THEN NULL
                    ELSE GREATEST(
                        COALESCE(w.age, 0),
                        COALESCE(o.age, 0),
                        COALESCE(CAST(g.DESIRED_DELAY AS SIGNED) - CAST(a.REMAINING_DELAY AS SIGNED), 0),
                        COALESCE(CASE WHEN c.QUEUEING_TRANSACTION <> '' THEN TIMESTAMPDIFF(
                            MICROSECOND, c.QUEUEING_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP, NOW(6)) / 1e6 END, 0),
                        COALESCE(CASE WHEN c.LAST_QUEUED_TRANSACTION LIKE '%:%'
                                       AND NOT GTID_SUBSET(c.LAST_QUEUED_TRANSACTION, @@GLOBAL.gtid_executed)
                                      THEN TIMESTAMPDIFF(
                            MICROSECOND, c.LAST_QUEUED_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP, NOW(6)) / 1e6 END, 0)
                    ) END AS age
        FROM performance_schema.replication_connection_status c
        JOIN performance_schema.replication_applier_status a ON a.CHANNEL_NAME = c.CHANNEL_NAME
        JOIN performance_schema.replication_applier_configuration g ON g.CHANNEL_NAME = c.CHANNEL_NAME
        JOIN performance_schema.replication_connection_configuration n ON n.CHANNEL_NAME = c.CHANNEL_NAME
        LEFT JOIN performance_schema.threads t ON t.THREAD_ID = c.THREAD_ID
        LEFT JOIN (
            SELECT CHANNEL_NAME, COUNT(*) AS busy, MAX(TIMESTAMPDIFF(
                       MICROSECOND, APPLYING_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP, NOW(6))) / 1e6 AS age
            FROM performance_schema.replication_applier_status_by_worker
            WHERE APPLYING_TRANSACTION <> '' GROUP BY CHANNEL_NAME
        ) w ON w.CHANNEL_NAME = c.CHANNEL_NAME
        LEFT JOIN (
            SELECT CHANNEL_NAME, MAX(TIMESTAMPDIFF(
                       MICROSECOND, PROCESSING_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP, NOW(6))) / 1e6 AS age
            FROM performance_schema.replication_applier_status_by_coordinator
            WHERE PROCESSING_TRANSACTION <> '' GROUP BY CHANNEL_NAME
        ) o ON o.CHANNEL_NAME = c.CHANNEL_NAME
        WHERE c.CHANNEL_NAME <> 'group_replication_recovery'
    ) channels"""

# Not of replicas alone: a member of a replication group that takes writes applies those of others, too.
replica_lag = Collector(
    name="mysql_replica_lag",
    about="How far a replica is behind, from what its threads are working on, and whether they are, for every channel.",
    engine="mysql",
    when=mysql(8) & GRANTED,
    queries=(Query(mysql(8), _SQL),),
    blocks=(
        block(
            shared("db_replication_lag_seconds", "behind"),
            shared("db_replication_running", "running"),
            # From here, since alerts take it off the lag: neither is without the other.
            shared("db_replication_delay_seconds", "delay"),
            labels=("channel",),
        ),
    ),
    grants=("SELECT ON performance_schema.*",),
)
