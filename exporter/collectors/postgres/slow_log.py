"""What PostgreSQL's log tells: slow statements, errors, deadlocks and temporary files."""

from __future__ import annotations

from exporter.declare import Collector, Query
from exporter.gates import pg
from exporter.subjects.logs import measures
from exporter.subjects.logs.files import HEAD_BYTES
from exporter.subjects.logs.postgres import SETTINGS, THRESHOLDS, reader
from exporter.subjects.logs.postgres_over_sql import MOST_BYTES, LogOverSQL
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
