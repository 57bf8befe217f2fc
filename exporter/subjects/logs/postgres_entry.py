"""PostgreSQL: what an entry of its log says, once its fields are known."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from exporter.subjects.logs.events import Error, Event, Statement, Step, TemporaryFile

# In the language of lc_messages; only English is read, what else there is counts as not understood.
ERRORS = frozenset({"ERROR", "FATAL", "PANIC"})
SEVERITIES = ERRORS | {"DEBUG", "LOG", "INFO", "NOTICE", "WARNING"}

_DURATION = re.compile(
    r"duration: (?P<ms>\d{1,15}\.\d{3}) ms"
    r"(?:\Z|  (?P<step>statement|parse|bind|execute fetch from|execute|plan|fastpath function call)(?P<name>[^:]*):\s?)"
)
_STEPS: dict[str | None, Step] = {
    None: "bare",
    "statement": "statement",
    "execute": "execute",
    "execute fetch from": "execute",
    "fastpath function call": "execute",
    "parse": "parse",
    "bind": "bind",
    "plan": "plan",
}
_TEMPORARY_FILE = re.compile(r'temporary file: path ".*", size ([0-9]{1,19})\Z', re.DOTALL)
_DEADLOCK = "40P01"
_WORKER = "parallel worker"
_JSON_QUERY = re.compile(r'"Query Text": (?=")')
_TEXT_QUERY = re.compile(r"Query Text: (?P<text>.*?)(?=\n[^\n]*\(cost=|\nQuery Parameters: |\Z)", re.DOTALL)
# DETAIL of an EXECUTE: the statement behind it.
_PREPARED = re.compile(r"prepare: .*?\bas\s+(?P<text>.*)", re.DOTALL | re.IGNORECASE)
_EXECUTE = re.compile(r"\s*execute\b", re.IGNORECASE)
_QUERY_ID = re.compile(r"-?[0-9]{1,20}\Z")
_SEVERAL = re.compile(r";\s*\S")
# How the context begins of what a statement inside a function does, and of what a function itself writes into the log,
# which may look like anything.
_INSIDE = re.compile(r"SQL |PL/")
_WRITTEN = re.compile(r"PL/(?!pgSQL )|PL/pgSQL [^\n]* at RAISE(?:\n|\Z)")


@dataclass(slots=True)
class Entry:
    """An entry's fields; what is not in the log is empty.

    Attributes:
        severity: A word of SEVERITIES, or of another language.
        message: The message itself.
        detail: What the server says under DETAIL.
        context: What it says under CONTEXT.
        database: The session's database.
        sqlstate: Five characters, or empty.
        query_id: As the log has it, 0 where it is not computed.
        backend: What kind of process wrote it: backend_type.
    """

    severity: str
    message: str
    detail: str = ""
    context: str = ""
    database: str = ""
    sqlstate: str = ""
    query_id: str = ""
    backend: str = ""

    def event(self) -> Event | None:
        """What is to be counted of it, if anything."""
        database = self.database if self.database not in ("", "[unknown]") else None
        if self.severity in ERRORS:
            # What fails in a parallel worker its leader says again. Its own entry has no database; but where nothing
            # tells the worker's entries from others, the leader's tells by its context that it is the second.
            if self.backend == _WORKER or (not self.backend and self.context.endswith(_WORKER)):
                return None
            deadlock = self.sqlstate == _DEADLOCK or (
                not self.sqlstate and self.message.startswith("deadlock detected")
            )
            return Error(database, self.sqlstate, deadlock)
        if self.severity != "LOG":
            return None
        found = _DURATION.match(self.message)
        if found:
            # The time of a statement inside a function is in that of the client's, and auto_explain tells of both.
            # Of a client's own statement only a plan may have a context: its parameters.
            others = _INSIDE.match(self.context) if found["step"] == "plan" else self.context
            return None if others else self._statement(found, database)
        file = _TEMPORARY_FILE.match(self.message)
        return TemporaryFile(database, int(file[1])) if file and not _WRITTEN.match(self.context) else None

    def _statement(self, found: re.Match[str], database: str | None) -> Statement:
        step = _STEPS[found["step"]]
        text = self.message[found.end() :]
        if step == "plan":
            text = _query_text(text)
        elif found["step"] == "fastpath function call":
            text = ""
        elif _EXECUTE.match(text):
            prepared = _PREPARED.match(self.detail)
            text = prepared["text"] if prepared else text
        # Of several statements in one message the number is that of the last one.
        known = _QUERY_ID.match(self.query_id) and self.query_id != "0" and not _SEVERAL.search(text)
        seconds = float(found["ms"]) / 1000
        return Statement(database, text, seconds, step, int(self.query_id) if known else None)


def _query_text(plan: str) -> str:
    """The statement in auto_explain's text or JSON; empty in its other formats."""
    found = _JSON_QUERY.search(plan)
    if found:
        try:
            text, _ = json.JSONDecoder(strict=False).raw_decode(plan, found.end())
        except ValueError:
            return ""
        return str(text)
    found = _TEXT_QUERY.match(plan)
    return found["text"] if found else ""
