"""Durations, sizes and thresholds as people write them."""

import pytest

from exporter.config.units import parse_bytes, parse_seconds, parse_threshold


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("5m", 300), ("1h30m", 5400), ("1.5s", 1.5), ("2d", 172_800), ("7", 7), (0.5, 0.5), (3, 3)],
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "5 m", "m", "-5s", "5x", "1e3", "٣s", True, None, [1], "5m!", "inf"])
def test_not_durations(text: object) -> None:
    with pytest.raises(ValueError, match="must be a duration such as 30s, 5m or 1h30m"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500GiB", 500 * 2**30), ("1TB", 10**12), ("1 TiB", 2**40), ("1.5k", 1500), ("2Ki", 2048), ("10b", 10),
        ("7", 7), (9, 9), ("3pb", 3 * 10**15), ("1mib", 2**20),
    ],
)  # fmt: skip
def test_sizes(text: object, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1GB", "1EB", "1GBB", "1.2.3k", True, None, "1_000"])
def test_not_sizes(text: object) -> None:
    with pytest.raises(ValueError, match="must be a size such as 500GiB"):
        parse_bytes(text)


@pytest.mark.parametrize(("text", "value"), [("80%", 0.8), ("0.5 %", 0.005), (0.9, 0.9), ("10s", 10), ("2", 2)])
def test_thresholds(text: object, value: float) -> None:
    assert parse_threshold(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["much", "%", "-1%", True, None])
def test_not_thresholds(text: object) -> None:
    with pytest.raises(ValueError, match="must be a number, a share such as 80%"):
        parse_threshold(text)
