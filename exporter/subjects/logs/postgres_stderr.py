"""PostgreSQL's plain log: a prefix of the server's choice, lines that go on after a tab, and parts that follow."""

from __future__ import annotations

import re

from exporter.subjects.logs.events import Event
from exporter.subjects.logs.line_heads import PARTS, heads
from exporter.subjects.logs.lines import MOST_BYTES, Line, LogParser
from exporter.subjects.logs.postgres_entry import ERRORS, Entry

# With log_error_verbosity = verbose.
_SQLSTATE = re.compile(r"(?=[A-Z]*\d)[0-9A-Z]{5}: ")


class StderrLog(LogParser):
    """Pieces of a plain log to events.

    Args:
        prefix: The server's log_line_prefix.
    """

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._heads = heads(prefix)
        # Whether there is an entry that lines may belong to, and the same if it is worth more than that.
        self._any = False
        self._whose = ""
        self._entry: Entry | None = None
        self._part = ""
        self._texts: dict[str, list[str]] = {}
        self._room = 0

    def _line(self, line: Line, events: list[Event]) -> None:
        if line.text.startswith(b"\t"):
            if not self._any:
                self.not_understood += 1
            self._add(self._part, line.text[1:].decode("utf-8", "replace"), line.size)
            return
        whole = line.text.decode("utf-8", "replace")
        head = self._heads.find(whole)
        if head is None:
            # Another language, or another program's output.
            self._close(events, over=True)
            self.not_understood += 1
            return
        fields = head.fields
        whose = str(fields.get("pid") or fields.get("session") or "")
        severity, text = head.severity, whole[head.end :]
        if severity in PARTS:
            self._part = severity if whose == self._whose else ""
            self._add(self._part, text, line.size)
            return
        self._close(events, over=True)
        self._any, self._whose, self._part = True, whose, severity
        state = _SQLSTATE.match(text)
        if state:
            text = text[state.end() :]
        if severity in ERRORS or text.startswith(("duration: ", "temporary file: ")):
            sqlstate = fields.get("sqlstate") or (state[0][:5] if state else "")
            self._entry = Entry(
                severity,
                "",
                database=fields.get("database") or "",
                sqlstate=sqlstate if sqlstate != "00000" else "",
                query_id=fields.get("query_id") or "",
                backend=fields.get("backend") or "",
            )
            self._texts, self._room = {severity: []}, MOST_BYTES
            self._add(severity, text, line.size)

    def _add(self, part: str, text: str, size: int) -> None:
        if self._entry is None:
            return
        self._held += size
        self._lines_held += 1
        if self._room > 0:
            self._texts.setdefault(part, []).append(text[: self._room])
            self._room -= len(text) + 1

    def _finish(self, events: list[Event], *, over: bool) -> None:  # noqa: ARG002 - an entry has no end of its own
        if self._entry is not None:
            entry = self._entry
            entry.message = "\n".join(self._texts[entry.severity])
            entry.detail = "\n".join(self._texts.get("DETAIL", ()))
            entry.context = "\n".join(self._texts.get("CONTEXT", ()))
            event = entry.event()
            if event:
                events.append(event)
        self._forget()

    def _forget(self) -> None:
        super()._forget()
        self._entry, self._texts, self._any = None, {}, False
