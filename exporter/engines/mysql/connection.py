"""PyMySQL's connection with two promises: text is never refused, and passwords are never sent bare; and quicker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.constants import COMMAND, CR, FIELD_TYPE

from exporter.engines.mysql.result import Result
from exporter.engines.mysql.session import UNLOGGED


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _decimal(data: bytes) -> int | float:
    return float(data) if b"." in data else int(data)


def _bits(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _decoders() -> dict[int, Callable[[bytes], Any]]:
    types = [value for name, value in vars(FIELD_TYPE).items() if name.isupper()]
    integers = (FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG, FIELD_TYPE.INT24)
    decoders: dict[int, Callable[[bytes], Any]] = dict.fromkeys(types, _text)
    decoders.update(dict.fromkeys((*integers, FIELD_TYPE.YEAR), int))
    decoders.update(dict.fromkeys((FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE), float))
    decoders.update(dict.fromkeys((FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL), _decimal))
    decoders[FIELD_TYPE.BIT] = _bits
    return decoders


DECODERS = _decoders()
# MySQL 5.7.3, MariaDB 10.2.4; PyMySQL has no name for it.
_COM_RESET_CONNECTION = 31
_READ_BYTES = 128 * 1024
_CLEAR_TEXT = frozenset({b"mysql_clear_password", b"dialog", b"mysql_old_password"})


class ServerConnection(Connection):
    """A connection that gives its password in clear text only over TLS or a socket.

    Who is at the other end of TLS is as sure as `tls.mode` makes it: `require` without a CA believes anybody.

    Attributes:
        local: Whether this goes over a Unix socket, where servers want the password of a cold cache as it is.
    """

    local = False
    server_thread_id: tuple[int]
    server_version: str
    _sock: Any
    _rfile: Any
    _secure: bool
    _write_timeout: float | None
    _next_seq_id: int
    _result: Any
    _read_bytes: Callable[[int], bytes]
    _force_close: Callable[[], None]
    server_status: int

    @property
    def encrypted(self) -> Any:
        """The socket, if it is one with TLS, else None."""
        return self._sock if hasattr(self._sock, "cipher") else None

    def connect(self, sock: Any = None) -> None:
        """See PyMySQL; what the server sends is then read in larger pieces, since each costs a call of the kernel."""
        super().connect(sock)
        # All that was sent until now was read: the server speaks when it is asked.
        self._rfile.close()
        self._rfile = self._sock.makefile("rb", _READ_BYTES)

    def ahead(self) -> bytes:
        """What has come and is not read yet; waits until there is some.

        Raises:
            pymysql.OperationalError: The connection is lost.
        """
        try:
            data: bytes = self._rfile.peek()
        except OSError as error:
            self._force_close()
            raise pymysql.OperationalError(CR.CR_SERVER_LOST, f"Lost connection to MySQL server ({error})") from error
        if not data:
            self._force_close()
            raise pymysql.OperationalError(CR.CR_SERVER_LOST, "Lost connection to MySQL server")
        return data

    def part(self) -> None:
        """Say goodbye and close; five bytes, which block on a full send buffer only, and then not for long."""
        self._write_timeout = 0.1
        self.close()

    def reset(self) -> None:
        """Give up what the session has (locks, variables, settings, temporary tables) but the connection itself."""
        self._execute_command(_COM_RESET_CONNECTION, b"")  # type: ignore[attr-defined]
        self._read_ok_packet()  # type: ignore[attr-defined]

    def set_character_set(self, charset: str, collation: str | None = None) -> None:
        """Tell the server the character set, and stay out of its slow log from this first statement on."""
        try:
            self._execute_command(COMMAND.COM_QUERY, f"SET NAMES {charset}, SESSION {UNLOGGED}")  # type: ignore[attr-defined]
            self._read_packet()  # type: ignore[no-untyped-call]
        except pymysql.MySQLError:
            if not self.open:
                raise
            super().set_character_set(charset, collation)

    def _read_query_result(self, unbuffered: bool = False) -> int | None:
        if unbuffered:
            return super()._read_query_result(unbuffered)  # type: ignore[misc, no-any-return]
        self._result = None
        result = Result(self)
        result.read()
        self._result = result
        if result.server_status is not None:
            self.server_status = result.server_status
        return result.affected_rows

    def _get_server_information(self) -> None:
        super()._get_server_information()  # type: ignore[misc]
        self._secure = self._secure or self.local

    def _process_auth(self, plugin_name: bytes, auth_packet: Any, handler: Any = None) -> Any:
        # A server, or who poses as one, may ask for the password as it is; it gets it over TLS or a socket only.
        if plugin_name in _CLEAR_TEXT and not self._secure:
            raise pymysql.OperationalError(
                2059, "the server asks for the password in clear text, which is only sent over TLS: set tls.mode"
            )
        return super()._process_auth(plugin_name, auth_packet, handler)  # type: ignore[misc]
