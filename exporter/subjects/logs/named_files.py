"""Files of a log that are known by name alone: how far each was read, and whether a name is another's by now."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.subjects.logs.files import HEAD_BYTES
from exporter.subjects.logs.places import Place, hash_of

# What files were that are gone or were overwritten: there may be copies.
_PAST_KEPT = 128


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file of the log: its name, its size, and when it was last written, in microseconds."""

    name: str
    size: int
    written: int


class NamedFiles:
    """What is known of the files.

    Attributes:
        done: How far those were read that are not being read, or were there before we came: a name may be used again.
    """

    def __init__(self, done: Mapping[str, int] | None = None) -> None:
        self.done = dict(done or {})
        self._heads: dict[str, bytes] = {}
        self._past: deque[Place] = deque(maxlen=_PAST_KEPT)
        # What was there, and what has changed since its beginning was looked at: that says nothing then.
        self._listed: dict[str, NamedFile] = {}
        self._changed: set[str] = set()

    @property
    def unknown(self) -> list[str]:
        """Files that were read, and whose beginning was not looked at."""
        return [name for name in self.done if name not in self._heads]

    def head(self, name: str) -> bytes:
        """What a file began with when that was last looked at."""
        return self._heads.get(name, b"")

    def is_seen(self, name: str) -> bool:
        """Whether a file's beginning was looked at since it has changed."""
        return name not in self._changed

    def list(self, listed: Iterable[NamedFile], names: set[str]) -> None:
        """See what files are there, and which of their names are the log's."""
        there = {file.name: file for file in listed}
        self._changed |= {name for name, file in there.items() if self._listed.get(name) != file}
        self._changed &= there.keys()
        self._listed = there
        for name in self.done.keys() - names:
            self._over(self.done.pop(name), self.head(name))

    def see(self, heads: Mapping[str, bytes]) -> set[str]:
        """See what files begin with; the names that stand for other files than before, of which nothing was read."""
        others = {name for name, head in heads.items() if not head.startswith(self.head(name))}
        for name in others:
            self._over(self.done.pop(name, 0), self.head(name))
        self._heads.update(heads)
        self._changed -= heads.keys()
        return others

    def forget(self, but: str) -> None:
        """Forget what files began with that are gone, but for one."""
        self._heads = {name: head for name, head in self._heads.items() if name in self._listed or name == but}

    def remember(self, place: Place) -> None:
        """Remember what a file was that is gone, or is another one now."""
        known = any((past.offset, past.head) == (place.offset, place.head) for past in self._past)
        if place.offset and place.certain and not known:
            self._past.append(place)

    def start(self, file: NamedFile, reading: Iterable[Place]) -> int:
        """From where on a file is to be read: with what was added to it if it was read before.

        Args:
            file: Which one.
            reading: The file that is being read, if that is another one.
        """
        done = self.done.get(file.name, 0)
        return max(done if done <= file.size else 0, self._copied(file, reading))

    def _over(self, done: int, head: bytes) -> None:
        self.remember(Place(done, hash_of(head[:done]), len(head[:done])))

    def _copied(self, file: NamedFile, reading: Iterable[Place]) -> int:
        """How much of a file was read in others that it is a copy of; see Places.furthest."""
        head = self.head(file.name) if self.is_seen(file.name) else b""
        best = 0
        for name, done in self.done.items():
            begins = self.head(name)[:done]
            whole = len(begins) >= min(HEAD_BYTES, done)
            if done > best and name != file.name and whole and head.startswith(begins):
                best = done
        for place in (*reading, *self._past):
            if place.offset > best and place.certain and hash_of(head[: place.head_bytes]) == place.head:
                best = place.offset
        return min(best, file.size)
