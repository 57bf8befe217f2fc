"""Follows a log through its files: what was added is read, a bounded part of it in each turn."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

from exporter.subjects.logs.events import Event
from exporter.subjects.logs.files import Files, Found, Identity, OpenFile
from exporter.subjects.logs.lines import LogParser
from exporter.subjects.logs.places import Place, Places
from exporter.subjects.logs.positions import PositionFile

# Who is killed while it is being counted has lost no more than that, or so many short entries.
_PIECE_BYTES = 65_536
_AT_ONCE = 200
# A file that is newer by less may have come while we looked.
_LOOKING_NANOSECONDS = 1_000_000_000


class Follower:
    """Reads what is added to a log.

    The first turn of all finds the ends of all files and begins there, unless a position was kept. Each file has a
    place of its own, so several may be written at once. A file that was renamed is read to its end; one that was
    truncated, or overwritten, is read anew; a copy of what was read is not read.

    Attributes:
        behind: Bytes that were there and not read when the last turn ended.
        lines: Lines read so far.
        not_understood: Those of them that made no sense.
        looked: When it last looked which files there are, in nanoseconds; None: never yet.

    Args:
        files: Where the log is.
        make_parser: For each file one.
        kept: Where the position is kept.
        since: The log was in another place until then (nanoseconds): what was written later is no history, and begins
            where the server has opened the file.
    """

    def __init__(
        self, files: Files, make_parser: Callable[[], LogParser], kept: PositionFile, since: int | None = None
    ) -> None:
        self.behind = self.lines = self.not_understood = 0
        self.looked: int | None = None
        self._since = since
        self._files = files
        self._make_parser = make_parser
        self._kept = kept
        # The one that is being read; it stays open, whatever becomes of its name.
        self._file: OpenFile | None = None
        self._places = Places(make_parser)
        self._begun = False
        # An unknown file that was last written before this moment (nanoseconds) has been moved here: what is in it is
        # history. So is what is on a device that was not there.
        self._seen = 0
        self._devices: set[int | None] = set()
        # Files that are next in this turn, those that it has nothing more to do with, and why one can't be read.
        self._ahead: deque[Found] = deque()
        self._over: set[Identity] = set()
        self._error: OSError | None = None
        # Bytes since the position was last kept.
        self._read = 0
        # The last ones of files that are gone, or were truncated.
        self._late: list[Event] = []

    @property
    def found(self) -> bool:
        """Whether there was a file to read when the last turn ended."""
        return self._file is not None

    def turn(self, most_bytes: int, seconds: float) -> Iterator[list[Event]]:
        """Read on, until the end or a bound is reached, and keep the position.

        Yields:
            The events of a piece, whose end is kept by then: who is killed counts none of them twice.

        Raises:
            OSError: A file can't be read, or the position not be kept; other files have been read.
        """
        found: list[Event] = []
        try:
            for events in self._steps(most_bytes, seconds):
                found += events
                if self._read >= _PIECE_BYTES or len(found) >= _AT_ONCE:
                    yield self._safe(found)
                    self._read, found = 0, []
        except OSError as error:
            self._error = error
        yield self._safe(found)
        if self._error is not None:
            with suppress(OSError):
                self._keep()
            raise self._error
        self._keep()

    def _safe(self, events: list[Event]) -> list[Event]:
        """Events that may be counted, since the position after them is kept."""
        if events:
            with suppress(OSError):
                # That it can't be kept is told in the end.
                self._keep()
        return events

    def _steps(self, most_bytes: int, seconds: float) -> Iterator[list[Event]]:
        end = time.monotonic() + seconds
        self._over, self._error, self._read = set(), None, 0
        self._ahead.clear()
        if self._file is None:
            self._begin()
        left, fed = most_bytes, set()
        while self._file is not None:
            identity = self._file.identity
            try:
                place, piece, written = self._piece(min(left, _PIECE_BYTES - self._read))
            except OSError as error:
                # It is opened anew in the next turn.
                self._error = error
                self._over.add(identity)
                self.close()
                while self._file is None and (following := self._next()) is not None:
                    yield self._switch(following)
                continue
            if piece:
                left -= len(piece)
                self._read += len(piece)
                fed.add(identity)
                yield self._feed(place, piece)
                if left <= 0 or time.monotonic() >= end:
                    # Others come first in the next turn: this one may never come to its end.
                    self._over.add(identity)
                    if (following := self._next()) is not None:
                        yield self._switch(following)
                    break
                continue
            self._over.add(identity)
            place.written = written
            following = self._next()
            if following is None:
                break
            # Once more: it may have grown after we saw its end, and before the next one was there.
            if self._file.size == place.offset:
                yield self._switch(following)
            else:
                self._ahead.appendleft(following)
        yield from self._flush(fed)
        self.behind = sum(map(self._left, self._look()))
        late, self._late = self._late, []
        yield late

    def _piece(self, most: int) -> tuple[Place, bytes, int]:
        """Read on in the file: its place, what was read, and when it had last been written before."""
        assert self._file is not None
        place = self._place(self._file)
        written = self._file.written
        piece = self._file.read(place.offset, most)
        # Before it counts as read: what can't be read now is read again.
        place.see_head(self._file, place.offset + len(piece))
        place.offset += len(piece)
        place.at_end = not piece
        return place, piece, written

    def last(self) -> list[Event]:
        """The events of the last entries, if they look whole, that else would wait for the next ones."""
        events = [event for some in self._flush(set()) for event in some]
        with suppress(OSError):
            self._keep()
        return events

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        current: Identity | None = None
        if not self._begun:
            position = self._kept.read() if self._since is None else None
            if position is not None and position.where != self._files.where:
                position = None
            if position is not None:
                self._places.recall(position)
                current = (position.device, position.inode)
            files = self._files.all(self._places.known)
            if not files and position is not None:
                # What was followed may be here yet.
                self._places = Places(self._make_parser)
                return
            self._begun = True
            self._devices = {self._files.device(), *(file.identity[0] for file in files)}
            if not files:
                # What comes and was written before is history: its file system was away.
                self._seen = time.time_ns() - _LOOKING_NANOSECONDS if self._since is None else self._since
            since = position.written if position is not None and position.whole else self._since
            for file in files:
                self._note(file, since, copies=position is not None, opened_anew=self._since is not None)
        files = self._look()
        if files:
            error: OSError | None = None
            # That another one can't be read is of interest once something is added to it.
            for file in [*(one for one in files if one.identity == current), *reversed(files)]:
                try:
                    self._file = OpenFile(file.path)
                except OSError as failed:
                    error = error or failed
                else:
                    return
            self._error = error

    def _note(self, file: Found, since: int | None = None, *, copies: bool = True, opened_anew: bool = False) -> None:
        """Give a file that is not known its place.

        Args:
            file: Which one.
            since: What was not written later is history; None: all is.
            copies: Whether it may be a copy of one that is known: of that the rest is no history.
            opened_anew: Whether what came before the server last opened it is history.
        """
        if file.identity in self._places.known:
            return
        place = self._places.known[file.identity] = Place()
        history = since is None or file.written <= since
        if history:
            place.written = file.written
        try:
            with closing(OpenFile(file.path)) as opened:
                if opened.identity != file.identity:
                    raise FileNotFoundError
                if copies:
                    self._places.settle(opened, self._end)
                begins: int | None = None
                if history and not place.offset:
                    begins = opened.last_line_begins()
                elif opened_anew:
                    begins = self._make_parser().opened(opened.read, opened.size)
                if begins is not None:
                    place.offset = begins
                    place.see_head(opened, begins)
        except OSError:
            # It was renamed meanwhile, or nobody may read it: of no interest while nothing is added to it.
            place.offset = file.size if history else 0

    def _look(self) -> list[Found]:
        """The files that are there; each of them has its place by then."""
        now = time.time_ns()
        self.looked = now - _LOOKING_NANOSECONDS
        files = self._files.all(self._places.known)
        for file in files:
            self._note(file, self._seen if file.identity[0] in self._devices else None)
        self._devices.update(file.identity[0] for file in files)
        if files:
            self._seen = min(files[-1].written, now - _LOOKING_NANOSECONDS)
            self._forget({file.identity for file in files})
        return files

    def _forget(self, there: set[Identity]) -> None:
        """Forget files that are gone; where all are, their file system may be."""
        if self._file is not None:
            there.add(self._file.identity)
        for identity in self._places.known.keys() - there:
            self._drop(identity)

    def _drop(self, identity: Identity) -> None:
        place = self._places.known.pop(identity)
        self._late += self._end(place)
        # Its directory may have been away.
        self._places.over(place)

    def _place(self, file: OpenFile) -> Place:
        """Where to read on; in one that is not what it was from its beginning."""
        place = self._places.known.setdefault(file.identity, Place())
        if place.copied is not None or not place.is_of(file):
            self._late += self._places.settle(file, self._end)
        return self._places.known[file.identity]

    def _switch(self, following: Found) -> list[Event]:
        """Go on with another file, unless all that is in it was read elsewhere; what was its last entry."""
        self._over.add(following.identity)
        try:
            file = OpenFile(following.path)
            try:
                return self._enter(file, following)
            finally:
                if file is not self._file:
                    file.close()
        except OSError as error:
            if following.moved:
                self._drop(following.identity)
            elif not isinstance(error, FileNotFoundError):
                self._error = error
            return []

    def _enter(self, file: OpenFile, following: Found) -> list[Event]:
        # It becomes the one that is being read, if there is something to read.
        known = self._places.known
        if file.identity != following.identity or (following.moved and not known[following.identity].is_of(file)):
            # It was renamed meanwhile; or it is gone, and another one has got its number.
            if following.moved:
                self._drop(following.identity)
            return []
        # Whatever is still appended to an unfinished copy was read in the original already.
        size = file.size
        events = self._places.settle(file, self._end)
        place = known[file.identity] = known.pop(file.identity)
        place.written = following.written
        if place.offset < size:
            self.close()
            self._file = file
        return events

    def _next(self) -> Found | None:
        """Another file, if there is something in one that was not read."""
        if not self._ahead:
            self._ahead.extend(file for file in self._look() if file.identity not in self._over and self._grown(file))
        return self._ahead.popleft() if self._ahead else None

    def _grown(self, file: Found) -> bool:
        # One of the same size may have been truncated and written again.
        return bool(self._left(file)) or self._places.known[file.identity].written != file.written

    def _left(self, file: Found) -> int:
        offset = self._places.known[file.identity].offset
        return file.size - offset if file.size >= offset else file.size

    def _feed(self, place: Place, piece: bytes) -> list[Event]:
        if place.parser is None:
            place.parser = self._make_parser()
        parser = place.parser
        return self._count(parser, lambda: parser.feed(piece))

    def _flush(self, fed: set[Identity]) -> Iterator[list[Event]]:
        """The last entries of files to which nothing was added for a while."""
        for identity, place in list(self._places.known.items()):
            if identity not in fed and place.parser is not None:
                yield self._count(place.parser, place.parser.flush)

    def _end(self, place: Place) -> list[Event]:
        return self._count(place.parser, place.end) if place.parser is not None else []

    def _count(self, parser: LogParser, events: Callable[[], list[Event]]) -> list[Event]:
        lines, not_understood = parser.lines, parser.not_understood
        found = events()
        self.lines += parser.lines - lines
        self.not_understood += parser.not_understood - not_understood
        return found

    def _keep(self) -> None:
        current = self._file.identity if self._file is not None else next(reversed(self._places.known), None)
        if current is not None:
            self._kept.write(self._places.position(self._files.where, current, self._seen))
