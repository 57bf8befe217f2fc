"""Follows a log through its files: what was added is read, a bounded part of it in each turn."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

from exporter.subjects.logs.events import Event
from exporter.subjects.logs.files import Files, Found, Identity, OpenFile
from exporter.subjects.logs.lines import LogParser
from exporter.subjects.logs.places import Place, furthest
from exporter.subjects.logs.positions import Position, PositionFile

# Who is killed while it is being counted has lost no more than that.
_PIECE_BYTES = 65_536
# Places in other files that are kept with the position, and files before their truncation that are known.
_OTHERS_KEPT = 128
# What a file was before it was truncated is in none.
_NO_FILE = (0, 0)
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

    Args:
        files: Where the log is.
        make_parser: For each file one.
        kept: Where the position is kept.
    """

    def __init__(self, files: Files, make_parser: Callable[[], LogParser], kept: PositionFile) -> None:
        self.behind = self.lines = self.not_understood = 0
        self._files = files
        self._make_parser = make_parser
        self._kept = kept
        # The one that is being read; it stays open, whatever becomes of its name.
        self._file: OpenFile | None = None
        # Of all files that are there; who was read last comes last.
        self._places: dict[Identity, Place] = {}
        # There may be copies of what files were before they were truncated.
        self._past: deque[Place] = deque(maxlen=_OTHERS_KEPT)
        self._begun = False
        # What was not written later and is not known has been moved here: it is history.
        self._seen = 0
        # Files that this turn has nothing more to do with, and why one of them can't be read.
        self._over: set[Identity] = set()
        self._error: OSError | None = None
        # Of files that are gone.
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
        for events in self._steps(most_bytes, seconds):
            with suppress(OSError):
                # That it can't be kept is told in the end.
                self._keep()
            yield events
        self.behind = self._unread()
        self._keep()
        if self._error is not None:
            raise self._error

    def _steps(self, most_bytes: int, seconds: float) -> Iterator[list[Event]]:
        end = time.monotonic() + seconds
        self._over, self._error = set(), None
        late, self._late = self._late, []
        yield late
        if self._file is None:
            self._begin()
        left, fed = most_bytes, set()
        while self._file is not None:
            identity = self._file.identity
            yield self._check()
            place = self._places[identity]
            written = self._file.written
            piece = self._file.read(place.offset, min(left, _PIECE_BYTES))
            place.at_end = not piece
            if piece:
                place.offset += len(piece)
                place.see_head(self._file)
                left -= len(piece)
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
        yield from self._flush(fed)

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
            position = self._kept.read()
            if position is not None and position.where != self._files.where:
                position = None
            if position is not None:
                self._recall(position)
                current = (position.device, position.inode)
            files = self._files.all(self._places)
            if not files and position is not None:
                # What was followed may be here yet.
                self._places.clear()
                return
            self._begun = True
            if not files:
                # What comes and was written before is history: its file system was away.
                self._seen = time.time_ns() - _LOOKING_NANOSECONDS
            for file in files:
                self._note(file, position.written if position is not None else None)
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

    def _recall(self, position: Position) -> None:
        for kept in position.all():
            place = Place(kept.offset, kept.head, kept.head_bytes, self._make_parser())
            assert place.parser is not None
            place.parser.recall(kept.remembered)
            if (kept.device, kept.inode) == _NO_FILE:
                self._past.append(place)
            else:
                self._places[kept.device, kept.inode] = place

    def _note(self, file: Found, since: int | None) -> None:
        """Give a file that is not known its place: what was written before `since` is history; None: all is."""
        if file.identity in self._places:
            return
        place = self._places[file.identity] = Place()
        history = since is None or file.written <= since
        if history:
            place.offset, place.written = file.size, file.written
        # One that nobody may read is of no interest while nothing is added to it.
        with suppress(OSError):
            opened = OpenFile(file.path)
            if history:
                place.offset = opened.last_line_begins()
                place.see_head(opened)
            else:
                # It may be a copy.
                self._settle(opened, place)
            opened.close()

    def _look(self) -> list[Found]:
        """The files that are there; each of them has its place by then."""
        now = time.time_ns()
        files = self._files.all(self._places)
        for file in files:
            self._note(file, self._seen)
        if files:
            self._seen = min(files[-1].written, now - _LOOKING_NANOSECONDS)
            self._forget({file.identity for file in files})
        return files

    def _forget(self, there: set[Identity]) -> None:
        """Forget files that are gone; where all are, their file system may be."""
        if self._file is not None:
            there.add(self._file.identity)
        for identity in self._places.keys() - there:
            self._drop(identity)

    def _drop(self, identity: Identity) -> None:
        place = self._places.pop(identity)
        if place.parser is not None:
            self._late += self._count(place.parser, place.parser.end)
        if place.certain and place.offset:
            # Its directory may have been away.
            self._past.append(Place(place.offset, place.head, place.head_bytes, place.parser))

    def _check(self) -> list[Event]:
        """Begin anew where the file is not what it was; what was its last entry."""
        assert self._file is not None
        place = self._places.setdefault(self._file.identity, Place())
        return [] if place.is_of(self._file) else self._settle(self._file, place)

    def _switch(self, following: Found) -> list[Event]:
        """Go on with another file, unless all that is in it was read elsewhere; what was its last entry."""
        self._over.add(following.identity)
        try:
            file = OpenFile(following.path)
        except OSError as error:
            if following.moved:
                self._drop(following.identity)
            elif not isinstance(error, FileNotFoundError):
                self._error = error
            return []
        place = self._places[following.identity]
        if file.identity != following.identity or (following.moved and not place.is_of(file)):
            # It was renamed meanwhile; or it is gone, and another one has got its number.
            file.close()
            if following.moved:
                self._drop(following.identity)
            return []
        # What a copy that is not whole yet gets from here on was read in the other one, too.
        size = file.size
        events = self._settle(file, place)
        place = self._places[file.identity] = self._places.pop(file.identity)
        place.written = following.written
        if place.offset < size:
            self.close()
            self._file = file
        else:
            file.close()
        return events

    def _settle(self, file: OpenFile, place: Place) -> list[Event]:
        """Go on after what was read of what a file holds; what was its last entry, if it is not what it was."""
        best = furthest(file, place, [*self._places.values(), *self._past])
        if best is place and place.offset <= file.size:
            return []
        # Its last entry may name the database that those after it belong to.
        events = self._count(place.parser, place.parser.end) if place.parser is not None else []
        # A copy that is not whole yet is looked at again when it has grown.
        offset = min(best.offset, file.size) if best is not None else 0
        parser = self._make_parser()
        if best is not None and 0 < best.offset == offset:
            parser.recall(best.remembered)
        elif best is not place and place.at_end:
            # The server doesn't know that it was truncated, and says nothing again that it has said.
            parser.recall(place.remembered)
        if best is not place and place.certain and place.offset:
            self._past.append(Place(place.offset, place.head, place.head_bytes, place.parser))
        self._places[file.identity] = Place(offset, parser=parser)
        self._places[file.identity].see_head(file)
        return events

    def _next(self) -> Found | None:
        """Another file, if there is something in one that was not read."""
        for file in self._look():
            # One of the same size may have been truncated and written again.
            if file.identity not in self._over and (
                self._left(file) or self._places[file.identity].written != file.written
            ):
                return file
        return None

    def _left(self, file: Found) -> int:
        offset = self._places[file.identity].offset
        return file.size - offset if file.size >= offset else file.size

    def _unread(self) -> int:
        return sum(self._left(file) for file in self._look())

    def _feed(self, place: Place, piece: bytes) -> list[Event]:
        if place.parser is None:
            place.parser = self._make_parser()
        parser = place.parser
        return self._count(parser, lambda: parser.feed(piece))

    def _flush(self, fed: set[Identity]) -> Iterator[list[Event]]:
        """The last entries of files to which nothing was added for a while."""
        for identity, place in list(self._places.items()):
            if identity not in fed and place.parser is not None:
                yield self._count(place.parser, place.parser.flush)

    def _count(self, parser: LogParser, events: Callable[[], list[Event]]) -> list[Event]:
        lines, not_understood = parser.lines, parser.not_understood
        found = events()
        self.lines += parser.lines - lines
        self.not_understood += parser.not_understood - not_understood
        return found

    def _keep(self) -> None:
        if self._file is None:
            return
        current = self._file.identity
        own = self._places[current].kept(current)
        others = [item for item in self._places.items() if item[0] != current][-_OTHERS_KEPT:]
        kept = tuple(
            place.kept(identity) for identity, place in [*((_NO_FILE, place) for place in self._past), *others]
        )
        self._kept.write(Position(self._files.where, *own[:5], self._seen, own.remembered, others=kept))
