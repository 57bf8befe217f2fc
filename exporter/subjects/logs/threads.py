"""The threads on which logs are read: each log has its own, so that one that hangs keeps no other one waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from exporter.engines.deadline import MORE_THREADS
from exporter.failure import Failure, Reason

# Held while what was read is taken apart, or counted with the rest after that, never while a file is read: of many logs
# with a burst so few at once take the processor from scrapes.
WORKING = threading.Semaphore(4)


def on_a_thread(turn: Callable[[], None]) -> Future[None]:
    """Read a log on a thread that ends with the turn; if it never does, the process ends all the same.

    Raises:
        Failure: No thread can be had.
    """
    outcome: Future[None] = Future()
    thread = threading.Thread(target=_run, args=(turn, outcome), name="slow log", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise Failure(Reason.ERROR, f"nobody can read the log: {error}", fix=MORE_THREADS) from None
    return outcome


def _run(turn: Callable[[], None], outcome: Future[None]) -> None:
    try:
        turn()
    except BaseException as error:  # noqa: BLE001 - whoever looks at the log has to learn of it
        outcome.set_exception(error)
    else:
        outcome.set_result(None)
