"""What a server's log tells of, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# What a duration is of. A plan is auto_explain's, whose statement may stand in the log once more; a bare one has no
# text: it was logged before (log_statement), or is there for every statement (log_duration).
Step = Literal["statement", "execute", "parse", "bind", "plan", "bare"]


@dataclass(frozen=True, slots=True)
class Statement:
    """An execution that the server found slow.

    Attributes:
        database: Where; None: the log doesn't say.
        text: As the client sent it, with all its literals; empty where the log has none.
        seconds: How long it took.
        step: What this is the duration of.
        query_id: PostgreSQL's own number of the statement, where the log carries it and it is this statement's.
        lock_seconds: How long it waited for locks; None: not in the log.
        rows_examined: Rows that it looked at; None: not in the log.
        rows_sent: Rows that it gave; None: not in the log.
        times: For how many executions it stands, where the server logs a sample.
    """

    database: str | None
    text: str
    seconds: float
    step: Step = "statement"
    query_id: int | None = None
    lock_seconds: float | None = None
    rows_examined: int | None = None
    rows_sent: int | None = None
    times: int = 1


@dataclass(frozen=True, slots=True)
class Error:
    """A message of the severity ERROR or worse.

    Attributes:
        database: Where; None: the log doesn't say, or in none.
        sqlstate: Its five characters; empty where the log doesn't carry them.
        deadlock: Whether it ended a deadlock.
    """

    database: str | None
    sqlstate: str
    deadlock: bool


@dataclass(frozen=True, slots=True)
class TemporaryFile:
    """A temporary file that was deleted, with its size in bytes."""

    database: str | None
    size: int


Event = Statement | Error | TemporaryFile
