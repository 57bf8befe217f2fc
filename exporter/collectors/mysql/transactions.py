"""Transactions that ended, those of a single autocommitted statement too, by how they ended."""

from __future__ import annotations

from exporter.collectors.mysql.performance_schema import READABLE
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Context, Query, Rows, block
from exporter.gates import Gate, mariadb, mysql, setting
from exporter.subjects.statements.blind import blindness, switched_off

# Com_commit knows no autocommit; Handler_commit counts each statement of a transaction, and each engine in it.
# performance_schema counts every transaction once, but not how it ended; how many ROLLBACKs there were is known too.
# What the server rolled back itself, as when a connection was lost, is not known, and counts as committed.
# Pools say ROLLBACK after each use, mostly where nothing is open: then no engine is asked to roll back, which
# Handler_rollback counts, once for each engine and the binary log. So at most as many of those count as rollbacks as
# others rolled back what they had written.
# Appliers of replicas work under the account of whoever started them, so they are told by their threads; these are gone
# with what they counted once they stop. They are found first: MySQL would begin with what every session has counted
# (with 1,000 of them 3.6 ms instead of 0.4).
# MariaDB has its instrument switched off, and then only transactions that wrote are known, from the binary log, and
# there COMMITs of appliers count too.
_INSTRUMENT: Gate = setting(
    "transaction_instrument",
    "YES",
    fix="UPDATE performance_schema.setup_instruments SET ENABLED = 'YES' WHERE NAME = 'transaction';",
)
_LOGGED: Gate = setting("log_bin", "ON", fix="log_bin in my.cnf, and a restart")
_SQL = f"""
    SELECT 'performance_schema' AS source,
           COALESCE((SELECT COUNT_STAR FROM performance_schema.events_transactions_summary_global_by_event_name
                     WHERE EVENT_NAME = 'transaction'), 0) AS ended,
           (SELECT COALESCE(SUM(s.COUNT_STAR), 0)
            FROM performance_schema.threads t
            STRAIGHT_JOIN performance_schema.events_transactions_summary_by_thread_by_event_name s
                ON s.THREAD_ID = t.THREAD_ID
            WHERE t.NAME LIKE 'thread/sql/replica\\_%' OR t.NAME LIKE 'thread/sql/slave\\_%'
               OR t.NAME LIKE 'thread/sql/rpl\\_parallel%') AS applied,
           NULL AS commits, NULL AS written, COUNT_STAR AS rollbacks,
           (SELECT VARIABLE_VALUE FROM performance_schema.global_status
            WHERE VARIABLE_NAME = 'Handler_rollback') AS handled
    FROM performance_schema.events_statements_summary_global_by_event_name
    WHERE EVENT_NAME = 'statement/sql/rollback'
{switched_off(7, digests=False)}"""
_STATUS = """
    SELECT 'status' AS source, NULL AS ended, NULL AS applied,
           SUM(IF(VARIABLE_NAME = 'COM_COMMIT', VARIABLE_VALUE, 0)) AS commits,
           SUM(IF(VARIABLE_NAME = 'BINLOG_COMMITS', VARIABLE_VALUE, 0)) AS written,
           SUM(IF(VARIABLE_NAME = 'COM_ROLLBACK', VARIABLE_VALUE, 0)) AS rollbacks,
           SUM(IF(VARIABLE_NAME = 'HANDLER_ROLLBACK', VARIABLE_VALUE, 0)) AS handled
    FROM information_schema.GLOBAL_STATUS
    WHERE VARIABLE_NAME IN ('COM_COMMIT', 'BINLOG_COMMITS', 'COM_ROLLBACK', 'HANDLER_ROLLBACK')"""
_FIGURES = ("ended", "applied", "commits", "written", "rollbacks", "handled")
# performance_schema adds these up over accounts and then over sessions: what one has done that ends meanwhile is in
# neither.
_UNSTEADY = ("ended", "rollbacks")


class Outcomes:
    """Commits and rollbacks of a server since the first reading, counted from how the server's figures grew.

    Each figure on its own: they are reset apart from each other, and of two the one that grew more may be the smaller.
    A pool that says ROLLBACK where no transaction is open makes more rollbacks than transactions that ended; taken
    from the totals, commits would then fall. Taken from what was added, they never do.
    """

    def __init__(self) -> None:
        self._source: str | None = None
        self._last: dict[str, int] = {}
        self._doubted = False
        self.committed = self.rolled_back = 0

    def feed(self, rows: Rows, context: Context) -> Rows:  # noqa: ARG002
        """Take one row, of source, ended, applied (by appliers, part of ended), rollbacks, and handled (by engines); or
        of commits and written (to the binary log) instead of the first two.

        Gives a row for each outcome.

        Raises:
            Failure: performance_schema is not told of what clients do.
        """
        if blind := blindness({row[0] for row in rows.rows}):
            self.rebase()
            raise blind
        for row in rows.dicts():
            now = {figure: int(row[figure]) for figure in _FIGURES if row[figure] is not None}
            # Another source counts otherwise: its figures begin a new comparison.
            if self._source == row["source"]:
                if self._is_doubtful(now):
                    continue
                self._count({figure: self._grown(figure, now) for figure in now})
            self._source, self._last = row["source"], now
        return Rows(("outcome", "transactions"), [("commit", self.committed), ("rollback", self.rolled_back)])

    def _is_doubtful(self, now: dict[str, int]) -> bool:
        """Whether something may be missing in a reading: a fall is a reset only if the next reading has it, too."""
        fell = "ended" in now and any(now[figure] < self._last[figure] for figure in _UNSTEADY)
        self._doubted = fell and not self._doubted
        return self._doubted

    def _grown(self, figure: str, now: dict[str, int]) -> int:
        before, value = self._last[figure], now[figure]
        if value < before and "ended" in now and figure in _UNSTEADY:
            # It was truncated, and what it shows came since.
            return value
        # Of several appliers one has gone; or FLUSH GLOBAL STATUS took off what sessions did that have ended. How much
        # of what is left came since is not known.
        return max(value - before, 0)

    def _count(self, added: dict[str, int]) -> None:
        undone = min(added["rollbacks"], added["handled"])
        if "ended" in added:
            ended = max(added["ended"] - added["applied"], 0)
            undone = min(undone, ended)
            self.committed += ended - undone
        else:
            self.committed += max(added["commits"], added["written"])
        self.rolled_back += undone

    def rebase(self) -> None:
        """Forget the last reading, keep the totals: the next reading is a baseline."""
        self._source, self._doubted = None, False


transactions = Collector(
    name="mysql_transactions",
    about="Transactions that were committed and rolled back.",
    engine="mysql",
    when=(mysql(8) & READABLE & _INSTRUMENT) | (mariadb(10, 6) & (_LOGGED | _INSTRUMENT)),
    queries=(
        Query((mysql(8) | mariadb(10, 6)) & _INSTRUMENT, _SQL),
        Query(mariadb(10, 6), _STATUS),
    ),
    state=Outcomes,
    blocks=(
        block(
            shared("db_transactions_total", "transactions"),
            labels=("outcome",),
        ),
    ),
    grants=("SELECT ON performance_schema.*",),
)
