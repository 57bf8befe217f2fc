"""The slow query log of MySQL, MariaDB and Percona Server: headers, then the statement."""

from __future__ import annotations

import re
from collections.abc import Callable

from exporter.subjects.logs.events import Event, Statement
from exporter.subjects.logs.lines import MOST_BYTES, Line, LogParser

# Of the line that the server begins a file with.
_BANNER, _BANNER_END = b", Version: ", b" started with:"
_OPENED = re.compile(rb"^[^\n]*, Version: [^\n]* started with:\r?$", re.MULTILINE)
# A banner is looked for in such pieces, which overlap by more than its length, and no further back from the end.
_PIECE_BYTES, _OVERLAP_BYTES, _BACK_BYTES = 1024 * 1024, 1024, 64 * 1024 * 1024
_BANNER_REST = (b"Tcp port: ", b"TCP Port: ", b"Time ", b"Time\t")
# The year is there since MySQL 5.7; MariaDB and older ones write yymmdd, and only when the second has changed.
_TIME = rb"# Time: (?:\d{6}\s+\d{1,2}:\d\d:\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)"
_USER = rb"# User@Host: (?P<user>[^\[]*)\[(?P<login>[^\]]*)\] @ "
# With log_short_format an entry begins with its costs, which else belong to the head that is being read.
_BEGIN = re.compile(rb"(?:" + _TIME + rb"|" + _USER + rb"|# Query_time: \d)")
_WHO = re.compile(_USER)
_COSTS = re.compile(
    rb"# Query_time: (?P<seconds>\d{1,12}(?:\.\d+)?)\s+Lock_time: (?P<lock>-?\d+(?:\.\d+)?)"
    rb"(?:\s+Rows_sent: (?P<sent>\d+))?(?:\s+Rows_examined: (?P<examined>\d+))?"
)
# Bounded, or a client's line of blanks would take minutes: a name has 64 characters at most.
_SCHEMA = re.compile(
    rb"# (?:Thread_id: \d{1,20}\s{1,8})?Schema: (?P<schema>.{0,300}?)\s{0,8}(?:\b(?:QC_hit|Last_errno|Killed): .*)?\Z"
)
_RATE = re.compile(rb"# (?:Log_slow_rate_type: \w{1,20}\s{1,8})?Log_slow_rate_limit: (\d+)")
_USE = re.compile(rb"use (?P<name>`(?:[^`]|``)*`|[^;]*);\Z", re.IGNORECASE)
_SET = re.compile(rb"SET (?:\w+=-?\d+,)*timestamp=\d+(?:\.\d+)?;\Z")
_COMMAND = b"# administrator command: "
# MariaDB's, of a statement inside a procedure: its time is that since the call began, and the call has an entry.
_ROUTINE = b"# Stored_routine: "
_PLAN = b"# explain: "
# What replication does itself: the appliers, and connections of replicas, which are one command until they end.
_APPLIERS = frozenset({b"SQL_SLAVE", b"SQL_REPLICA", b"system user"})
REPLICATION = re.compile(r"# administrator command: (?:Binlog Dump|Group Replication|Clone|Table Dump)", re.IGNORECASE)
_THROTTLED = re.compile(r"throttle:\s+\d+ '.*' warning\(s\) suppressed\.\Z")


class SlowLog(LogParser):
    """Pieces of a slow query log to events.

    MySQL names the database only where it is another one than of the entry before it, and never a session's without a
    database: those are taken for the last one's, too. Where that entry is not known, the database isn't. MariaDB and
    Percona Server name it in each entry.
    """

    def __init__(self) -> None:
        super().__init__()
        self._database: str | None = None
        self._forget()

    def _forget(self) -> None:
        super()._forget()
        self._state = "none"
        self._costs: re.Match[bytes] | None = None
        self._schema: str | None = None
        self._use: str | None = None
        self._applier = self._inside = self._planned = False
        self._times = 1
        self._texts: list[bytes] = []
        self._room = MOST_BYTES
        self._ended = False

    def opened(self, read: Callable[[int, int], bytes], size: int) -> int:
        """Where the last banner is, which the server writes when it opens a file; the end if there is none near it."""
        end = size
        while end > max(0, size - _BACK_BYTES):
            start = max(0, end - _PIECE_BYTES)
            found = list(_OPENED.finditer(read(start, end + _OVERLAP_BYTES - start)))
            if found:
                return start + found[-1].start()
            end = start
        return size

    def remember(self) -> str:
        """The database that entries which name none belong to."""
        return self._database or ""

    def recall(self, remembered: str) -> None:
        """Go on with that database."""
        self._database = remembered or None

    def _line(self, line: Line, events: list[Event]) -> None:
        text = line.text
        # Each statement ends with a semicolon, so what looks like a header before one is the client's text. After one
        # that the client wrote nothing tells them apart.
        if self._state != "text" or self._ended:
            if text.rstrip().endswith(_BANNER_END) and _BANNER in text:
                self._close(events, over=True)
                self._database = None
                self._state = "banner"
                return
            if self._state == "banner" and text.startswith(_BANNER_REST):
                return
            goes_on = text.startswith(b"# Q") or (not self._costs and text.startswith(b"# U"))
            if _BEGIN.match(text) and not (self._state == "head" and goes_on):
                self._close(events, over=True)
                self._state = "head"
        if self._state in {"none", "banner"}:
            self.not_understood += 1
            return
        self._held += line.size
        self._lines_held += 1
        if self._state == "head":
            self._header(text)
        if self._state == "text":
            if self._room > 0:
                self._texts.append(text[: self._room])
                self._room -= len(text) + 1
            self._ended = line.cut or text.rstrip().endswith(b";")
        elif self._state == "set":
            self._state = "text"

    def _header(self, text: bytes) -> None:
        if text.startswith(b"#") and not text.startswith(_COMMAND):
            rate = _RATE.match(text)
            if rate:
                self._times = max(1, int(rate[1]))
            # After the costs comes MariaDB's plan of the statement, with names that the client chose.
            if self._costs:
                self._planned |= text.startswith(_PLAN)
                self._inside |= not self._planned and text.startswith(_ROUTINE)
                return
            self._costs = _COSTS.match(text)
            schema = _SCHEMA.match(text)
            if schema:
                self._schema = _name(schema["schema"])
            who = _WHO.match(text)
            if who:
                self._applier = who["user"] in _APPLIERS or who["login"] in _APPLIERS
            return
        use = _USE.match(text)
        if use:
            self._use = _name(use["name"])
        else:
            self._state = "set" if _SET.match(text) else "text"

    def _finish(self, events: list[Event], *, over: bool) -> None:
        if not self._held or not (over or (self._state == "text" and self._ended)):
            return
        self._database = self._use or self._database
        if self._costs is None:
            self.not_understood += self._lines_held
        else:
            text = b"\n".join(self._texts).decode("utf-8", "replace").rstrip().removesuffix(";")
            if not self._applier and not self._inside and not REPLICATION.match(text) and not _THROTTLED.match(text):
                events.append(self._statement(text))
        self._forget()

    def _statement(self, text: str) -> Statement:
        assert self._costs is not None
        lock, sent, examined = self._costs["lock"], self._costs["sent"], self._costs["examined"]
        return Statement(
            self._database if self._schema is None else (self._schema or None),
            text,
            float(self._costs["seconds"]),
            lock_seconds=max(0.0, float(lock)),
            rows_examined=int(examined) if examined else None,
            rows_sent=int(sent) if sent else None,
            times=self._times,
        )


def _name(text: bytes) -> str:
    name = text.decode("utf-8", "replace").strip()
    return name[1:-1].replace("``", "`") if name.startswith("`") and name.endswith("`") else name
