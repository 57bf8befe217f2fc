"""Accounts that may do anything, and passwords that end."""

from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

accounts = Collector(
    name="pg_accounts",
    about="Accounts that are superusers, may bypass row security or create roles, and passwords that end.",
    engine="postgres",
    every=300,
    limit=500,
    queries=(
        Query(
            pg(13),
            """
            -- All are counted; only those that are named are bounded.
            WITH logins AS MATERIALIZED (
                SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolreplication,
                       CASE WHEN rolvaliduntil < 'infinity' THEN rolvaliduntil END AS ends
                FROM pg_roles WHERE rolcanlogin
            ), named AS (
                SELECT rolname, nullif(rolsuper::int, 0) AS is_super, extract(epoch FROM ends)::float8 AS ends
                FROM logins WHERE rolsuper OR ends IS NOT NULL
                ORDER BY rolsuper DESC, logins.ends LIMIT {limit}
            )
            SELECT count(*) AS one, count(*) FILTER (WHERE rolsuper) AS super,
                   count(*) FILTER (WHERE rolbypassrls) AS bypass, count(*) FILTER (WHERE rolcreaterole) AS creator,
                   count(*) FILTER (WHERE rolreplication) AS replicator,
                   NULL AS rolname, NULL::int AS is_super, NULL::float8 AS ends
            FROM logins
            UNION ALL
            SELECT NULL, NULL, NULL, NULL, NULL, rolname, is_super, ends FROM named""",
        ),
    ),
    blocks=(
        block(
            gauge("pg_login_roles", "one", help="Roles that may log in."),
            gauge("pg_login_roles_superuser", "super", help="Those among them that are superusers."),
            gauge("pg_login_roles_bypassrls", "bypass", help="Those among them that row security does not bind."),
            gauge("pg_login_roles_createrole", "creator", help="Those among them that may create roles."),
            gauge("pg_login_roles_replication", "replicator", help="Those among them that may replicate."),
            merge="max",
        ),
        block(
            gauge("pg_role_superuser", "is_super", help="1; a role that may log in and is superuser."),
            gauge(
                "pg_role_password_expiry_timestamp_seconds",
                "ends",
                help="Until when the password of a role is valid, where it ends.",
            ),
            labels=("rolname",),
        ),
    ),
)
