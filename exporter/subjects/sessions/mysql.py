"""MySQL and MariaDB: the class of what a session waits for, from its state and from what it waits for in InnoDB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.subjects.sessions.totals import ActiveSessions

CLASSES = ("cpu", "io", "commit", "lock", "metadata_lock", "table_lock", "lwlock", "ipc", "client", "timeout")

# States in lower case by how they begin, the first that fits. States of work, such as "executing", are in none of them.
_STATES = (
    ("waiting for table level lock", "table_lock"),
    ("user lock", "lock"),
    ("waiting for locking service lock", "lock"),
    ("waiting for table flush", "metadata_lock"),
    ("waiting for query cache lock", "lwlock"),
    ("waiting for handler commit", "commit"),
    ("waiting for binlog group commit ticket", "commit"),
    # The end of an ALTER, which is work.
    ("committing alter table", "cpu"),
    ("commit", "commit"),
    ("waiting for prior transaction to commit", "commit"),
    ("waiting for semi-sync ack", "ipc"),
    ("waiting for gtid to be committed", "ipc"),
    ("waiting for the slave sql", "ipc"),
    ("waiting for the replica sql", "ipc"),
    ("waiting in master_gtid_wait()", "ipc"),
    ("wsrep", "ipc"),
    ("waiting for certification", "ipc"),
    ("waiting for flow control", "ipc"),
    ("waiting for toi ddl", "ipc"),
    ("waiting to execute in isolation", "ipc"),
    ("user sleep", "timeout"),
    ("sending to client", "client"),
    ("writing to net", "client"),
    ("reading from net", "client"),
    ("receiving from client", "client"),
)
# Instruments of performance_schema. wait/io/table is no wait: it is the work of reading rows.
_EVENTS = (
    ("wait/io/file/", "io"),
    ("wait/io/socket/", "client"),
    ("wait/lock/metadata/", "metadata_lock"),
    ("wait/lock/table/", "table_lock"),
    ("wait/io/lock/", "table_lock"),
    ("wait/synch/", "lwlock"),
)


def sessions(most_statements: int | None = None) -> ActiveSessions:
    """What the samples of one server add up to."""
    return ActiveSessions(CLASSES, classify, most_statements)


def classify(row: Mapping[str, Any]) -> str | None:
    """Of the columns active, state, event and row_lock: the class, None for a session that is not active.

    A lock comes before whatever else is known, and what the server names before the instrument that stands behind it.
    """
    if not row["active"]:
        return None
    if row["row_lock"]:
        return "lock"
    state, event = str(row["state"] or "").lower(), str(row["event"] or "")
    for begins, found in _STATES:
        if state.startswith(begins):
            return found
    if state.startswith("waiting for") and state.endswith("lock"):
        # Those of tables, schemas, functions and so on, and the global ones: read lock, commit lock, backup lock.
        return "metadata_lock"
    for begins, found in _EVENTS:
        if event.startswith(begins):
            return found
    return "other" if state.startswith("waiting ") else "cpu"
