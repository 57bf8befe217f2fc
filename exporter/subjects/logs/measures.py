"""The metrics that come out of a slow query log, of whichever engine."""

from __future__ import annotations

from exporter.declare import Block, block, counter, gauge, histogram
from exporter.subjects.statements.measures import SLOW, THRESHOLD

# Seconds. Each database has this many series and three more.
BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)

# What the blocks are fed from; what is not known is None. A row is about a database, about a statement in one, about
# a class of errors in one, or about the log.
COLUMNS = (
    "database", "source", "slow", "threshold", "durations", "lock_seconds", "rows_examined", "rows_sent",
    "sqlstate_class", "errors", "deadlocks", "temporary_files", "temporary_bytes",
    "fingerprint", "executions", "seconds", "statement_lock_seconds", "statement_rows_examined",
    "statement_rows_sent", "queryid", "query", "info",
    "lines", "not_understood", "behind",
)  # fmt: skip

_OF_STATEMENT = (
    counter(
        "db_slow_statement_executions_total",
        "executions",
        help="Executions of a statement that db_slow_statements_total has from the log; of the busiest of late. What "
        "is not shown is the total less these.",
    ),
    counter(
        "db_slow_statement_seconds_total",
        "seconds",
        help="Time in those executions of a statement.",
    ),
)
_INFO = block(
    gauge(
        "db_slow_statement_info",
        "info",
        help="1; the text of a statement, without literals and comments; of what describes or changes the server the "
        "first word only. queryid is PostgreSQL's own, where the log carries it; empty where the text has several.",
    ),
    labels=("database", "fingerprint", "queryid", "query"),
)
_LOG = block(
    counter(
        "database_exporter_log_lines_total",
        "lines",
        help="Lines of the server's log that the exporter has read.",
    ),
    counter(
        "database_exporter_log_lines_not_understood_total",
        "not_understood",
        help="Lines of the server's log that the exporter could make nothing of: another format or log_line_prefix, "
        "another language, or the output of another program.",
    ),
    gauge(
        "database_exporter_log_behind_bytes",
        "behind",
        help="Bytes of the server's log that were there and not read when the last turn of reading ended.",
    ),
)
_HISTOGRAM = histogram(
    "db_slow_statement_duration_seconds",
    "durations",
    help="How long the statements took that the server's slow log holds, which are those over its own threshold.",
)

BLOCKS: tuple[Block, ...] = (
    SLOW,
    THRESHOLD,
    block(_HISTOGRAM, labels=("database",)),
    block(*_OF_STATEMENT, labels=("database", "fingerprint")),
    _INFO,
    _LOG,
)

MYSQL: tuple[Block, ...] = (
    *BLOCKS,
    block(
        counter(
            "mysql_slow_log_lock_seconds_total",
            "lock_seconds",
            help="Time that the statements of the slow log waited for locks.",
        ),
        counter(
            "mysql_slow_log_rows_examined_total",
            "rows_examined",
            help="Rows that the statements of the slow log looked at.",
        ),
        counter(
            "mysql_slow_log_rows_sent_total",
            "rows_sent",
            help="Rows that the statements of the slow log gave.",
        ),
        labels=("database",),
    ),
    block(
        counter(
            "mysql_slow_statement_lock_seconds_total",
            "statement_lock_seconds",
            help="Time that the executions of a statement in db_slow_statement_executions_total waited for locks.",
        ),
        counter(
            "mysql_slow_statement_rows_examined_total",
            "statement_rows_examined",
            help="Rows that the executions of a statement in db_slow_statement_executions_total looked at.",
        ),
        counter(
            "mysql_slow_statement_rows_sent_total",
            "statement_rows_sent",
            help="Rows that the executions of a statement in db_slow_statement_executions_total gave.",
        ),
        labels=("database", "fingerprint"),
    ),
)

POSTGRES: tuple[Block, ...] = (
    *BLOCKS,
    block(
        counter(
            "pg_log_errors_total",
            "errors",
            help="Messages of severity ERROR, FATAL and PANIC in the log, by the first two characters of their "
            "SQLSTATE; other for those that PostgreSQL itself doesn't have, empty where the log doesn't carry it. Each "
            "is 0 when it is first shown, so that rate() sees its first message, too.",
        ),
        labels=("database", "sqlstate_class"),
    ),
    block(
        counter("pg_log_deadlocks_total", "deadlocks", help="Deadlocks that the log tells of."),
        counter(
            "pg_log_temporary_files_total",
            "temporary_files",
            help="Temporary files that the log tells of: those of log_temp_files or more. Those of parallel workers "
            "are of no database.",
        ),
        counter("pg_log_temporary_file_bytes_total", "temporary_bytes", help="Bytes in those temporary files."),
        labels=("database",),
    ),
)
