"""PostgreSQL's binary values as plain Python ones: no value a server can hold makes a result unreadable.

Numbers become int or float, moments Unix seconds, intervals seconds, all else text.
"""

from __future__ import annotations

import codecs
import math
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

from psycopg import adapters
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Loader
from psycopg.pq import Format

# Seconds from 1970 to 2000, where PostgreSQL's calendar starts.
_EPOCH = 946_684_800
_DAY = 86_400
_INT64_MAX, _INT64_MIN = 2**63 - 1, -(2**63)
_INT32_MAX, _INT32_MIN = 2**31 - 1, -(2**31)

# psycopg reads these itself, several times as fast as a loader in Python, as long as every byte is valid UTF-8.
_PLAIN = ("text", "varchar", "bpchar", "name", '"char"')
_TEXT = (*_PLAIN, "json", "xml", "refcursor")
# Of a bare literal, and of a function that returns nothing.
_UNKNOWN, _VOID = 705, 2278
_NATIVE = ("bool", "int2", "int4", "int8", "oid", "float4", "float8")
_ARRAYS = (*_NATIVE, "numeric", "text", "varchar", "name")


def codec(server_encoding: str | None) -> str:
    """Python's name for a database's encoding; UTF-8 for SQL_ASCII, where anything goes, and for what Python lacks."""
    name = (server_encoding or "UTF8").lower()
    if name.startswith("win"):
        name = f"cp{name[3:]}"
    elif name in {"koi8r", "koi8u"}:
        name = f"{name[:-1]}_{name[-1]}"
    elif name == "sql_ascii":
        name = "utf8"
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "utf-8"


def register(target: AdaptersMap, encoding: str, *, plain: bool = False) -> None:
    """Have a connection to a database in this encoding (a Python codec) read values the way this module says.

    With `plain` text is left to psycopg, which raises UnicodeDecodeError where it is not valid.
    """
    for name, loader in _loaders(encoding).items():
        if not (plain and name in _PLAIN):
            target.register_loader(name, loader)


@cache
def _loaders(encoding: str) -> dict[str | int, type[Loader]]:

    class Text(Loader):
        format = Format.BINARY

        def load(self, data: Buffer) -> str:
            return str(data, encoding, "replace")

    # Type 0 stands for all that no loader knows.
    return {0: Text, **dict.fromkeys(_TEXT, Text), **{name: _loader(read) for name, read in _READERS.items()}}


def _loader(read: Callable[[Buffer], Any]) -> type[Loader]:
    class Reader(Loader):
        format = Format.BINARY

        def load(self, data: Buffer) -> Any:
            return read(data)

    return Reader


def _integer(data: Buffer) -> int:
    return int.from_bytes(data, "big")


def _moment(data: Buffer) -> float:
    (micros,) = struct.unpack("!q", data)
    return _infinite(micros, _INT64_MAX, _INT64_MIN) or micros / 1e6 + _EPOCH


def _date(data: Buffer) -> float:
    (days,) = struct.unpack("!i", data)
    return _infinite(days, _INT32_MAX, _INT32_MIN) or float(days * _DAY + _EPOCH)


def _interval(data: Buffer) -> float:
    micros, days, months = struct.unpack("!qii", data)
    if months in {_INT32_MAX, _INT32_MIN} and days == months:
        return math.inf if months > 0 else -math.inf
    # As extract(epoch) counts: a year has 365.25 days, a month that is no whole year has 30.
    years, rest = divmod(abs(months), 12)
    whole = math.copysign(years * 365.25 + rest * 30, months)
    return float(micros / 1e6 + (days + whole) * _DAY)


def _infinite(value: int, largest: int, smallest: int) -> float | None:
    return math.inf if value == largest else -math.inf if value == smallest else None


def _numeric(data: Buffer) -> float:
    count, weight, sign = struct.unpack_from("!HhH", data)
    if sign & 0xC000 == 0xC000:
        return {0xD000: math.inf, 0xF000: -math.inf}.get(sign, math.nan)
    # Whole digits of base 10,000; exact until the one division or float() at the end.
    number = 0
    for digit in struct.unpack_from(f"!{count}H", data, 8):
        number = number * 10_000 + digit
    shift = weight - count + 1
    try:
        value = float(number * 10_000**shift) if shift >= 0 else number / 10_000**-shift
    except OverflowError:
        value = math.inf
    return -value if sign else value


def _lsn(data: Buffer) -> str:
    high, low = struct.unpack("!II", data)
    return f"{high:X}/{low:X}"


_READERS: dict[str, Callable[[Buffer], Any]] = {
    "numeric": _numeric,
    "timestamptz": _moment,
    "timestamp": _moment,
    "date": _date,
    "interval": _interval,
    "pg_lsn": _lsn,
    "xid": _integer,
    "cid": _integer,
    "xid8": _integer,
}

_types = adapters.types
# What reads the same as the server writes it; of other types a label asks for the server's text.
PLAIN = frozenset(
    {_UNKNOWN, _VOID} | {_types[name].oid for name in (*_TEXT, *_NATIVE, "timestamptz", "timestamp", "date", "pg_lsn")}
)
# What can be read as it comes; all other types are asked for as text.
KNOWN = frozenset(
    {_UNKNOWN, _VOID}
    | {_types[name].oid for name in (*_TEXT, *_NATIVE, *_READERS)}
    | {_types[name].array_oid for name in _ARRAYS}
)
