"""A name is asked for again after an attempt that could not even begin."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from exporter.engines.deadline import Deadline
from exporter.engines.resolve import resolve
from exporter.failure import Failure, Reason


@contextmanager
def no_more_threads() -> Iterator[None]:
    """No address space has room for such a stack, so the system refuses the thread as it does at its limits."""
    before = threading.stack_size(1 << 60)
    try:
        yield
    finally:
        threading.stack_size(before)


def failing(work: Callable[..., object], *arguments: object) -> Failure:
    with pytest.raises(Failure) as caught:
        work(*arguments)
    return caught.value


def test_a_name_resolves_again_after_the_system_had_no_thread_to_give() -> None:
    with no_more_threads():
        failure = failing(resolve, "localhost", 5432, Deadline.after(1))
    assert failure.reason is Reason.DNS
    assert "can't start new thread" in failure.message
    assert "ulimit -u" in str(failure.fix)
    assert set(resolve("localhost", 5432, Deadline.after(5))) <= {"127.0.0.1", "::1"}
