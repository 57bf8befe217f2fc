"""What SHOW prints, as numbers."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

# A primary is the part of a Galera cluster that has a quorum.
_ON = ("yes", "on", "enabled", "primary")
_OFF = ("no", "off", "disabled", "connecting", "preparing", "non-primary", "disconnected")
# Python would take more for a number: nan, infinity, 1_000.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WORDS = dict.fromkeys(_ON, 1) | dict.fromkeys(_OFF, 0)
_SHORTEST_MOMENT = 19
_SIGN = 2**63
# How the server writes moments: those of certificates in GMT, others in the zone of the session, which is UTC.
_MOMENTS = ("%b %d %H:%M:%S %Y GMT", "%Y-%m-%d %H:%M:%S")


def number(value: Any) -> int | float | None:
    """A number, a switch as 1 or 0, or a moment in Unix time; None for any other text."""
    if isinstance(value, int | float) or value is None:
        return value
    text = str(value).strip()
    if _NUMBER.fullmatch(text):
        try:
            return int(text)
        except ValueError:
            # What no number of the server's is as large as: a text of digits, with an e by chance.
            found = float(text)
            return found if math.isfinite(found) else None
    word = _WORDS.get(text.lower())
    return word if word is not None or len(text) < _SHORTEST_MOMENT else _moment(text)


def not_negative(value: Any) -> Any:
    """The number; None for one below zero, which some columns show as what it is and others without its sign."""
    return value if value is not None and 0 <= value < _SIGN else None


def _moment(text: str) -> float | None:
    for written in _MOMENTS:
        try:
            return datetime.strptime(text, written).replace(tzinfo=UTC).timestamp()
        except ValueError:
            continue
    return None
