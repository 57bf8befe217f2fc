"""What SHOW prints, as numbers."""

from __future__ import annotations

from typing import Any

_WORDS = {"yes": 1, "on": 1, "enabled": 1, "no": 0, "off": 0, "disabled": 0, "connecting": 0, "preparing": 0}


def number(value: Any) -> int | float | None:
    """A number, or a switch as 1 or 0; None for any other text."""
    if isinstance(value, int | float) or value is None:
        return value
    text = str(value).strip()
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return _WORDS.get(text.lower())
