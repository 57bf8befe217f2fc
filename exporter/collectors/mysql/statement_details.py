"""Single statements: how each of the foremost finds and sorts its rows, its longest call and its memory."""

from exporter.collectors.mysql.performance_schema import READABLE
from exporter.declare import Collector, Query, block, counter, gauge
from exporter.gates import mariadb, mysql
from exporter.subjects.statements.digests import DETAILS, LOOK, MAXIMA, DetailedDigests

_PREFIX = "mysql_perf_schema_events_statements_"

statement_details = Collector(
    name=DetailedDigests.name,
    about="Scans, joins and sorts, the longest call and the memory of single statements, the foremost of late, from "
    "the digests of performance_schema; `statements:` in the config says how many.",
    engine="mysql",
    every=60,
    core_share=0.002,
    timeout=30,
    # Up to 11 series for each statement, more than half as many again as it has without them.
    default=False,
    when=(mysql(8) | mariadb(10, 6)) & READABLE,
    queries=(Query(mysql(8) | mariadb(10, 6), LOOK),),
    blocks=(
        block(
            *(counter(_PREFIX + name, name, help=number.help, when=number.when) for name, number in DETAILS.items()),
            *(gauge(_PREFIX + name, name, help=number.help, when=number.when) for name, number in MAXIMA.items()),
            # The text as in mysql_statement_digests, which has mysql_statement_info for both.
            labels=("schema", "digest", "digest_text"),
            optional=("digest_text",),
        ),
    ),
    state=DetailedDigests,
    grants=("SELECT ON performance_schema.*",),
)
