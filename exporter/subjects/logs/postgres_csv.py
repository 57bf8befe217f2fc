"""PostgreSQL's csvlog: records whose quoted fields may hold line ends."""

from __future__ import annotations

import csv
import re

from exporter.subjects.logs.events import Event
from exporter.subjects.logs.lines import MOST_BYTES, Line, LogParser
from exporter.subjects.logs.postgres_entry import ERRORS, SEVERITIES, Entry

_DATABASE, _PID, _SEVERITY, _SQLSTATE, _MESSAGE, _DETAIL, _CONTEXT, _BACKEND, _QUERY_ID = (
    2,
    3,
    11,
    12,
    13,
    14,
    18,
    23,
    25,
)
# Up to 12, in 13, and from 14 on.
_WIDTHS = frozenset({23, 24, 26})
# How a record begins.
_QUOTED = rb'(?:"(?:[^"]|"")*")?'
_START = re.compile(
    rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [A-Za-z0-9+:<>-]{1,12},"
    + rb"%b,%b,\d+,%b," % (_QUOTED, _QUOTED, _QUOTED)
    + rb"[0-9a-f]+\.[0-9a-f]+,\d+,"
)
# The same up to the message. Inside a quoted field quotes are doubled, and behind its last one is a comma, so no text
# of a client's looks like this.
_SURE = re.compile(_START.pattern + _QUOTED + rb',[^,"]{1,64},[0-9/]*,\d+,[^,"]{1,64},[0-9A-Z]{5},"(?![",\r\n]|\Z)')


class CSVLog(LogParser):
    """Pieces of a csvlog to events."""

    def __init__(self) -> None:
        super().__init__()
        self._record = bytearray()
        self._quotes = 0
        self._cut = False
        self._uncounted = False

    def _line(self, line: Line, events: list[Event]) -> None:
        if (_SURE if self._held else _START).match(line.text):
            # What is open then is a record without an end.
            self._close(events, over=True)
        elif not self._held:
            self.not_understood += 1
            return
        room = MOST_BYTES - len(self._record)
        if room > 0:
            self._record += line.text[:room] + b"\n"
        self._cut |= line.cut or room < len(line.text)
        self._uncounted |= line.cut
        # The quotes of what is left out are not counted: then the record goes on until the next one begins.
        self._quotes += line.text.count(b'"')
        self._held += line.size
        self._lines_held += 1
        if self._complete:
            self._close(events, over=True)

    @property
    def _complete(self) -> bool:
        return self._quotes % 2 == 0 and not self._uncounted

    def _finish(self, events: list[Event], *, over: bool) -> None:
        if not self._held or not (over or self._uncounted):
            return
        text = self._record.decode("utf-8", "replace").removesuffix("\n")
        fields = next(csv.reader([text]), [])
        width = len(fields) in _WIDTHS or len(fields) > max(_WIDTHS) or (self._cut and len(fields) > _MESSAGE)
        whole = self._complete or self._uncounted
        if not whole or not width or not fields[_PID].isdigit() or fields[_SEVERITY] not in SEVERITIES:
            self.not_understood += self._lines_held
            self._forget()
            return
        if fields[_SEVERITY] in ERRORS or fields[_MESSAGE].startswith(("duration: ", "temporary file: ")):
            event = _entry(fields + [""] * (_QUERY_ID + 1 - len(fields))).event()
            if event:
                events.append(event)
        self._forget()

    def _forget(self) -> None:
        super()._forget()
        self._record.clear()
        self._quotes = 0
        self._cut = self._uncounted = False


def _entry(fields: list[str]) -> Entry:
    sqlstate = fields[_SQLSTATE]
    return Entry(
        fields[_SEVERITY],
        fields[_MESSAGE],
        fields[_DETAIL],
        fields[_CONTEXT],
        fields[_DATABASE],
        sqlstate if sqlstate != "00000" else "",
        fields[_QUERY_ID],
        fields[_BACKEND],
    )
