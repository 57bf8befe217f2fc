"""MySQL: how long single statements take, from the server's histogram of each digest."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.collectors.recent import Key
from exporter.declare import Context, Rows
from exporter.subjects.statements.digests import TABLE, TrackedDigests, among

BUCKETS = "performance_schema.events_statements_histogram_by_digest"
# Picoseconds. Of the 450 bounds that the server has for every statement those nearest to 0.25, 1, 5, 25, 100 and
# 500 ms, 1 and 5 s: enough to see where a statement is. Each is a bound of db_statement_duration_seconds too.
BOUNDS = (
    251_188_643, 1_000_000_000, 5_011_872_336, 25_118_864_315,
    100_000_000_000, 501_187_233_627, 1_000_000_000_000, 5_011_872_336_272,
)  # fmt: skip
_BELOW = ", ".join(f"SUM(IF(BUCKET_TIMER_HIGH <= {bound}, COUNT_BUCKET, 0)) AS below_{bound}" for bound in BOUNDS)


class DigestDurations(TrackedDigests):
    """Accumulates the foremost digests, with `durations`, for a histogram; chosen among those of TrackedDigests."""

    name = "mysql_statement_durations"
    texts_in = frozenset()
    # It runs seldom, and what is new should not have to wait for minutes.
    looks_every = 1
    # Each makes 11 series, and costs the server a search through all of its digests.
    most = 20

    def numbers(self, statements: Sequence[Key], context: Context) -> str:  # noqa: ARG002 - see Tracked
        """See Tracked. One pass over the digests, and for each of those chosen one look-up in the table of buckets.

        That table has 450 rows for each digest, so it must never be read without its index: the optimizer that 9.7 has
        beside the usual one is not asked, since it heeds neither the order of the tables nor the index. The index takes
        names that differ by case for the same, and so does not decide which rows count. Most buckets are empty.
        """
        return f"""
            SELECT /*+ SET_VAR(optimizer_switch = 'hypergraph_optimizer=off') */
                   ANY_VALUE(name) AS `schema`, chosen.digest AS digest, MAX(time) / 1e12 AS seconds,
                   SUM(COUNT_BUCKET) AS calls, {_BELOW}
            FROM (
                SELECT ANY_VALUE(SCHEMA_NAME) AS name, DIGEST AS digest, SUM(SUM_TIMER_WAIT) AS time
                FROM {TABLE}
                WHERE {among(statements)}
                GROUP BY SCHEMA_NAME COLLATE utf8mb4_bin, DIGEST
            ) AS chosen
            STRAIGHT_JOIN {BUCKETS} AS buckets FORCE INDEX (SCHEMA_NAME)
                ON buckets.SCHEMA_NAME <=> chosen.name AND buckets.DIGEST <=> chosen.digest
            WHERE COUNT_BUCKET > 0 AND buckets.SCHEMA_NAME COLLATE utf8mb4_bin <=> chosen.name
            GROUP BY chosen.name COLLATE utf8mb4_bin, chosen.digest"""

    def shaped(self, rows: Rows) -> Rows:
        """See Tracked."""
        return Rows(("schema", "digest", "durations"), [(*row[:2], _histogram(*row[2:])) for row in rows.rows])


def _histogram(seconds: float, calls: int, *below: int) -> tuple[list[tuple[float, int]], float, int]:
    return [(bound / 1e12, int(count)) for bound, count in zip(BOUNDS, below, strict=True)], seconds, int(calls)
