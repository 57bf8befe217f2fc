"""What logical replication slots have decoded, and what of it did not fit into memory."""

from exporter.declare import Collector, Measure, Query, block, counter
from exporter.gates import pg

_SENTENCES = {
    "spill_txns": "Transactions that were written to disk because they did not fit into memory.",
    "spill_count": "Times that a transaction was written to disk.",
    "spill_bytes": "Bytes of those.",
    "stream_txns": "Transactions that were streamed while they were under way.",
    "stream_count": "Times that a transaction was streamed.",
    "stream_bytes": "Bytes of those.",
    "total_txns": "Transactions decoded.",
    "total_bytes": "Bytes of those.",
}


def _measure(column: str, sentence: str) -> Measure:
    name = column.removeprefix("total_")
    return counter(f"pg_stat_replication_slots_{name}_total", column, help=sentence)


logical_slots = Collector(
    name="pg_stat_replication_slots",
    about="What logical replication slots have decoded, spilled to disk and streamed.",
    engine="postgres",
    when=pg(14),
    queries=(Query(pg(14), "SELECT {columns} FROM pg_stat_replication_slots"),),
    blocks=(block(*(_measure(column, sentence) for column, sentence in _SENTENCES.items()), labels=("slot_name",)),),
)
