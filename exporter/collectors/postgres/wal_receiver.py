"""What a standby's WAL receiver is connected to, and how far it got."""

from exporter.collectors.postgres.own import SEES_OTHERS
from exporter.declare import Collector, Measure, Query, block, gauge
from exporter.gates import PRIMARY, pg

# Positions are cut to 52 bits, as the existing exporter does, so that they are exact as floating point numbers.
_SQL = """
    SELECT sender_host AS upstream_host, slot_name, status,
           mod(receive_start_lsn - '0/0', 4503599627370496)::int8 AS receive_start_lsn,
           (written_lsn - '0/0')::int8 AS written_lsn,
           mod(flushed_lsn - '0/0', 4503599627370496)::int8 AS flushed_lsn,
           mod(latest_end_lsn - '0/0', 4503599627370496)::int8 AS latest_end_lsn,
           receive_start_tli, received_tli,
           extract(epoch FROM last_msg_send_time)::float8 AS last_msg_send_time,
           extract(epoch FROM last_msg_receipt_time)::float8 AS last_msg_receipt_time,
           extract(epoch FROM latest_end_time)::float8 AS latest_end_time,
           substring(slot_name FROM 'repmgr_slot_([0-9]+)')::int8 AS upstream_node
    FROM pg_stat_wal_receiver"""


def _native(column: str, sentence: str) -> Measure:
    return gauge(f"pg_stat_wal_receiver_{column}", column, help=sentence, drop_in=True)


wal_receiver = Collector(
    name="pg_stat_wal_receiver",
    about="The connection of a standby to its source: positions, timelines and times of messages.",
    engine="postgres",
    when=~PRIMARY & SEES_OTHERS,
    queries=(Query(pg(13), _SQL),),
    blocks=(
        block(
            _native("receive_start_lsn", "Position at which the receiver started."),
            _native("flushed_lsn", "Position up to which WAL was received and written to disk."),
            _native("receive_start_tli", "Timeline at which the receiver started."),
            _native("received_tli", "Timeline of the last WAL received."),
            _native("last_msg_send_time", "When the sender sent its last message, in Unix seconds on its clock."),
            _native("last_msg_receipt_time", "When the last message arrived, in Unix seconds."),
            _native("latest_end_lsn", "Position up to which the sender is known to have WAL."),
            _native("latest_end_time", "When the sender told that position, in Unix seconds on its clock."),
            _native("upstream_node", "repmgr's number of the upstream node, from the name of the slot."),
            gauge(
                "pg_stat_wal_receiver_written_lsn_bytes",
                "written_lsn",
                help="Position up to which WAL was received and written, if not yet to disk.",
            ),
            labels=("upstream_host", "slot_name", "status"),
        ),
    ),
)
