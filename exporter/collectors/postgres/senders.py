"""A sender: how far each standby is behind in writing, flushing and replaying."""

from exporter.collectors.postgres.lsn import LATEST
from exporter.collectors.postgres.own import SEES_OTHERS
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# The server forgets its measured times (NULL) when a standby has caught up and nothing new is written: that is no lag.
# It takes none of what it has not sent.
_SQL = f"""
    SELECT application_name, client_addr, state, slot_name, pid, stage, latest, replay_behind, reply_time, synchronous,
           CASE WHEN behind < 0 THEN 0 ELSE behind END AS behind,
           coalesce(lag, CASE WHEN behind <= 0 AND stage <> 'send' THEN 0 END) AS lag
    FROM (
        SELECT r.application_name, host(r.client_addr) AS client_addr, r.state, s.slot_name, r.pid, stage,
               (now.lsn - '0/0')::int8 AS latest, (now.lsn - r.replay_lsn)::int8 AS replay_behind,
               extract(epoch FROM r.reply_time)::float8 AS reply_time,
               (r.sync_state IN ('sync', 'quorum'))::int AS synchronous,
               (now.lsn - stages.lsn)::int8 AS behind, extract(epoch FROM stages.lag)::float8 AS lag
        FROM (SELECT {LATEST} AS lsn) now
        CROSS JOIN pg_stat_replication r
        CROSS JOIN LATERAL (VALUES ('send', r.sent_lsn, NULL::interval),
                                   ('write', r.write_lsn, r.write_lag), ('flush', r.flush_lsn, r.flush_lag),
                                   ('replay', r.replay_lsn, r.replay_lag)) stages(stage, lsn, lag)
        LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid
    ) senders"""

senders = Collector(
    name="pg_stat_replication",
    about="Standbys and subscribers that are connected, and how far each of them is behind.",
    engine="postgres",
    when=SEES_OTHERS,
    queries=(Query(pg(13), _SQL),),
    blocks=(
        block(
            gauge(
                "pg_stat_replication_pg_current_wal_lsn_bytes",
                "latest",
                help="Position up to which this server has WAL.",
                drop_in=True,
            ),
            gauge(
                "pg_stat_replication_pg_wal_lsn_diff",
                "replay_behind",
                help="Bytes of WAL that the standby has not replayed.",
                drop_in=True,
            ),
            gauge(
                "pg_stat_replication_reply_time",
                "reply_time",
                help="When the standby sent its last reply, in Unix seconds on its clock.",
                drop_in=True,
            ),
            labels=("application_name", "client_addr", "state", "slot_name", "pid"),
            merge="max",
        ),
        block(
            shared("db_standby_lag_seconds", "lag"),
            shared("db_standby_lag_bytes", "behind"),
            labels={"standby": "application_name", "stage": "stage"},
            merge="max",
        ),
        block(
            gauge("pg_standby_synchronous", "synchronous", help="1 if commits may have to wait for the standby."),
            labels={"standby": "application_name"},
            merge="max",
        ),
    ),
)
