"""When the server started and which version it is, in the existing exporter's words."""

from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

server = Collector(
    name="pg_server",
    about="When the server started and which version it is.",
    engine="postgres",
    queries=(
        Query(
            pg(13),
            """
            SELECT extract(epoch FROM pg_postmaster_start_time())::float8 AS started, 1 AS one, version() AS version,
                   regexp_replace(current_setting('server_version'), '^([0-9]+)\\.([0-9]+).*', '\\1.\\2.0') AS short""",
        ),
    ),
    blocks=(
        block(
            gauge("pg_postmaster_start_time_seconds", "started", help="When the server started.", drop_in=True),
        ),
        block(
            gauge("pg_static", "one", help="1; the server's version.", drop_in=True),
            labels={"short_version": "short", "version": "version"},
        ),
    ),
)
