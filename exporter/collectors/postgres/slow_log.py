"""What PostgreSQL's log tells: slow statements, errors, deadlocks and temporary files."""

from __future__ import annotations

from exporter.declare import Collector, Query
from exporter.gates import pg
from exporter.subjects.logs import measures
from exporter.subjects.logs.files import HEAD_BYTES
from exporter.subjects.logs.postgres import SETTINGS, THRESHOLDS, reader
from exporter.subjects.logs.postgres_over_sql import MOST_BYTES, LogOverSQL
from exporter.subjects.logs.postgres_theirs import HIDING
from exporter.subjects.logs.reader import SHOWN

_NAMES = ", ".join(f"'{name}'" for name in SETTINGS)
# Of the settings that rule from how long on a statement is in the log those that are our session's own.
_OWN = f"""
            FROM pg_settings
            WHERE name IN ({", ".join(f"'{name}'" for name in THRESHOLDS)})
              AND source IN ('database', 'user', 'database user')"""
_RESET = """
                   CASE source WHEN 'database' THEN 'ALTER DATABASE ' || quote_ident(current_database())
                               WHEN 'user' THEN 'ALTER ROLE ' || quote_ident(session_user)
                               ELSE 'ALTER ROLE ' || quote_ident(session_user)
                                    || ' IN DATABASE ' || quote_ident(current_database())
                   END || ' RESET ' || name"""
# What others have for their roles and databases, each with the beginning of the statement that ends it.
_THEIRS = f"""
            SELECT 'theirs' AS kind, item AS name,
                   CASE WHEN setrole = 0 THEN 'ALTER DATABASE ' || quote_ident(datname)
                        ELSE 'ALTER ROLE ' || quote_ident(rolname)
                             || coalesce(' IN DATABASE ' || quote_ident(datname), '')
                   END AS value
            FROM pg_db_role_setting
            CROSS JOIN unnest(setconfig) AS item
            LEFT JOIN pg_database ON pg_database.oid = setdatabase
            LEFT JOIN pg_roles ON pg_roles.oid = setrole
            WHERE split_part(item, '=', 1) IN ({", ".join(f"'{name}'" for name in HIDING)})
              AND (setdatabase = 0 OR datallowconn)
              AND (setrole = 0 OR rolcanlogin)
              AND (setrole <> 0 OR setdatabase <> 0)"""

slow_log = Collector(
    name="pg_slow_log",
    about="Slow statements, errors, deadlocks and temporary files from the server's log, where slow_log is configured.",
    engine="postgres",
    every=15,
    limit=SHOWN,
    default=False,
    queries=(
        Query(
            pg(13),
            f"""
            SELECT 'setting' AS kind, name, setting AS value FROM pg_settings WHERE name IN ({_NAMES})
            UNION ALL
            SELECT 'own', name, {_RESET} {_OWN}
            UNION ALL {_THEIRS}
            UNION ALL
            SELECT 'database', datname, NULL FROM pg_database WHERE datallowconn""",
        ),
    ),
    blocks=measures.POSTGRES,
    state=reader,
)

over_sql = Collector(
    name="pg_slow_log_over_sql",
    about="The same as pg_slow_log, read over SQL by a helper, where slow_log: sql is configured.",
    engine="postgres",
    every=15,
    limit=SHOWN,
    default=False,
    queries=(
        Query(
            pg(13),
            f"""
            SELECT 'setting' AS kind, name, setting AS value, NULL::float8 AS number, NULL::float8 AS written
            FROM pg_settings WHERE name IN ({_NAMES})
            UNION ALL
            SELECT 'own', name, {_RESET}, NULL, NULL {_OWN}
            UNION ALL
            SELECT kind, name, value, NULL, NULL FROM ({_THEIRS}) AS theirs
            UNION ALL
            SELECT 'database', datname, NULL, NULL, NULL FROM pg_database WHERE datallowconn
            UNION ALL
            SELECT 'file', name, NULL, size, extract(epoch FROM modification) FROM pg_ls_logdir()
            UNION ALL
            SELECT 'head', name, encode(database_exporter.read_log(name, 0, {HEAD_BYTES}), 'base64'), NULL, NULL
            FROM unnest(string_to_array({{heads}}, '/')) AS name
            UNION ALL
            SELECT 'bytes', {{file}}::text,
                   encode(database_exporter.read_log({{file}}, {{offset}}, {MOST_BYTES}), 'base64'), {{offset}}, NULL
            WHERE {{file}} <> ''""",
        ),
    ),
    blocks=measures.POSTGRES,
    state=LogOverSQL,
)
