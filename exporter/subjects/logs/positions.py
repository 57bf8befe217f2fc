"""How far a log has been read, kept over restarts of the exporter in a file of the state directory."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)


class NotKeptError(OSError):
    """A position can't be written; what was read is counted all the same."""


class Kept(NamedTuple):
    """How far a file of a log has been read; see Position."""

    device: int
    inode: int
    offset: int
    head: str
    head_bytes: int
    remembered: str


@dataclass(frozen=True, slots=True)
class Position:
    """How far a log has been read: up to the beginning of an entry.

    Attributes:
        where: What was followed: another place's position is of no use.
        device: Of the file's identity.
        inode: Of the file's identity.
        offset: Bytes before which everything is counted.
        head: A hash of the file's first bytes; over SQL its name.
        head_bytes: How many of them.
        written: When the file was last written, in nanoseconds: others that are newer, and not known, come after it.
        remembered: What the parser has to know besides.
        begins: Over SQL, the hash.
        others: The same of other files.
        whole: Whether all that there were are among them; else one that is not known may have been read.
    """

    where: str
    device: int
    inode: int
    offset: int
    head: str
    head_bytes: int
    written: int
    remembered: str = ""
    begins: str = ""
    others: tuple[Kept, ...] = ()
    whole: bool = False

    def all(self) -> tuple[Kept, ...]:
        """How far each file has been read."""
        own = Kept(self.device, self.inode, self.offset, self.head, self.head_bytes, self.remembered)
        return (*self.others, own)


class PositionFile:
    """The file that a server's position is in; without a directory nothing is kept."""

    def __init__(self, directory: Path | None, server: str) -> None:
        # A server's name may hold anything, a file's may not.
        name = f"slow-log-{blake2b(server.encode(), digest_size=8).hexdigest()}.json"
        self._path = directory / name if directory is not None else None
        self._last: Position | None = None

    def read(self) -> Position | None:
        """The position, None if there is none that makes sense."""
        if self._path is None:
            return None
        try:
            kept = json.loads(self._path.read_text())
            others = tuple(Kept(*other) for other in kept.pop("others", ()))
            self._last = Position(**kept, others=others)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("%s is of no use, so the log is read from its end on: %s", self._path, error)
            return None
        return self._last

    def write(self, position: Position) -> None:
        """Keep a position, all of it or not at all, unless the machine itself goes down.

        Raises:
            NotKeptError: The directory can't be written.
        """
        if self._path is None or position == self._last:
            return
        text = json.dumps({field.name: getattr(position, field.name) for field in fields(position)})
        new = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(text)
            new.replace(self._path)
        except OSError as error:
            raise NotKeptError(error.errno, error.strerror, error.filename) from None
        self._last = position
