"""What keeps failing is left alone for ever longer, by chance, and at once again after a success."""

from __future__ import annotations

import random

import pytest

from exporter.polling.backoff import Backoff, Breaker


class Clock:
    """A clock that stands, and a chance that always falls on one fraction of what is possible."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fraction = 1.0
        self.asked: list[tuple[float, float]] = []

    def monotonic(self) -> float:
        return self.now

    def uniform(self, low: float, high: float) -> float:
        self.asked.append((low, high))
        return low + self.fraction * (high - low)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock.monotonic)
    monkeypatch.setattr("random.uniform", clock.uniform)
    return clock


def test_the_longest_wait_doubles_up_to_its_cap(clock: Clock) -> None:
    waits = Backoff(0.5, 5.0)
    assert waits.remaining() == 0
    longest = []
    for _ in range(7):
        waits.failed()
        longest.append(waits.remaining())
    assert longest == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    # Full jitter: from nothing at all.
    assert {low for low, _ in clock.asked} == {0}


def test_a_wait_passes(clock: Clock) -> None:
    waits = Backoff(8.0, 60.0)
    clock.fraction = 0.25
    waits.failed()
    assert waits.remaining() == 2.0
    clock.now += 1.5
    assert waits.remaining() == 0.5
    clock.now += 1.0
    assert waits.remaining() == 0.0


def test_a_success_starts_over(clock: Clock) -> None:
    waits = Backoff(1.0, 60.0)
    for _ in range(5):
        waits.failed()
    waits.succeeded()
    assert waits.remaining() == 0
    waits.failed()
    assert waits.remaining() == 1.0


def test_a_failure_may_bring_a_longer_cap(clock: Clock) -> None:
    waits = Backoff(0.5, 5.0)
    for _ in range(12):
        waits.failed(60.0)
    assert waits.remaining() == 60.0
    waits.failed()
    assert waits.remaining() == 5.0


def test_years_of_failures_overflow_nothing(clock: Clock) -> None:
    waits = Backoff(0.5, 5.0)
    for _ in range(5000):
        waits.failed()
    assert waits.remaining() == 5.0


def test_a_breaker_opens_at_the_third_failure_in_a_row(clock: Clock) -> None:
    breaker = Breaker()
    longest = []
    for _ in range(9):
        breaker.failed()
        longest.append(breaker.remaining())
    assert longest == [0, 0, 30.0, 60.0, 120.0, 240.0, 480.0, 900.0, 900.0]
    breaker.succeeded()
    assert breaker.remaining() == 0
    for _ in range(2):
        breaker.failed()
        assert breaker.remaining() == 0


def test_waits_of_many_are_spread() -> None:
    random.seed(7)
    waits = []
    for _ in range(2000):
        one = Backoff(10.0, 10.0)
        one.failed()
        waits.append(one.remaining())
    tenths = [sum(1 for wait in waits if number <= wait < number + 1) for number in range(10)]
    assert min(tenths) > 120
    assert max(tenths) < 280
