"""Input and output by file, memory and waits, by the names that performance_schema has for what did it."""

from __future__ import annotations

from exporter.collectors.busiest import busiest
from exporter.collectors.mysql.performance_schema import READABLE
from exporter.declare import Block, Collector, Measure, Query, block, counter, gauge
from exporter.gates import mariadb, mysql

_SERVERS = mysql(8) | mariadb(10, 6)
_GRANTS = ("SELECT ON performance_schema.*",)
_EVENT = {"event_name": "event_name"}
_FILE = {**_EVENT, "file_name": "file_name"}


def _counter(name: str, column: str, about: str) -> Measure:
    return counter(f"mysql_perf_schema_{name}", column, help=about, drop_in=True)


def _events(mode: str) -> Block:
    measures = [
        _counter("file_events_total", f"count_{mode}", "Operations on files, by kind of file and operation."),
        _counter("file_events_seconds_total", f"time_{mode}", "Time in operations on files."),
    ]
    if mode != "misc":
        measures.append(_counter("file_events_bytes_total", f"bytes_{mode}", "Bytes read from and written to files."))
    return block(*measures, labels=_EVENT, fixed={"mode": mode})


file_events = Collector(
    name="mysql_file_events",
    about="Reads, writes and other operations on files by kind of file.",
    engine="mysql",
    every=60,
    default=False,
    when=_SERVERS & READABLE,
    queries=(
        Query(
            _SERVERS,
            """
            SELECT EVENT_NAME AS event_name,
                   COUNT_READ AS count_read, SUM_TIMER_READ / 1e12 AS time_read,
                   SUM_NUMBER_OF_BYTES_READ AS bytes_read,
                   COUNT_WRITE AS count_write, SUM_TIMER_WRITE / 1e12 AS time_write,
                   SUM_NUMBER_OF_BYTES_WRITE AS bytes_write,
                   COUNT_MISC AS count_misc, SUM_TIMER_MISC / 1e12 AS time_misc
            FROM performance_schema.file_summary_by_event_name""",
        ),
    ),
    blocks=tuple(_events(mode) for mode in ("read", "write", "misc")),
    grants=_GRANTS,
)

file_instances = Collector(
    name="mysql_file_instances",
    about="Reads and writes of each file; the busiest of very many files.",
    engine="mysql",
    every=300,
    timeout=15,
    share=0.1,
    default=False,
    when=_SERVERS & READABLE,
    queries=(
        Query(
            _SERVERS,
            # As the flag of mysqld_exporter does unless told otherwise.
            """
            SELECT IF(FILE_NAME LIKE '/var/lib/mysql/%', SUBSTRING(FILE_NAME, 16), FILE_NAME) AS file_name,
                   EVENT_NAME AS event_name,
                   COUNT_READ AS count_read, COUNT_WRITE AS count_write,
                   SUM_NUMBER_OF_BYTES_READ AS bytes_read, SUM_NUMBER_OF_BYTES_WRITE AS bytes_write
            FROM performance_schema.file_summary_by_instance""",
        ),
    ),
    state=busiest("file_name", "event_name", by=("bytes_read", "bytes_write")),
    blocks=tuple(
        block(
            _counter("file_instances_total", f"count_{mode}", "Reads and writes of the file."),
            _counter("file_instances_bytes", f"bytes_{mode}", "Bytes read from and written to the file."),
            labels=_FILE,
            fixed={"mode": mode},
        )
        for mode in ("read", "write")
    ),
    grants=_GRANTS,
)

memory_events = Collector(
    name="mysql_memory_events",
    about="Memory that the server has and had, by what it is for.",
    engine="mysql",
    every=60,
    default=False,
    when=_SERVERS & READABLE,
    queries=(
        Query(
            _SERVERS,
            """
            SELECT IF(EVENT_NAME LIKE 'memory/%', SUBSTRING(EVENT_NAME, 8), EVENT_NAME) AS event_name,
                   SUM_NUMBER_OF_BYTES_ALLOC AS allocated,
                   SUM_NUMBER_OF_BYTES_FREE AS freed, CURRENT_NUMBER_OF_BYTES_USED AS used
            FROM performance_schema.memory_summary_global_by_event_name WHERE COUNT_ALLOC > 0""",
        ),
    ),
    blocks=(
        block(
            _counter("memory_events_alloc_bytes_total", "allocated", "Bytes that were allocated."),
            _counter("memory_events_free_bytes_total", "freed", "Bytes that were freed."),
            gauge("mysql_perf_schema_memory_events_used_bytes", "used", help="Bytes in use.", drop_in=True),
            labels=_EVENT,
        ),
    ),
    grants=_GRANTS,
)

event_waits = Collector(
    name="mysql_event_waits",
    about="Waits inside the server by what was waited for, as far as instruments are on.",
    engine="mysql",
    every=60,
    default=False,
    when=_SERVERS & READABLE,
    queries=(
        Query(
            _SERVERS,
            "SELECT EVENT_NAME AS event_name, COUNT_STAR AS waits, SUM_TIMER_WAIT / 1e12 AS time "
            "FROM performance_schema.events_waits_summary_global_by_event_name",
        ),
    ),
    blocks=(
        block(
            _counter("events_waits_total", "waits", "Waits of this kind."),
            _counter("events_waits_seconds_total", "time", "Time in waits of this kind."),
            labels=_EVENT,
        ),
    ),
    grants=_GRANTS,
)
