"""Single statements: calls, time, rows, I/O, temporary files, WAL and more of those that are the foremost of late."""

from exporter.declare import Collector, Query, block, counter, gauge
from exporter.subjects.statements.tracked_postgres import LONGEST, LOOK, OURS, THEIRS, TrackedStatements, since

_PREFIX = "pg_stat_statements_"

single_statements = Collector(
    name=TrackedStatements.name,
    about="Calls, time, rows, I/O and more of single statements, the foremost of late, from pg_stat_statements; "
    "`statements:` in the config says how many and where their texts are.",
    engine="postgres",
    every=15,
    when=since(1, 8),
    queries=(Query(since(1, 8), LOOK),),
    blocks=(
        block(
            *(
                counter(_PREFIX + name, name, help=number.help, when=number.when, drop_in=True)
                for name, number in THEIRS.items()
            ),
            *(counter(_PREFIX + name, name, help=number.help, when=number.when) for name, number in OURS.items()),
            gauge(f"{_PREFIX}longest_seconds", "longest", help=LONGEST.help),
            labels={"user": "user", "datname": "datname", "queryid": "queryid", "query": "digest_text"},
            optional=("query",),
        ),
        block(
            gauge(
                f"{_PREFIX}query_id",
                "known",
                help="1; the text of a statement, as `statements.text` wants it, without literals.",
                drop_in=True,
            ),
            labels={"queryid": "queryid", "query": "text"},
            merge="max",
        ),
        block(
            gauge(
                f"{_PREFIX}left_out",
                "left_out",
                help="Statements of others than the exporter that have no series of their own, since there is room for "
                "`statements.limit` or the config leaves them out.",
            ),
            merge="max",
        ),
    ),
    state=TrackedStatements,
    grants=("pg_monitor",),
)
