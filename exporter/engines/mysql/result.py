"""Results read column by column: what PyMySQL does for each value is most of what an exporter costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pymysql import err
from pymysql.connections import MySQLResult
from pymysql.constants import CR
from pymysql.protocol import MysqlPacket

if TYPE_CHECKING:
    from exporter.engines.mysql.connection import ServerConnection

# Rows that are taken apart together: more only take more memory.
_BATCH = 1000
# Of as many values it shows whether most of a column are the same.
_LOOK = 64
# What stands where the length of a short text would be, as the protocol has it.
_NULL, _TWO, _THREE, _EIGHT = 0xFB, 0xFC, 0xFD, 0xFE
_LENGTHS = {_TWO: 2, _THREE: 3, _EIGHT: 8}
_EOF, _ERROR = 0xFE, 0xFF
_EOF_SIZE = 9  # and what is as short as that, and begins with _EOF, is no row
_SPLIT_SIZE = 0xFFFFFF  # of a packet that goes on in the next
_HEADER = 4  # bytes before each packet: its size and its number

Convert = Callable[[bytes], Any]


class Result(MySQLResult):
    """PyMySQL's result, a fifth of its cost for many rows: where few are distinct, each is converted once."""

    connection: ServerConnection
    converters: list[tuple[str | None, Convert | None]]
    _check_packet_is_eof: Callable[[MysqlPacket], bool]

    def _read_rowdata_packet(self) -> None:
        converts = [convert or bytes for _, convert in self.converters]
        rows: list[tuple[Any, ...]] = []
        batch: list[bytes] = []
        while not batch or not _is_last(batch[-1]):
            if len(batch) >= _BATCH:
                rows += tuples(batch, converts)
                batch = []
            batch += self._packets() or [self._packet()]
        last = MysqlPacket(batch.pop(), self.connection.encoding)
        last.check_error()
        self._check_packet_is_eof(last)
        rows += tuples(batch, converts)
        self.connection = None  # type: ignore[assignment]  # as PyMySQL does, it is not part of a cycle then
        self.affected_rows = len(rows)
        self.rows = rows

    def _packets(self) -> list[bytes]:
        """What is in the packets that have come as a whole already, up to the one that ends the result."""
        ahead = self.connection.ahead()
        packets: list[bytes] = []
        at, end = 0, len(ahead)
        while (start := at + _HEADER) <= end:
            size = ahead[at] | ahead[at + 1] << 8 | ahead[at + 2] << 16
            if size == _SPLIT_SIZE or start + size > end:
                break
            self._count(ahead[at + 3])
            at = start + size
            packets.append(ahead[start:at])
            if _is_last(packets[-1]):
                break
        self.connection._read_bytes(at)
        return packets

    def _packet(self) -> bytes:
        """What is in the next packet, of which some has not come yet, or which goes on in further ones."""
        read = self.connection._read_bytes
        data = b""
        size = _SPLIT_SIZE
        while size == _SPLIT_SIZE:
            header = read(_HEADER)
            size = header[0] | header[1] << 8 | header[2] << 16
            self._count(header[3])
            data = data + read(size) if data else read(size)
        return data

    def _count(self, number: int) -> None:
        connection = self.connection
        if number != connection._next_seq_id:
            connection._force_close()
            # MariaDB says farewell with a packet of number 0.
            raise err.OperationalError(CR.CR_SERVER_LOST, "Lost connection to MySQL server during query")
        connection._next_seq_id = (number + 1) % 256


def _is_last(packet: bytes) -> bool:
    return packet[0] == _ERROR or (packet[0] == _EOF and len(packet) < _EOF_SIZE)


def tuples(packets: list[bytes], converts: list[Convert]) -> list[tuple[Any, ...]]:
    """The rows in these packets.

    Raises:
        ValueError, LookupError: They are no rows of as many columns.
    """
    width = len(converts)
    flat: list[bytes | None] = []
    for packet in packets:
        at = 0
        for _ in converts:
            size = packet[at]
            at += 1
            if size >= _NULL:
                if size == _NULL:
                    flat.append(None)
                    continue
                digits = _LENGTHS[size]
                size = int.from_bytes(packet[at : at + digits], "little")
                at += digits
            flat.append(packet[at : at + size])
            at += size
        if at != len(packet):
            raise ValueError("the server sent a row of another length than it said")
    return list(zip(*(_column(flat[place::width], convert) for place, convert in enumerate(converts)), strict=True))


def _column(raws: list[bytes | None], convert: Convert) -> list[Any]:
    if len(set(raws[:_LOOK])) > _LOOK // 2:
        return [None if raw is None else convert(raw) for raw in raws]
    values = {raw: None if raw is None else convert(raw) for raw in set(raws)}
    return list(map(values.__getitem__, raws))
