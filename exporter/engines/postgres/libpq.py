"""What psycopg doesn't wrap: error codes of refused connections, what TLS was agreed on, the server's certificate."""

from __future__ import annotations

import calendar
import ctypes
import importlib
from functools import cache
from typing import Any, cast

from psycopg import pq

_VERBOSE = 2


@cache
def _library() -> ctypes.CDLL | None:
    """The very libpq that psycopg is linked with; another copy would have another memory layout."""
    module = {"binary": "psycopg_binary.pq", "c": "psycopg_c.pq"}.get(pq.__impl__)
    if module is None:
        return None
    # Symbols are looked up in the extension module and in what it is linked with.
    library = ctypes.CDLL(importlib.import_module(module).__file__)
    library.PQsetErrorVerbosity.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.PQsslAttribute.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.PQsslAttribute.restype = ctypes.c_char_p
    library.PQsslStruct.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.PQsslStruct.restype = ctypes.c_void_p
    return library


@cache
def _openssl() -> ctypes.CDLL | None:
    """The OpenSSL that this libpq is linked with; None if it has none, or one from before 3."""
    library = _library()
    try:
        if library is not None:
            for call in (library.SSL_get0_peer_certificate, library.X509_get0_notAfter):
                call.argtypes, call.restype = [ctypes.c_void_p], ctypes.c_void_p
            library.ASN1_TIME_to_tm.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    except AttributeError:
        return None
    return library


def report_codes(connection: pq.abc.PGconn) -> None:
    """Have the messages of a connection attempt say the SQLSTATE, since the rest of them may be in any language."""
    if library := _library():
        library.PQsetErrorVerbosity(_pointer(connection), _VERBOSE)


def tls(connection: pq.abc.PGconn) -> str | None:
    """Protocol and cipher, such as `TLSv1.3 TLS_AES_256_GCM_SHA384`; None if the connection is not encrypted."""
    if not connection.ssl_in_use:
        return None
    library = _library()
    if library is None:
        return "TLS"
    names = (library.PQsslAttribute(_pointer(connection), name) for name in (b"protocol", b"cipher"))
    return " ".join(name.decode() for name in names if name) or "TLS"


def certificate_expiry(connection: pq.abc.PGconn) -> float | None:
    """When the certificate ends that the server has shown, in Unix seconds; None if it has shown none."""
    library = _openssl() if connection.ssl_in_use else None
    if library is None:
        return None
    ssl = library.PQsslStruct(_pointer(connection), b"OpenSSL")
    certificate = library.SSL_get0_peer_certificate(ssl) if ssl else None
    # struct tm begins with six integers on every system; the rest of it has room here.
    moment = (ctypes.c_int * 64)()
    if not certificate or not library.ASN1_TIME_to_tm(library.X509_get0_notAfter(certificate), moment):
        return None
    second, minute, hour, day, month, year = moment[:6]
    return float(calendar.timegm((year + 1900, month + 1, day, hour, minute, second)))


def _pointer(connection: pq.abc.PGconn) -> Any:
    # Every implementation has it, their common protocol doesn't say so.
    return cast("Any", connection).pgconn_ptr
