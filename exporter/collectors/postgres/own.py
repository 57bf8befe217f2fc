"""Which sessions are the exporter's own: SQL that collectors of client work share."""

# All of ours carry one application name and one user: those of the session that asks.
NOT_OURS = (
    "NOT (application_name = pg_catalog.current_setting('application_name')"
    " AND usename IS NOT DISTINCT FROM session_user)"
)
