"""An account without pg_monitor: the server hides what others do instead of refusing, and hidden is not zero."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.exporters import Exporter, server_entry
from tests.providers.base import DatabaseServer

HIDDEN = (
    "db_connections",
    "db_transaction_longest_seconds",
    "db_statement_longest_seconds",
    "db_lock_waiting_sessions",
    "db_role_connections",
    "db_replication_running",
    "db_replication_lag_seconds",
    "pg_stat_activity_count",
    "pg_replication_lag_seconds",
)


@pytest.mark.engine("postgres")
@pytest.mark.parametrize("role", ["primary", "standby"])
def test_what_the_account_may_not_see_is_absent(
    server: DatabaseServer, replica: DatabaseServer, tmp_path: Path, role: str
) -> None:
    account = server.account(name="bare_account", limit=3)
    server.execute("REVOKE pg_monitor FROM bare_account")
    replica.wait_until_caught_up()
    asked = server if role == "primary" else replica
    try:
        with asked.connect() as other, Exporter(tmp_path, {"servers": [server_entry(asked, account)]}) as running:
            other.execute("BEGIN")
            page = running.scrape(asked.name)
            log = running.log()
    finally:
        server.execute("DROP ROLE bare_account")
    assert page.value("db_up") == 1
    assert {name for name in HIDDEN if page.has(name)} == set()
    # Limits are no secret, and a configured value is never absent.
    assert page.value("db_connections_max") == float(asked.execute("SHOW max_connections")[0][0])
    failures = page.failures(asked.name)
    assert {failures.get(name) for name in ("pg_activity", "pg_lock_waits", "pg_replication")} == {"permission"}
    assert "GRANT pg_monitor TO bare_account;" in log
