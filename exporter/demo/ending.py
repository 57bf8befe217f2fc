"""How the demo ends: Ctrl-C, a closed terminal or a kill becomes an exception, once, and never between two steps."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Over(Exception):  # noqa: N818 - no error
    """Somebody wants the demo to end."""


class _Asked:
    held = False
    over = False


def listen() -> None:
    """From now on the signals raise Over in the main thread."""
    for number in SIGNALS:
        signal.signal(number, _end)


def pause(seconds: float) -> None:
    """Sleep. Raises Over again if it came where Python drops exceptions: in a destructor or a callback."""
    time.sleep(seconds)
    if _Asked.over:
        raise Over


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Over back until the block has ended, so that a program that was just started is known to be there."""
    _Asked.held = True
    try:
        yield
    finally:
        _Asked.held = False
    if _Asked.over:
        raise Over


def _end(_: int, __: FrameType | None) -> None:
    # Once: a second Ctrl-C must not interrupt the cleaning up.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _Asked.over = True
    if not _Asked.held:
        raise Over
