"""Replication as a replica's own status has it: both threads, positions, delay, for every channel."""

from __future__ import annotations

from typing import Any

from exporter.collectors.mysql.performance_schema import GRANTED
from exporter.collectors.mysql.values import number
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Context, Measure, Query, Rows, block, gauge
from exporter.gates import Gate, mariadb, mysql

# The name since MySQL 8.0.22, the name before and on MariaDB, and what it is. mysqld_exporter names its metrics after
# the columns, and so has other names for MySQL 8.4 and later; both are served there, since dashboards know both.
_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("replica_io_running", "slave_io_running", "1 if the receiver runs and is connected."),
    ("replica_sql_running", "slave_sql_running", "1 if the applier runs."),
    ("seconds_behind_source", "seconds_behind_master", "Lag in seconds as the server states it."),
    ("read_source_log_pos", "read_master_log_pos", "Position of the receiver in the source's binary log."),
    ("exec_source_log_pos", "exec_master_log_pos", "Position of the applier in the source's binary log."),
    ("source_server_id", "master_server_id", "server_id of the source."),
    ("source_port", "master_port", "Port of the source."),
    ("source_retry_count", "master_retry_count", "Attempts to connect before the receiver gives up."),
    ("source_ssl_allowed", "master_ssl_allowed", "1 if the receiver uses TLS."),
    ("relay_log_space", "relay_log_space", "Bytes of all relay logs."),
    ("relay_log_pos", "relay_log_pos", "Position of the applier in the relay log."),
    ("sql_delay", "sql_delay", "Seconds by which the replica is kept behind."),
    ("sql_remaining_delay", "sql_remaining_delay", "Seconds until the applier may go on."),
    ("connect_retry", "connect_retry", "Seconds between attempts to connect."),
    ("last_errno", "last_errno", "Number of the applier's last error."),
    ("last_io_errno", "last_io_errno", "Number of the receiver's last error."),
    ("last_sql_errno", "last_sql_errno", "Number of the applier's last error."),
    ("skip_counter", "skip_counter", "Events that the applier will skip."),
    ("until_log_pos", "until_log_pos", "Position at which the applier will stop."),
    ("auto_position", "auto_position", "1 if the source is followed by GTID."),
)
_NEW: Gate = mysql(8, 4)


def _natives() -> list[Measure]:
    made: list[Measure] = []
    for new, old, about in _COLUMNS:
        made.append(gauge(f"mysql_slave_status_{old}", new, old, help=about, parse=number, drop_in=True))
        if new != old:
            made.append(gauge(f"mysql_slave_status_{new}", new, help=about, when=_NEW, parse=number, drop_in=True))
    return made


_ADDED = (
    *("source_name", "source_id", "channel_name", "connection_name", "channel", "kind"),
    *("running", "delay", "behind", "unapplied", "relay_bytes"),
)


def understood(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """Add to each channel what the db_* names say of it."""
    return Rows.of(tuple(dict.fromkeys((*rows.columns, *_ADDED))), [row | _of(row) for row in rows.dicts()])


def _of(row: dict[str, Any]) -> dict[str, Any]:
    def get(new: str, old: str) -> Any:
        return row.get(new, row.get(old))

    receiver = get("replica_io_running", "slave_io_running") == "Yes"
    applier = get("replica_sql_running", "slave_sql_running") == "Yes"
    channel = row.get("channel_name") or row.get("connection_name") or ""
    same_file = get("source_log_file", "master_log_file") == get("relay_source_log_file", "relay_master_log_file")
    read, done = get("read_source_log_pos", "read_master_log_pos"), get("exec_source_log_pos", "exec_master_log_pos")
    found: dict[str, Any] = {
        "source_name": get("source_host", "master_host"),
        "source_id": get("source_uuid", "master_uuid"),
        "channel": channel,
        "kind": "relay",
        "relay_bytes": row.get("relay_log_space"),
    }
    if channel.startswith("group_replication_"):
        # Whether a group works is not told by these: the recovery channel is at rest in a healthy group.
        return found
    return found | {
        "running": int(receiver and applier),
        "delay": row.get("sql_delay"),
        # NULL where a thread stands still: a stopped applier must not look like no lag.
        "behind": get("seconds_behind_source", "seconds_behind_master"),
        # Without the receiver nobody knows how far the source is.
        "unapplied": max(read - done, 0) if receiver and same_file and read is not None and done is not None else None,
    }


replica_status = Collector(
    name="mysql_replica_status",
    about="Both threads of replication, their positions, and the delay, for every channel.",
    engine="mysql",
    when=mysql(8) | mariadb(10, 6),
    queries=(
        Query(mysql(8, 0, 22), "SHOW REPLICA STATUS"),
        Query(mysql(8, below=(8, 0, 22)), "SHOW SLAVE STATUS"),
        # Without ALL it shows the connection without a name only.
        Query(mariadb(10, 6), "SHOW ALL SLAVES STATUS"),
    ),
    rows=understood,
    blocks=(
        block(
            *_natives(),
            labels={
                "master_host": "source_name",
                "master_uuid": "source_id",
                "channel_name": "channel_name",
                "connection_name": "connection_name",
            },
        ),
        block(
            shared("db_replication_running", "running"),
            shared("db_replication_lag_bytes", "unapplied"),
            shared("db_replication_delay_seconds", "delay"),
            shared(
                "db_replication_lag_seconds",
                "behind",
                when=mariadb(10, 6) | (mysql(8) & ~GRANTED),
            ),
            labels=("channel",),
        ),
        block(shared("db_storage_bytes", "relay_bytes"), labels=("kind",), merge="sum"),
    ),
    grants=("REPLICATION CLIENT", "SLAVE MONITOR"),
)
