"""What clients can write into texts and logs takes no more time than its length."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from exporter.subjects.statements.literals import without_literals
from exporter.subjects.statements.texts import shown

LENGTH = 65_536
# Seconds of a processor. What is linear takes a hundredth of it, what is not takes far more.
ENOUGH = 4.0


@contextmanager
def bounded() -> Iterator[None]:
    """Fail after so much time of a processor, which others on this machine don't take from us.

    Regular expressions look at signals now and then, so even one that would never end is stopped.
    """

    def stop(*_: object) -> None:
        raise AssertionError(f"more than {ENOUGH} s of a processor")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, ENOUGH)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


DELIMITERS = [
    "/**/", "/* ", "/*/", "*/", "-- ", "--\n", "#\n", "'", "''", "\\'", '"', "`", "$a", "$a$", "$$", "e'", " ", "\t \n",
    "(", "?,", "1e", "1.", "@/ ", ", Version: ", "(1,'a'),", ";",
]  # fmt: skip
READERS: dict[str, Callable[[str], object]] = {
    "shown": lambda text: shown(text, 200),
    "without_literals": without_literals,
}


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("reader", READERS)
def test_a_statement(reader: str, delimiter: str) -> None:
    repeated = delimiter * (LENGTH // len(delimiter))
    with bounded():
        for text in (repeated, f"{repeated} SELECT a FROM t", f"SELECT {repeated} x", f"SELECT '{repeated}"):
            READERS[reader](text)
