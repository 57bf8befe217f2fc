"""Heartbeats: rows that a source keeps writing, so that a replica's copy tells how old its data are."""

from exporter.declare import Collector, Query, block, gauge
from exporter.gates import mariadb, mysql

_SERVERS = mysql(8) | mariadb(10, 6)


def heartbeat_of(database: str = "heartbeat", table: str = "heartbeat", *, utc: bool = False) -> Collector:
    """The collector for the table that pt-heartbeat or its like writes: ts and server_id.

    Args:
        database: Of the table.
        table: Its name.
        utc: Whether ts is in UTC; else it is in the server's time zone, unless the column's type says otherwise.
    """
    kind = (
        "SELECT DATA_TYPE FROM information_schema.COLUMNS "
        f"WHERE TABLE_SCHEMA = {_text(database)} AND TABLE_NAME = {_text(table)} AND COLUMN_NAME = 'ts'"
    )
    # Our sessions are in UTC, to which the server turns what has a time zone: a column of the type timestamp.
    stored = "ts" if utc else f"IF(({kind}) = 'timestamp', ts, CONVERT_TZ(ts, @@GLOBAL.time_zone, '+00:00'))"
    return Collector(
        name="mysql_heartbeat",
        about="What the heartbeat table says of the source's clock, beside the server's own.",
        engine="mysql",
        when=_SERVERS,
        limit=100,
        default=False,
        queries=(
            Query(
                _SERVERS,
                f"SELECT server_id AS source, UNIX_TIMESTAMP({stored}) AS written, UNIX_TIMESTAMP(NOW(6)) AS clock "
                f"FROM {_name(database)}.{_name(table)} ORDER BY server_id LIMIT {{limit}}",
            ),
        ),
        blocks=(
            block(
                gauge(
                    "mysql_heartbeat_stored_timestamp_seconds",
                    "written",
                    help="When the source wrote its last heartbeat that is here.",
                    drop_in=True,
                ),
                gauge(
                    "mysql_heartbeat_now_timestamp_seconds", "clock", help="The server's clock beside it.", drop_in=True
                ),
                labels={"server_id": "source"},
            ),
        ),
    )


def _name(identifier: str) -> str:
    return "`" + identifier.replace("`", "``") + "`"


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


heartbeat = heartbeat_of()
