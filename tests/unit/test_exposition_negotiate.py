"""Which format a client gets, by what real clients and unreal ones send."""

from __future__ import annotations

import pytest

from exporter.exposition.negotiate import accepts_gzip, negotiate

TEXT = "text/plain; version=0.0.4; charset=utf-8"
TEXT_1 = "text/plain; version=1.0.0; charset=utf-8; escaping="
OPEN_0 = "application/openmetrics-text; version=0.0.1; charset=utf-8"
OPEN_1 = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping="

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7," + PROMETHEUS_3
)
PROMETHEUS_3_TEXT_FIRST = (
    "text/plain;version=1.0.0;escaping=underscores;q=0.6,application/openmetrics-text;version=1.0.0;q=0.4,*/*;q=0.2"
)
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, TEXT),
        ("", TEXT),
        ("*/*", TEXT),
        ("text/*", TEXT),
        (FIREFOX, TEXT),
        (PROMETHEUS_2, OPEN_1 + "underscores"),
        (PROMETHEUS_3, OPEN_1 + "allow-utf-8"),
        (PROMETHEUS_3_PROTOBUF, OPEN_1 + "allow-utf-8"),
        (PROMETHEUS_3_TEXT_FIRST, TEXT_1 + "underscores"),
        ("application/openmetrics-text", OPEN_1 + "underscores"),
        ("application/openmetrics-text; version=0.0.1", OPEN_0),
        ("text/plain", TEXT),
        ("TEXT/PLAIN; Version=1.0.0", TEXT_1 + "underscores"),
        ('text/plain; version="1.0.0"', TEXT_1 + "underscores"),
        # Versions that don't exist are passed over for what comes next.
        ("application/openmetrics-text;version=9.9.9", TEXT),
        ("application/openmetrics-text;version=9.9.9,application/openmetrics-text;version=0.0.1;q=0.1", OPEN_0),
        ("text/plain;version=2.0.0;q=1,application/openmetrics-text;version=1.0.0;q=0.1", OPEN_1 + "underscores"),
        # q=0 is a refusal.
        ("application/openmetrics-text;version=1.0.0;q=0,text/plain;q=0.1", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        # Of equals the first one wins.
        ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.5", TEXT),
        # A scheme nobody knows.
        ("application/openmetrics-text;version=1.0.0;escaping=morse", OPEN_1 + "underscores"),
        # Garbage.
        (",,;;==,", TEXT),
        ("text/plain;version=1.0.0;q=much,text/plain;version=0.0.4;q=0.1", TEXT),
        ("application/openmetrics-text;q=nan,text/plain;q=0.1", TEXT),
        ("application/openmetrics-text;q=inf,text/plain;q=0.1", TEXT),
        ("application/openmetrics-text;q=-1,text/plain;q=0.1", TEXT),
        ("\x00\xff", TEXT),
    ],
)
def test_format(accept: str | None, expected: str) -> None:
    dialect, content_type = negotiate(accept)
    assert content_type == expected
    assert content_type.startswith(dialect.value)


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("deflate, gzip;q=0.5, br", True),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("*, gzip;q=0", False),
        ("*", True),
        ("*;q=0", False),
        ("br, deflate", False),
        ("identity", False),
        ("gzip;q=much", False),
        ("gzip;q=nan", False),
        ("gzipped", False),
        ("gzip;q=0.1, identity;q=1", False),
        ("identity, gzip;q=0.9", False),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("identity;q=0.1, gzip", True),
        ("identity;q=0, gzip;q=0", False),
        ("*;q=0.2, identity;q=0.3", False),
        ("identity;q=0, *;q=0.1", True),
        ("gzip;q=0.3, *;q=0.9", True),
    ],
)
def test_gzip(accept_encoding: str | None, expected: bool) -> None:
    assert accepts_gzip(accept_encoding) is expected
