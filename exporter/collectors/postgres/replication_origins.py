"""How far changes from other servers were applied, by their origin."""

from exporter.declare import Collector, Query, block, gauge
from exporter.gates import granted, pg

replication_origins = Collector(
    name="pg_replication_origin_status",
    about="How far changes from other servers were applied; needs EXECUTE on a function that pg_monitor has not.",
    engine="postgres",
    default=False,
    when=pg(14)
    & granted(
        "pg_show_replication_origin_status",
        fix="GRANT EXECUTE ON FUNCTION pg_catalog.pg_show_replication_origin_status() TO {account};",
    ),
    queries=(
        Query(
            pg(14),
            """
            SELECT external_id, (remote_lsn - '0/0')::int8 AS remote, (local_lsn - '0/0')::int8 AS local
            FROM pg_show_replication_origin_status()""",
        ),
    ),
    blocks=(
        block(
            gauge(
                "pg_replication_origin_remote_lsn_bytes",
                "remote",
                help="Position on the origin up to which it was applied.",
            ),
            gauge("pg_replication_origin_local_lsn_bytes", "local", help="Position here at which that was written."),
            labels={"origin": "external_id"},
        ),
    ),
)
