"""Settings of the server that are numbers or switches, and those that wait for a restart."""

from __future__ import annotations

from exporter.declare import Collector, Context, Query, Rows, block, counter, gauge
from exporter.facts import Identity
from exporter.gates import pg

# Our own session has timeouts of its own, so that what a new session would have is told: reset_val. Only in these two
# the server overrides that, by the transaction: as the account's transactions are when nobody says otherwise.
_SQL = r"""
    WITH told AS (
        SELECT name, context, vartype, unit, pending_restart::int AS pending,
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
           -- What nobody can set, such as the version, is no change when it changes.
           CASE WHEN context <> 'internal' THEN told END AS told,
           CASE WHEN vartype IN ('bool', 'integer', 'real')
                THEN replace(name, '.', '_') || coalesce('_' || base, '') END AS metric,
           CASE WHEN vartype = 'bool' THEN (told = 'on')::int::float8
                WHEN vartype NOT IN ('integer', 'real') THEN NULL
                -- -1 says "none" or "as another one", whatever the unit.
                WHEN told::numeric = -1 OR base IS NULL THEN told::float8
                ELSE (told::numeric * factor * coalesce(substring(told.unit FROM '^\d+')::numeric, 1))::float8
           END AS value
    FROM told LEFT JOIN units ON units.unit = ltrim(told.unit, '0123456789')"""


class Changes:
    """Counts settings that have another value than at the last reading: text, of which there are no series, too."""

    def __init__(self) -> None:
        self._changes = 0
        self._last: dict[str, str | None] = {}
        self._whose: Identity | None = None

    def feed(self, rows: Rows, context: Context) -> Rows:
        """The rows, of which name and told are looked at, with the count so far in the column changes."""
        name, told = rows.columns.index("name"), rows.columns.index("told")
        now = {row[name]: row[told] for row in rows.rows}
        whose = context.facts.identity
        if self._whose is not None and self._whose.replaced_by(whose):
            # Another server has other settings, which is no change.
            self._last = {}
        self._whose = whose
        # What an extension brings with it or takes away is no change.
        self._changes += sum(now[known] != value for known, value in self._last.items() if known in now)
        self._last = now
        return Rows((*rows.columns, "changes"), [(*row, self._changes) for row in rows.rows])

    def rebase(self) -> None:
        """Nothing is forgotten at a restart, with which the weightiest settings change; `feed` sees who answers."""


settings = Collector(
    name="pg_settings",
    about="Settings that are numbers or switches, in base units, and those that wait for a restart.",
    engine="postgres",
    every=60,
    queries=(Query(pg(13), _SQL),),
    state=Changes,
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
            counter(
                "pg_settings_changes_total",
                "changes",
                help="Settings that changed since the exporter began to look, those that are text among them.",
            ),
            merge="max",
        ),
        block(
            gauge("pg_settings_pending_restart_info", "waits", help="1; a setting that waits for a restart."),
            labels={"setting": "name"},
        ),
    ),
)
