"""Follows a log through its files: what was added is read, a bounded part of it in each turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from exporter.subjects.logs.events import Event
from exporter.subjects.logs.files import HEAD_BYTES, Files, Found, Identity, OpenFile
from exporter.subjects.logs.lines import LogParser
from exporter.subjects.logs.positions import Position, PositionFile

# Who is killed while it is being counted has lost no more than that.
_PIECE_BYTES = 65_536


# Files read to their end that are known when they grow once more.
_DONE_KEPT = 32


class _Done(NamedTuple):
    """How far a file was read, and what it began with."""

    offset: int
    head: str
    head_bytes: int


class Follower:
    """Reads what is added to a log.

    The first turn of all finds the end and begins there, unless a position was kept. A file that was renamed is read
    to its end before the next one; one that was truncated, or overwritten, is read anew.

    Attributes:
        behind: Bytes that were there and not read when the last turn ended.

    Args:
        files: Where the log is.
        make_parser: For each file one.
        kept: Where the position is kept.
    """

    def __init__(self, files: Files, make_parser: Callable[[], LogParser], kept: PositionFile) -> None:
        self.behind = 0
        self._files = files
        self._make_parser = make_parser
        self._kept = kept
        self._parser = make_parser()
        self._file: OpenFile | None = None
        self._offset = 0
        self._head = ("", 0)
        # Whether there was no more to read when it was last looked at.
        self._at_end = False
        self._begun = False
        self._done: dict[Identity, _Done] = {}
        # Of the parsers of files that are over.
        self._lines = self._not_understood = 0

    @property
    def found(self) -> bool:
        """Whether there was a file to read when the last turn ended."""
        return self._file is not None

    @property
    def lines(self) -> int:
        """Lines read so far."""
        return self._lines + self._parser.lines

    @property
    def not_understood(self) -> int:
        """Those of them that made no sense."""
        return self._not_understood + self._parser.not_understood

    def turn(self, most_bytes: int, seconds: float) -> Iterator[list[Event]]:
        """Read on, until the end or a bound is reached, and keep the position.

        Yields:
            The events of a piece, whose end is kept by then: who is killed counts none of them twice.

        Raises:
            OSError: A file can't be read, or the position not be kept.
        """
        for events in self._steps(most_bytes, seconds):
            with suppress(OSError):
                # That it can't be kept is told in the end.
                self._keep()
            yield events
        self.behind = self._unread()
        self._keep()

    def _steps(self, most_bytes: int, seconds: float) -> Iterator[list[Event]]:
        end = time.monotonic() + seconds
        if self._file is None:
            self._begin()
        left, idle = most_bytes, True
        while self._file is not None:
            yield self._check()
            piece = self._file.read(self._offset, min(left, _PIECE_BYTES))
            self._at_end = not piece
            if piece:
                self._offset += len(piece)
                left, idle = left - len(piece), False
                yield self._parser.feed(piece)
                if left <= 0 or time.monotonic() >= end:
                    break
                continue
            following = self._next()
            if following is None:
                if idle:
                    yield self._parser.flush()
                break
            # Once more: it may have grown after we saw its end, and before the next one was there.
            if self._file.size == self._offset:
                yield self._switch(following)

    def last(self) -> list[Event]:
        """The event of the last entry, if it looks whole, that else would wait for the next one."""
        events = self._parser.flush()
        with suppress(OSError):
            self._keep()
        return events

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        files = self._files.all()
        first, self._begun = not self._begun, True
        if not first:
            # There was none before, so all of it is new.
            if files:
                self._open(files[0].path, 0)
            return
        position = self._kept.read()
        if position is None or position.where != self._files.where:
            if files:
                self._open(files[-1].path, None)
        elif not self._resume(position):
            later = [file for file in files if file.written > position.written]
            if later:
                self._open(later[0].path, 0)
            elif files:
                self._open(files[-1].path, None)

    def _resume(self, position: Position) -> bool:
        path = self._files.renamed((position.device, position.inode))
        if path is None:
            return False
        self._open(path, position.offset)
        assert self._file is not None
        if self._file.size < position.offset or self._file.head(position.head_bytes) != position.head:
            self._open(path, 0)
        else:
            self._parser.recall(position.remembered)
        return True

    def _open(self, path: str, offset: int | None) -> None:
        """Open a file at an offset; None: at its end."""
        file = OpenFile(path)
        self._use(file, file.last_line_begins() if offset is None else offset)

    def _use(self, file: OpenFile, offset: int) -> None:
        self.close()
        self._file = file
        self._begin_at(offset)

    def _begin_at(self, offset: int) -> None:
        self._lines += self._parser.lines
        self._not_understood += self._parser.not_understood
        self._parser, self._offset, self._head = self._make_parser(), offset, ("", 0)
        self._remember_head()

    def _check(self) -> list[Event]:
        """Begin anew where the file is not what it was; what was its last entry."""
        assert self._file is not None
        if self._file.size >= self._offset and self._file.head(self._head[1]) == self._head[0]:
            self._remember_head()
            return []
        events = self._parser.end()
        if self._head[1] == min(HEAD_BYTES, self._offset):
            # There may be a copy of what it was; by less of its beginning others would be taken for one.
            self._remember_done(self._file.identity, _Done(self._offset, *self._head))
        remembered = self._parser.remember() if self._at_end else ""
        self._begin_at(0)
        # The server doesn't know that it was truncated, and says nothing again that it has said.
        self._parser.recall(remembered)
        return events

    def _remember_head(self) -> None:
        assert self._file is not None
        length = min(HEAD_BYTES, self._offset)
        if length != self._head[1] or not self._head[0]:
            self._head = (self._file.head(length), length)

    def _next(self) -> Found | None:
        """The file that goes on where this one ends, if something is in it."""
        assert self._file is not None
        written = self._file.written
        for file in self._files.all():
            done = self._done.get(file.identity)
            if file.identity == self._file.identity or file.written < written or not file.size:
                continue
            if done is None or done.offset != file.size:
                return file
        return None

    def _switch(self, following: Found) -> list[Event]:
        assert self._file is not None
        file = OpenFile(following.path)
        known = [_Done(self._offset, *self._head), *self._done.values()]
        # One that was read before and has grown since, or the copy of one that will be truncated.
        offset = max((done.offset for done in known if file.head(done.head_bytes) == done.head), default=0)
        if offset > file.size:
            # A copy that is not whole yet: it is looked at again when it has grown.
            length = min(HEAD_BYTES, file.size)
            self._remember_done(file.identity, _Done(file.size, file.head(length), length))
            file.close()
            return []
        events = self._parser.end()
        self._remember_done(self._file.identity, known[0])
        self._use(file, offset)
        return events

    def _remember_done(self, identity: Identity, done: _Done) -> None:
        self._done[identity] = done
        while len(self._done) > _DONE_KEPT:
            del self._done[next(iter(self._done))]

    def _unread(self) -> int:
        if self._file is None:
            return 0
        later = (
            file.size
            for file in self._files.all()
            if file.identity != self._file.identity and file.written > self._file.written
        )
        return max(0, self._file.size - self._offset) + sum(later)

    def _keep(self) -> None:
        if self._file is None:
            return
        head, length = self._head
        offset = self._offset - self._parser.pending
        device, inode = self._file.identity
        self._kept.write(
            Position(
                self._files.where, device, inode, offset, head, length, self._file.written, self._parser.remember()
            )
        )
