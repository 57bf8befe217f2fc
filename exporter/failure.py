"""Why something could not be read: an exception with a reason for metrics and a fix for people."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The values of the label `reason` of database_exporter_collector_failure."""

    CONNECT = "connect"
    DNS = "dns"
    TLS = "tls"
    AUTH = "auth"
    STARTING = "starting"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    TIMEOUT = "timeout"
    LOCK = "lock"
    PERMISSION = "permission"
    MISSING_EXTENSION = "missing_extension"
    TOO_MANY_TABLES = "too_many_tables"
    ERROR = "error"


# After one of these nothing else can be asked over the same session.
FATAL = frozenset({Reason.CONNECT, Reason.DNS, Reason.TLS, Reason.AUTH, Reason.STARTING, Reason.TOO_MANY_CONNECTIONS})


class Failure(Exception):  # noqa: N818 - the design's word
    """A connect or a run that did not work.

    Attributes:
        reason: What kind of failure, for metrics.
        message: One line for people, free of secrets.
        fix: The statement or setting that mends it, if one is known.
        broken: The session can't be used any more.
    """

    def __init__(self, reason: Reason, message: str, *, fix: str | None = None, broken: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.fix = fix
        self.broken = broken or reason in FATAL


class ClosedDatabase(Failure):
    """The database that we wanted to connect to does not let us in; others of the same server may."""


class Undefined(Failure):
    """What the statement names isn't there, or not any more."""


class NoDatabase(Failure):
    """The database that we wanted to connect to, or were in, does not exist; listed a moment ago, it was dropped."""
