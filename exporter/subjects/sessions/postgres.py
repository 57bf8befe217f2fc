"""PostgreSQL: the class of what a session waits for is the server's own type of its wait event, in lower case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.subjects.sessions.totals import ActiveSessions

# Types that sessions of clients have on all versions; others have their series once one was seen.
CLASSES = ("cpu", "io", "lock", "lwlock", "bufferpin", "ipc", "client", "timeout", "extension")


def sessions(most_statements: int | None = None) -> ActiveSessions:
    """What the samples of one server add up to."""
    return ActiveSessions(CLASSES, classify, most_statements)


def classify(row: Mapping[str, Any]) -> str | None:
    """Of the columns active and wait_event_type: the class, None for a session that is not active."""
    if not row["active"]:
        return None
    # The server names no wait for who is at work, nor for who waits for a processor.
    return str(row["wait_event_type"]).lower() if row["wait_event_type"] is not None else "cpu"
