"""PostgreSQL's log read over the connection to the server, by a helper that reads log files and nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from exporter.declare import Asking, Context, Rows
from exporter.failure import Failure, Reason
from exporter.statement import filled
from exporter.subjects.logs.lines import LogParser
from exporter.subjects.logs.named_files import NamedFile, NamedFiles
from exporter.subjects.logs.places import Place, hash_of
from exporter.subjects.logs.positions import Position, PositionFile
from exporter.subjects.logs.postgres import ENDINGS, Told, parser, rules
from exporter.subjects.logs.reader import Counting, positions

MOST_BYTES = 2 * 1024 * 1024
# Who is killed while it is being counted has lost no more than that.
_PIECE_BYTES = 65_536
# Files whose first bytes are read in one run: for each the helper lists all of them.
_HEADS_AT_ONCE = 20
_ENDINGS = tuple(files.removeprefix("*") for _, files in ENDINGS.values())


class LogOverSQL(Counting, Asking):
    """Reads a part of the log with each run: what to ask for next is known when a run ends.

    Takes rows of kind, name, value, number and written: those of postgres.Told, `file` (size, Unix seconds), `head`
    (the first HEAD_BYTES of a file in base64) for each name in `heads`, and `bytes` (the name of a file, its bytes in
    base64 and the offset that they were read from).

    A name may stand for another file than before, which then begins anew: its first bytes tell. They tell as well where
    our file is when its name is gone, or stands for another one: the server writes a file on after it was renamed. And
    they tell a copy, of which only that counts that was not read where it was copied from; see NamedFiles.
    """

    def __init__(self) -> None:
        super().__init__("postgres")
        self._parser: LogParser | None = None
        self._form = ("", "")
        self._kept: PositionFile | None = None
        self._file = ""
        self._offset = 0
        # When the file was last written. If it is gone, what is newer comes after it.
        self._written = 0
        # The hash of so many first bytes of it, where a position was kept and it was not looked at since.
        self._begins = ("", 0)
        # The others, and what all begin with.
        self._files = NamedFiles()
        # Files to be read whose beginning has to be looked at first.
        self._new: list[str] = []
        # What the file began with that lost its name, and those that may be it.
        self._sought = ("", 0)
        self._candidates: list[str] = []
        self._another = False
        # Whether the last question was for more than the names of files.
        self._asked = False
        self._behind = 0
        # Whether the last part was the end of the newest file.
        self._at_end = False
        self._lines = self._not_understood = 0

    def ask(self, sql: str, answers: Sequence[Rows], context: Context) -> str | None:  # noqa: ARG002
        """See exporter.declare.Asking: one statement, with the file and from where on in it.

        While the last part is being counted none is asked for.
        """
        if answers:
            return None
        self._asked = not self.busy
        if not self._asked:
            return filled(sql, {"file": "", "offset": self._offset, "heads": ""})
        unknown = filter(_plain, self._files.unknown)
        heads = [name for name in (self._file, *[*self._new, *unknown][:_HEADS_AT_ONCE], *self._candidates) if name]
        return filled(sql, {"file": self._file, "offset": self._offset, "heads": "/".join(heads)})

    def feed(self, rows: Rows, context: Context) -> Rows:
        """Count what was read.

        Raises:
            Failure: The log is in no file of the server's log collector.
        """
        found: dict[str, list[tuple[Any, ...]]] = {}
        for kind, *rest in rows.rows:
            found.setdefault(kind, []).append(tuple(rest))
        told = Told.of(rows)
        settings, current = told.settings, rules(told, context)
        form, ending = _format(settings)
        files = [NamedFile(str(name), int(size), round(float(at) * 1e6)) for name, _, size, at in found.get("file", ())]
        # A file may have any name after it was renamed, but for those of other formats.
        files = [file for file in files if file.name.endswith(ending) or not file.name.endswith(_ENDINGS)]
        files.sort(key=lambda file: (file.written, file.name))
        if self._asked and not self.busy:
            named = [file for file in files if file.name.endswith(ending)]
            self._prepare((form, settings.get("log_line_prefix", "")), named, context)
            heads = {
                str(name): base64.b64decode(value) for name, value, *_ in found.get("head", ()) if value is not None
            }
            pieces = [(str(name), value, int(start)) for name, value, start, _ in found.get("bytes", ())]
            self.begin(lambda: self._take(pieces, files, named, heads, current))
        failed = self.look()
        # In this order: see LogReader.
        at_end = self.ended_well and self._at_end
        counts = (self._lines, self._not_understood, self._behind)
        return self.rows(current, context, counts, at_end=at_end, failed=failed)

    def rebase(self) -> None:
        """Another server answers, whose files may have the same names, or the same one after a restart."""
        super().rebase()
        self._another = True

    def _prepare(self, form: tuple[str, str], files: list[NamedFile], context: Context) -> None:
        """Begin at the position that was kept, or at the end of the newest file."""
        position = None
        if self._kept is None or self._another:
            if self._kept is None:
                self._kept = positions(context)
                position = self._kept.read()
            if position is not None and position.where == "sql":
                self._file, self._offset, self._written = position.head, position.offset, position.written
                self._begins = (position.begins, position.head_bytes)
            else:
                self._begins = ("", 0)
                self._begin_at_the_end(files)
            before = [file for file in files if file.written <= self._written and file.name != self._file]
            self._files = NamedFiles({file.name: file.size for file in before})
            self._candidates, self._new = [], []
            self._another = False
        if form != self._form or self._parser is None:
            self._form, self._parser = form, parser(*form)
            if position is not None:
                self._parser.recall(position.remembered)

    def _begin_at_the_end(self, files: list[NamedFile]) -> None:
        newest = files[-1] if files else NamedFile("", 0, 0)
        self._file, self._offset, self._written, self._parser = newest.name, newest.size, newest.written, None

    def _take(
        self,
        pieces: list[tuple[str, Any, int]],
        listed: list[NamedFile],
        files: list[NamedFile],
        heads: dict[str, bytes],
        current: Any,
    ) -> None:
        """Read on; `listed` are the files that are there, `files` those of them that have names of the log."""
        self._files.list(listed, {file.name for file in files})
        own, known = self._own(listed, heads, current)
        if not known:
            self._at_end = False
            return
        read = self._read(pieces, current)
        self._go_on(own, read, files, current)
        if not self.turn.log_counts:
            # See LogReader.
            self._count(lambda parser: parser.flush(), current)
        if own is not None and own.name == self._file:
            self._written = own.written
        self._files.forget(but=self._file)
        later = self._later(files, self._written)
        self._new = [file.name for file in later if not self._is_known(file)]
        self._at_end = (
            own is not None and own.name == self._file and read is not None and own.size <= self._offset and not later
        )
        mine = next((max(0, file.size - self._offset) for file in listed if file.name == self._file), 0)
        self._behind = mine + sum(file.size - self._start(file) for file in later)
        self._keep()

    def _own(self, listed: list[NamedFile], heads: dict[str, bytes], current: Any) -> tuple[NamedFile | None, bool]:
        """Our file, by the name that it has now, None if it is gone; and whether that is known yet."""
        own = next((file for file in listed if file.name == self._file), None)
        begins = self._begins_with()
        if own is not None and self._begins[0] and own.name not in heads:
            # After a restart it may be another one.
            return own, False
        if not self._overwritten(heads) and own is not None and not self._candidates:
            return own, True
        if not self._candidates:
            self._seek(begins, listed)
            if self._candidates:
                # They are looked at first.
                return own, False
        moved = self._found(listed, heads)
        self._candidates = []
        if moved is not None:
            self._file, self._written = moved.name, moved.written
            self._files.done.pop(moved.name, None)
            return moved, True
        assert self._parser is not None
        self._files.remember(Place(self._offset - self._parser.unfinished, *self._sought))
        if own is not None:
            self._begin_file(own, current)
        return own, True

    def _go_on(self, own: NamedFile | None, read: int | None, files: list[NamedFile], current: Any) -> None:
        """Begin another file, or ours anew, where that is what comes next."""
        if own is None:
            later = self._later(files, self._written)
            if later:
                if self._is_known(later[0]):
                    self._begin_file(later[0], current)
            elif files:
                self._begin_file(files[-1], current, at_end=True)
        elif own.size < self._offset - (read or 0):
            # It was truncated.
            self._begin_file(own, current)
        elif read == 0:
            later = self._later(files, own.written)
            if later and self._is_known(later[0]):
                self._files.done[self._file] = self._offset
                self._begin_file(later[0], current)
            elif not later:
                self._count(lambda parser: parser.flush(), current)

    def _later(self, files: list[NamedFile], written: int) -> list[NamedFile]:
        """Other files than ours that have something to be read, and were not written before that moment."""
        return [f for f in files if f.name != self._file and f.written >= written and self._start(f) < f.size]

    def _seek(self, begins: tuple[str, int], listed: list[NamedFile]) -> None:
        """Our file's name is gone, or is another's: look at those that it may be."""
        self._sought = begins
        if not begins[0]:
            return
        self._candidates = [
            file.name
            for file in reversed(listed)
            if file.written >= self._written and file.size >= self._offset and _plain(file.name)
        ][:_HEADS_AT_ONCE]

    def _found(self, listed: list[NamedFile], heads: dict[str, bytes]) -> NamedFile | None:
        hashed, length = self._sought
        # By now it may have its name again.
        looked_at = {*self._candidates, self._file} if self._candidates else set()
        names = [name for name in looked_at if hash_of(heads.get(name, b"")[:length]) == hashed]
        return next((file for file in listed if file.name in names and file.size >= self._offset), None)

    def _begins_with(self) -> tuple[str, int]:
        """The hash of our file's first bytes, and of how many, as they were known."""
        head = self._files.head(self._file)[: self._offset]
        return (hash_of(head), len(head)) if head else self._begins

    def _read(self, pieces: list[tuple[str, Any, int]], current: Any) -> int | None:
        """How many bytes were read on; None if they were not asked for yet."""
        read: int | None = None
        for name, value, start in pieces:
            if value is not None and (name, start) == (self._file, self._offset):
                whole = base64.b64decode(value)
                read = len(whole)
                for at in range(0, read, _PIECE_BYTES):
                    piece = whole[at : at + _PIECE_BYTES]
                    self._offset += len(piece)
                    self._count(lambda parser, piece=piece: parser.feed(piece), current)
        return read

    def _keep(self) -> None:
        if self._kept is None or not self._file:
            return
        assert self._parser is not None
        offset = self._offset - self._parser.pending
        begins, length = self._begins_with()
        remembered = self._parser.remember()
        self._kept.write(Position("sql", 0, 0, offset, self._file, length, self._written, remembered, begins))

    def _overwritten(self, heads: dict[str, bytes]) -> bool:
        """Whether our file is another one than before; others that are are not read yet."""
        overwritten = self._files.see(heads)
        if self._file not in heads:
            return False
        hashed, length = self._begins
        self._begins = ("", 0)
        return self._file in overwritten or (bool(hashed) and hash_of(heads[self._file][:length]) != hashed)

    def _is_known(self, file: NamedFile) -> bool:
        """Whether a file may be begun: its beginning was looked at."""
        return self._files.is_seen(file.name) or not _plain(file.name)

    def _start(self, file: NamedFile) -> int:
        """From where on a file is to be read; ours anew."""
        ours = Place(self._offset, *self._begins_with())
        return self._files.start(file, () if file.name == self._file else (ours,))

    def _begin_file(self, file: NamedFile, current: Any, *, at_end: bool = False) -> None:
        """Go on with a file; with ours anew."""
        self._count(lambda parser: parser.end(), current)
        start = self._start(file)
        self._files.done.pop(file.name, None)
        self._offset = file.size if at_end else start
        self._file, self._written = file.name, file.written
        self._parser = parser(*self._form)

    def _count(self, read: Any, current: Any) -> None:
        assert self._parser is not None
        before = self._parser.lines, self._parser.not_understood
        events = read(self._parser)
        self._lines += self._parser.lines - before[0]
        self._not_understood += self._parser.not_understood - before[1]
        with suppress(OSError):
            # Before they are counted: who is killed counts none of them twice. That it can't be kept is told in the
            # end of the turn.
            self._keep()
        self.add(events, current)


def _plain(name: str) -> bool:
    """Whether a name can be in a literal; the server's log collector gives no others, unless somebody wants them."""
    return name.isprintable() and not {"\\", "/"} & set(name)


def _format(settings: Mapping[str, str]) -> tuple[str, str]:
    destinations = settings.get("log_destination", "")
    if settings.get("logging_collector") == "on":
        for name, (form, files) in ENDINGS.items():
            if name in destinations:
                return form, files.removeprefix("*")
    raise Failure(
        Reason.ERROR,
        "the log is in no file that the server's log collector writes, so it can't be read over SQL",
        fix="set logging_collector = on in postgresql.conf and restart the server",
    )
