"""How far a file of a log was read, and how to tell that another one holds the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from exporter.subjects.logs.files import HEAD_BYTES, Identity, OpenFile
from exporter.subjects.logs.lines import LogParser
from exporter.subjects.logs.positions import Kept

_NOTHING = blake2b(b"", digest_size=16).hexdigest()


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
    """

    offset: int = 0
    head: str = _NOTHING
    head_bytes: int = 0
    parser: LogParser | None = None
    at_end: bool = False
    written: int = 0

    @property
    def certain(self) -> bool:
        """Whether its head tells it from others: what is shorter than that is known as a whole."""
        return self.head_bytes >= min(HEAD_BYTES, self.offset)

    @property
    def remembered(self) -> str:
        """What a parser that goes on from here has to know besides."""
        return self.parser.remember() if self.parser is not None else ""

    def is_of(self, file: OpenFile) -> bool:
        """Whether a file begins as this one did, and has all that was read."""
        return file.size >= self.offset and file.head(self.head_bytes) == self.head

    def see_head(self, file: OpenFile) -> None:
        """Remember more of the file's beginning, if more of it was read by now."""
        length = min(HEAD_BYTES, self.offset)
        if length > self.head_bytes:
            self.head, self.head_bytes = file.head(length), length

    def kept(self, identity: Identity) -> Kept:
        """What outlives the exporter: the place before the entry that is being read."""
        pending = self.parser.pending if self.parser is not None else 0
        return Kept(*identity, self.offset - pending, self.head, self.head_bytes, self.remembered)


def furthest(file: OpenFile, own: Place, others: Iterable[Place]) -> Place | None:
    """Where most was read of what a file holds: in itself, or in one that it is a copy of.

    Args:
        own: The file's own place.
        others: Those of other files, and of this one before it was truncated.

    Returns:
        None: nothing of it was read.
    """
    known = [own, *(place for place in others if place.certain)]
    heads = {length: file.head(length) for length in {place.head_bytes for place in known}}
    same = [place for place in known if heads[place.head_bytes] == place.head]
    if not own.certain and file.size < own.offset:
        same = [place for place in same if place is not own]
    return max(same, key=lambda place: (place.offset, place is own), default=None)
