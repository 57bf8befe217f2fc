"""Sessions on real PostgreSQL servers keep their limits and learn what is true."""

from __future__ import annotations

import pytest

from exporter.engines.deadline import Deadline
from exporter.engines.postgres.session import PostgresSession
from exporter.facts import Role
from exporter.failure import Reason
from tests.postgres_sessions import (  # noqa: F401 - fixtures among them
    ENGINE,
    Connect,
    config,
    connecting,
    deadline,
    failing,
    session_account,
    value,
)
from tests.providers.base import Account, DatabaseServer, wait_for

pytestmark = pytest.mark.engine("postgres")


def test_settings_are_in_force_and_seen_by_others(server: DatabaseServer, account: Account, connect: Connect) -> None:
    session = connect(config(server, account))
    assert not session.pooled
    expected = {
        "lock_timeout": "250ms",
        "idle_in_transaction_session_timeout": "5s",
        "default_transaction_read_only": "on",
        "search_path": "pg_catalog",
        "jit": "off",
        "max_parallel_workers_per_gather": "0",
        "application_name": "database_exporter",
    }
    if server.version >= (14,):
        expected["client_connection_check_interval"] = "1s"
    if server.version >= (15,):
        expected["stats_fetch_consistency"] = "none"
    assert {name: session.run(f"SHOW {name}", deadline()).rows[0][0] for name in expected} == expected
    pid = value(session, "pg_backend_pid()")
    seen = server.execute("SELECT application_name FROM pg_stat_activity WHERE pid = %s", params=(pid,))
    assert seen == [("database_exporter",)]


def test_the_role_has_settings_of_its_own_that_do_not_win(server: DatabaseServer, connect: Connect) -> None:
    role = server.account(
        "ALTER ROLE session_odd SET statement_timeout = 0",
        "ALTER ROLE session_odd SET search_path = public, pg_catalog",
        "ALTER ROLE session_odd SET default_transaction_read_only = off",
        "ALTER ROLE session_odd SET client_encoding = 'LATIN1'",
        name="session_odd",
    )
    session = connect(config(server, role))
    assert value(session, "current_setting('search_path')") == "pg_catalog"
    assert value(session, "current_setting('statement_timeout')") != "0"
    assert value(session, "'é€'") == "é€"


def test_the_server_gives_up_before_the_client(server: DatabaseServer, account: Account, connect: Connect) -> None:
    session = connect(config(server, account))
    # With a second or so between what the server is told and the client's own limit.
    for seconds in (2.9, 6.0):
        failure = failing(session.run, "SELECT pg_sleep(60)", deadline(seconds))
        assert (failure.reason, failure.broken) == (Reason.TIMEOUT, False)
    assert value(session, "1") == 1


def test_the_limit_is_set_anew_only_when_it_changes(server: DatabaseServer, account: Account, connect: Connect) -> None:
    session = connect(config(server, account))
    counted = (
        "SELECT calls FROM pg_stat_statements WHERE query ILIKE 'SET statement_timeout%%' AND userid = %s::regrole"
    )

    def settings_made() -> int:
        return sum(calls for (calls,) in server.execute(counted, params=(account.user,)))

    before = settings_made()
    for _ in range(20):
        session.run("SELECT 1", Deadline.after(6.5))
    assert settings_made() == before
    session.run("SELECT 1", Deadline.after(0.7))
    assert settings_made() == before + 1


def test_nothing_can_be_written(server: DatabaseServer, connect: Connect) -> None:
    server.execute("CREATE TABLE IF NOT EXISTS session_written (id serial)")
    session = connect(config(server))
    for statement in (
        "CREATE TABLE public.session_created ()",
        "CREATE TEMP TABLE session_created ()",
        "INSERT INTO public.session_written DEFAULT VALUES",
        "SELECT nextval('public.session_written_id_seq')",
    ):
        assert "read-only" in failing(session.run, statement, deadline()).message, statement
    assert server.execute("SELECT count(*) FROM session_written") == [(0,)]
    assert server.execute("SELECT count(*) FROM pg_class WHERE relname = 'session_created'") == [(0,)]


def test_a_lock_is_not_waited_for(server: DatabaseServer, connect: Connect) -> None:
    server.execute("CREATE TABLE IF NOT EXISTS session_locked ()")
    session = connect(config(server))
    with server.connect() as other, other.transaction():
        other.execute("LOCK TABLE session_locked IN ACCESS EXCLUSIVE MODE")
        failure = failing(session.run, "SELECT * FROM public.session_locked", deadline())
    assert (failure.reason, failure.broken) == (Reason.LOCK, False)
    assert session.run("SELECT * FROM public.session_locked", deadline()).rows == []


def test_no_time_left_is_no_query(server: DatabaseServer, connect: Connect) -> None:
    session = connect(config(server))
    failure = failing(session.run, "SELECT 1", deadline(0))
    assert (failure.reason, failure.broken) == (Reason.TIMEOUT, False)
    assert value(session, "1") == 1


def test_no_process_stays_when_a_session_is_closed(server: DatabaseServer, connect: Connect) -> None:
    session = connect(config(server))
    pid = value(session, "pg_backend_pid()")
    session.close()
    gone = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
    assert wait_for(lambda: server.execute(gone, params=(pid,)) == [(0,)], 10)
    assert failing(session.run, "SELECT 1", deadline()).reason is Reason.CONNECT


def test_identity_and_facts_are_what_the_server_says(
    server: DatabaseServer, account: Account, connect: Connect
) -> None:
    there = config(server, account)
    session = connect(there)
    identity = ENGINE.identify(session, deadline())
    [(system, start)] = server.execute(
        "SELECT system_identifier::text, extract(epoch FROM pg_postmaster_start_time())::float8 "
        "FROM pg_control_system()"
    )
    assert identity.system == system
    assert identity.start_time == pytest.approx(start)
    assert identity.role is Role.PRIMARY
    facts = ENGINE.learn(session, identity, there, deadline())
    assert facts.version == server.version
    assert facts.version_text == server.execute("SHOW server_version")[0][0]
    assert {"pg_monitor", "pg_read_all_stats", "pg_read_all_settings"} <= facts.grants
    assert "superuser" not in facts.grants
    assert facts.preloaded == {"pg_stat_statements"}
    assert facts.settings["max_connections"] == server.execute("SHOW max_connections")[0][0]
    [(version, schema)] = server.execute(
        "SELECT extversion, extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pg_stat_statements'"
    )
    found = facts.extensions["pg_stat_statements"]
    assert (".".join(map(str, found.version)), found.schema, found.database) == (version, schema, "postgres")


def test_without_its_identifier_a_server_is_known_by_its_address_and_asked_once(
    server: DatabaseServer, account: Account, connect: Connect
) -> None:
    server.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    try:
        session = connect(config(server, account))
        refusals = server.log_text().count("permission denied for function pg_control_system")
        first, second = (ENGINE.identify(session, deadline()) for _ in range(2))
        assert first.system == f"{server.host}:{server.port}"
        assert first.same_server(second)
        assert server.log_text().count("permission denied for function pg_control_system") == refusals + 1
    finally:
        server.execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")


def test_a_superuser_and_a_poor_account_are_told_apart(server: DatabaseServer, connect: Connect) -> None:
    rich, poor = (
        config(server),
        config(server, server.account("REVOKE pg_monitor FROM session_bare", name="session_bare")),
    )
    for there, superuser in ((rich, True), (poor, False)):
        session = connect(there)
        facts = ENGINE.learn(session, ENGINE.identify(session, deadline()), there, deadline())
        assert ("superuser" in facts.grants, "pg_monitor" in facts.grants) == (superuser, superuser)
        assert bool(facts.preloaded) is superuser


def test_databases_are_those_one_can_enter(server: DatabaseServer, account: Account, connect: Connect) -> None:
    for name in ("session_db", "session_closed", "rdsadmin"):
        server.execute(f"CREATE DATABASE {name}")
    try:
        server.execute("ALTER DATABASE session_closed ALLOW_CONNECTIONS false")
        names = ENGINE.databases(connect(config(server, account)), deadline())
        assert {"postgres", "session_db"} <= set(names)
        assert not {"session_closed", "rdsadmin", "template0", "template1"} & set(names)
    finally:
        for name in ("session_db", "session_closed", "rdsadmin"):
            server.execute(f"DROP DATABASE {name}")


def test_it_connects_through_the_socket(server: DatabaseServer, connect: Connect) -> None:
    if server.socket is None:
        return
    session = connect(config(server, host="localhost", socket=str(server.socket)))
    assert value(session, "inet_client_addr() IS NULL") is True


def _prepared(session: PostgresSession) -> list[str]:
    return [row[0] for row in session.run("SELECT statement FROM pg_prepared_statements", deadline()).rows]


def test_what_comes_again_is_planned_once(server: DatabaseServer, account: Account, connect: Connect) -> None:
    session = connect(config(server, account))
    again = "SELECT count(*) FROM pg_class WHERE relkind = 'r'"
    for _ in range(4):
        session.run(again, deadline())
    session.run("SELECT 'once'", deadline())
    for _ in range(3):
        session.run_user_defined("SELECT 'of a user'", deadline(), frozenset())
    assert _prepared(session) == [again]


def test_a_view_may_change_its_columns_meanwhile(server: DatabaseServer, account: Account, connect: Connect) -> None:
    """As after ALTER EXTENSION ... UPDATE: the server refuses a plan whose result would have other columns."""
    session = connect(config(server, account))
    sql = "SELECT * FROM public.changing"
    try:
        server.execute("CREATE VIEW changing AS SELECT 1 AS a; GRANT SELECT ON changing TO PUBLIC")
        for _ in range(3):
            assert session.run(sql, deadline()).dicts() == [{"a": 1}]
        assert sql in _prepared(session)
        server.execute("DROP VIEW changing; CREATE VIEW changing AS SELECT 'x'::text AS b, 2 AS a")
        server.execute("GRANT SELECT ON changing TO PUBLIC")
        for _ in range(3):
            assert session.run(sql, deadline()).dicts() == [{"b": "x", "a": 2}]
        # What has nothing to do with it is planned once as before.
        for _ in range(3):
            assert value(session, "40 + 2") == 42
        assert "SELECT 40 + 2" in _prepared(session)
    finally:
        server.execute("DROP VIEW IF EXISTS changing")


def test_the_server_may_forget_what_was_planned(server: DatabaseServer, account: Account, connect: Connect) -> None:
    session = connect(config(server, account))
    for _ in range(3):
        assert value(session, "40 + 2") == 42
    # Behind psycopg's back, which knows the command by itself.
    session.run("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$", deadline())
    for _ in range(3):
        assert value(session, "40 + 2") == 42


def test_somebody_may_have_given_its_name_to_something_else(
    server: DatabaseServer, account: Account, connect: Connect
) -> None:
    session = connect(config(server, account))
    session.run("DO $$ BEGIN EXECUTE 'PREPARE _pg3_0 AS SELECT 1'; END $$", deadline())
    for _ in range(3):
        assert value(session, "40 + 2") == 42
    for _ in range(3):
        assert value(session, "40 + 3") == 43
    assert "SELECT 40 + 3" in _prepared(session)
