"""How long statements take, from the plugin query_response_time, which MariaDB has instead of MySQL's histogram."""

from __future__ import annotations

import math

from exporter.collectors.mysql.values import number
from exporter.declare import Collector, Context, Query, Rows, block, histogram
from exporter.gates import condition, mariadb, setting

# Of a plugin that the server is not delivered with: that it is off is nothing to mend.
_ON = setting("query_response_time_stats", "ON", fix="")
_SPLIT = condition(
    "MariaDB ≥ 11.5 with the plugins QUERY_RESPONSE_TIME_READ and QUERY_RESPONSE_TIME_WRITE",
    lambda facts: facts.settings.get("query_response_time_split") == "ON",
)

_TABLES = {"durations": "", "reads": "_READ", "writes": "_WRITE"}
_ALL, *_PARTS = (
    f"SELECT '{kind}' AS kind, TIME AS time, COUNT AS count, TOTAL AS total"
    f" FROM information_schema.QUERY_RESPONSE_TIME{table}"
    for kind, table in _TABLES.items()
)


def distribution(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """One row with a histogram of each kind; bounds and totals come as text, and the last bound is `TOO LONG`."""
    found: dict[str, list[tuple[float, int, float]]] = {}
    for row in rows.dicts():
        bound = number(row["time"])
        taken = (math.inf if bound is None else float(bound), int(row["count"]), float(number(row["total"]) or 0))
        found.setdefault(row["kind"], []).append(taken)
    return Rows(tuple(found), [tuple(map(_histogram, found.values()))])


def _histogram(taken: list[tuple[float, int, float]]) -> tuple[list[tuple[float, int]], float, int]:
    buckets: list[tuple[float, int]] = []
    count = 0
    for bound, calls, _ in sorted(taken):
        count += calls
        if math.isfinite(bound):
            buckets.append((bound, count))
    return buckets, sum(seconds for _, _, seconds in taken), count


query_response_time = Collector(
    name="mysql_query_response_time",
    about="How long statements take, from MariaDB's plugin of that name.",
    engine="mysql",
    when=mariadb(10, 6) & _ON,
    queries=(
        Query(_SPLIT, " UNION ALL ".join((_ALL, *_PARTS))),
        Query(mariadb(10, 6), _ALL),
    ),
    rows=distribution,
    blocks=(
        block(
            histogram(
                "mysql_info_schema_query_response_time_seconds",
                "durations",
                help="Statements by how long they took.",
            ),
            histogram(
                "mysql_info_schema_read_query_response_time_seconds",
                "reads",
                when=_SPLIT,
                help="Statements that change nothing by how long they took.",
            ),
            histogram(
                "mysql_info_schema_write_query_response_time_seconds",
                "writes",
                when=_SPLIT,
                help="Statements that change something by how long they took.",
            ),
        ),
    ),
    grants=("PROCESS",),
)
