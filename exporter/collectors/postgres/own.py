"""Whose sessions are counted: not the exporter's own, and none where the server hides what the others do."""

from exporter.gates import granted

# Without it the server does not refuse: it shows other sessions, receivers and senders with everything blank, which
# counts as idle, as not streaming, as nothing. A number that is wrong is worse than none.
SEES_OTHERS = granted("pg_read_all_stats", fix="GRANT pg_monitor TO {account};")

# All of ours carry one application name and one user: those of the session that asks.
NOT_OURS = (
    "NOT (application_name = pg_catalog.current_setting('application_name')"
    " AND usename IS NOT DISTINCT FROM session_user)"
)


def clients_of(column: str) -> str:
    """SQL of a table: for each value of a column of pg_stat_activity how many sessions of clients have it (taken)."""
    return f"""(SELECT {column}, count(*) AS taken FROM pg_stat_activity
                WHERE backend_type = 'client backend' AND {NOT_OURS} GROUP BY 1)"""
