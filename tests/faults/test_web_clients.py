"""Clients that say nothing, too little or nothing more don't keep Prometheus from its page."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.exporters import Exporter

CONFIG = "servers:\n  - {name: away, url: 'mysql://u@127.0.0.1:1'}\n"
# What the exporter gives a client for the head of its request, and room for a busy machine.
HEAD_SECONDS, SLACK = 10, 15


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    with Exporter(tmp_path, CONFIG) as running:
        yield running


def _closed_within(connection: socket.socket, seconds: float) -> float:
    """Seconds until the other side ends the connection."""
    started = time.monotonic()
    connection.settimeout(seconds)
    try:
        # Reset is an end, too.
        with contextlib.suppress(ConnectionError):
            while connection.recv(65_536):
                pass
    except TimeoutError:
        pytest.fail(f"still open after {seconds} s")
    return time.monotonic() - started


def _ask_for_health(connection: socket.socket) -> None:
    connection.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    while not answer.endswith(b"\r\n\r\nhealthy\n"):
        part = connection.recv(1000)
        assert part, answer
        answer += part


def test_hundreds_of_silent_and_idle_sockets_block_nothing_and_are_let_go(exporter: Exporter) -> None:
    with ExitStack() as stack:

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(exporter.address, 5))

        silent = [connect() for _ in range(300)]
        halves = [connect() for _ in range(20)]
        for connection in halves:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAcc")
        idle = [connect() for _ in range(100)]
        for connection in idle:
            _ask_for_health(connection)
        for _ in range(3):
            assert exporter.scrape(timeout=5).has("db_up", server="away")
        for connection in (silent[0], silent[-1], halves[0], halves[-1]):
            _closed_within(connection, HEAD_SECONDS + SLACK)
        assert exporter.scrape().value("process_open_fds") < 200
        # An idle connection outlives them, so that Prometheus can keep its own.
        _ask_for_health(idle[0])


def _takes_more(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"a")
    except ConnectionError:
        return False
    return True


def test_a_head_that_trickles_in_ends_in_time(exporter: Exporter) -> None:
    with (
        socket.create_connection(exporter.address, 5) as first,
        socket.create_connection(exporter.address, 5) as second,
    ):
        # The second request of a connection is no better off.
        _ask_for_health(second)
        trickling = [first, second]
        for connection in trickling:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        started = time.monotonic()
        while trickling:
            assert time.monotonic() - started < HEAD_SECONDS + SLACK, "it may go on for ever"
            trickling = [connection for connection in trickling if _takes_more(connection)]
            time.sleep(0.5)


def test_a_client_that_never_reads_its_answers_costs_nobody_else(exporter: Exporter) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(exporter.address)
        # Many pages in one go, of which the client takes none.
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        assert exporter.client.get("/metrics").status_code == 200
        assert exporter.client.get("/-/healthy").status_code == 200
