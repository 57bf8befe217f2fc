"""Settings in base units, against what SHOW says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from exporter.engines.deadline import Deadline
from tests.providers.base import DatabaseServer, wait_for
from tests.servers.collecting import watching

pytestmark = pytest.mark.engine("postgres")
# Texts as SHOW prints them, read by the server's own functions: nothing here knows a unit.
_SHOWN = """
    SELECT name, unit IS NOT NULL AS has_unit, vartype, current_setting(name) AS shown,
           CASE WHEN unit ~ 'B$' AND current_setting(name) <> '-1'
                THEN pg_size_bytes(regexp_replace(current_setting(name), '(\\d)B$', '\\1 bytes'))::float8
                WHEN unit IS NOT NULL AND unit !~ 'B$' AND current_setting(name) <> '-1'
                THEN extract(epoch FROM current_setting(name)::interval)::float8 END AS amount,
           CASE WHEN unit ~ 'B$' THEN '_bytes' WHEN unit IS NOT NULL THEN '_seconds' ELSE '' END AS ending
    FROM pg_settings WHERE vartype IN ('bool', 'integer', 'real')"""
# The session that asks here is another one than the exporter's, and its driver may set something.
_OF_SESSIONS = {"transaction_isolation", "extra_float_digits"}


def test_every_number_and_switch_is_there_in_base_units(server: DatabaseServer) -> None:
    with watching(server) as watch:
        samples = watch.run("pg_settings")
    found = {name: value for name, labels, value in samples.all if not labels}
    expected: dict[str, float] = {"pg_settings_pending_restart": 0, "pg_settings_changes_total": 0}
    for name, has_unit, vartype, shown, amount, ending in server.execute(_SHOWN):
        value: Any = amount
        if vartype == "bool":
            value = float(shown == "on")
        elif not has_unit or amount is None:
            value = float(shown)
        expected[f"pg_settings_{name.replace('.', '_')}{ending}"] = value
    ours = {name: value for name, value in found.items() if name.removeprefix("pg_settings_") not in _OF_SESSIONS}
    # What a new session has, not what ours has set for itself.
    assert expected["pg_settings_statement_timeout_seconds"] == 0
    assert ours == {name: pytest.approx(expected[name], rel=1e-9) for name in ours}
    assert set(found) == set(expected)
    assert len(found) > 200


def test_settings_of_an_account_are_its_own(server: DatabaseServer) -> None:
    account = server.account("ALTER ROLE exporter SET work_mem = '7MB'", "ALTER ROLE exporter SET lock_timeout = '9s'")
    with watching(server, account) as watch:
        samples = watch.run("pg_settings")
    assert samples.one("pg_settings_work_mem_bytes") == 7 * 1024 * 1024
    assert samples.one("pg_settings_lock_timeout_seconds") == 9


def test_what_waits_for_a_restart(server: DatabaseServer) -> None:
    def pending() -> set[str]:
        return {name for (name,) in server.execute("SELECT name FROM pg_settings WHERE pending_restart")}

    server.execute("ALTER SYSTEM SET max_connections = 41")
    try:
        server.execute("SELECT pg_reload_conf()")
        assert wait_for(lambda: pending() == {"max_connections"}, 10)
        with watching(server) as watch:
            samples = watch.run("pg_settings")
        assert samples.by("pg_settings_pending_restart_info", "setting") == {"max_connections": 1}
        assert samples.one("pg_settings_pending_restart") == 1
        # The value is the one that holds until then.
        assert samples.one("pg_settings_max_connections") == 40
    finally:
        server.execute("ALTER SYSTEM RESET max_connections")
        server.execute("SELECT pg_reload_conf()")
        assert wait_for(lambda: pending() == set(), 10)


def test_changes_are_counted_whatever_the_setting_is(server: DatabaseServer) -> None:
    with watching(server) as watch:

        def changes() -> float:
            return watch.run("pg_settings").one("pg_settings_changes_total")

        before = changes()
        assert changes() == before
        try:
            server.execute("ALTER SYSTEM SET log_line_prefix = 'changed %p '")
            server.execute("ALTER SYSTEM SET work_mem = '5MB'")
            server.execute("SELECT pg_reload_conf()")
            assert wait_for(lambda: changes() == before + 2, 10)
        finally:
            server.execute("ALTER SYSTEM RESET log_line_prefix")
            server.execute("ALTER SYSTEM RESET work_mem")
            server.execute("SELECT pg_reload_conf()")
        # Our session is told a moment later than others, of both at once.
        told = "SELECT setting FROM pg_settings WHERE name = 'work_mem'"
        assert wait_for(lambda: watch.session.run(told, Deadline.after(10)).rows != [("5120",)], 10)
        # Another server may have what it likes.
        facts = watch.facts()
        watch.forget()
        another = replace(facts, identity=replace(facts.identity, system="another"))
        assert watch.run("pg_settings", another).one("pg_settings_changes_total") == before + 2


def test_what_changes_with_a_restart_counts(
    fresh_server: Callable[..., DatabaseServer], server: DatabaseServer
) -> None:
    made = fresh_server(server.name, {})
    account = made.account()
    with watching(made, account) as watch:
        before = watch.run("pg_settings").one("pg_settings_changes_total")
        made.execute("ALTER SYSTEM SET max_connections = 41")
        made.execute("ALTER SYSTEM SET max_worker_processes = 11")
        made.restart()
        watch.forget()
        watch.session.close()
        watch.session = watch.engine.connect(watch.config, Deadline.after(10))
        after = watch.run("pg_settings")
    assert after.one("pg_settings_max_connections") == 41
    assert after.one("pg_settings_changes_total") == before + 2


def test_faulty_lines_of_configuration_files_for_those_who_may_see_them(
    fresh_server: Callable[..., DatabaseServer], server: DatabaseServer
) -> None:
    made = fresh_server(server.name, {})
    functions = ("pg_hba_file_rules", "pg_show_all_file_settings")
    may = made.account(*(f"GRANT EXECUTE ON FUNCTION {function}() TO exporter" for function in functions))
    [(path,)] = made.execute("SHOW hba_file")
    [(rules,)] = made.execute("SELECT count(*) FROM pg_hba_file_rules WHERE error IS NULL")
    with watching(made, may) as watch:
        whole = watch.run("pg_hba_file_rules")
        assert not watch.run("pg_file_settings").one("pg_file_settings_errors")
        lines = "SELECT unnest(ARRAY['', 'host all', 'local all nobody reject'])"
        made.execute(f"""COPY ({lines}) TO PROGRAM 'cat >> "{path}"'""")
        # Applied to nothing until somebody reloads it, and seen now.
        made.execute("ALTER SYSTEM SET max_connections = 41")
        faulty = watch.run("pg_hba_file_rules")
        made.execute("SELECT pg_reload_conf()")
        applied = "SELECT pending_restart FROM pg_settings WHERE name = 'max_connections'"
        assert wait_for(lambda: made.execute(applied)[0][0], 10)
        assert watch.run("pg_file_settings").one("pg_file_settings_errors") == 1
        again = watch.run("pg_hba_file_rules")
    assert [whole.one(f"pg_hba_file_{name}") for name in ("rules", "errors", "changes_total")] == [rules, 0, 0]
    assert [faulty.one(f"pg_hba_file_{name}") for name in ("rules", "errors", "changes_total")] == [rules + 1, 1, 1]
    assert again.one("pg_hba_file_changes_total") == 1
    with watching(made) as watch:
        made.execute("REVOKE EXECUTE ON FUNCTION pg_hba_file_rules() FROM exporter")
        assert not watch.run("pg_hba_file_rules").all
