"""What one run has written, for the next one to take over: of thousands of tables most are idle most of the time."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

_T = TypeVar("_T")


class Written:
    """The texts of the last run and of the one under way.

    Where nothing has changed on 2,000 tables that saves a third of a scrape's CPU time; where all has, it saves the
    labels. The text is that of the last page, which is kept for its latecomers anyhow, and an old one goes when the
    new one comes, so that no more than one column of values is there twice.
    """

    def __init__(self) -> None:
        self._last: dict[Hashable, tuple[Any, Any]] = {}
        self._now: dict[Hashable, tuple[Any, Any]] = {}

    def begin(self) -> None:
        """Another run begins; what the last one did not write is forgotten."""
        self._last, self._now = self._now, {}

    def again(self, place: Hashable, made_of: object, write: Callable[[], _T]) -> _T:
        """What `write` gives, or what it gave at this place in the last run if that was made of equal values."""
        last: tuple[object, _T] | None = self._last.pop(place, None)
        # The old text is let go of before there is a new one.
        text = last[1] if last is not None and _equal(last[0], made_of) else None
        del last
        if text is None:
            text = write()
        self._now[place] = made_of, text
        return text


def _equal(one: object, other: object) -> bool:
    try:
        return one == other
    except ArithmeticError:
        # A Decimal that is a signalling NaN doesn't like to be compared.
        return False
