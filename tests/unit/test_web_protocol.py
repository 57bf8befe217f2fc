"""Connections end by themselves, with limits short enough to wait for."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest
import uvicorn
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from exporter.web.protocol import Protocol

IDLE, LARGE = 1, 30_000_000


class Impatient(Protocol):
    HEAD_SECONDS: ClassVar[float] = 0.3


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    size = LARGE if scope["path"] == "/large" else 10
    await Response(b"x" * size)(scope, receive, send)


@asynccontextmanager
async def _serving(idle: int = IDLE) -> AsyncIterator[tuple[str, int]]:
    config = uvicorn.Config(_app, http=Impatient, ws="none", lifespan="off", log_config=None, timeout_keep_alive=idle)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(lambda: Impatient(config, state, {}), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[:2]
        # Whatever the test's client still holds is none of the next test's business.
        for connection in list(state.connections):
            connection.transport.abort()


async def _end(reader: asyncio.StreamReader) -> None:
    """Wait until the other side closes."""
    async with asyncio.timeout(10):
        try:
            while await reader.read(65_536):
                pass
        except ConnectionError:
            pass


@pytest.mark.parametrize(
    ("sent", "least"),
    [
        (b"", 0.2),
        (b"GET / HT", 0.2),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", 0.2),
        # After an answer a connection may be idle for longer,
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", IDLE - 0.1),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP", IDLE - 0.1),
        # and with a body that doesn't come, too.
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc", IDLE - 0.1),
        # Whoever wants it closed has it closed.
        (b"GET / HTTP/1.0\r\n\r\n", 0.0),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 0.0),
    ],
)
def test_a_connection_ends(sent: bytes, least: float) -> None:
    async def run() -> float:
        async with _serving() as (host, port):
            # Before the other side's clock can run, however late we come to the next line.
            loop = asyncio.get_running_loop()
            started = loop.time()
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(sent)
            await _end(reader)
            writer.close()
            return loop.time() - started

    assert asyncio.run(run()) >= least


def test_whoever_keeps_asking_keeps_the_connection() -> None:
    async def run() -> int:
        async with _serving(idle=3) as (host, port):
            reader, writer = await asyncio.open_connection(host, port)
            answers = 0
            for _ in range(9):
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                async with asyncio.timeout(10):
                    await reader.readuntil(b"x" * 10)
                answers += 1
                # Longer than a head may take, shorter than a connection may be idle; all together longer than that.
                await asyncio.sleep(0.4)
            writer.close()
            return answers

    assert asyncio.run(run()) == 9


LARGE_REQUEST = b"GET /large HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "requests",
    [
        LARGE_REQUEST + b"\r\n",
        LARGE_REQUEST + b"Connection: close\r\n\r\n",
        # The second answer waits for room that the first one never makes.
        (LARGE_REQUEST + b"\r\n") * 2,
    ],
)
def test_a_client_that_never_reads_its_answer_is_let_go(requests: bytes) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        async with _serving() as (host, port):
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.setblocking(False)
                await loop.sock_connect(client, (host, port))
                await loop.sock_sendall(client, requests)
                await asyncio.sleep(IDLE + 2)
                # What had been sent before is still to be had; the rest never comes.
                got = 0
                async with asyncio.timeout(10):
                    try:
                        while part := await loop.sock_recv(client, 1 << 20):
                            got += len(part)
                    except ConnectionError:
                        pass
                assert got < LARGE

    asyncio.run(run())
