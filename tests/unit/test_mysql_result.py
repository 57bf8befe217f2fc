"""Rows as MySQL's protocol has them, taken apart; what is no row is refused, not misread."""

from __future__ import annotations

import pytest

from exporter.engines.mysql.result import tuples


def test_texts_of_all_lengths_and_nothing() -> None:
    short, long, longest = b"\x0212", b"\xfc\x2c\x01" + b"7" * 300, b"\xfd\x70\x11\x01" + b"8" * 70_000
    packets = [short + b"\xfb\x00", long + b"\x03abc\xfb", longest + b"\xfb\x01x"]
    assert tuples(packets, [len, bytes.decode, bytes.decode]) == [
        (2, None, ""),
        (300, "abc", None),
        (70_000, None, "x"),
    ]


@pytest.mark.parametrize("packet", [b"\x0212", b"\x0212\x0512", b"\x0212\x011\x011", b"\x0212\xff", b""])
def test_what_is_no_row_of_two_columns_is_refused(packet: bytes) -> None:
    with pytest.raises((ValueError, LookupError)):
        tuples([packet], [bytes, bytes])
