"""The db_* metrics that collectors of every engine feed: what each of them says, wherever it comes from.

A page may hold servers of both engines, and a metric has one HELP there. What only one engine's figure needs to be
read right is in it too; why it is so is a comment in that engine's collector.
"""

from __future__ import annotations

from exporter.declare import DeclarationError, Measure, counter, gauge
from exporter.gates import ANY, Gate

HELP = {
    # Connections
    "db_connections": "Client connections, without the exporter's own, by state.",
    "db_connections_max": "Connections that the server takes.",
    "db_connections_reserved": "Connections among them that ordinary users cannot take: on PostgreSQL those kept for "
    "administrators, on MySQL and MariaDB those that replicas have taken, and everywhere the exporter's own.",
    "db_role_connections": "Connections of a role or user that has a limit.",
    "db_role_connections_max": "Connections that the role or user may have.",
    "db_database_connections": "Client connections to a database that has a limit.",
    "db_database_connections_max": "Connections that the database takes.",
    "db_connections_opened_total": "Connections opened, the exporter's own among them; on PostgreSQL since the "
    "exporter began to look, on MySQL and MariaDB with those that were refused.",
    "db_connections_refused_total": "Connections refused: max_connections, the server was full; login, all that failed "
    "to log in, on MariaDB also those that found it full; the others are errors of the network and of the server.",
    # What sessions do
    "db_transaction_longest_seconds": "Age of the oldest open transaction of a client, 0 if none is open.",
    "db_statement_longest_seconds": "Age of the longest running statement of a client, 0 if none runs.",
    "db_active_session_seconds_total": "Time of active client sessions by what they wait for, from a sample each "
    "second, of which each session in it adds the time since the sample before; its rate is the average number of "
    "active sessions. On PostgreSQL the class is the type of the wait event, and cpu where there is none; on MySQL and "
    "MariaDB cpu is also whatever the server names no wait for. Beyond 2,000 databases further ones are `(others)`.",
    "db_active_session_unobserved_seconds_total": "Time that no sample of active sessions stands for, since one stands "
    "for 5 seconds at most: the server did not answer, or sampling was suspended.",
    "db_lock_waiting_sessions": "Client sessions that wait for a lock.",
    "db_lock_wait_longest_seconds": "How long the longest wait of a client for a lock has lasted, 0 if nobody waits; "
    "before PostgreSQL 14, and on MySQL for locks other than those on rows, the age of the waiting statement.",
    "db_transactions_total": "Transactions that ended, autocommitted statements among them, by outcome; on MySQL and "
    "MariaDB since the exporter began to look, there what the server itself rolled back, as of a lost connection, is a "
    "commit. On MariaDB without performance_schema only those that wrote to the binary log or said COMMIT or ROLLBACK, "
    "on a replica what it applies too, and absent without a binary log.",
    "db_deadlocks_total": "Deadlocks.",
    "db_cache_hits_total": "Blocks or pages that the server found in its buffer cache.",
    "db_cache_misses_total": "Blocks or pages that were not in the server's buffer cache.",
    # Sizes
    "db_size_bytes": "Size of the database, which on MySQL and MariaDB is a schema; tables there in shared "
    "tablespaces as of the server's statistics.",
    "db_schema_size_bytes": "Size of the tables of a schema with their indexes and TOAST; beyond the largest, and "
    "where a table is locked, as of its last vacuum or analyze.",
    "db_size_limit_bytes": "Size that the config allows the database.",
    "db_project_info": "1; whose the database or schema is, from the config.",
    "db_storage_bytes": "Bytes outside the databases: wal, all of its directory; slot_retained, the part of it that "
    "the slot furthest behind holds back; binlog, relay, redo and undo, the logs of these names; temp, temporary files "
    "and tables, on PostgreSQL but for the files of parallel plans.",
    # Replication
    "db_replication_lag_seconds": "How far the replica is behind its source, 0 if it has applied all that the source "
    "is known to have; a configured delay is part of it.",
    "db_replication_lag_bytes": "Bytes that the source is known to have and the replica has not applied, on MySQL and "
    "MariaDB of what was received, and over the end of a binary log some hundred too many for each file; absent while "
    "nothing is received, on MySQL while the receiver is not connected, and over that end where "
    "relay_log_purge is off.",
    "db_replication_running": "1 only if the replica both receives from its source and applies. A source that gives no "
    "sign of life is not received from: on PostgreSQL after 3/4 of wal_receiver_timeout, on MySQL and MariaDB after "
    "1.5 times the heartbeat period, by default half of replica_net_timeout; where that is 0 nobody can tell: then "
    "absent. Of a member of a replication group 1 while it is ONLINE, 0 in state ERROR, else absent.",
    "db_replication_joining": "1 while a member of a replication group gets what it lacks from the others, in state "
    "RECOVERING, and 0 once it is ONLINE; else absent.",
    "db_replication_unreachable_members": "Members of the replication group that this one gets no answer from and that "
    "were not put out of it; where they are half of the group, nobody can write. Absent while this one is no member.",
    "db_replication_delay_seconds": "Delay that the replica is told to keep.",
    "db_standby_lag_seconds": "Seconds until recent WAL was known to be written, flushed or replayed on the standby.",
    "db_standby_lag_bytes": "Bytes of WAL not yet sent to the standby, or not yet written, flushed or replayed there.",
}


def shared(name: str, column: str, *, when: Gate = ANY, sql: str | None = None) -> Measure:
    """A measure of a db_* metric, with the sentence that all engines share; one that ends with _total is a counter.

    Raises:
        DeclarationError: There is no such metric.
    """
    if name not in HELP:
        raise DeclarationError(f"{name}: say in {__name__}.HELP what it means on every engine")
    make = counter if name.endswith("_total") else gauge
    return make(name, column, help=HELP[name], when=when, sql=sql)
