"""The two calls of libpq that psycopg doesn't wrap: error codes of refused connections, and what TLS was agreed on."""

from __future__ import annotations

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


def _pointer(connection: pq.abc.PGconn) -> Any:
    # Every implementation has it, their common protocol doesn't say so.
    return cast("Any", connection).pgconn_ptr
