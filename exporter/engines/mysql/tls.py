"""How connections to MySQL and MariaDB are encrypted: one TLS context for all servers of equal settings."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.failure import Failure, Reason

if TYPE_CHECKING:
    from exporter.config.model import TLS

_Key = tuple[str, tuple[tuple[str, float] | None, ...]]


class _Once:
    """A context that is made when it is first asked for: files that can't be read hold up only who needs them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None

    def context(self, settings: TLS) -> ssl.SSLContext:
        with self._lock:
            if self._context is None:
                self._context = _make(settings)
            return self._context


_lock = threading.Lock()
_made: dict[_Key, _Once] = {}


def context(settings: TLS) -> ssl.SSLContext | None:
    """The context for these settings, None if they say no TLS.

    A context costs 25 ms and most of a megabyte, so it is made once; a renewed file makes a new one.

    Raises:
        Failure: A certificate or key can't be read.
    """
    if settings.mode == "disable":
        return None
    try:
        key = (settings.mode, tuple(_stamp(path) for path in (settings.ca, settings.cert, settings.key)))
        with _lock:
            if key not in _made:
                for old in [old for old in _made if _paths(old) == _paths(key)]:
                    del _made[old]
                _made[key] = _Once()
            once = _made[key]
        return once.context(settings)
    except OSError as error:
        # SSLError is an OSError too; neither names the file.
        files = ", ".join(path for path in (settings.ca, settings.cert, settings.key) if path)
        raise Failure(
            Reason.TLS,
            f"the TLS files of the server can't be used ({files}): {error.strerror or error}",
            fix="tls.ca, tls.cert and tls.key name readable PEM files; the key belongs to the certificate",
        ) from None


def _stamp(path: str | None) -> tuple[str, float] | None:
    return (path, Path(path).stat().st_mtime) if path else None


def _paths(key: _Key) -> tuple[str, tuple[str | None, ...]]:
    return key[0], tuple(stamp[0] if stamp else None for stamp in key[1])


def _make(settings: TLS) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    # As with libpq, a CA that is given is used, also where the mode alone would not ask for it.
    verify = settings.mode in {"verify-ca", "verify-full"} or settings.ca is not None
    made.check_hostname = settings.mode == "verify-full"
    made.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    # The certificates that mysqld makes for itself lack extensions which newer Pythons insist on.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if settings.ca:
        made.load_verify_locations(settings.ca)
    elif verify:
        made.load_default_certs()
    if settings.cert:
        # A key with a passphrase must not make OpenSSL ask for it on the terminal.
        made.load_cert_chain(settings.cert, settings.key, password="")
    return made
