"""The immutable outcome of a collector's run: its sample lines, or why there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from exporter.exposition.render import Family
from exporter.failure import Failure, Reason


class State(StrEnum):
    """The values of the label `state` of database_exporter_collector_state."""

    OK = "ok"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"
    DISABLED = "disabled"
    PAUSED = "paused"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One run of one collector on one server.

    Attributes:
        collector: Its name.
        state: How it went.
        at: Monotonic seconds at which its rows were read.
        duration: Seconds that it took.
        families: Sample lines; a failed run may have some, of the databases that did work.
        series: How many series they hold.
        dropped: Series left out, by reason.
        reason: Why it failed or is unsupported.
        message: The same for people.
        fix: What would mend it.
        told: Whether the log has it already, said of a database rather than of each collector.
        doubtful: Whether something isn't there that was when the facts of the server were learnt.
    """

    collector: str
    state: State
    at: float
    duration: float = 0.0
    families: tuple[Family, ...] = ()
    series: int = 0
    dropped: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    reason: Reason | None = None
    message: str = ""
    fix: str | None = None
    told: bool = False
    doubtful: bool = False

    @staticmethod
    def failed(collector: str, failure: Failure, at: float, duration: float = 0.0) -> Snapshot:
        """The outcome of a run that failed as a whole."""
        return Snapshot(
            collector,
            State.FAILED,
            at,
            duration,
            reason=failure.reason,
            message=failure.message,
            fix=failure.fix,
        )
