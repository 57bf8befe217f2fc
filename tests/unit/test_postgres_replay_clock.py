"""The estimate of a standby's lag from readings of positions, against worlds whose lag is known."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.collectors.postgres.replay import ReplayClock
from exporter.config.model import ServerConfig
from exporter.declare import Context, Rows
from exporter.facts import Facts, Identity, Role

FACTS = Facts("postgres", "postgres", (18, 0), "18.0", Identity("1", 0.0, Role.REPLICA))
SERVER = ServerConfig(name="standby", engine="postgres", host="localhost", port=5432)


def read(
    clock: ReplayClock,
    now: float,
    latest: int | None,
    replayed: int | None,
    age: float | None,
    streaming: bool | None = True,
    delay: float = 0,
) -> Any:
    row = {"is_replica": 1, "streaming": streaming, "latest": latest, "replayed": replayed, "replay_age": age}
    row["delay"] = delay
    return clock.feed(Rows.of(tuple(row), [row]), Context(SERVER, FACTS, now)).dicts()[0]["lag"]


def test_in_sync_is_0_however_old_the_last_transaction() -> None:
    assert read(ReplayClock(), 0, 100, 100, 3600) == 0
    assert read(ReplayClock(), 0, 100, 100, None) == 0
    # A receiver that has just started may begin before what is replayed.
    assert read(ReplayClock(), 0, 90, 100, 3600) == 0


def test_the_first_reading_knows_only_the_age_of_the_last_transaction() -> None:
    assert read(ReplayClock(), 0, 200, 100, 7.0) == 7.0
    assert read(ReplayClock(), 0, 200, 100, None) is None
    assert read(ReplayClock(), 0, None, None, None, streaming=False) is None


def test_a_steady_standby_is_as_far_behind_as_it_was_made() -> None:
    """The sender writes 10 bytes a second; the standby replays what was written 4 seconds ago."""
    clock = ReplayClock()
    for now in range(0, 120, 15):
        lag = read(clock, now, 1000 + 10 * now, 1000 + 10 * max(0, now - 4), 3600 + now)
    assert lag == pytest.approx(4)


def test_the_lag_is_never_more_than_the_age_of_the_last_transaction() -> None:
    clock = ReplayClock()
    read(clock, 0, 100, 100, 50)
    assert read(clock, 15, 200, 150, 2.5) == 2.5


def test_without_a_receiver_it_grows_from_when_it_was_last_in_sync() -> None:
    clock = ReplayClock()
    read(clock, 0, 100, 100, 3600)
    read(clock, 15, 100, 100, 3615)
    assert read(clock, 30, 100, 100, 3630, streaming=False) == 15
    assert read(clock, 45, 100, 100, 3645, streaming=False) == 30


def test_a_sender_that_may_be_silent_or_idle_says_nothing_of_a_standby_that_replayed_all() -> None:
    clock = ReplayClock()
    read(clock, 0, 100, 100, 3600)
    assert read(clock, 60, 100, 100, 3660, streaming=None) is None
    read(clock, 70, 200, 100, 3670)
    # What is known not to be replayed is behind all the same.
    assert read(clock, 130, 200, 100, 3730, streaming=None) == 130
    assert read(clock, 135, 200, 200, 5, streaming=True) == 0


def test_stopped_replay_grows_with_the_clock_and_falls_when_it_goes_on() -> None:
    clock = ReplayClock()
    read(clock, 0, 100, 100, 3600)
    assert read(clock, 15, 200, 100, 3615) == 15
    assert read(clock, 30, 300, 100, 3630) == 30
    # The sender was where the standby is now between the readings at 15 and at 30 seconds.
    assert read(clock, 45, 400, 250, 3645) == pytest.approx(45 - 22.5)
    assert read(clock, 60, 400, 400, 3660) == 0


def test_an_end_that_does_not_move_counts_from_when_it_was_first_seen() -> None:
    clock = ReplayClock()
    read(clock, 0, 100, 100, 3600)
    read(clock, 1, 200, 150, 3601)
    assert read(clock, 100, 200, 150, 3700) == pytest.approx(99.5)


def test_a_delayed_standby_is_never_less_behind_than_it_is() -> None:
    """A commit at 16 seconds, all of which but its last record is replayed at once; readings every 15 seconds."""
    clock = ReplayClock()
    read(clock, 0, 1000, 1000, 3600, delay=60)
    read(clock, 15, 1000, 1000, 3615, delay=60)
    for now in (30, 45, 60, 75):
        lag = read(clock, now, 5000, 4952, 3600 + now, delay=60)
        assert now - 16 <= lag <= now - 16 + 15
    assert read(clock, 90, 5000, 5000, 14, delay=60) == 0


def test_positions_of_another_server_mean_nothing() -> None:
    clock = ReplayClock()
    read(clock, 0, 5000, 5000, 10)
    clock.rebase()
    assert read(clock, 15, 200, 100, 25) == 25
    clock = ReplayClock()
    read(clock, 0, 5000, 5000, 10)
    # The same without a word: the sender is behind where it was, so it is another.
    assert read(clock, 15, 200, 100, 25) == 25


def test_memory_is_bounded_and_what_is_too_far_back_is_unknown() -> None:
    clock = ReplayClock()
    read(clock, 0, 100, 100, 10)
    for now in range(1, 3000):
        lag = read(clock, now, 100 + now, 100, 10.0 + now)
    assert lag == 10.0 + 2999
