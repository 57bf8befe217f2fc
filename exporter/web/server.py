"""Listens on the configured addresses and ends in good order on SIGTERM and SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import signal
import socket
import ssl
from collections.abc import Iterator, Sequence
from types import FrameType

import uvicorn

from exporter.web.app import Web
from exporter.web.protocol import Protocol

# Longer than most scrape intervals, so that Prometheus keeps its connection.
IDLE_SECONDS = 75
# The rest of the five seconds that an end may take is for sessions.
GRACE_SECONDS = 3
MAX_HEAD_BYTES = 16_384
_BACKLOG = 1024
_FIRST_INHERITED = 3
_OPEN_FILES = 65_536


class ListenError(Exception):
    """An address can't be listened on; says which, why and what to do."""


def listen(addresses: Sequence[str]) -> list[socket.socket]:
    """Bind and listen on every address.

    Raises:
        ListenError: One of them doesn't work; none is left open.
    """
    sockets: list[socket.socket] = []
    try:
        # Not a comprehension: those before the one that fails have to be closed.
        for address in addresses:
            sockets.append(_listen(address))  # noqa: PERF401
    except ListenError:
        for opened in sockets:
            opened.close()
        raise
    return sockets


def inherited() -> list[socket.socket]:
    """The sockets that systemd listens on for us.

    Raises:
        ListenError: There are none.
    """
    count = os.environ.get("LISTEN_FDS", "0") if os.environ.get("LISTEN_PID") == str(os.getpid()) else "0"
    if not count.isdecimal() or int(count) < 1:
        raise ListenError("systemd has given no socket: start it by a .socket unit, or without --web.systemd-socket")
    sockets = [socket.socket(fileno=_FIRST_INHERITED + index) for index in range(int(count))]
    for each in sockets:
        each.setblocking(False)
    return sockets


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        # [::] is every address of IPv4 too, as in postgres_exporter.
        if host in ("", "::"):
            return _everywhere(int(port))
        family, *_, where = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
        )[0]
        return _bound(where, family)
    except socket.gaierror:
        raise ListenError(f"cannot listen on {address}: the host name {host} is not known on this machine") from None
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {_why(error)}") from None


def _bound(where: tuple[object, ...], family: int, *, dual: bool = False) -> socket.socket:
    bound = socket.create_server(where, family=family, backlog=_BACKLOG, dualstack_ipv6=dual)
    bound.setblocking(False)
    return bound


def _everywhere(port: int) -> socket.socket:
    """All addresses of this machine, IPv6 too where it has any."""
    if socket.has_dualstack_ipv6():
        try:
            return _bound(("::", port), socket.AF_INET6, dual=True)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
    return _bound(("0.0.0.0", port), socket.AF_INET)  # noqa: S104 - an address without a host means all


def _why(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                "another process listens there; end it, or choose another address with --web.listen-address "
                "(0 as the port lets the system choose)"
            )
        case errno.EACCES:
            return "ports below 1024 are for root; choose a higher one with --web.listen-address"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address; choose another with --web.listen-address"
        case _:
            return os.strerror(error.errno) if error.errno else str(error)


def url(bound: socket.socket, *, tls: bool = False) -> str:
    """Where a browser on this machine finds what listens on a socket."""
    host, port, *_ = bound.getsockname()
    if host in ("::", "0.0.0.0"):  # noqa: S104
        host = "localhost"
    return f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"


def serve(web: Web, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None = None) -> None:
    """Serve until SIGTERM or SIGINT; running requests are then given a few seconds. A second signal ends at once."""
    _raise_file_limit()
    config = uvicorn.Config(
        web.app,
        loop="asyncio",
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )
    _Server(config, web).run(sockets=list(sockets))


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, web: Web) -> None:
        super().__init__(config)
        self._web = web
        self._ending = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        """Sleep until the end: uvicorn's own loop would wake up ten times a second."""
        self._loop = asyncio.get_running_loop()
        if self.should_exit:
            return
        self._web.ready = True
        await self._ending.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Have signals end this server; unlike uvicorn's own way the process then lives on and exits 0."""
        # Left in place afterwards, so that a second signal is understood until the last moment.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        yield

    def _signalled(self, number: int, _: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + number)
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._web.end()
        self._ending.set()


def _raise_file_limit() -> None:
    """Take what the system allows, so that idle clients can't use up what databases need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
