"""Durations, sizes and shares as people write them: `5m`, `500GiB`, `80%`."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgtp])(i?)b?|b)", re.IGNORECASE | re.ASCII)
_POWER = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%", re.ASCII)


def parse_seconds(value: object) -> object:
    """Seconds from a number or a duration such as `250ms`, `5m`, `1h30m`. Raises ValueError."""
    if not isinstance(value, str):
        return _number(value, "must be a duration such as 30s, 5m or 1h30m, or a number of seconds")
    text = value.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    if not _DURATION.fullmatch(text):
        raise ValueError("must be a duration such as 30s, 5m or 1h30m, or a number of seconds")
    parts = _DURATION_PART.findall(text)
    return round(sum(float(number) * _SECONDS[unit] for number, unit in parts), 6)


def parse_bytes(value: object) -> object:
    """Bytes from a number or a size: `500GiB` counts in 1024s, `1TB` in 1000s. Raises ValueError."""
    message = "must be a size such as 500GiB, 1TB or a number of bytes"
    if not isinstance(value, str):
        return _number(value, message)
    text = value.strip()
    if text.isascii() and text.isdecimal():
        return int(text)
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(message)
    number, prefix, binary = match.groups()
    scale = (1024 if binary else 1000) ** _POWER[prefix.lower()] if prefix else 1
    return round(float(number) * scale)


def parse_threshold(value: object) -> object:
    """A threshold from a number, a share such as `80%` (0.8) or a duration such as `10s` (10). Raises ValueError."""
    if isinstance(value, str):
        share = _SHARE.fullmatch(value.strip())
        if share:
            return float(share[1]) / 100
        try:
            return parse_seconds(value)
        except ValueError:
            pass
    return _number(value, "must be a number, a share such as 80% or a duration such as 10s")


def _number(value: object, message: str) -> int | float:
    # True is an int to Python, never to the person who wrote it.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(message)
    return value


_DURATION_SCHEMA = WithJsonSchema(
    {"type": ["number", "string"], "examples": ["30s", "5m", 2.5], "description": "a duration, or seconds"}
)
_SIZE_SCHEMA = WithJsonSchema(
    {"type": ["integer", "string"], "examples": ["500GiB", "1TB"], "description": "a size, or bytes"}
)
_THRESHOLD_SCHEMA = WithJsonSchema(
    {"type": ["number", "string"], "examples": [0.8, "80%", "10s"], "description": "a number, share or duration"}
)
_FINITE = Field(allow_inf_nan=False)

Seconds = Annotated[float, _FINITE, Field(gt=0), BeforeValidator(parse_seconds), _DURATION_SCHEMA]
"""A duration above zero, in seconds."""
SecondsOrZero = Annotated[float, _FINITE, Field(ge=0), BeforeValidator(parse_seconds), _DURATION_SCHEMA]
"""A duration, in seconds."""
Bytes = Annotated[int, Field(gt=0), BeforeValidator(parse_bytes), _SIZE_SCHEMA]
"""A size above zero, in bytes."""
ThresholdValue = Annotated[float, _FINITE, Field(gt=0), BeforeValidator(parse_threshold), _THRESHOLD_SCHEMA]
"""A threshold above zero: a share as 0 to 1, a duration in seconds."""
