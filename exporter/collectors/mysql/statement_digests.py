"""Single statements: calls, time, rows, temporary tables and errors of each that is among the foremost of late."""

from exporter.collectors.mysql.performance_schema import READABLE
from exporter.declare import Collector, Query, block, counter, gauge, summary
from exporter.gates import mariadb, mysql
from exporter.subjects.statements.digests import LOOK, NUMBERS, TrackedDigests

_PREFIX = "mysql_perf_schema_events_statements_"

statement_digests = Collector(
    name=TrackedDigests.name,
    about="Calls, time, rows and more of single statements, the foremost of late, from the digests of "
    "performance_schema; `statements:` in the config says how many and where their texts are.",
    engine="mysql",
    every=15,
    core_share=0.003,
    timeout=30,
    when=(mysql(8) | mariadb(10, 6)) & READABLE,
    queries=(Query(mysql(8) | mariadb(10, 6), LOOK),),
    blocks=(
        block(
            *(
                counter(_PREFIX + name, name, help=number.help, when=number.when, drop_in=True)
                for name, number in NUMBERS.items()
            ),
            summary(
                f"{_PREFIX}latency",
                "latency",
                help="How long calls took, with quantiles of all since the statement was first seen (MySQL).",
                drop_in=True,
            ),
            labels=("schema", "digest", "digest_text"),
            optional=("digest_text",),
        ),
        block(
            gauge("mysql_statement_info", "known", help="1; the text of a statement, as `statements.text` wants it."),
            labels={"digest": "digest", "digest_text": "text"},
            merge="max",
        ),
    ),
    state=TrackedDigests,
    grants=("SELECT ON performance_schema.*",),
)
