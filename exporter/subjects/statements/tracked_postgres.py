"""PostgreSQL: single statements, from pg_stat_statements."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from itertools import repeat
from operator import add

from exporter.collectors.recent import Key, Numbers
from exporter.declare import Context, Rows
from exporter.facts import Identity
from exporter.gates import Gate, extension
from exporter.subjects.statements.literals import without_literals
from exporter.subjects.statements.postgres import OWN, hidden
from exporter.subjects.statements.tracked import Number, Tracked

NAME = "pg_stat_statements"
# So many times as much is read of a text as may be shown, since it is shorter without its literals and comments.
_TEXTS_LONGER = 4
VIEW = f"{{schema:{NAME}}}.{NAME}"


def since(*version: int) -> Gate:
    """From a version of the extension on, which may be older than the server."""
    return extension(NAME, *version, preload=True)


def _if_on(setting: str, column: str, value: str) -> str:
    # It says 0 where nobody measures; what was measured earlier is still there.
    return f"CASE WHEN coalesce(current_setting('{setting}', true), 'off')::bool OR {column} > 0 THEN {value} END"


def _planned(column: str, value: str) -> str:
    return _if_on(f"{NAME}.track_planning", column, value)


def _timed(column: str) -> str:
    return _if_on("track_io_timing", column, f"{column} / 1000")


# By the ends of the names that postgres_exporter has for them. Times are in milliseconds in the view. {shared} is empty
# before 1.11, where temporary tables are in the same column.
THEIRS = {
    "calls_total": Number("calls", "Calls of the statement."),
    "seconds_total": Number("total_exec_time / 1000", "Time in the statement, without planning."),
    "rows_total": Number("rows", "Rows retrieved or changed."),
    "block_read_seconds_total": Number(
        "{shared}blk_read_time / 1000",
        "Time in reading blocks, before 1.11 of the extension of temporary tables too; 0 without track_io_timing.",
    ),
    "block_write_seconds_total": Number(
        "{shared}blk_write_time / 1000",
        "Time in writing blocks, before 1.11 of the extension of temporary tables too; 0 without track_io_timing.",
    ),
}
_UNTIMED = "absent without track_io_timing."
OURS = {
    "shared_blocks_hit_total": Number("shared_blks_hit", "Blocks found in the buffer cache."),
    "shared_blocks_read_total": Number("shared_blks_read", "Blocks read into the buffer cache."),
    "shared_blocks_dirtied_total": Number("shared_blks_dirtied", "Blocks changed that were clean."),
    "shared_blocks_written_total": Number("shared_blks_written", "Blocks written by the statement itself."),
    "local_blocks_read_total": Number("local_blks_read", "Blocks of temporary tables read."),
    "local_blocks_written_total": Number("local_blks_written", "Blocks of temporary tables written."),
    "local_block_read_seconds_total": Number(
        _timed("local_blk_read_time"), f"Time in reading blocks of temporary tables; {_UNTIMED}", since(1, 11)
    ),
    "local_block_write_seconds_total": Number(
        _timed("local_blk_write_time"), f"Time in writing blocks of temporary tables; {_UNTIMED}", since(1, 11)
    ),
    "temp_blocks_read_total": Number("temp_blks_read", "Blocks of temporary files read: sorts, hashes and the like."),
    "temp_blocks_written_total": Number("temp_blks_written", "Blocks of temporary files written."),
    "temp_block_read_seconds_total": Number(
        _timed("temp_blk_read_time"), f"Time in reading temporary files; {_UNTIMED}", since(1, 10)
    ),
    "temp_block_write_seconds_total": Number(
        _timed("temp_blk_write_time"), f"Time in writing temporary files; {_UNTIMED}", since(1, 10)
    ),
    "plans_total": Number(
        _planned("plans", "plans"), "Times that it was planned; absent without pg_stat_statements.track_planning."
    ),
    "plan_seconds_total": Number(
        _planned("plans", "total_plan_time / 1000"),
        "Time in planning; absent without pg_stat_statements.track_planning.",
    ),
    "wal_records_total": Number("wal_records", "WAL records."),
    "wal_full_page_images_total": Number("wal_fpi", "Whole pages in the WAL."),
    "wal_bytes_total": Number("wal_bytes::float8", "Bytes of WAL."),
    "wal_buffers_full_total": Number("wal_buffers_full", "Times that the WAL's buffers were full.", since(1, 12)),
    "jit_functions_total": Number("jit_functions", "Functions that JIT compiled.", since(1, 10)),
    "jit_seconds_total": Number(
        "(jit_generation_time + jit_inlining_time + jit_optimization_time + jit_emission_time) / 1000",
        "Time in JIT compilation, of all its steps.",
        since(1, 10),
    ),
    "parallel_workers_planned_total": Number(
        "parallel_workers_to_launch", "Parallel workers that were to be started.", since(1, 12)
    ),
    "parallel_workers_launched_total": Number(
        "parallel_workers_launched", "Parallel workers that were started.", since(1, 12)
    ),
}
LONGEST = Number("max_exec_time / 1000", "The longest call since the statement's statistics were reset.")

# In arrays, as ten thousand rows cost both sides several times as much; without the texts, see `texts`.
LOOK = f"""
SELECT userid, dbid, pg_get_userbyid(userid)::text AS "user", d.datname,
       {OWN} AS own,
       array_agg(queryid) AS queryids,
       array_agg(calls) AS calls, array_agg(total_exec_time) AS times,
       array_agg(shared_blks_read + shared_blks_written + local_blks_read + local_blks_written + temp_blks_read
                 + temp_blks_written) AS io
FROM {VIEW}(false) JOIN pg_database d ON d.oid = dbid
GROUP BY userid, dbid, d.datname"""


class TrackedStatements(Tracked):
    """Accumulates the statements chosen, with `user`, `datname`, the columns of THEIRS and OURS, `longest` and
    `left_out`, which is the same in all rows: how many others there are that are not our own.

    A statement inside a function counts with the same one that a client sent.
    """

    name = "pg_single_statements"
    shown_as = ("user", "datname")
    key = ("userid", "dbid", "queryid")
    largest = frozenset({"user", "datname", "longest"})
    texts_every = 300.0

    def __init__(self) -> None:
        super().__init__()
        # Statements that the config leaves out.
        self._unwanted = 0
        self._whose: Identity | None = None

    def ask(self, sql: str, answers: Sequence[Rows], context: Context) -> str | None:
        """See Tracked."""
        whose = context.facts.identity
        if self._whose is not None and self._whose.replaced_by(whose):
            super().rebase()
        self._whose = whose
        return super().ask(sql, answers, context)

    def rebase(self) -> None:
        """Nothing is forgotten at a restart, over which the server keeps its statistics; `ask` sees who answers."""

    def totals(self, looked: Rows, context: Context) -> dict[Key, Numbers]:
        """See Tracked.

        Raises:
            Failure: The account may not see whose statements these are.
        """
        wanted = context.server.statements
        totals: dict[Key, Numbers] = {}
        self._unwanted = 0
        for userid, dbid, user, database, own, queryids, *numbers in looked.rows:
            if None in queryids:
                raise hidden(context)
            if own:
                continue
            if user in wanted.exclude_users or database in wanted.exclude_databases:
                self._unwanted += len(set(queryids))
                continue
            keys = list(zip(repeat(userid), repeat(dbid), queryids, strict=False))
            found: dict[Key, Numbers] = dict(zip(keys, zip(*numbers, strict=True), strict=True))
            if len(found) < len(keys):
                found = {}
                for key, part in zip(keys, zip(*numbers, strict=True), strict=True):
                    found[key] = tuple(map(add, found[key], part)) if key in found else part
            totals |= found
        return totals

    def numbers(self, statements: Sequence[Key], context: Context) -> str:
        """See Tracked."""
        shared = "shared_" if since(1, 11).passes(context.facts) else ""
        columns = [
            f"{number.sql.replace('{shared}', shared)} AS {name}"
            for name, number in {**THEIRS, **OURS, "longest": LONGEST}.items()
            if number.when.passes(context.facts)
        ]
        # However many they are, to the server it is the same statement.
        userids, dbids, queryids = (_array(part) for part in zip(*statements, strict=True))
        wanted = f"SELECT * FROM unnest({userids}::oid[], {dbids}::oid[], {queryids}::int8[])"
        return f"""
            SELECT userid, dbid, queryid, pg_get_userbyid(userid)::text AS "user", d.datname, {", ".join(columns)}
            FROM {VIEW}(false) JOIN pg_database d ON d.oid = dbid
            WHERE (userid, dbid, queryid) IN ({wanted})"""

    def texts(self, ids: Sequence[Hashable], context: Context) -> str:
        """See Tracked. The server reads its whole file of texts for it, whichever are wanted, and all of it or none."""
        most = _TEXTS_LONGER * context.server.statements.text_bytes
        return f"""
            SELECT DISTINCT ON (queryid) queryid, left(query, {most}) FROM {VIEW}(true)
            WHERE queryid IN (SELECT unnest({_array(ids)}::int8[])) AND NOT {OWN}
            ORDER BY queryid, total_exec_time DESC"""

    def shaped(self, rows: Rows) -> Rows:
        """See Tracked."""
        left_out = self.left_out + self._unwanted
        return Rows((*rows.columns, "left_out"), [(*row, left_out) for row in rows.rows])

    def readable(self, text: str, context: Context) -> str:
        """See Tracked. The server leaves literals in what it does not plan, such as SET, COPY and DO."""
        return without_literals(text, cut=len(text) >= _TEXTS_LONGER * context.server.statements.text_bytes)


def _array(numbers: Iterable[Hashable]) -> str:
    return f"'{{{','.join(map(str, numbers))}}}'"
