"""Whose turn it is to count a server's slow statements: its log's, or that of what comes after the log."""

from __future__ import annotations

import math
import threading


class Turn:
    """The log has it from the beginning, as long as it logs slow statements and is heard of.

    Args:
        patience: Seconds without a word of the log after which it has lost its turn.
    """

    def __init__(self, patience: float = math.inf) -> None:
        self._patience = patience
        self._lock = threading.Lock()
        self._log = True
        # When it was last certain that the log counts; None: never yet.
        self._heard: float | None = None

    @property
    def log_counts(self) -> bool:
        """Whether the log counts."""
        return self._log

    def heard(self, now: float, *, at_end: bool) -> None:
        """The log has been asked and logs slow statements.

        Args:
            now: Monotonic seconds at which that was so.
            at_end: Whether all that was in it has been read. What was written while others counted is theirs, so
                before that the log can't have its turn back.
        """
        with self._lock:
            self._log = self._log or at_end
            if self._log:
                self._heard = now if self._heard is None else max(now, self._heard)

    def silent(self) -> None:
        """The log has been asked and logs no slow statements."""
        with self._lock:
            self._log = False

    def asked(self, now: float) -> tuple[bool, float]:
        """Whether others are to count, and when the log last did; for those others, at the moment of their reading."""
        with self._lock:
            if self._heard is None:
                self._heard = now
            elif now - self._heard > self._patience:
                self._log = False
            return not self._log, self._heard
