"""Addresses to listen on: which they are, and what is said where they don't work."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from exporter.web.server import ListenError, listen, url
from tests.exporters import Exporter


@contextmanager
def listening(*addresses: str) -> Iterator[list[socket.socket]]:
    sockets = listen(addresses)
    try:
        yield sockets
    finally:
        for bound in sockets:
            bound.close()


def reaches(host: str, bound: socket.socket) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, bound.getsockname()[1]), 5):
        return True
    return False


@pytest.mark.parametrize("address", [":0", "[::]:0"])
def test_without_a_host_every_address_is_listened_on(address: str) -> None:
    with listening(address) as [bound]:
        assert reaches("127.0.0.1", bound)
        # Where the machine has IPv6 at all, there too.
        assert reaches("::1", bound) == (bound.family == socket.AF_INET6)
        assert url(bound).startswith("http://localhost:")


def test_with_a_host_no_other_is() -> None:
    with listening("127.0.0.1:0", "[::1]:0", "localhost:0") as [v4, v6, named]:
        assert reaches("127.0.0.1", v4)
        assert not reaches("127.0.0.2", v4)
        assert reaches("::1", v6)
        assert not reaches("127.0.0.1", v6)
        assert reaches("localhost", named)
        assert url(v6).startswith("http://[::1]:")


def test_one_that_does_not_work_leaves_none_open() -> None:
    with listening("127.0.0.1:0") as [taken]:
        port = taken.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as free:
            other = free.getsockname()[1]
        with pytest.raises(ListenError, match=f"127.0.0.1:{port}: another process listens there"):
            listen([f"127.0.0.1:{other}", f"127.0.0.1:{port}"])
        with listening(f"127.0.0.1:{other}"):
            pass


def test_every_address_serves(tmp_path: Path) -> None:
    variables = {"DATABASE_EXPORTER_WEB_LISTEN_ADDRESS": "127.0.0.1:0, [::1]:0"}
    config = "servers:\n  - {name: away, url: 'mysql://u@127.0.0.1:1'}\nweb: {listen_addresses: ['192.0.2.1:1']}\n"
    with Exporter(tmp_path, config, variables, listen=None) as exporter:
        urls = exporter.urls()
        assert [found.rpartition(":")[0] for found in urls] == ["http://127.0.0.1", "http://[::1]"]
        for found in urls:
            assert httpx.get(f"{found}/-/healthy").text == "healthy\n"
