"""The databases of a server that don't let us in: told once for all collectors, and on every page."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping

from exporter.failure import Failure, Reason

log = logging.getLogger(__name__)

# One that is full every other minute is not worth a line every other minute.
TOLD_SECONDS = 3600.0
# A server may have thousands, closed for one and the same reason.
_NAMED = 5


class Closed:
    """What the rounds through a server's databases have found closed.

    Written by one thread at a time, read by any.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._failures: Mapping[str, Failure] = {}
        self._told: dict[str, tuple[Reason, float]] = {}

    @property
    def failures(self) -> Mapping[str, Failure]:
        """By database why it could not be entered the last time it was tried."""
        return self._failures

    def update(self, listed: Collection[str], entered: Collection[str], closed: Mapping[str, Failure]) -> None:
        """Take in a round.

        Args:
            listed: Databases there are; any other is forgotten.
            entered: Those that let us in.
            closed: Those that did not, and why; what is in neither was not tried.
        """
        before = {name: failure for name, failure in self._failures.items() if name in listed}
        self._failures = {name: failure for name, failure in before.items() if name not in entered} | dict(closed)
        self._told = {name: told for name, told in self._told.items() if name in listed}
        news: dict[Reason, list[str]] = {}
        for name, failure in closed.items():
            known = before.get(name)
            if (known is None or known.reason != failure.reason) and not self._told_lately(name, failure.reason):
                news.setdefault(failure.reason, []).append(name)
        for reason, names in news.items():
            self._tell(reason, names, closed[names[0]])

    def forget(self) -> None:
        """Another server answers."""
        self._failures = {}

    def _told_lately(self, name: str, reason: Reason) -> bool:
        told = self._told.get(name)
        return told is not None and told[0] == reason and time.monotonic() - told[1] < TOLD_SECONDS

    def _tell(self, reason: Reason, names: list[str], first: Failure) -> None:
        self._told |= dict.fromkeys(names, (reason, time.monotonic()))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        which = ("database " if len(names) == 1 else "databases ") + ", ".join(names[:_NAMED]) + more
        fix = f"; to mend it: {first.fix}" if first.fix else ""
        log.warning("%s: %s can't be entered: %s: %s%s", self._server, which, reason, first.message, fix)
