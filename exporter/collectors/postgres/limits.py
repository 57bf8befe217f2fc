"""How many connections the server takes, and how many of them are kept for administrators or taken by us."""

from exporter.collectors.postgres.own import NOT_OURS
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
            # Our own sessions take slots and are in no count of clients: without them a full server is not full. Every
            # account sees its own; senders and workers have slots of their own.
            f"""
            SELECT total, superuser + coalesce(reserved, 0) + ours AS closed
            FROM (SELECT current_setting('max_connections')::int AS total,
                         current_setting('superuser_reserved_connections')::int AS superuser,
                         current_setting('reserved_connections', true)::int AS reserved) settings,
                 (SELECT count(*)::int AS ours FROM pg_stat_activity
                  WHERE backend_type = 'client backend' AND NOT ({NOT_OURS})) own""",
        ),
    ),
    blocks=(
        block(
            shared("db_connections_max", "total"),
            shared("db_connections_reserved", "closed"),
        ),
    ),
)
