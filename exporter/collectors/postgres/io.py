"""Reads and writes by kind of process, object and context."""

from exporter.declare import Collector, Measure, Query, block, counter
from exporter.gates import pg

_OPERATIONS = {
    "reads": ("read", "Reads."),
    "writes": ("write", "Writes."),
    "extends": ("extend", "Times that a relation was made longer."),
    "fsyncs": ("fsync", "Files synchronized."),
    "writebacks": ("writeback", "Blocks that the operating system was asked to write."),
}
_SIZED = ("read", "write", "extend")
_EVENTS = {
    "hits": "Blocks found in the buffer cache.",
    "evictions": "Blocks written out or dropped so that another could take their buffer.",
    "reuses": "Buffers of a ring that were used again.",
}


def _measures() -> list[Measure]:
    found = []
    for plural, (name, sentence) in _OPERATIONS.items():
        found.append(counter(f"pg_stat_io_{plural}_total", plural, help=sentence))
        found.append(
            counter(
                f"pg_stat_io_{name}_seconds_total",
                f"{name}_seconds",
                # 0 is what it says where nothing is timed.
                sql=f"nullif({name}_time, 0) / 1000",
                help=f"Time in these: {plural}; if it is taken (track_io_timing, track_wal_io_timing).",
            )
        )
        if name in _SIZED:
            found.append(counter(f"pg_stat_io_{name}_bytes_total", f"{name}_bytes", help=f"Bytes of these: {plural}."))
    found += [counter(f"pg_stat_io_{name}_total", name, help=sentence) for name, sentence in _EVENTS.items()]
    return found


# Most combinations never see anything; they are there from their first operation on.
_USED = "greatest(reads, writes, writebacks, extends, hits, evictions, reuses, fsyncs) > 0"

io = Collector(
    name="pg_stat_io",
    about="Reads and writes by kind of process, object and context, of combinations that have seen some.",
    engine="postgres",
    when=pg(16),
    queries=(
        Query(pg(18), f"SELECT {{columns}} FROM pg_stat_io WHERE {_USED}"),
        Query(
            pg(16),
            "SELECT {columns} FROM (SELECT *, reads * op_bytes AS read_bytes, writes * op_bytes AS write_bytes,"
            f" extends * op_bytes AS extend_bytes FROM pg_stat_io) io WHERE {_USED}",
        ),
    ),
    blocks=(block(*_measures(), labels=("backend_type", "object", "context")),),
)
