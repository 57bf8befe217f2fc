"""Connections of each role that has a limit, and the limits."""

from exporter.collectors.postgres.own import SEES_OTHERS, clients_of
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

roles = Collector(
    name="pg_roles",
    about="Connection limits of roles, and how many connections each limited role has.",
    engine="postgres",
    queries=(
        Query(
            pg(13),
            f"""
            SELECT rolname, rolconnlimit, most, CASE WHEN most IS NOT NULL THEN coalesce(taken, 0) END AS taken
            FROM (SELECT oid, rolname, rolconnlimit,
                         -- The server does not hold superusers to theirs.
                         CASE WHEN rolconnlimit >= 0 AND rolcanlogin AND NOT rolsuper THEN rolconnlimit END AS most
                  FROM pg_roles) r
            LEFT JOIN {clients_of("usesysid")} a ON a.usesysid = r.oid""",
        ),
    ),
    blocks=(
        block(
            gauge(
                "pg_roles_connection_limit",
                "rolconnlimit",
                help="Connections that the role may have, -1 if it has no limit.",
                drop_in=True,
            ),
            labels=("rolname",),
        ),
        block(
            shared("db_role_connections", "taken", when=SEES_OTHERS),
            shared("db_role_connections_max", "most"),
            labels={"role": "rolname"},
        ),
    ),
)
