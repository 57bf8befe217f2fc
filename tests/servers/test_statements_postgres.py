"""PostgreSQL's statements in total: exact under load, whole over reset, eviction and re-creation."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from exporter.engines.deadline import Deadline
from exporter.failure import Reason
from exporter.polling.snapshot import State
from tests.providers.base import DatabaseServer, wait_for
from tests.providers.tools import tool
from tests.servers.statement_runs import Watch, watching

NAME = "statement totals"
pytestmark = pytest.mark.engine("postgres")


@pytest.fixture
def database(server: DatabaseServer) -> Iterator[str]:
    """Give a database of this test's own, named awkwardly."""
    server.execute(f'DROP DATABASE IF EXISTS "{NAME}" WITH (FORCE)')
    server.execute(f'CREATE DATABASE "{NAME}"')
    yield NAME
    server.execute(f'DROP DATABASE IF EXISTS "{NAME}" WITH (FORCE)')


@pytest.fixture
def watch(server: DatabaseServer, database: str) -> Iterator[Watch]:
    with watching(server) as found:
        yield found


def own_account(server: DatabaseServer, database: str) -> tuple[int, float]:
    """Calls and milliseconds that the server has for a database, over every entry of what clients sent."""
    [(version,)] = server.execute("SELECT extversion FROM pg_extension WHERE extname = 'pg_stat_statements'")
    sent = "toplevel" if version != "1.8" else "true"
    [(calls, time)] = server.execute(
        "SELECT coalesce(sum(calls), 0)::bigint, coalesce(sum(total_exec_time), 0)::float8 "
        # Without the texts: those that other tests leave behind may be in no encoding at all.
        "FROM pg_stat_statements(false) s "
        f"JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = %s AND {sent}",
        params=(database,),
    )
    return calls, time


def calls(watch: Watch, database: str) -> float:
    return watch.look("pg_statements")("db_statements_total", database=database)


def pgbench(server: DatabaseServer, database: str, *arguments: str) -> int:
    """Run pgbench; how many transactions it says that it has done."""
    done = subprocess.run(
        [tool("pgbench"), "-h", server.host, "-p", str(server.port), "-U", server.admin.user, *arguments, database],
        env={**os.environ, "PGPASSWORD": server.admin.password},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = re.search(r"transactions actually processed: (\d+)", done.stdout)
    return int(found[1]) if found else 0


def test_how_full_it_is(server: DatabaseServer, watch: Watch) -> None:
    held = "SELECT count(*) FROM pg_stat_statements(false)"
    [(before,)] = server.execute(held)
    look = watch.look("pg_statements_fill")
    [(after,)] = server.execute(held)
    assert 0 < before <= look("pg_stat_statements_entries") <= after
    assert look("pg_stat_statements_entries_max") == int(server.execute("SHOW pg_stat_statements.max")[0][0])


def test_under_pgbench_totals_grow_as_the_server_s_own(server, database, watch):
    pgbench(server, database, "-i", "-q", "-s", "1")
    before, first = own_account(server, database), watch.look("pg_statements")
    assert first("db_statements_total", database=database) == 0, "a restart of the exporter is no spike"
    transactions = pgbench(server, database, "-c", "4", "-t", "100", "-n")
    middle = watch.look("pg_statements")
    transactions += pgbench(server, database, "-c", "2", "-t", "100", "-n", "-M", "prepared")
    after, last = own_account(server, database), watch.look("pg_statements")
    grown = last("db_statements_total", database=database)
    assert grown == after[0] - before[0]
    assert transactions == 600
    # Some versions don't count BEGIN and END of prepared transactions.
    assert grown >= 5 * transactions
    assert 0 < middle("db_statements_total", database=database) < grown
    seconds = last("db_statement_seconds_total", database=database)
    assert seconds == pytest.approx((after[1] - before[1]) / 1000, rel=1e-6)
    assert last("db_slow_statement_threshold_seconds", source="statements") == 1


def test_a_reset_loses_nothing_that_was_seen_and_counts_what_came_after(server, database, watch):
    calls(watch, database)
    for _ in range(20):
        server.execute("SELECT 1", database)
    assert calls(watch, database) == 20
    server.execute("SELECT pg_stat_statements_reset()")
    assert calls(watch, database) == 20
    for _ in range(3):
        server.execute("SELECT 1", database)
    assert calls(watch, database) == 23


def test_a_statement_that_was_reset_and_came_back_busier(server, database, watch):
    """Only the entry's own creation time (from version 1.11 on) tells; without it the growth is a lower bound."""
    calls(watch, database)
    for _ in range(2):
        server.execute("SELECT 'busy'", database)
    assert calls(watch, database) == 2
    server.execute("SELECT pg_stat_statements_reset()")
    for _ in range(5):
        server.execute("SELECT 'busy'", database)
    knows = watch.facts.extensions["pg_stat_statements"].version >= (1, 11)
    found = calls(watch, database)
    assert found == 7 if knows else 5 <= found <= 7


def tells_nested(watch: Watch) -> bool:
    return watch.facts.extensions["pg_stat_statements"].version >= (1, 9)


def test_statements_inside_functions_are_not_counted_beside_their_caller(server, database, watch):
    with server.connect(database) as connection:
        connection.execute("SET pg_stat_statements.track = 'all'")
        connection.execute(
            "CREATE FUNCTION inner_call() RETURNS int LANGUAGE plpgsql "
            "AS 'BEGIN RETURN (SELECT count(*) FROM pg_class); END'"
        )
        connection.execute("SELECT inner_call()")
        before, base = own_account(server, database), calls(watch, database)
        # The same statement as inside the function: what the client sent itself is counted.
        for _ in range(3):
            connection.execute("SELECT count(*) FROM pg_class")
        for _ in range(4):
            connection.execute("SELECT inner_call()")
        grown = own_account(server, database)[0] - before[0]
        found = calls(watch, database) - base
        assert found == grown
        assert found == 7 if tells_nested(watch) else found >= 11


def test_a_client_s_time_is_counted_once_however_deep_it_was_spent(server, database, watch):
    with server.connect(database) as connection:
        connection.execute("SET pg_stat_statements.track = 'all'")
        connection.execute(
            "CREATE FUNCTION sleepy() RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.5); END'"
        )
        first = watch.look("pg_statements")
        started = time.monotonic()
        connection.execute("SELECT sleepy()")
        elapsed = time.monotonic() - started
        last = watch.look("pg_statements")

    def grown(name: str, **labels: str) -> float:
        return last(name, database=database, **labels) - first(name, database=database, **labels)

    seconds, slow = grown("db_statement_seconds_total"), grown("db_slow_statements_total", source="statements")
    if tells_nested(watch):
        assert 1.5 <= seconds <= elapsed
        assert (grown("db_statements_total"), slow) == (1, 1)
    else:
        assert (seconds >= 3, grown("db_statements_total"), slow) == (True, 2, 2)


def test_an_update_of_the_extension_makes_no_statements(server, database):
    server.execute("DROP EXTENSION pg_stat_statements")
    server.execute("CREATE EXTENSION pg_stat_statements VERSION '1.8'")
    [(newest,)] = server.execute(
        "SELECT default_version FROM pg_available_extensions WHERE name = 'pg_stat_statements'"
    )
    try:
        with watching(server) as watch:
            calls(watch, database)
            for _ in range(50):
                server.execute("SELECT 1", database)
            assert calls(watch, database) == 50
            server.execute("ALTER EXTENSION pg_stat_statements UPDATE")
            watch.learn()
            assert ".".join(map(str, watch.facts.extensions["pg_stat_statements"].version)) == newest
            assert calls(watch, database) == 50
            server.execute("SELECT 1", database)
            assert calls(watch, database) == 51
    finally:
        server.execute("DROP EXTENSION pg_stat_statements")
        server.execute("CREATE EXTENSION pg_stat_statements")


def test_a_slow_statement_counts_once_also_among_quick_ones(server, database, watch):
    def slow() -> float:
        return watch.look("pg_statements")("db_slow_statements_total", database=database, source="statements")

    with server.connect(database) as connection:
        connection.execute("SELECT pg_sleep(%s)", (0.01,))
        assert slow() == 0
        connection.execute("SELECT pg_sleep(%s)", (1.2,))
        for _ in range(30):
            connection.execute("SELECT pg_sleep(%s)", (0.001,))
        assert slow() == 1
        connection.execute("SELECT pg_sleep(%s)", (0.001,))
        assert slow() == 1
        connection.execute("SELECT pg_sleep(%s)", (1.1,))
        assert slow() == 2


def test_the_threshold_is_the_config_s(server, database):
    with watching(server, thresholds={"slow_statements": {"warning": 0.05}}) as watch:
        watch.look("pg_statements")
        server.execute("SELECT pg_sleep(0.1)", database)
        found = watch.look("pg_statements")
    assert found("db_slow_statement_threshold_seconds", source="statements") == 0.05
    assert found("db_slow_statements_total", database=database, source="statements") == 1


def test_a_dropped_database_vanishes_and_the_others_stay(server, database, watch):
    server.execute("SELECT 1", database)
    assert database in {labels["database"] for labels, _ in watch.look("pg_statements").all("db_statements_total")}
    server.execute(f'DROP DATABASE "{database}" WITH (FORCE)')
    left = {labels["database"] for labels, _ in watch.look("pg_statements").all("db_statements_total")}
    assert database not in left
    assert "postgres" in left


def test_statements_of_an_account_that_is_ours_alone_are_no_client_s(server, database):
    """One that may have no more connections than ours needs; any other may be somebody else's, too."""
    account = server.account()
    with watching(server, account) as watch:

        def grown(sleep: float = 0.0) -> list[float]:
            """Statements and slow ones in the database of our session, by a statement of ours."""
            before = watch.look("pg_statements")
            watch.session.run(f"SELECT pg_sleep({sleep})", Deadline.after(10))
            after = watch.look("pg_statements")
            return [
                after(name, **labels) - before(name, **labels)
                for name, labels in (
                    ("db_statements_total", {"database": "postgres"}),
                    ("db_slow_statements_total", {"database": "postgres", "source": "statements"}),
                )
            ]

        assert grown(1.1) == [0, 0]
        server.execute(f"ALTER ROLE {account.user} CONNECTION LIMIT -1")
        try:
            statements, slow = grown(1.1)
        finally:
            server.execute(f"ALTER ROLE {account.user} CONNECTION LIMIT 3")
    # And that of the reading before.
    assert (statements >= 2, slow) == (True, 1)


def test_an_account_that_sees_no_statements_of_others_is_told_what_to_grant(server, database):
    server.execute("SELECT 1", database)
    account = server.account("REVOKE pg_monitor FROM nobody", name="nobody")
    with watching(server, account) as watch:
        snapshot = watch.snapshot("pg_statements")
    assert snapshot.reason is Reason.PERMISSION
    assert snapshot.fix == "GRANT pg_monitor TO nobody;"
    assert not snapshot.families


@pytest.mark.parametrize("setting", ["compute_query_id = off", "pg_stat_statements.track = none"])
def test_a_server_that_records_no_statements_says_so_and_counts_none(
    server: DatabaseServer, database: str, setting: str
) -> None:
    name, _, value = setting.partition(" = ")
    if server.version < (14,) and name == "compute_query_id":
        # Such a server always computes it.
        assert server.execute(f"SELECT count(*) FROM pg_settings WHERE name = '{name}'") == [(0,)]
        return
    account = server.account(name="recorder")
    if name != "compute_query_id":
        # What is not recorded of the exporter says nothing of others.
        server.execute(f"ALTER ROLE recorder SET {setting}")
    with watching(server, account) as watch:
        before = calls(watch, database)
        server.execute("SELECT 1", database)
        assert calls(watch, database) == before + 1
    server.execute(f"ALTER ROLE recorder RESET {name}")
    server.execute(f"ALTER SYSTEM SET {setting}")
    try:
        server.execute("SELECT pg_reload_conf()")
        assert wait_for(lambda: server.execute(f"SHOW {name}") == [(value,)], 10)
        with watching(server, account) as watch:
            failed = watch.snapshot("pg_statements")
        assert (failed.state, failed.reason) == (State.UNSUPPORTED, Reason.MISSING_EXTENSION)
        assert failed.fix is not None
        for statement in filter(None, failed.fix.split("; ")):
            server.execute(statement)
        assert wait_for(lambda: server.execute(f"SHOW {name}") != [(value,)], 10)
        with watching(server, account) as watch:
            assert calls(watch, database) == 0
    finally:
        server.execute(f"ALTER SYSTEM RESET {name}")
        server.execute("SELECT pg_reload_conf()")


def test_invalid_bytes_in_one_statement_s_text_break_nothing(server, watch):
    server.execute('DROP DATABASE IF EXISTS "raw bytes"')
    server.execute("CREATE DATABASE \"raw bytes\" ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    try:
        calls(watch, "postgres")
        with server.connect("raw bytes") as connection:
            connection.execute("SET client_encoding = 'SQL_ASCII'")
            connection.execute(b'SELECT 1 AS "caf\xe9"')
        assert calls(watch, "raw bytes") >= 1
    finally:
        server.execute('DROP DATABASE "raw bytes"')
        # With such a text in it the server shows nobody any.
        server.execute("SELECT pg_stat_statements_reset()")


def test_the_extension_may_live_in_any_schema(server, database):
    server.execute('CREATE SCHEMA IF NOT EXISTS "my ""stats"', "postgres")
    server.execute('GRANT USAGE ON SCHEMA "my ""stats" TO pg_monitor', "postgres")
    server.execute('ALTER EXTENSION pg_stat_statements SET SCHEMA "my ""stats"', "postgres")
    try:
        with watching(server) as watch:
            calls(watch, database)
            server.execute("SELECT 1", database)
            assert calls(watch, database) == 1
            if watch.facts.version >= (14,):
                assert watch.look("pg_statements_info")("pg_stat_statements_deallocations_total") >= 0
    finally:
        server.execute("ALTER EXTENSION pg_stat_statements SET SCHEMA public", "postgres")
        server.execute('DROP SCHEMA "my ""stats"', "postgres")


def test_an_older_version_of_the_extension_still_counts(server, database):
    server.execute("DROP EXTENSION pg_stat_statements")
    server.execute("CREATE EXTENSION pg_stat_statements VERSION '1.8'")
    try:
        with watching(server) as watch:
            assert watch.facts.extensions["pg_stat_statements"].version == (1, 8)
            calls(watch, database)
            for _ in range(6):
                server.execute("SELECT 1", database)
            assert calls(watch, database) == 6
    finally:
        server.execute("DROP EXTENSION pg_stat_statements")
        server.execute("CREATE EXTENSION pg_stat_statements")


def test_evictions_neither_lower_totals_nor_count_twice(server: Any, fresh_server: Any):
    server = fresh_server(server.name, {"pg_stat_statements.max": "100"})
    server.execute("CREATE DATABASE evicting")
    done, last = 0, 0.0
    with watching(server) as watch:
        base = calls(watch, "evicting")
        assert base == 0
        with server.connect("evicting") as connection:
            for turn in range(12):
                for number in range(60):
                    connection.execute(("SELECT 1" + ", 1" * (turn * 40 + number)).encode())
                    done += 1
                found = calls(watch, "evicting")
                assert last <= found <= done
                last = found
        # 60 of 100 entries between two readings: most of what ran is seen.
        assert last > done / 2
        if watch.facts.version >= (14,):
            [(dealloc,)] = server.execute("SELECT dealloc FROM pg_stat_statements_info")
            assert dealloc > 0
            # Our own statement is one too many now and then.
            assert dealloc <= watch.look("pg_statements_info")("pg_stat_statements_deallocations_total") <= dealloc + 2
