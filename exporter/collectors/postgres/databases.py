"""Databases: their connections against their limits, and what the config says about them."""

from exporter.collectors.configured import configured
from exporter.collectors.postgres.own import SEES_OTHERS, clients_of
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

databases = Collector(
    name="pg_databases",
    about="Connection limits of databases and their use; size limits and projects from the config.",
    engine="postgres",
    queries=(
        Query(
            pg(13),
            f"""
            SELECT datname, datconnlimit, most, CASE WHEN most IS NOT NULL THEN coalesce(taken, 0) END AS taken
            FROM (SELECT oid, datname, datconnlimit,
                         CASE WHEN datconnlimit >= 0 AND datallowconn THEN datconnlimit END AS most
                  FROM pg_database) d
            LEFT JOIN {clients_of("datid")} a ON a.datid = d.oid""",
        ),
    ),
    rows=configured("datname"),
    blocks=(
        block(
            gauge(
                "pg_database_connection_limit",
                "datconnlimit",
                help="Connections that the database takes: -1 if it has no limit, -2 if it is invalid.",
                drop_in=True,
            ),
            labels=("datname",),
        ),
        block(
            shared("db_database_connections", "taken", when=SEES_OTHERS),
            shared("db_database_connections_max", "most"),
            shared("db_size_limit_bytes", "size_limit"),
            labels={"database": "datname"},
        ),
        block(
            shared("db_project_info", "known"),
            labels={"database": "datname", "project": "project", "owner": "owner"},
        ),
    ),
)
