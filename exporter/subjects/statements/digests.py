"""MySQL and MariaDB: single statements, from the digests of performance_schema."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import ClassVar

from exporter.collectors.recent import Key
from exporter.declare import Context, Rows
from exporter.gates import mysql
from exporter.own_sessions import OWN_SCHEMA
from exporter.subjects.statements.lexer import KEPT
from exporter.subjects.statements.tracked import Number, Tracked

TABLE = "performance_schema.events_statements_summary_by_digest"
_WORD = re.compile("[A-Za-z_]+")
_PREPARING = frozenset({"prepare", "execute", "deallocate"})

# The server counts CPU time only if this consumer is on, which it is not by default; else it says 0.
_CPU = """
    CASE WHEN (SELECT ENABLED FROM performance_schema.setup_consumers WHERE NAME = 'events_statements_cpu') = 'YES'
         THEN SUM_CPU_TIME / 1e12 END"""


# By the ends of the names that mysqld_exporter has for them. Times are in picoseconds in the table.
NUMBERS = {
    "total": Number("COUNT_STAR", "Calls of the statement."),
    "seconds_total": Number("SUM_TIMER_WAIT / 1e12", "Time in the statement."),
    "lock_time_seconds_total": Number("SUM_LOCK_TIME / 1e12", "Time in waits for locks on tables."),
    "cpu_time_seconds_total": Number(
        _CPU, "Time on a CPU; absent where the consumer events_statements_cpu is off.", mysql(8, 0, 28)
    ),
    "errors_total": Number("SUM_ERRORS", "Calls that failed."),
    "warnings_total": Number("SUM_WARNINGS", "Warnings."),
    "rows_affected_total": Number("SUM_ROWS_AFFECTED", "Rows changed."),
    "rows_sent_total": Number("SUM_ROWS_SENT", "Rows sent."),
    "rows_examined_total": Number("SUM_ROWS_EXAMINED", "Rows looked at."),
    "tmp_tables_total": Number("SUM_CREATED_TMP_TABLES", "Temporary tables."),
    "tmp_disk_tables_total": Number("SUM_CREATED_TMP_DISK_TABLES", "Temporary tables on disk."),
    "sort_merge_passes_total": Number("SUM_SORT_MERGE_PASSES", "Merge passes of sorts."),
    "sort_rows_total": Number("SUM_SORT_ROWS", "Rows sorted."),
    "no_index_used_total": Number("SUM_NO_INDEX_USED", "Calls that scanned a table without an index."),
}
# What a statement did to find and sort its rows; the columns that mysqld_exporter has for all statements together.
DETAILS = {
    "select_scan_total": Number("SUM_SELECT_SCAN", "Joins that scanned their first table whole."),
    "select_full_join_total": Number(
        "SUM_SELECT_FULL_JOIN", "Joins that scanned a further table, for want of an index."
    ),
    "select_full_range_join_total": Number(
        "SUM_SELECT_FULL_RANGE_JOIN", "Joins that searched a further table by a range of an index."
    ),
    "select_range_total": Number("SUM_SELECT_RANGE", "Joins that searched their first table by a range of an index."),
    "select_range_check_total": Number(
        "SUM_SELECT_RANGE_CHECK", "Joins that looked for an index of a further table anew at each row."
    ),
    "sort_range_total": Number("SUM_SORT_RANGE", "Sorts of what a range of an index gave."),
    "sort_scan_total": Number("SUM_SORT_SCAN", "Sorts of what a scan of a table gave."),
    "no_good_index_used_total": Number("SUM_NO_GOOD_INDEX_USED", "Calls that found no good index."),
}
# Nothing is done in no memory: 0 is that of a server that does not count it.
MAXIMA = {
    "max_latency_seconds": Number(
        "MAX_TIMER_WAIT / 1e12", "The longest call since the server first saw the statement."
    ),
    "max_controlled_memory_bytes": Number(
        "NULLIF(MAX_CONTROLLED_MEMORY, 0)",
        "The most memory that a call had of what connection_memory_limit is about; absent where it is not counted.",
        mysql(8, 0, 31),
    ),
    "max_total_memory_bytes": Number(
        "NULLIF(MAX_TOTAL_MEMORY, 0)",
        "The most memory that a call had; absent where it is not counted.",
        mysql(8, 0, 31),
    ),
}
_ODD = re.compile(r"[^0-9a-z.]")
_QUANTILES = {0.95: "quantile_95", 0.99: "quantile_99", 0.999: "quantile_999"}
_QUANTILE_SINCE = mysql(8)

# What is read and changed is what comes closest to I/O. Our own statements are no candidates.
LOOK = f"""
    SELECT SCHEMA_NAME, DIGEST, COUNT_STAR, SUM_TIMER_WAIT, SUM_ROWS_EXAMINED + SUM_ROWS_AFFECTED
    FROM {TABLE}
    WHERE COUNT_STAR > 0 AND NOT SCHEMA_NAME <=> '{OWN_SCHEMA}'"""


class TrackedDigests(Tracked):
    """Accumulates the digests chosen, with the columns of NUMBERS and `latency`, for a summary."""

    name = "mysql_statement_digests"
    key = ("schema", "digest")
    largest = frozenset(_QUANTILES.values())
    shows: ClassVar[Mapping[str, Number]] = NUMBERS

    def look(self, sql: str, context: Context) -> str:
        """See Tracked."""
        wanted = context.server.statements
        if wanted.seen_within is not None:
            sql += f" AND LAST_SEEN > NOW(6) - INTERVAL {wanted.seen_within:.6f} SECOND"
        if wanted.exclude_databases:
            # Names differ by case and accents; no schema at all is not excluded by any name.
            hexed = _literals(name.encode().hex() for name in wanted.exclude_databases)
            sql += f" AND COALESCE(LOWER(HEX(SCHEMA_NAME)), '-') NOT IN ({hexed})"
        return sql

    def numbers(self, statements: Sequence[Key], context: Context) -> str:
        """See Tracked. One pass over the table, since each look-up by its index is a search through all of it too."""
        columns = [
            f"{number.sql} AS {name}" for name, number in self.shows.items() if number.when.passes(context.facts)
        ]
        if self.shows is NUMBERS and _QUANTILE_SINCE.passes(context.facts):
            columns += [f"{column.upper()} / 1e12 AS {column}" for column in _QUANTILES.values()]
        return f"""
            SELECT SCHEMA_NAME AS `schema`, DIGEST AS digest, {", ".join(columns)}
            FROM {TABLE}
            WHERE {among(statements)}"""

    def texts(self, ids: Sequence[Hashable], context: Context) -> str:
        """See Tracked. A digest has the same text in every schema."""
        # As many characters are as many bytes at least.
        text = f"LEFT(DIGEST_TEXT, {context.server.statements.text_bytes})"
        return f"SELECT DIGEST, {text} FROM {TABLE} WHERE DIGEST IN ({_literals(map(str, ids))})"

    def readable(self, text: str, context: Context) -> str:  # noqa: ARG002
        """See Tracked."""
        return shown(text)

    def shaped(self, rows: Rows) -> Rows:
        """See Tracked: quantiles, time and calls together are a summary."""
        quantiles = {at: rows.columns.index(name) for at, name in _QUANTILES.items() if name in rows.columns}
        time, calls = rows.columns.index("seconds_total"), rows.columns.index("total")
        latency = (
            ([(at, row[place]) for at, place in quantiles.items() if row[place] is not None], row[time], row[calls])
            for row in rows.rows
        )
        return Rows((*rows.columns, "latency"), [(*row, own) for row, own in zip(rows.rows, latency, strict=True)])


class DetailedDigests(TrackedDigests):
    """Accumulates digests chosen among those of TrackedDigests, with the columns of DETAILS and MAXIMA."""

    name = "mysql_statement_details"
    # It runs seldom, and what is new should not have to wait for minutes.
    looks_every = 1
    # The series of texts, which are those of TrackedDigests, are for both.
    texts_in = frozenset({"label"})
    largest = frozenset(MAXIMA)
    shows: ClassVar[Mapping[str, Number]] = {**DETAILS, **MAXIMA}

    def shaped(self, rows: Rows) -> Rows:
        """See Tracked."""
        return rows


def shown(text: str) -> str:
    """What may be shown of a digest's text: all of what reads or changes rows, else the words that it begins with.

    The server has put ? in for literals, but quotes as a name whatever could be one, such as a password that was typed
    without quotes, or with double ones under ANSI_QUOTES. Words that it does not quote are of SQL.
    """
    words = text.split()
    begins = list(takewhile(_WORD.fullmatch, words))
    first, *rest = [word for word in words if word != "("] or [""]
    if first.lower() in _PREPARING and rest:
        # MySQL 9 puts this before what is prepared by the binary protocol.
        first = rest[0]
    if first.lower() in KEPT or len(begins) == len(words):
        return text
    return " ".join([*begins, "..."])


def among(statements: Iterable[Key]) -> str:
    """The condition on TABLE for these statements, byte by byte; the row of what found no room there is always in."""
    which = (f"{digest}.{schema.encode().hex()}" if schema else digest for schema, digest in statements if digest)
    return f"CONCAT_WS('.', DIGEST, LOWER(HEX(SCHEMA_NAME))) IN ({_literals(which)}) OR DIGEST IS NULL"


def _literals(values: Iterable[str]) -> str:
    """A list that is one statement to the server however long it is: no digest of ours for each length.

    Nothing but letters, digits and dots is in it, whatever names there are, and whatever quotes mean to the session.
    """
    return ", ".join(f"'{value}'" for value in ("", *values) if not _ODD.search(value))
