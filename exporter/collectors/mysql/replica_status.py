"""Replication as a replica's own status has it: both threads, positions, delay, for every channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exporter.collectors.mysql.gtid import PENDING, behind, positions
from exporter.collectors.mysql.performance_schema import GRANTED
from exporter.collectors.mysql.replica_threads import IN_STATE, LAST_ERROR, states
from exporter.collectors.mysql.values import number
from exporter.collectors.vocabulary import shared
from exporter.declare import Asking, Collector, Context, Measure, Query, Rows, block, counter, gauge
from exporter.failure import Failure, Reason
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
    ("using_gtid", "using_gtid", "0 if the source is followed by file and position; absent if by GTID."),
    ("replicate_ignore_server_ids", "replicate_ignore_server_ids", "The server_id whose events are left out, if one."),
    ("replicate_do_domain_ids", "replicate_do_domain_ids", "The GTID domain that is applied, if only one."),
    ("replicate_ignore_domain_ids", "replicate_ignore_domain_ids", "The GTID domain that is left out, if one."),
    ("source_ssl_verify_server_cert", "master_ssl_verify_server_cert", "1 if the source's certificate is checked."),
    ("get_source_public_key", "get_master_public_key", "1 if the receiver asks the source for its RSA key."),
    ("master_last_event_time", "master_last_event_time", "When the last event that was received began on the source."),
    ("slave_last_event_time", "slave_last_event_time", "When the last event that was applied began on the source."),
    ("master_slave_time_diff", "master_slave_time_diff", "Seconds between the two moments above."),
    ("executed_log_entries", "executed_log_entries", "Events that the applier has executed."),
    ("max_relay_log_size", "max_relay_log_size", "Bytes from which on a new relay log is begun."),
    ("retried_transactions", "retried_transactions", "Transactions that were applied again after an error."),
    ("slave_ddl_groups", "slave_ddl_groups", "Groups of DDL that were applied."),
    (
        "slave_heartbeat_period",
        "slave_heartbeat_period",
        "Seconds between heartbeats of a source with nothing to send.",
    ),
    ("slave_non_transactional_groups", "slave_non_transactional_groups", "Groups of other engines that were applied."),
    ("slave_received_heartbeats", "slave_received_heartbeats", "Heartbeats received from the source."),
    ("slave_transactional_groups", "slave_transactional_groups", "Transactions that were applied."),
)
# What only grows until the server, or the thread, is started anew.
_COUNTERS = frozenset(
    (
        "executed_log_entries",
        "retried_transactions",
        "slave_ddl_groups",
        "slave_non_transactional_groups",
        "slave_received_heartbeats",
        "slave_transactional_groups",
    )
)
# Where the rest of a position is a label.
_POSITIONS = ("gtid_io_pos", "gtid_slave_pos")
_LABELS = ("source_name", "source_id", "channel_name", "connection_name", "channel")
# When the newest event of each thread was written, in the time zone of the session, which is UTC.
_EVENTS = {"received": "master_last_event_time", "applied": "slave_last_event_time"}
_NEW: Gate = mysql(8, 4)
# Elsewhere mysql_replica_lag knows more: the age of transactions, and when the source was last heard of.
_KNOWN_HERE: Gate = mariadb(10, 6) | (mysql(8) & ~GRANTED)


def _natives() -> list[Measure]:
    made: list[Measure] = []
    for new, old, about in _COLUMNS:
        kind = counter if old in _COUNTERS else gauge
        made.append(kind(f"mysql_slave_status_{old}", new, old, help=about, parse=number, drop_in=True))
        if new != old:
            made.append(gauge(f"mysql_slave_status_{new}", new, help=about, when=_NEW, parse=number, drop_in=True))
    return made


_ADDED = (
    *("source_name", "source_id", "channel_name", "connection_name", "channel", "kind"),
    *("running", "delay", "behind", "unapplied", "relay_bytes"),
    *("domain", "by", "at_gtid_io_pos", "at_gtid_slave_pos", "pending", "event", "event_at"),
    *("state", "in_state", "thread", "error"),
)
# On a full disk a receiver of MariaDB waits with a lock that SHOW ALL SLAVES STATUS takes, which waits in turn with one
# that SHOW STATUS takes of everybody, and that no KILL ends.
_STUCK = """
    SELECT 1 FROM information_schema.PROCESSLIST
    WHERE USER = 'system user' AND COMMAND LIKE 'Slave%' AND STATE LIKE 'Waiting for someone to free space%' LIMIT 1"""
# What changes on MariaDB whenever the source is heard of.
_SIGNS = ("slave_io_running", "slave_received_heartbeats", "master_log_file", "read_master_log_pos")
# What a receiver that keeps to relay_log_space_limit does.
_NO_SPACE = "Waiting for the slave SQL thread to free enough relay log space"


def understood(rows: Rows, context: Context) -> Rows:
    """Add to each channel what the db_* names say of it."""
    # Of MariaDB the first answer is whether a thread is stuck.
    [rows] = rows.further or [rows]
    found = [row | _of(row, context) for row in rows.dicts()]
    columns = tuple(dict.fromkeys((*rows.columns, *_ADDED)))
    extra = [more for row in found for more in (*_places(row), *_events(row), *_threads(row))]
    return Rows.of(columns, found + extra)


def _threads(row: dict[str, Any]) -> list[dict[str, Any]]:
    """What both threads of MariaDB do, as rows that the other blocks find nothing in; MySQL has it elsewhere."""
    if "connection_name" not in row:
        return []
    # Between the connection and the first event it is Preparing.
    receiver = {"Yes": "on", "No": "off"}.get(row["slave_io_running"], "connecting")
    errors = {"receiver": row["last_io_errno"], "applier": row["last_sql_errno"]}
    channel = row["channel"]
    told = [{"channel": channel, "thread": thread, "error": error} for thread, error in errors.items()]
    return [*states(channel, receiver), *told]


def _events(row: dict[str, Any]) -> list[dict[str, Any]]:
    """How far both threads of MariaDB from 11.6 on are, as rows that the other blocks find nothing in."""
    labels = {name: row.get(name) for name in _LABELS}
    return [
        labels | {"event": event, "event_at": number(row[column])}
        for event, column in _EVENTS.items()
        if row.get(column) is not None
    ]


def _places(row: dict[str, Any]) -> list[dict[str, Any]]:
    """What a position of MariaDB says of each domain, as rows that the other blocks find nothing in."""
    labels = {name: row.get(name) for name in _LABELS}
    return [
        labels | {"domain": domain, "by": server, f"at_{position}": number}
        for position in _POSITIONS
        for domain, server, number in positions(row.get(position) or "")
    ]


def _of(row: dict[str, Any], context: Context) -> dict[str, Any]:
    def get(new: str, old: str) -> Any:
        return row.get(new, row.get(old))

    receiver = get("replica_io_running", "slave_io_running") == "Yes"
    applier = get("replica_sql_running", "slave_sql_running") == "Yes"
    channel = row.get("channel_name") or row.get("connection_name") or ""
    found: dict[str, Any] = {
        "source_name": get("source_host", "master_host"),
        "source_id": get("source_uuid", "master_uuid"),
        "channel": channel,
        "kind": "relay",
        "relay_bytes": row.get("relay_log_space"),
    }
    if row.get("gtid_io_pos"):
        # As it is now: it can be set at any time.
        me = str(context.facts.identity.server_id)
        found["pending"] = behind(row["gtid_io_pos"], row.get("gtid_slave_pos") or "", me)
    if channel.startswith("group_replication_"):
        # Whether a group works is not told by these: the recovery channel is at rest in a healthy group.
        return found
    return found | {
        "running": int(receiver and applier),
        "delay": row.get("sql_delay"),
        # NULL where a thread stands still: a stopped applier must not look like no lag.
        "behind": get("seconds_behind_source", "seconds_behind_master"),
        # Without the receiver nobody knows how far the source is.
        "unapplied": _unapplied(row, context) if receiver else None,
    }


def _unapplied(row: dict[str, Any], context: Context) -> int | None:
    """Bytes that were received and are not applied.

    Of one file of the source they are the distance of two positions. Over the end of a file only the replica's own
    files are known: those that were applied are deleted, so what is left is all of them less what was applied of the
    first, which is more than the source has by the head of each file, some hundred bytes. Where they are kept nobody
    knows.
    """

    def get(new: str, old: str) -> Any:
        return row.get(new, row.get(old))

    read, done = get("read_source_log_pos", "read_master_log_pos"), get("exec_source_log_pos", "exec_master_log_pos")
    if get("source_log_file", "master_log_file") != get("relay_source_log_file", "relay_master_log_file"):
        read, done = row.get("relay_log_space"), row.get("relay_log_pos")
        if context.facts.settings.get("relay_log_purge") == "OFF":
            return None
    return max(read - done, 0) if read is not None and done is not None else None


class SignsOfLife(Asking):
    """Remembers when each channel of MariaDB was last heard of, and takes back what is not known in a silence.

    A source that has nothing to send sends a heartbeat every Slave_heartbeat_period seconds. One that hangs, or whose
    network does, looks like it until slave_net_timeout, which may be an hour; so after one and a half of that period
    nothing is received. With a period of 0 there are no heartbeats, and after a minute nobody can tell. A receiver that
    waits until the applier frees relay logs takes in nothing, heartbeats neither, and works all the same.
    """

    def __init__(self) -> None:
        self._heard: dict[str, tuple[tuple[Any, ...], float]] = {}

    def ask(self, sql: str, answers: Sequence[Rows], context: Context) -> str | None:
        """See exporter.declare.Asking: MariaDB at first whether the status can be had."""
        if context.facts.flavor != "mariadb":
            return None if answers else sql
        if not answers:
            return _STUCK
        if answers[0].rows:
            raise Failure(
                Reason.LOCK,
                "a full disk holds replication up, and whoever asks MariaDB for its state would wait too",
                fix="free space where the relay logs are",
            )
        return sql if len(answers) == 1 else None

    def feed(self, rows: Rows, context: Context) -> Rows:
        """Correct the rows of `understood`."""
        found = rows.dicts()
        heard = {}
        for row in found:
            if row.get("slave_heartbeat_period") is None:
                continue
            period = float(row["slave_heartbeat_period"])
            signs = tuple(row.get(column) for column in _SIGNS)
            before = self._heard.get(row["channel"])
            silent = row.get("slave_io_state") != _NO_SPACE
            since = before[1] if silent and before and before[0] == signs else context.now
            heard[row["channel"]] = (signs, since)
            if row["running"] and context.now - since > (1.5 * period or 60):
                row |= {"running": 0 if period else None, "behind": row["behind"] or None, "unapplied": None}
        self._heard = heard
        return Rows.of(rows.columns, found)

    def rebase(self) -> None:
        """See `Accumulator`."""
        self._heard = {}


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
    state=SignsOfLife,
    blocks=(
        block(
            *_natives(),
            labels={
                "master_host": "source_name",
                "master_uuid": "source_id",
                "channel_name": "channel_name",
                "connection_name": "connection_name",
            },
            merge="max",
        ),
        block(
            *(
                gauge(
                    f"mysql_slave_status_{name}",
                    f"at_{name}",
                    help=f"Sequence number in {name}, by domain and server.",
                    when=mariadb(10, 6),
                    drop_in=True,
                )
                for name in _POSITIONS
            ),
            labels={
                "master_host": "source_name",
                "master_uuid": "source_id",
                "channel_name": "channel_name",
                "connection_name": "connection_name",
                "domain_id": "domain",
                "server_id": "by",
            },
            merge="max",
        ),
        block(
            gauge("mysql_replica_pending_transactions", "pending", help=PENDING, when=mariadb(10, 6)),
            shared("db_replication_lag_bytes", "unapplied"),
            shared("db_replication_delay_seconds", "delay", when=_KNOWN_HERE),
            shared("db_replication_running", "running", when=_KNOWN_HERE),
            shared("db_replication_lag_seconds", "behind", when=_KNOWN_HERE),
            labels=("channel",),
            merge="max",
        ),
        block(IN_STATE, labels=("channel", "state"), merge="max", when=mariadb(10, 6)),
        block(LAST_ERROR, labels=("channel", "thread"), merge="max", when=mariadb(10, 6)),
        block(shared("db_storage_bytes", "relay_bytes"), labels=("kind",), merge="sum"),
        block(
            gauge(
                "mysql_replica_event_timestamp_seconds",
                "event_at",
                help="When the newest event that the replica has received, or applied, was written on the source, by "
                "that server's clock; whole seconds.",
                when=mariadb(11, 6),
            ),
            labels=("channel", "event"),
            merge="max",
        ),
    ),
    grants=("REPLICATION CLIENT", "SLAVE MONITOR"),
)
