"""MySQL's single statements: of those that have series, further collectors show more, and of no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from exporter.declare import Accumulator, Collector
from exporter.subjects.statements.digest_durations import DigestDurations
from exporter.subjects.statements.digests import DetailedDigests, TrackedDigests

_FOLLOW = (DetailedDigests, DigestDurations)


def following(collectors: Iterable[Collector]) -> list[Collector]:
    """The collectors of a server: what mysql_statement_digests has chosen is what the others choose among."""
    leader: list[TrackedDigests] = []
    linked = []
    for item in collectors:
        if item.state is TrackedDigests:
            linked.append(replace(item, state=partial(_leading, leader)))
        elif item.state in _FOLLOW:
            linked.append(replace(item, state=partial(_following, item.state, leader)))
        else:
            linked.append(item)
    return linked


def _leading(leader: list[TrackedDigests]) -> Accumulator:
    state = TrackedDigests()
    leader[:] = [state]
    return state


def _following(make: Callable[[], Accumulator], leader: list[TrackedDigests]) -> Accumulator:
    state = make()
    assert isinstance(state, TrackedDigests)
    # Which may be made later than this one.
    state.leader = leader
    return state
