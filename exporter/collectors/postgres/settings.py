"""Settings of the server that are numbers or switches, and those that wait for a restart."""

from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# Our own session has timeouts of its own, so that what a new session would have is told: reset_val. Only in these two
# the server overrides that, by the transaction: as the account's transactions are when nobody says otherwise.
_SQL = r"""
    WITH told AS (
        SELECT name, vartype, unit, pending_restart::int AS pending,
               CASE WHEN name = 'transaction_read_only' AND pg_is_in_recovery() THEN 'on'
                    WHEN name IN ('transaction_read_only', 'transaction_deferrable')
                    THEN (SELECT reset_val FROM pg_settings d WHERE d.name = 'default_' || s.name)
                    WHEN source = 'session' THEN reset_val ELSE setting END AS told
        FROM pg_settings s
    ), units(unit, base, factor) AS (
        VALUES ('us', 'seconds', 0.000001), ('ms', 'seconds', 0.001), ('s', 'seconds', 1), ('min', 'seconds', 60),
               ('h', 'seconds', 3600), ('d', 'seconds', 86400), ('B', 'bytes', 1), ('kB', 'bytes', 1024),
               ('MB', 'bytes', 1048576), ('GB', 'bytes', 1073741824), ('TB', 'bytes', 1099511627776)
    )
    SELECT name, pending, CASE WHEN pending = 1 THEN 1 END AS waits,
           CASE WHEN vartype IN ('bool', 'integer', 'real')
                THEN replace(name, '.', '_') || coalesce('_' || base, '') END AS metric,
           CASE WHEN vartype = 'bool' THEN (told = 'on')::int::float8
                WHEN vartype NOT IN ('integer', 'real') THEN NULL
                -- -1 says "none" or "as another one", whatever the unit.
                WHEN told::numeric = -1 OR base IS NULL THEN told::float8
                ELSE (told::numeric * factor * coalesce(substring(told.unit FROM '^\d+')::numeric, 1))::float8
           END AS value
    FROM told LEFT JOIN units ON units.unit = ltrim(told.unit, '0123456789')"""

settings = Collector(
    name="pg_settings",
    about="Settings that are numbers or switches, in base units, and those that wait for a restart.",
    engine="postgres",
    every=60,
    queries=(Query(pg(13), _SQL),),
    blocks=(
        block(
            gauge(
                "pg_settings_",
                "value",
                help="The setting of this name, in base units as the name says, 1 for on and 0 for off.",
                drop_in=True,
            ),
            named_by="metric",
        ),
        block(
            gauge("pg_settings_pending_restart", "pending", help="Settings changed that wait for a restart."),
            merge="sum",
        ),
        block(
            gauge("pg_settings_pending_restart_info", "waits", help="1; a setting that waits for a restart."),
            labels={"setting": "name"},
        ),
    ),
)
