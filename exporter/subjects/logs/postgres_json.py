"""PostgreSQL's jsonlog: an entry is an object on a line of its own."""

from __future__ import annotations

import json
import re
from typing import Any

from exporter.subjects.logs.events import Event
from exporter.subjects.logs.lines import Line, LogParser
from exporter.subjects.logs.postgres_entry import ERRORS, SEVERITIES, Entry

# Nearly all lines are of no interest, and to see that is 20 times quicker than to decode them. Quotes inside values
# have a backslash before them, so this is no client's text.
_HEAD = re.compile(
    rb'"error_severity":"(?P<severity>[^"]*)",(?:"state_code":"[^"]*",)?'
    rb'"message":"(?P<interest>duration: |temporary file: )?'
)
_FIELD = re.compile(r'"(?P<key>\w+)":(?:"(?P<text>(?:[^"\\]|\\.)*)(?P<end>"?)|(?P<number>-?\d+))')


class JSONLog(LogParser):
    """Pieces of a jsonlog to events."""

    def _line(self, line: Line, events: list[Event]) -> None:
        head = _HEAD.search(line.text)
        severity = head["severity"].decode("utf-8", "replace") if head else ""
        if head is None or severity not in SEVERITIES:
            self.not_understood += 1
            return
        if not head["interest"] and severity not in ERRORS:
            return
        text = line.text.decode("utf-8", "replace")
        try:
            fields = _fields_of_cut(text) if line.cut else json.loads(text, strict=False)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            self.not_understood += 1
            return
        entry = Entry(
            severity,
            str(fields.get("message", "")),
            str(fields.get("detail", "")),
            str(fields.get("context", "")),
            str(fields.get("dbname", "")),
            str(fields.get("state_code", "")),
            str(fields.get("query_id", "")),
            str(fields.get("backend_type", "")),
        )
        event = entry.event()
        if event:
            events.append(event)


def _fields_of_cut(text: str) -> dict[str, Any]:
    """The fields of an object whose end is missing; the last one may be cut."""
    fields: dict[str, Any] = {}
    for found in _FIELD.finditer(text):
        if found["number"] is not None:
            fields[found["key"]] = int(found["number"])
            continue
        # The cut may have gone through an escape.
        value = found["text"] if found["end"] else re.sub(r"\\u[0-9a-fA-F]{0,3}\Z", "", found["text"])
        fields[found["key"]] = json.loads(f'"{value}"', strict=False)
    return fields
