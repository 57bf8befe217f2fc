"""Behind a real PgBouncer in transaction mode an application never sees a trace of the exporter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from exporter.config.model import ServerConfig
from exporter.config.secrets import Secret
from exporter.engines.deadline import Deadline
from exporter.engines.postgres.engine import PostgresEngine
from exporter.engines.postgres.session import PostgresSession
from exporter.failure import Failure, Reason
from tests.providers.base import Account, DatabaseServer
from tests.providers.processes import Workspace
from tests.providers.tools import PgBouncer

Bouncers = Callable[..., PgBouncer]
Connect = Callable[..., PostgresSession]

ENGINE = PostgresEngine()
SCRAPES = 25
# Whatever the exporter sets anywhere, and what else tells one session from another.
SETTINGS = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "default_transaction_read_only",
    "transaction_read_only",
    "search_path",
    "jit",
    "max_parallel_workers_per_gather",
    "client_encoding",
    "stats_fetch_consistency",
    "client_connection_check_interval",
    "application_name",
    "DateStyle",
    "TimeZone",
)


# What a user's query might do to the session that it runs in.
SETS = "SELECT set_config('search_path', 'pg_toast', false), set_config('TimeZone', 'Asia/Tokyo', false)"


def deadline() -> Deadline:
    return Deadline.after(10)


@pytest.fixture(scope="module")
def workspace() -> Iterator[Workspace]:
    made = Workspace()
    yield made
    made.close()


@pytest.fixture(scope="module")
def account(postgres: DatabaseServer) -> Account:
    return postgres.account(name="pooled_exporter", limit=10)


@pytest.fixture
def bouncer(workspace: Workspace, postgres: DatabaseServer, account: Account) -> Iterator[Bouncers]:
    made: list[PgBouncer] = []

    def make(**settings: str) -> PgBouncer:
        # One server connection per pool: the exporter and the application take turns on it.
        made.append(PgBouncer(workspace, postgres, [account], {"default_pool_size": "1", **settings}))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def connect() -> Iterator[Connect]:
    made: list[PostgresSession] = []

    def open_one(server: ServerConfig, **more: Any) -> PostgresSession:
        made.append(ENGINE.connect(server, deadline(), **more))
        return made[-1]

    yield open_one
    for each in made:
        each.close()


def config(pool: PgBouncer, account: Account, **changes: Any) -> ServerConfig:
    return ServerConfig(
        name="pool",
        engine="postgres",
        host=pool.host,
        port=pool.port,
        user=account.user,
        password=Secret.text(account.password),
        **changes,
    )


def application(pool: PgBouncer, account: Account, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
    """A client of the same pool, that is of the same user and database."""
    return pool.connect(user=account.user, password=account.password, **options)


def state(connection: psycopg.Connection[tuple[Any, ...]]) -> dict[str, Any]:
    """Everything a session can leave behind for the next one on the same server connection."""
    seen: dict[str, Any] = {
        name: connection.execute("SELECT current_setting(%s, true)", (name,)).fetchall()[0][0] for name in SETTINGS
    }
    seen["prepared statements"] = connection.execute("SELECT name FROM pg_prepared_statements").fetchall()
    seen["cursors"] = connection.execute("SELECT name FROM pg_cursors WHERE name <> ''").fetchall()
    seen["temporary tables"] = connection.execute("SELECT relname FROM pg_class WHERE relpersistence = 't'").fetchall()
    seen["listening"] = connection.execute("SELECT * FROM pg_listening_channels()").fetchall()
    seen["set in the session"] = connection.execute(
        "SELECT name, setting FROM pg_settings WHERE source = 'session' ORDER BY name"
    ).fetchall()
    seen["advisory locks"] = connection.execute(
        "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
    ).fetchall()
    return seen


def backend(connection: psycopg.Connection[tuple[Any, ...]]) -> int:
    return int(connection.execute("SELECT pg_backend_pid()").fetchall()[0][0])


@pytest.mark.parametrize(
    ("pool_settings", "how"),
    [
        ({}, "options refused"),
        ({"ignore_startup_parameters": "options"}, "options swallowed"),
        ({"track_extra_parameters": "IntervalStyle, search_path"}, "search_path tracked"),
        ({"max_prepared_statements": "0"}, "no prepared statements"),
    ],
)
@pytest.mark.parametrize("app_options", [{}, {"application_name": "shop"}], ids=["nameless", "named"])
def test_an_application_on_the_pool_sees_nothing_of_ours(
    bouncer: Bouncers,
    connect: Connect,
    account: Account,
    pool_settings: dict[str, str],
    how: str,
    app_options: dict[str, str],
) -> None:
    # What the application sees on a pool where there never was an exporter.
    untouched = bouncer(**pool_settings)
    with application(untouched, account, **app_options) as alone:
        expected = state(alone)
    pool = bouncer(**pool_settings)
    server = config(pool, account)
    session = connect(server)
    with application(pool, account, **app_options) as app:
        identity = ENGINE.identify(session, deadline())
        assert ENGINE.learn(session, identity, server, deadline()).pooled, how
        for turn in range(SCRAPES):
            [(pid,)] = session.run("SELECT pg_backend_pid()", deadline()).rows
            assert pid == backend(app), "they share one server connection, or this proves nothing"
            assert state(app) == expected, f"after {turn} scrapes"
            session.run("SELECT count(*) FROM pg_stat_activity", deadline())
            session.run_user_defined(SETS, deadline(), frozenset())
            with pytest.raises(Failure):
                session.run("SELECT 1 / 0", deadline())
            with pytest.raises(Failure):
                session.run_user_defined("SELECT 1 / 0", deadline(), frozenset())
            if turn % 5 == 4:
                session.close()
                session = connect(server)
                assert state(app) == expected, "after a reconnect"
    session.close()
    # A client that comes later, and one that came while nobody else was there.
    with application(pool, account, **app_options) as late:
        assert state(late) == expected


def test_a_users_query_has_the_roles_search_path_whatever_an_application_has_set(
    bouncer: Bouncers, connect: Connect, account: Account, postgres: DatabaseServer
) -> None:
    postgres.execute(f"ALTER ROLE {account.user} SET search_path = of_the_role")
    try:
        pool = bouncer()
        with application(pool, account) as app:
            app.execute("SET search_path = of_the_application")
            session = connect(config(pool, account))
            users = session.run_user_defined("SHOW search_path", deadline(), frozenset()).rows
            shown = "SELECT current_setting('transaction_read_only') AS read_only"
            assert session.run_user_defined(shown, deadline(), frozenset()).rows == [("on",)]
            ours = session.run("SHOW search_path", deadline()).rows
            assert (users, ours) == ([("of_the_role",)], [("pg_catalog",)])
            assert app.execute("SHOW search_path").fetchall() == [("of_the_application",)]
    finally:
        postgres.execute(f"ALTER ROLE {account.user} RESET search_path")


def test_our_transactions_are_held_to_our_limits(
    bouncer: Bouncers,
    connect: Connect,
    account: Account,
    postgres: DatabaseServer,
) -> None:
    session = connect(config(bouncer(), account))
    shown = {name: session.run(f"SHOW {name}", deadline()).rows[0][0] for name in SETTINGS[:8]}
    assert shown["lock_timeout"] == "250ms"
    assert shown["transaction_read_only"] == "on"
    assert shown["search_path"] == "pg_catalog"
    assert shown["jit"] == "off"
    assert shown["idle_in_transaction_session_timeout"] == "5s"
    assert shown["statement_timeout"] != "0"
    with pytest.raises(Failure) as stopped:
        session.run("SELECT pg_sleep(30)", Deadline.after(6))
    assert (stopped.value.reason, stopped.value.broken) == (Reason.TIMEOUT, False)
    with pytest.raises(Failure) as refused:
        session.run("CREATE TABLE public.of_the_exporter ()", deadline())
    assert "read-only" in refused.value.message
    assert session.run("SELECT 1 AS one", deadline()).rows == [(1,)]
    assert postgres.execute("SELECT count(*) FROM pg_class WHERE relname = 'of_the_exporter'") == [(0,)]


def test_a_session_cut_in_the_middle_leaves_the_pool_clean(
    bouncer: Bouncers, connect: Connect, account: Account
) -> None:
    pool = bouncer()
    with application(pool, account) as app:
        expected = state(app)
        session = connect(config(pool, account))
        # The pooler gives up no sooner than we do: its only server connection is held by a transaction of the app.
        with app.transaction():
            app.execute("SELECT 1")
            with pytest.raises(Failure) as stopped:
                session.run("SELECT 1", Deadline.after(0.5))
        assert (stopped.value.reason, stopped.value.broken) == (Reason.TIMEOUT, True)
        assert session.closed
        assert state(app) == expected


def test_a_pooler_may_be_named_in_the_config_or_known_from_before(
    bouncer: Bouncers, connect: Connect, account: Account
) -> None:
    pool = bouncer()
    server = config(pool, account)
    session = connect(server)
    facts = ENGINE.learn(session, ENGINE.identify(session, deadline()), server, deadline())
    again = connect(server, facts=facts)
    told = connect(config(pool, account, pooler="transaction"))
    for each in (session, again, told):
        assert each.run("SHOW transaction_read_only", deadline()).rows == [("on",)]
    with application(pool, account) as app:
        assert app.execute("SHOW transaction_read_only").fetchall() == [("off",)]


def test_a_pooler_in_session_mode_can_be_declared_harmless(
    bouncer: Bouncers, connect: Connect, account: Account
) -> None:
    pool = bouncer(pool_mode="session", server_reset_query="DISCARD ALL")
    with application(pool, account) as before:
        expected = state(before)
    server = config(pool, account, pooler="none")
    session = connect(server)
    assert not ENGINE.learn(session, ENGINE.identify(session, deadline()), server, deadline()).pooled
    assert session.run("SHOW lock_timeout", deadline()).rows == [("250ms",)]
    session.close()
    with application(pool, account) as after:
        assert state(after) == expected


def test_a_wrong_password_and_a_full_pooler_are_told_apart(
    bouncer: Bouncers, connect: Connect, account: Account
) -> None:
    pool = bouncer(max_client_conn="2")
    wrong = Account(account.user, "wrong")
    with pytest.raises(Failure) as refused:
        connect(config(pool, wrong))
    assert refused.value.reason is Reason.AUTH
    with application(pool, account), application(pool, account), pytest.raises(Failure) as full:
        connect(config(pool, account))
    assert full.value.reason is Reason.TOO_MANY_CONNECTIONS
    assert "full, not down" in full.value.message
