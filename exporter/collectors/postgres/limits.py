"""How many connections the server takes, and how many of them are kept for administrators."""

from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Query, block
from exporter.gates import pg

limits = Collector(
    name="pg_connection_limits",
    about="How many connections the server takes, and how many of them are reserved.",
    engine="postgres",
    queries=(
        Query(
            pg(13),
            """
            SELECT total, superuser + coalesce(reserved, 0) AS closed
            FROM (SELECT current_setting('max_connections')::int AS total,
                         current_setting('superuser_reserved_connections')::int AS superuser,
                         current_setting('reserved_connections', true)::int AS reserved) settings""",
        ),
    ),
    blocks=(
        block(
            shared("db_connections_max", "total"),
            shared("db_connections_reserved", "closed"),
        ),
    ),
)
