"""PostgreSQL: what roles and databases have of their own that keeps their slow statements out of the log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from exporter.failure import Failure, Reason

# What they may have: each can be set with ALTER ROLE and ALTER DATABASE.
HIDING = (
    "auto_explain.log_min_duration", "auto_explain.sample_rate", "log_duration", "log_min_duration_statement",
    "log_min_messages",
)  # fmt: skip
# Levels over LOG, which slow statements have.
TOO_HIGH = frozenset({"fatal", "panic"})

# More than so many are not told one by one.
_TOLD = 3
_NUMBER = re.compile(r"(-?[\d.]+)\s*([a-z]*)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def untold(theirs: Iterable[tuple[str, str]], settings: Mapping[str, str], slow: float) -> Failure | None:
    """Why not all slow statements are in the log; None: they are.

    Args:
        theirs: `name=value` as it was set, and the statement that ends it, up to RESET.
        settings: The server's.
        slow: From how many seconds on a statement is slow.
    """
    ruling = {*_ruling(settings), "log_min_messages"}
    hidden = [(item, whose) for item, whose in theirs if item.partition("=")[0] in ruling and _hides(item, slow)]
    if not hidden:
        return None
    told = "; ".join(f"{whose.removeprefix('ALTER ')}: {item}" for item, whose in hidden[:_TOLD])
    more = f"; and {len(hidden) - _TOLD} more" if len(hidden) > _TOLD else ""
    return Failure(
        Reason.ERROR,
        f"settings of some roles or databases keep slow statements out of the log ({told}{more})",
        fix=" ".join(f"{whose} RESET {item.partition('=')[0]};" for item, whose in hidden[:_TOLD]),
    )


def _ruling(settings: Mapping[str, str]) -> tuple[str, ...]:
    """What puts statements into the log: if that is off for somebody, nothing does."""
    all_of_them = settings.get("log_duration") == "on"
    if float(settings.get("log_min_duration_statement", -1)) >= 0:
        return () if all_of_them else ("log_min_duration_statement",)
    return ("log_duration",) if all_of_them else ("auto_explain.log_min_duration", "auto_explain.sample_rate")


def _hides(item: str, slow: float) -> bool:
    name, _, value = item.partition("=")
    value = value.strip().lower()
    if name == "log_min_messages":
        return value in TOO_HIGH
    if name == "log_duration":
        # Beginnings of words will do, see parse_bool of the server.
        return value not in {"on", "1"} and not (value and any(word.startswith(value) for word in ("true", "yes")))
    number = _NUMBER.fullmatch(value)
    if number is None:
        return False
    if name == "auto_explain.sample_rate":
        return float(number[1]) < 1
    seconds = float(number[1]) * _SECONDS.get(number[2], _SECONDS["ms"])
    return seconds < 0 or seconds > slow
