"""The files of a log on this machine: one name, a directory or a glob, and which of them come after which."""

from __future__ import annotations

import glob
import os
import stat
import weakref
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

# The beginning of a file tells whether it is still the one that it was. A server's banner, which each file may begin
# with, is shorter.
HEAD_BYTES = 1024
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip")

# Device and number of the file: they stay through a rename.
Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """A file that is there: where, which one, when it was last written (nanoseconds) and how large it is.

    Attributes:
        moved: Whether it has another name by now than files of the log have.
    """

    path: str
    identity: Identity
    written: int
    size: int
    moved: bool = False


class OpenFile:
    """A file that is being read; it stays the same one when it is renamed.

    Attributes:
        identity: Which one it is.
        path: Where it was when it was opened.

    Raises:
        OSError: It can't be opened.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        # It stays open between turns; whoever reads it may be forgotten without a word.
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._closing = weakref.finalize(self, os.close, self._file)
        status = os.fstat(self._file)
        self.identity: Identity = (status.st_dev, status.st_ino)

    @property
    def size(self) -> int:
        """Bytes in it now."""
        return os.fstat(self._file).st_size

    @property
    def written(self) -> int:
        """When it was last written, in nanoseconds."""
        return os.fstat(self._file).st_mtime_ns

    def read(self, offset: int, most: int) -> bytes:
        """Bytes from an offset on; none at its end."""
        return os.pread(self._file, most, offset)

    def last_line_begins(self) -> int:
        """Where the line begins that is being written; the size if the last one is whole."""
        size = self.size
        if self.read(max(0, size - 1), 1) == b"\n":
            return size
        begin = max(0, size - 65_536)
        return begin + self.read(begin, size - begin).rfind(b"\n") + 1

    def close(self) -> None:
        """Let go of it."""
        self._closing()


class Files:
    """Where a log is: a file, a directory, or a glob."""

    def __init__(self, where: str) -> None:
        self.where = where

    def all(self, known: Collection[Identity] = ()) -> list[Found]:
        """The files that belong to it, in the order in which they were written; those of a directory that are visible.

        Args:
            known: Files that did; they are among them under another name, too, if it is in a directory of theirs.

        Raises:
            OSError: It can't be looked at.
        """
        if Path(self.where).is_dir():
            paths = [entry.path for entry in os.scandir(self.where) if not entry.name.startswith(".")]
        elif glob.has_magic(self.where) and not Path(self.where).exists():
            paths = glob.glob(self.where)  # noqa: PTH207 - of a whole path, as it is in the config
        else:
            paths = [self.where]
        # One that has two names, such as that of a link, is one.
        found = {file.identity: file for file in _all_found(paths)}
        missing = {identity for identity in known if identity not in found}
        if missing:
            found |= {file.identity: replace(file, moved=True) for file in self._moved(missing, list(found.values()))}
        return sorted(found.values(), key=lambda file: (file.written, file.path))

    def device(self) -> int | None:
        """Where files of it would be made that are not there yet."""
        path = Path(os.path.realpath(self.where))
        for directory in (path, *path.parents):
            with suppress(OSError):
                return directory.stat().st_dev
        return None

    def _moved(self, missing: set[Identity], found: list[Found]) -> Iterator[Found]:
        numbers = {inode for _, inode in missing}
        for directory in {os.path.dirname(path) for path in (self.where, *(file.path for file in found))}:  # noqa: PTH120
            try:
                paths = [entry.path for entry in os.scandir(directory or ".") if entry.inode() in numbers]
            except OSError:
                continue
            with suppress(OSError):
                yield from (file for file in _all_found(paths) if file.identity in missing)


def _all_found(paths: Iterable[str]) -> list[Found]:
    """Those that are files; that one can't be looked at matters where none can.

    Raises:
        OSError: None can.
    """
    found, error = [], None
    for path in paths:
        if path.endswith(_COMPRESSED):
            continue
        try:
            file = _found(path)
        except OSError as failed:
            error = error or failed
        else:
            found += [file] if file is not None else []
    if error is not None and not found:
        raise error
    return found


def _found(path: str) -> Found | None:
    """A regular file's account, None for anything else and for what is gone."""
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Found(path, (status.st_dev, status.st_ino), status.st_mtime_ns, status.st_size)
