"""Statements that run while a test looks at them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import psycopg


@contextlib.contextmanager
def running(connection: Any, sql: str) -> Iterator[None]:
    """Run a statement in the background; it may end with an error."""

    def run() -> None:
        with contextlib.suppress(psycopg.Error):
            connection.execute(sql)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        connection.cancel()
        thread.join(30)
