"""How often each error was raised, by its name: which of them stands behind failed statements and refused sessions."""

from exporter.collectors.busiest import busiest
from exporter.collectors.mysql.performance_schema import READABLE
from exporter.declare import Collector, Query, block, counter
from exporter.gates import mysql

errors = Collector(
    name="mysql_errors",
    about="Errors and warnings that were raised since the server started, by name and number.",
    engine="mysql",
    every=60,
    core_share=0.001,
    share=0.05,
    # For each error that a session can get the server looks through all sessions and accounts: 1.5 ms of its CPU time
    # when there are none (9.7), 10 with 1,000 that have had no error and 23 with 1,000 that have.
    default=False,
    when=mysql(8) & READABLE,
    queries=(
        Query(
            mysql(8),
            # Of several thousand that a server knows few ever happen. Those that it has no room to tell apart have
            # neither name nor number. SUM_ERROR_HANDLED stays 0 (9.7): a handled error is not counted at all.
            """
            SELECT COALESCE(ERROR_NAME, 'other') AS error, COALESCE(ERROR_NUMBER, '') AS number,
                   SUM_ERROR_RAISED AS raised
            FROM performance_schema.events_errors_summary_global_by_error
            WHERE SUM_ERROR_RAISED > 0""",
        ),
    ),
    state=busiest("error", by=("raised",)),
    blocks=(
        block(
            counter(
                "mysql_errors_raised_total",
                "raised",
                help="Times the error or warning was raised, but for those that a handler of a stored program took.",
            ),
            labels=("error", "number"),
        ),
    ),
    grants=("SELECT ON performance_schema.*",),
)
