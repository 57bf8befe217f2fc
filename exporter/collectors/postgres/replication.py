"""A standby: how far it is behind, whether it receives and replays, and the delay it is told to keep."""

from exporter.collectors.postgres.own import SEES_OTHERS
from exporter.collectors.postgres.replay import ReplayClock
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import RECOVERING, REPLICA, pg

# A receiver that has just started may begin before what is replayed, and the sender tells in each message how far it
# is itself, so the latest position is the greatest of the three. Without a receiver nobody knows how far the sender
# is: then there are no bytes, and the seconds go on growing; to compare only what was received with what was replayed
# would show a dead receiver as perfectly up to date.
#
# A sender that hangs, or whose network does, looks like one that has nothing to send. But a receiver that has heard
# nothing for half of wal_receiver_timeout asks for a sign of life, so one that has heard nothing for three quarters of
# it got no answer. With a timeout of 0 it never asks, and after as long a silence as with the default of 60 s nobody
# can tell: then streaming is NULL.
_SQL = """
    SELECT is_replica, streaming, latest, replayed, delay, NULL AS channel,
           CASE WHEN replay_age < 0 THEN 0 ELSE replay_age END AS replay_age,
           (streaming AND NOT paused)::int AS running,
           CASE WHEN streaming THEN latest - replayed END AS behind
    FROM (
        SELECT 1 AS is_replica,
               CASE WHEN receiver.status IS DISTINCT FROM 'streaming' THEN false
                    WHEN now() - receiver.last_msg_receipt_time
                         <= 0.75 * coalesce(nullif(settings.receiver_timeout, '0'), '60 s') THEN true
                    WHEN settings.receiver_timeout > '0' THEN false END AS streaming,
               pg_is_wal_replay_paused() AS paused,
               (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(),
                         receiver.latest_end_lsn) - '0/0')::int8 AS latest,
               (pg_last_wal_replay_lsn() - '0/0')::int8 AS replayed,
               extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float8 AS replay_age,
               extract(epoch FROM settings.apply_delay)::float8 AS delay
        FROM (SELECT current_setting('wal_receiver_timeout')::interval AS receiver_timeout,
                     current_setting('recovery_min_apply_delay')::interval AS apply_delay) settings
        LEFT JOIN pg_stat_wal_receiver receiver ON true
        WHERE pg_is_in_recovery()
        UNION ALL
        SELECT 0, NULL, NULL, NULL, NULL, NULL, NULL WHERE NOT pg_is_in_recovery()
    ) state"""

replication = Collector(
    name="pg_replication",
    about="How far a standby is behind, whether it receives and replays, and its configured delay.",
    engine="postgres",
    when=SEES_OTHERS,
    queries=(Query(pg(13), _SQL),),
    state=ReplayClock,
    blocks=(
        block(
            gauge("pg_replication_is_replica", "is_replica", help="1 if the server is in recovery.", drop_in=True),
            gauge(
                "pg_replication_last_replay_seconds",
                "replay_age",
                help="Seconds since the last replayed transaction was committed; grows while the source idles.",
                drop_in=True,
            ),
        ),
        block(
            gauge(
                "pg_replication_lag_seconds",
                "native_lag",
                help="Seconds that the replica is behind its source, 0 if it has replayed all that the source is known "
                "to have; 0 on a primary.",
                drop_in=True,
            ),
            when=~RECOVERING,
        ),
        block(
            shared("db_replication_lag_seconds", "lag"),
            shared("db_replication_lag_bytes", "behind"),
            shared("db_replication_running", "running"),
            shared("db_replication_delay_seconds", "delay"),
            labels=("channel",),
            when=REPLICA,
        ),
    ),
)
