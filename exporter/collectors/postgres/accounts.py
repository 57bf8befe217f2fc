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
            SELECT rolname, rolsuper::int AS super, rolbypassrls::int AS bypass, rolcreaterole::int AS creator,
                   rolreplication::int AS replicator, 1 AS one, CASE WHEN rolsuper THEN 1 END AS is_super,
                   CASE WHEN rolvaliduntil < 'infinity' THEN extract(epoch FROM rolvaliduntil)::float8 END AS ends
            FROM pg_roles WHERE rolcanlogin
            ORDER BY rolsuper DESC, rolvaliduntil LIMIT {limit}""",
        ),
    ),
    blocks=(
        block(
            gauge("pg_login_roles", "one", help="Roles that may log in."),
            gauge("pg_login_roles_superuser", "super", help="Those among them that are superusers."),
            gauge("pg_login_roles_bypassrls", "bypass", help="Those among them that row security does not bind."),
            gauge("pg_login_roles_createrole", "creator", help="Those among them that may create roles."),
            gauge("pg_login_roles_replication", "replicator", help="Those among them that may replicate."),
            merge="sum",
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
