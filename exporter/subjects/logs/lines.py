"""Pieces of a file to its lines, in bounded memory, and what every parser of a log does with them."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import NamedTuple

from exporter.subjects.logs.events import Event
from exporter.subjects.logs.threads import WORKING

log = logging.getLogger(__name__)

# Of a line, and of an entry of several, so much is kept: plenty for a statement's text, and less than what Python's
# csv takes for one field.
MOST_BYTES = 65_536


class Line(NamedTuple):
    """A line of a file.

    Attributes:
        text: Without its end.
        size: What it takes in the file, its end included.
        cut: Whether its text is only the first MOST_BYTES.
    """

    text: bytes
    size: int
    cut: bool


class Lines:
    """Lines out of pieces that end anywhere.

    Attributes:
        pending: Bytes of the last line, which has no end yet.
    """

    def __init__(self) -> None:
        self.pending = 0
        self._begun = b""

    def split(self, piece: bytes) -> Iterator[Line]:
        """The lines that a piece ends."""
        start = 0
        while True:
            end = piece.find(b"\n", start)
            room = MOST_BYTES - len(self._begun)
            if end < 0:
                self._begun += piece[start : start + room] if room > 0 else b""
                self.pending += len(piece) - start
                return
            text = self._begun + piece[start : min(end, start + room)] if room > 0 else self._begun
            size = self.pending + end + 1 - start
            self._begun, self.pending, start = b"", 0, end + 1
            cut = size - 1 > len(text)
            yield Line(text if cut else text.removesuffix(b"\r"), size, cut)


class LogParser(ABC):
    """Pieces of one log to events.

    Attributes:
        lines: Lines read so far.
        not_understood: Those of them that make no sense in this format.
    """

    def __init__(self) -> None:
        self.lines = 0
        self.not_understood = 0
        self._splitter = Lines()
        # Bytes of the lines of the entry that may go on, and how many lines.
        self._held = self._lines_held = 0
        self._warned = False

    @property
    def pending(self) -> int:
        """Bytes fed that are not in any event yet: who reads on later has to begin before them."""
        return self._splitter.pending + self._held

    @property
    def unfinished(self) -> int:
        """Those of them that are of a line without an end."""
        return self._splitter.pending

    def opened(self, read: Callable[[int, int], bytes], size: int) -> int:  # noqa: ARG002 - for those who can tell
        """Where the server was in a file when it last opened it; at the beginning, if the format does not tell.

        Args:
            read: Gives at most so many bytes from an offset on.
            size: Of the file.
        """
        return 0

    def feed(self, piece: bytes) -> list[Event]:
        """The events that a piece completes."""
        events: list[Event] = []
        with WORKING:
            for line in self._splitter.split(piece):
                self.lines += 1
                try:
                    self._line(line, events)
                except Exception as error:  # noqa: BLE001 - see _spoilt
                    self._spoilt(error)
        return events

    def flush(self) -> list[Event]:
        """The event of the last entry, if it looks whole: nothing was added to the file for a while."""
        events: list[Event] = []
        self._close(events, over=False)
        return events

    def end(self) -> list[Event]:
        """The event of the last entry: the file is over, and what is not whole never will be."""
        events: list[Event] = []
        self._close(events, over=True)
        if self._splitter.pending:
            self.lines += 1
            self.not_understood += 1
        self._splitter = Lines()
        return events

    def remember(self) -> str:
        """What a parser that goes on from here has to know besides the place."""
        return ""

    def recall(self, remembered: str) -> None:  # noqa: B027 - most need nothing
        """Go on where another one's `remember` was asked."""

    def _close(self, events: list[Event], *, over: bool) -> None:
        """End the entry that is open, if there is one; unless the file is over only if it may be whole."""
        try:
            self._finish(events, over=over)
        except Exception as error:  # noqa: BLE001 - see _spoilt
            self._spoilt(error)

    def _spoilt(self, error: Exception) -> None:
        """Leave out an entry that nothing was prepared for: it must not keep what comes after it from being read.

        Its text is the client's, and so may the error's be.
        """
        if not self._warned:
            self._warned = True
            log.warning("lines of a log are left out, as they can't be read: %s", type(error).__name__)
        self.not_understood += max(1, self._lines_held)
        self._forget()

    @abstractmethod
    def _line(self, line: Line, events: list[Event]) -> None:
        """Take a line in."""

    def _finish(self, events: list[Event], *, over: bool) -> None:  # noqa: B027 - some have none
        """What `_close` does; may raise anything."""

    def _forget(self) -> None:
        """Forget the entry that is open."""
        self._held = self._lines_held = 0
