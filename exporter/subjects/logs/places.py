"""How far each file of a log was read, and how to tell that another one holds the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, islice

from exporter.subjects.logs.events import Event
from exporter.subjects.logs.files import HEAD_BYTES, Identity, OpenFile
from exporter.subjects.logs.lines import LogParser
from exporter.subjects.logs.positions import Kept, Position

# Files that are kept with the position besides the one that is being read, and files before their truncation.
_OTHERS_KEPT = 1000
_PAST_KEPT = 128
# What a file was before it was truncated is in none.
_NO_FILE = (0, 0)


def hash_of(text: bytes) -> str:
    """What a beginning is known by."""
    return blake2b(text, digest_size=16).hexdigest()


_NOTHING = hash_of(b"")


@dataclass(slots=True, eq=False)
class Place:
    """How far a file was read.

    Attributes:
        offset: Bytes that were read, or were there before we came.
        head: A hash of its first bytes.
        head_bytes: How many of them.
        parser: Who has read it and reads on; None: nobody yet.
        at_end: Whether there was no more to read when that was last tried.
        written: When the file had last been written then, in nanoseconds.
        copied: What this one is a copy of, which goes on with the entry that this one may end in.
    """

    offset: int = 0
    head: str = _NOTHING
    head_bytes: int = 0
    parser: LogParser | None = None
    at_end: bool = False
    written: int = 0
    copied: Place | None = None

    @property
    def certain(self) -> bool:
        """Whether its head tells it from others: what is shorter than that is known as a whole."""
        return self.head_bytes >= min(HEAD_BYTES, self.offset)

    @property
    def counted(self) -> int:
        """Bytes before the entry that is being read."""
        counted = self.offset - (self.parser.pending if self.parser is not None else 0)
        return counted if self.copied is None else min(counted, self.copied.counted)

    @property
    def remembered(self) -> str:
        """What a parser that goes on from there has to know besides."""
        return self.parser.remember() if self.parser is not None else ""

    def is_of(self, file: OpenFile) -> bool:
        """Whether a file begins as this one did, and has all that was read."""
        return file.size >= self.offset and hash_of(file.read(0, self.head_bytes)) == self.head

    def see_head(self, file: OpenFile, offset: int) -> None:
        """Remember more of the file's beginning, if more of it was read by now: all before `offset`."""
        length = min(HEAD_BYTES, offset)
        if length > self.head_bytes:
            self.head, self.head_bytes = hash_of(file.read(0, length)), length

    def end(self) -> list[Event]:
        """The event of the last entry; what made none is not read, and may go on in a copy."""
        if self.parser is None:
            return []
        before, unfinished = self.counted, self.parser.unfinished
        events = self.parser.end()
        self.offset = self.offset - unfinished if events else before
        return events

    def kept(self, identity: Identity) -> Kept:
        """What outlives the exporter: the place before the entry that is being read."""
        counted = self.counted
        if counted == self.offset:
            # The other one has counted that entry.
            self.copied = None
        return Kept(*identity, counted, self.head, self.head_bytes, self.remembered)


class Places:
    """The places of all files that are there, and of what some of them were before.

    Attributes:
        known: By file; who was read last comes last.

    Args:
        make_parser: For each file one.
    """

    def __init__(self, make_parser: Callable[[], LogParser]) -> None:
        self.known: dict[Identity, Place] = {}
        self._make_parser = make_parser
        # There may be copies of what files were before they were truncated, or their directory be away.
        self._past: deque[Place] = deque(maxlen=_PAST_KEPT)

    def recall(self, position: Position) -> None:
        """Begin with what a position holds."""
        for kept in position.all():
            place = Place(kept.offset, kept.head, kept.head_bytes, self._parser(kept.remembered))
            if (kept.device, kept.inode) == _NO_FILE:
                self._past.append(place)
            else:
                self.known[kept.device, kept.inode] = place

    def position(self, where: str, current: Identity, seen: int) -> Position:
        """What outlives the exporter.

        Args:
            where: What is followed.
            current: The file that is being read.
            seen: See Position.written.
        """
        own = self.known[current].kept(current)
        others = islice((item for item in reversed(self.known.items()) if item[0] != current), _OTHERS_KEPT)
        kept = [place.kept(identity) for identity, place in others]
        kept += [place.kept(_NO_FILE) for place in reversed(self._past)]
        whole = len(self.known) <= _OTHERS_KEPT + 1
        return Position(where, *own[:5], seen, own.remembered, others=tuple(reversed(kept)), whole=whole)

    def over(self, place: Place) -> None:
        """A file is gone, or is not what it was: there may be a copy of that."""
        if place.certain and place.offset:
            self._past.append(place)

    def furthest(self, file: OpenFile, own: Place) -> Place | None:
        """Where most was read of what a file holds: in itself, or in one that it is a copy of.

        Args:
            own: The file's own place.

        Returns:
            None: nothing of it was read.
        """
        text = file.read(0, HEAD_BYTES)
        heads: dict[int, str] = {}

        def same(place: Place) -> bool:
            length = place.head_bytes
            if length not in heads:
                heads[length] = hash_of(text[:length])
            return heads[length] == place.head

        best = own if same(own) and (own.certain or file.size >= own.offset) else None
        for place in chain(self.known.values(), self._past):
            if place.offset > (best.offset if best is not None else 0) and place.certain and same(place):
                best = place
        return best

    def settle(self, file: OpenFile, end: Callable[[Place], list[Event]]) -> list[Event]:
        """Go on after what was read of what a file holds, in itself or in one that it is a copy of.

        Args:
            file: One that has a place.
            end: Counts what Place.end gives.

        Returns:
            What was the last entry, if the file is not what it was.
        """
        place = self.known[file.identity]
        if place.copied is not None:
            # It has not been read itself, and of what it is a copy may not go on any more.
            place.offset, place.copied = place.counted, None
        best = self.furthest(file, place)
        if best is place and place.offset <= file.size:
            return []
        # Its last entry may name the database that those after it belong to.
        events = end(place)
        if not place.is_of(file) and best is not place:
            self.over(place)
            # The server doesn't know that it was truncated, and says nothing again that it has said.
            remembered = place.remembered if place.at_end else ""
            place = self.known[file.identity] = Place(parser=self._parser(remembered))
        if best is not None:
            self._follow(file, place, best)
        place.see_head(file, place.offset)
        return events

    def _follow(self, file: OpenFile, place: Place, best: Place) -> None:
        if best.offset < file.size:
            # Who has more than the other one goes on with the entry that is being read.
            best.offset, best.parser = best.counted, self._parser(best.remembered)
            place.offset, place.parser = best.offset, self._parser(best.remembered)
            return
        # A copy that is not whole yet is looked at again when it has grown.
        whole = best.offset == file.size
        place.offset, place.parser = file.size, self._parser(best.remembered if whole else "")
        first = best
        while first.copied is not None:
            first = first.copied
        place.copied = first if first is not place else None

    def _parser(self, remembered: str) -> LogParser:
        parser = self._make_parser()
        parser.recall(remembered)
        return parser
