"""How long our own statements took, for what the server counts of everybody's together."""

from __future__ import annotations

import threading
from collections import deque

# What takes less is slow by nobody's threshold.
_LEAST_SECONDS = 0.05
# Over all servers: readings come every few seconds, and hardly any statement of ours takes that long.
_KEPT = 5000


class Lasted:
    """The last statements of ours that took a while, on all servers, whichever session ran them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._noted: deque[tuple[int, str, float]] = deque(maxlen=_KEPT)

    def note(self, system: str, seconds: float) -> None:
        """Note that the client waited so long for a statement on the server with this identifier."""
        if seconds >= _LEAST_SECONDS:
            with self._lock:
                self._count += 1
                self._noted.append((self._count, system, seconds))

    def since(self, system: str, count: int) -> tuple[int, list[float]]:
        """How many there are by now, and the seconds of those on this server after the first `count` of them."""
        with self._lock:
            return self._count, [seconds for number, of, seconds in self._noted if number > count and of == system]


LASTED = Lasted()
