"""Name resolution with a deadline, which neither drivers nor the C library give it."""

from __future__ import annotations

import ipaddress
import socket
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet

from exporter.engines.deadline import MORE_THREADS, Deadline
from exporter.failure import Failure, Reason

_lock = threading.Lock()
_running: dict[tuple[str, int], Future[list[str]]] = {}


def resolve(host: str, port: int, deadline: Deadline) -> list[str]:
    """The numeric addresses of a host, in the order in which the system would try them.

    Raises:
        Failure: The name is unknown, nobody said so before the deadline, or nobody could be sent to ask.
    """
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    try:
        return _lookup(host, port).result(deadline.remaining())
    except NotYet:
        raise Failure(Reason.DNS, f"the name {host} was not resolved in time; is the DNS server reachable?") from None
    except (OSError, UnicodeError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else "it is not a host name"
        raise Failure(Reason.DNS, f"the name {host} can't be resolved: {said}") from None


def _lookup(host: str, port: int) -> Future[list[str]]:
    # One thread per name at most: a resolver that hangs must not collect a thread with each scrape.
    with _lock:
        running = _running.get((host, port))
        if running is None:
            running = Future()
            thread = threading.Thread(target=_resolve, args=(host, port, running), name="resolver", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise Failure(Reason.DNS, f"nobody can resolve the name {host}: {error}", fix=MORE_THREADS) from None
            # The thread can't have ended: to tell its outcome it needs the lock that we hold.
            _running[host, port] = running
        return running


def _resolve(host: str, port: int, future: Future[list[str]]) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    except Exception as error:  # noqa: BLE001 - whatever it is, those who wait have to learn of it
        outcome: list[str] | Exception = error
    else:
        outcome = addresses
    with _lock:
        del _running[host, port]
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
