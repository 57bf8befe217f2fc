"""What a server sends as text, as Python's values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pymysql.constants import FIELD_TYPE

_INTEGERS = (FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG, FIELD_TYPE.INT24)
_FLOATS = (FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE)
_DECIMALS = (FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL)
# The types of numbers that a server writes as Prometheus reads them.
NUMBERS = frozenset((*_INTEGERS, *_FLOATS, *_DECIMALS))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _decimal(data: bytes) -> int | float:
    return float(data) if b"." in data else int(data)


def _bits(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _decoders() -> dict[int, Callable[[bytes], Any]]:
    types = [value for name, value in vars(FIELD_TYPE).items() if name.isupper()]
    decoders: dict[int, Callable[[bytes], Any]] = dict.fromkeys(types, _text)
    decoders.update(dict.fromkeys((*_INTEGERS, FIELD_TYPE.YEAR), int))
    decoders.update(dict.fromkeys(_FLOATS, float))
    decoders.update(dict.fromkeys(_DECIMALS, _decimal))
    decoders[FIELD_TYPE.BIT] = _bits
    return decoders


DECODERS = _decoders()
# Numbers stay as the server wrote them.
VERBATIM = DECODERS | dict.fromkeys(NUMBERS, _text)
