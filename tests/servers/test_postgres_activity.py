"""Sessions, waits and limits on real PostgreSQL servers, against what the administrator sees."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from exporter.engines.deadline import Deadline
from tests.alone import alone
from tests.providers.base import Account, DatabaseServer, wait_for
from tests.servers.background import running
from tests.servers.collecting import Samples, Watch, watching

pytestmark = pytest.mark.engine("postgres")
STATES = {"active", "idle", "idle_in_transaction", "other"}


@pytest.fixture
def watch(server: DatabaseServer) -> Iterator[Watch]:
    with watching(server) as watch:
        yield watch


def ask(server: DatabaseServer, sql: str, *params: Any) -> Any:
    return server.execute(sql, params=params)[0][0]


def pid_of(connection: Any) -> int:
    return int(connection.info.backend_pid)


def state_of(server: DatabaseServer, connection: Any) -> tuple[Any, ...]:
    found = server.execute(
        "SELECT state, wait_event_type FROM pg_stat_activity WHERE pid = %s", params=(pid_of(connection),)
    )
    return found[0]


def test_connections_by_state(server: DatabaseServer, watch: Watch) -> None:
    count = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename = current_user"
    with contextlib.ExitStack() as stack:
        observer = stack.enter_context(server.connect())

        def settled(sessions: int) -> bool:
            """Those that somebody has closed take a moment to end."""
            return wait_for(lambda: observer.execute(count).fetchone() == (sessions,), 10)

        assert settled(1)
        first = watch.run("pg_activity")
        before = first.by("db_connections", "state")
        opened = [stack.enter_context(server.connect()) for _ in range(6)]
        opened[0].execute("BEGIN")
        opened[1].execute("BEGIN")
        with contextlib.suppress(psycopg.Error):
            opened[1].execute("SELECT 1/0")
        stack.enter_context(running(opened[2], "SELECT pg_sleep(30)"))
        # Only a superuser's session can hide what it does.
        opened[3].execute("SET track_activities = off")
        assert wait_for(lambda: state_of(server, opened[2])[0] == "active", 10)
        assert settled(7)
        after = watch.run("pg_activity")
    assert set(before) == STATES
    now = after.by("db_connections", "state")
    assert {state: now[state] - before[state] for state in STATES} == {
        "active": 1,
        "idle": 2,
        "idle_in_transaction": 2,
        "other": 1,
    }
    kinds = [samples.by("pg_backends", "backend_type") for samples in (first, after)]
    assert kinds[1]["client backend"] - kinds[0]["client backend"] == 6
    assert kinds[1]["checkpointer"] == 1
    native = {
        state: sum(after.values("pg_stat_activity_count", application_name="test", state=state))
        for state in ("active", "idle", "idle in transaction", "idle in transaction (aborted)", "disabled")
    }
    assert native == {
        "active": 1,
        "idle": 3,
        "idle in transaction": 1,
        "idle in transaction (aborted)": 1,
        "disabled": 1,
    }


def test_own_sessions_are_not_clients(server: DatabaseServer, watch: Watch) -> None:
    with contextlib.ExitStack() as stack:
        alone(stack.enter_context(server.connect()), others=1)
        before = watch.run("pg_activity").by("db_connections", "state")
        stack.callback(watch.engine.connect(watch.config, Deadline.after(10)).close)
        after = watch.run("pg_activity")
        assert after.by("db_connections", "state") == before
        # The existing exporter leaves out nothing but the session that asks.
        assert sum(after.values("pg_stat_activity_count", application_name="database_exporter")) == 1
        assert watch.run("pg_roles").one("db_role_connections", role="exporter") == 0
        # Somebody else may choose our name, and our user may do something else.
        with (
            server.connect(application_name="database_exporter"),
            server.connect(user="exporter", password="exporter secret"),
        ):
            assert sum(watch.run("pg_activity").by("db_connections", "state").values()) == sum(before.values()) + 2


def test_longest_transaction_and_statement(server: DatabaseServer, watch: Watch) -> None:
    sql = "SELECT extract(epoch FROM clock_timestamp() - {})::float8 FROM pg_stat_activity WHERE pid = %s"
    with server.connect() as holder:
        holder.execute("BEGIN")
        time.sleep(1)
        with running(holder, "SELECT pg_sleep(30)"):
            assert wait_for(lambda: state_of(server, holder)[0] == "active", 10)
            pid = pid_of(holder)
            least = [ask(server, sql.format(column), pid) for column in ("xact_start", "query_start")]
            got = watch.run("pg_activity")
            most = [ask(server, sql.format(column), pid) for column in ("xact_start", "query_start")]
    assert least[0] <= got.one("db_transaction_longest_seconds") <= most[0]
    assert least[1] <= got.one("db_statement_longest_seconds") <= most[1]
    native = got.values("pg_stat_activity_max_tx_duration", application_name="test", state="active")
    assert least[0] <= max(native) <= most[0]
    idle = watch.run("pg_activity")
    assert idle.one("db_transaction_longest_seconds") == 0
    assert idle.one("db_statement_longest_seconds") == 0


def test_ages_are_unknown_without_track_activities(server: DatabaseServer, watch: Watch) -> None:
    watch.session.close()
    server.execute("ALTER ROLE exporter SET track_activities = off")
    watch = Watch(watch.config)
    got = watch.run("pg_activity")
    watch.session.close()
    assert set(got.by("db_connections", "state")) == STATES
    assert not {"db_transaction_longest_seconds", "db_statement_longest_seconds"} & got.names()


def test_waits_for_locks(server: DatabaseServer, watch: Watch) -> None:
    server.execute("DROP DATABASE IF EXISTS waits")
    server.execute("CREATE DATABASE waits")
    server.execute("CREATE TABLE locked (id int)", "waits")
    quiet = watch.run("pg_lock_waits")
    assert quiet.one("db_lock_waiting_sessions", database="waits") == 0
    assert quiet.one("db_lock_wait_longest_seconds", database="waits") == 0
    with server.connect("waits") as holder, server.connect("waits") as waiter:
        holder.execute("BEGIN; LOCK TABLE locked")
        # It works for a second before it waits: the age of its statement is not the length of its wait.
        with running(waiter, "DO $$ BEGIN PERFORM pg_sleep(1); LOCK TABLE locked; END $$"):
            assert wait_for(lambda: state_of(server, waiter)[1] == "Lock", 10)
            time.sleep(0.3)
            since = "waitstart" if server.version[0] >= 14 else "query_start"
            sql = (
                f"SELECT extract(epoch FROM clock_timestamp() - min({since}))::float8 "
                "FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND pid = %s"
            )
            least = ask(server, sql, pid_of(waiter))
            got = watch.run("pg_lock_waits")
            statement = watch.run("pg_activity").one("db_statement_longest_seconds")
            most = ask(server, sql, pid_of(waiter))
    assert got.one("db_lock_waiting_sessions", database="waits") == 1
    assert got.one("db_lock_waiting_sessions", database="postgres") == 0
    assert least <= got.one("db_lock_wait_longest_seconds", database="waits") <= most
    if server.version[0] >= 14:
        assert got.one("db_lock_wait_longest_seconds", database="waits") + 1 <= statement


def test_server_limits(server: DatabaseServer, watch: Watch) -> None:
    got = watch.run("pg_connection_limits")
    show = {name: int(ask(server, f"SHOW {name}")) for name in ("max_connections", "superuser_reserved_connections")}
    reserved = int(ask(server, "SHOW reserved_connections")) if server.version[0] >= 16 else 0
    assert got.one("db_connections_max") == show["max_connections"]
    ours = ask(server, "SELECT count(*) FROM pg_stat_activity WHERE usename = %s", watch.config.user)
    assert ours >= 1
    assert got.one("db_connections_reserved") == show["superuser_reserved_connections"] + reserved + ours


def test_a_full_server_is_full(fresh_server: Any, server: DatabaseServer) -> None:
    """Whom it refuses finds all slots taken that are not reserved: for administrators, or by the exporter."""
    more = {"reserved_connections": "2"} if server.version[0] >= 16 else {}
    own = fresh_server(server.name, {"max_connections": "13", "superuser_reserved_connections": "4", **more})
    crowd = limited(own, "crowd", "")
    held: list[Any] = []
    with watching(own) as watch, own.connect() as observer:
        alone(observer, others=1)
        try:
            with pytest.raises(psycopg.OperationalError, match=r"reserved|too many clients"):
                held.extend(own.connect("postgres", crowd.user, crowd.password) for _ in range(20))
            found, limits = watch.run("pg_activity"), watch.run("pg_connection_limits")
        finally:
            for each in held:
                each.close()
    assert limits.one("db_connections_reserved") == (7 if more else 5)
    assert len(held) + 1 == 13 - limits.one("db_connections_reserved")
    assert sum(found.by("db_connections", "state").values()) == len(held) + 1


def limited(server: DatabaseServer, name: str, sql: str) -> Account:
    server.execute(f"DROP ROLE IF EXISTS {name}")
    server.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x' {sql}")
    return Account(name, "x")


def test_role_at_its_limit(server: DatabaseServer, watch: Watch) -> None:
    login = limited(server, "tenant_role", "CONNECTION LIMIT 2")
    limited(server, "free_role", "")
    limited(server, "limited_admin", "SUPERUSER CONNECTION LIMIT 0")
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(server.connect("postgres", login.user, login.password))
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            server.connect("postgres", login.user, login.password)
        # The limit does not hold for superusers, so it is no limit to watch.
        server.connect("postgres", "limited_admin", "x").close()
        got = watch.run("pg_roles")
    assert got.one("db_role_connections", role="tenant_role") == 2
    assert got.one("db_role_connections_max", role="tenant_role") == 2
    assert not got.values("db_role_connections", role="free_role")
    assert not got.values("db_role_connections_max", role="limited_admin")
    natively = dict(server.execute("SELECT rolname, rolconnlimit FROM pg_roles"))
    assert got.by("pg_roles_connection_limit", "rolname") == natively
    assert wait_for(lambda: watch.run("pg_roles").one("db_role_connections", role="tenant_role") == 0, 10)


def test_database_at_its_limit(server: DatabaseServer, watch: Watch) -> None:
    login = limited(server, "tenant_user", "")
    server.execute("DROP DATABASE IF EXISTS tenant_db")
    server.execute("CREATE DATABASE tenant_db CONNECTION LIMIT 2")
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(server.connect("tenant_db", login.user, login.password))
        with pytest.raises(psycopg.OperationalError, match="too many connections for database"):
            server.connect("tenant_db", login.user, login.password)
        got = watch.run("pg_databases")
    assert got.one("db_database_connections", database="tenant_db") == 2
    assert got.one("db_database_connections_max", database="tenant_db") == 2
    assert not got.values("db_database_connections", database="postgres")
    natively = dict(server.execute("SELECT datname, datconnlimit FROM pg_database"))
    assert got.by("pg_database_connection_limit", "datname") == natively


def test_connections_opened(server: DatabaseServer, watch: Watch) -> None:
    def opened() -> Samples:
        return watch.run("pg_sessions_opened")

    if server.version[0] < 14:
        assert not opened().names()
        return
    server.execute("DROP DATABASE IF EXISTS opened")
    server.execute("CREATE DATABASE opened")
    assert opened().one("db_connections_opened_total") == 0
    for _ in range(5):
        server.connect("opened").close()
    sessions = "SELECT sessions FROM pg_stat_database WHERE datname = 'opened'"
    assert wait_for(lambda: bool(ask(server, sessions) == 5), 10)
    first = opened().one("db_connections_opened_total")
    assert first >= 5
    # Neither a reset nor a dropped database may look like a reset of the whole, which would count all again.
    server.execute("SELECT pg_stat_reset()", "opened")
    assert opened().one("db_connections_opened_total") >= first
    server.execute("DROP DATABASE opened")
    second = opened().one("db_connections_opened_total")
    assert first <= second < first + 30
