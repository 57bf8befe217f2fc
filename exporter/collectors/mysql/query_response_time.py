"""How long statements take, from the plugin query_response_time, which MariaDB has instead of MySQL's histogram."""

from __future__ import annotations

from exporter.collectors.mysql.values import number
from exporter.declare import Collector, Context, Query, Rows, block, histogram
from exporter.gates import mariadb, setting

# Of a plugin that the server is not delivered with: that it is off is nothing to mend.
_ON = setting("query_response_time_stats", "ON", fix="")


def distribution(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """One row with the histogram; bounds and totals come as text, and the last bound is `TOO LONG`."""
    buckets: list[tuple[float, int]] = []
    count, seconds = 0, 0.0
    for row in rows.dicts():
        count += int(row["count"])
        bound, total = number(row["time"]), number(row["total"])
        seconds += total or 0
        if bound is not None:
            buckets.append((float(bound), count))
    return Rows(("durations",), [((buckets, seconds, count),)])


query_response_time = Collector(
    name="mysql_query_response_time",
    about="How long statements take, from MariaDB's plugin of that name.",
    engine="mysql",
    when=mariadb(10, 6) & _ON,
    queries=(
        Query(
            mariadb(10, 6),
            "SELECT TIME AS time, COUNT AS count, TOTAL AS total FROM information_schema.QUERY_RESPONSE_TIME",
        ),
    ),
    rows=distribution,
    blocks=(
        block(
            histogram(
                "mysql_info_schema_query_response_time_seconds",
                "durations",
                help="Statements by how long they took.",
            )
        ),
    ),
    grants=("PROCESS",),
)
