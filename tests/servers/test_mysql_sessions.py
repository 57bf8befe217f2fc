"""Sessions on real MySQL and MariaDB: limits that hold, faults that end in time, values that break nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pymysql
import pytest

from exporter.config.model import TLS, ServerConfig
from exporter.engines.deadline import Deadline
from exporter.engines.mysql import facts as knowledge
from exporter.engines.mysql.engine import MYSQL
from exporter.engines.mysql.session import MySQLSession
from exporter.facts import Role
from exporter.failure import Failure, Reason
from tests.alone import alone
from tests.exporters import Proxy
from tests.providers.base import Account, DatabaseServer, wait_for
from tests.servers.collecting import config_of

pytestmark = pytest.mark.engine("mysql")

Connect = Callable[..., MySQLSession]


def deadline(seconds: float = 10) -> Deadline:
    return Deadline.after(seconds)


@pytest.fixture(scope="module")
def account(server: DatabaseServer) -> Account:
    return server.account(name="session_tester", limit=20)


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as stack:

        def open_one(server: ServerConfig, within: Deadline | None = None) -> MySQLSession:
            session = MYSQL.connect(server, within or deadline())
            stack.callback(session.close)
            return session

        yield open_one


def failing(work: Callable[..., Any], *arguments: Any) -> Failure:
    """The Failure that `work` ends in, which it does in time; where nothing ends it, that is never."""
    started = time.monotonic()
    with pytest.raises(Failure) as caught:
        work(*arguments)
    assert time.monotonic() - started < 20
    return caught.value


def value(session: MySQLSession, expression: str) -> Any:
    return session.run(f"SELECT {expression}", deadline()).rows[0][0]


def test_settings_are_made(server: DatabaseServer, account: Account, connect: Connect) -> None:
    session = connect(config_of(server, account))
    read_only = "transaction_read_only" if server.version >= (11, 1) or server.flavor == "mysql" else "tx_read_only"
    wanted: dict[str, Any] = {
        read_only: 1,
        "lock_wait_timeout": 1,
        "innodb_lock_wait_timeout": 1,
        "wait_timeout": 600,
        "sql_mode": "",
        "time_zone": "+00:00",
        "autocommit": 1,
        "group_concat_max_len": 1_048_576,
        "character_set_results": "utf8mb4",
        "long_query_time": 3600,
    }
    wanted |= {"information_schema_stats_expiry": 0} if server.flavor == "mysql" else {"slow_query_log": 0}
    for name, set_to in wanted.items():
        assert value(session, f"@@session.{name}") == set_to, name
    limit = "max_execution_time" if server.flavor == "mysql" else "max_statement_time"
    # The deadline of this statement was ten seconds: somewhat less, in each one's unit.
    assert 8 < value(session, f"@@session.{limit}") / (1000 if server.flavor == "mysql" else 1) < 10


def test_limits_that_the_server_sets_for_all_are_not_ours(
    server: DatabaseServer, account: Account, connect: Connect
) -> None:
    names = ("sql_select_limit", "max_join_size", "sql_big_selects")
    before = {name: server.execute(f"SELECT @@GLOBAL.{name}")[0][0] for name in names}
    many = "SELECT a.ORDINAL_POSITION FROM information_schema.COLLATIONS c JOIN (SELECT 1 AS ORDINAL_POSITION) a"
    expected = len(server.execute(many))
    assert expected > 20
    for name, small in zip(names, (3, 2, 0), strict=True):
        server.execute(f"SET GLOBAL {name} = {small}")
    try:
        with server.connect() as other, other.cursor() as cursor:
            cursor.execute("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4")
            assert len(cursor.fetchall()) == 3
        session = connect(config_of(server, account))
        assert len(session.run(many, deadline()).rows) == expected
        assert [value(session, f"@@session.{name}") for name in names] == [2**64 - 1, 2**64 - 1, 1]
    finally:
        for name, told in before.items():
            server.execute(f"SET GLOBAL {name} = {told}")


def test_what_follows_itself_is_followed_to_its_end(server: DatabaseServer, account: Account, connect: Connect) -> None:
    small = {"cte_max_recursion_depth": 5, "tmp_table_size": 1024, "max_heap_table_size": 16384}
    if server.flavor == "mariadb":
        small = {"max_recursive_iterations": 5}
    before = {name: server.execute(f"SELECT @@GLOBAL.{name}")[0][0] for name in small}
    for name, value_of_all in small.items():
        server.execute(f"SET GLOBAL {name} = {value_of_all}")
    followed = """WITH RECURSIVE steps AS (
                      SELECT 1 AS n, REPEAT('x', 100) AS text UNION SELECT n + 1, text FROM steps WHERE n < 2000
                  ) SELECT COUNT(*) FROM steps a JOIN steps b USING (n)"""
    try:
        session = connect(config_of(server, account))
        assert session.run(followed, deadline()).rows[0][0] == 2000
    finally:
        for name, told in before.items():
            server.execute(f"SET GLOBAL {name} = {told}")


@pytest.mark.flavor("mariadb")
def test_a_session_waits_for_no_cluster(server: DatabaseServer, account: Account, connect: Connect) -> None:
    server.execute("SET GLOBAL wsrep_sync_wait = 15")
    try:
        [(others,)] = server.execute("SELECT @@SESSION.wsrep_sync_wait")
        session = connect(config_of(server, account))
        seen = [value(session, f"@@SESSION.{name}") for name in ("wsrep_sync_wait", "wsrep_dirty_reads")]
        assert (others, seen) == (15, [0, 1])
        session.run_user_defined("SELECT 1", deadline(), frozenset())
        assert value(session, "@@SESSION.wsrep_sync_wait") == 0
    finally:
        server.execute("SET GLOBAL wsrep_sync_wait = 0")


def test_nothing_can_be_written(server: DatabaseServer, connect: Connect) -> None:
    server.execute("CREATE DATABASE IF NOT EXISTS sessions")
    session = connect(config_of(server, server.admin))
    failure = failing(session.run, "CREATE TABLE sessions.made (a int)", deadline())
    assert "READ ONLY" in failure.message.upper()
    assert not failure.broken


def test_the_server_gives_up_first(server: DatabaseServer, account: Account, connect: Connect) -> None:
    session = connect(config_of(server, account))
    slow = (
        "SELECT COUNT(*) FROM information_schema.COLUMNS a, information_schema.COLUMNS b, information_schema.COLUMNS c"
    )
    # Of nine seconds the server has eight.
    failure = failing(session.run, slow, deadline(9))
    assert (failure.reason, failure.broken) == (Reason.TIMEOUT, False)
    assert value(session, "1") == 1


def test_the_client_gives_up_where_the_server_does_not(
    server: DatabaseServer, account: Account, connect: Connect
) -> None:
    session = connect(config_of(server, account))
    server.pause()
    try:
        failure = failing(session.run, "SELECT 1", deadline(0.7))
    finally:
        server.resume()
    assert (failure.reason, failure.broken) == (Reason.TIMEOUT, True)
    assert session.closed


def test_connecting_to_a_stopped_server_ends_in_time(server: DatabaseServer, account: Account) -> None:
    server.pause()
    try:
        failure = failing(MYSQL.connect, config_of(server, account), deadline(0.7))
    finally:
        server.resume()
    assert failure.reason is Reason.TIMEOUT


def test_a_silent_peer_ends_in_time(server: DatabaseServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = ServerConfig(name="s", engine="mysql", host="127.0.0.1", port=listener.getsockname()[1])
        failure = failing(MYSQL.connect, silent, deadline(0.7))
    assert failure.reason is Reason.TIMEOUT
    refused = failing(MYSQL.connect, silent, deadline(5))
    assert refused.reason is Reason.CONNECT


def test_silence_in_the_middle_of_the_login_ends_in_time(server: DatabaseServer, account: Account) -> None:
    """A path that delivers the greeting and then nothing: TLS, authentication or the first settings never end."""
    for let_through in (1, 2, 3, 4):
        with Relay(server, let_through) as relay:
            there = config_of(server, account, port=relay.port)
            failure = failing(MYSQL.connect, there, deadline(0.7))
        assert failure.reason is Reason.TIMEOUT, let_through


class Relay:
    """Passes on what the server says that many times, then swallows everything."""

    def __init__(self, server: DatabaseServer, replies: int) -> None:
        self._to = (server.host, server.port)
        self._replies = replies
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []

    def __enter__(self) -> Relay:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A read that is under way would keep the session open beyond a mere close.
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        for each in (self._listener, *self._open):
            each.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            self._open.append(client)
            upstream = socket.create_connection(self._to)
            self._open.append(upstream)
            for _ in range(self._replies):
                client.sendall(upstream.recv(65536))
                asked = client.recv(65536)
                if not asked:
                    return
                upstream.sendall(asked)


def test_wrong_passwords_and_names(server: DatabaseServer, account: Account) -> None:
    failure = failing(MYSQL.connect, config_of(server, Account(account.user, "canary-Zq1")), deadline())
    assert (failure.reason, failure.broken) == (Reason.AUTH, True)
    assert "canary" not in failure.message
    nowhere = config_of(server, account, host="no-such-host.invalid")
    assert failing(MYSQL.connect, nowhere, deadline()).reason is Reason.DNS


def test_a_full_account_is_full_not_down(server: DatabaseServer) -> None:
    there = config_of(server, server.account(name="one_only", limit=1))
    session = MYSQL.connect(there, deadline())
    try:
        failure = failing(MYSQL.connect, there, deadline())
    finally:
        session.close()
    assert failure.reason is Reason.TOO_MANY_CONNECTIONS
    assert failure.fix


def test_a_full_server_is_full_not_down(server: DatabaseServer, account: Account) -> None:
    crowd = server.account(name="crowd", limit=100)
    before = int(server.execute("SELECT @@GLOBAL.max_connections")[0][0])
    held: list[Any] = []
    try:
        with server.connect() as admin:
            admin.query("SET GLOBAL max_connections = 12")
            alone(admin)
            with contextlib.suppress(pymysql.OperationalError):
                held.extend(server.connect(user=crowd.user, password=crowd.password) for _ in range(20))
            failure = failing(MYSQL.connect, config_of(server, account), deadline())
    finally:
        for each in held:
            each.close()
        wait_for(lambda: _may_connect(server), 10)
        server.execute(f"SET GLOBAL max_connections = {before}")
    assert failure.reason is Reason.TOO_MANY_CONNECTIONS


def _may_connect(server: DatabaseServer) -> bool:
    try:
        server.connect().close()
    except pymysql.OperationalError:
        return False
    return True


def test_a_missing_grant_names_itself(server: DatabaseServer, connect: Connect) -> None:
    server.execute("DROP USER IF EXISTS bare")
    server.execute("CREATE USER bare IDENTIFIED BY 'bare'")
    there = config_of(server, Account("bare", "bare"))
    refused = {
        "mysql": ("SHOW REPLICA STATUS", "SELECT COUNT(*) FROM performance_schema.threads"),
        "mariadb": ("SHOW ALL SLAVES STATUS", "SHOW BINARY LOGS"),
    }
    for asked in ("SELECT COUNT(*) FROM information_schema.INNODB_TRX", *refused[server.flavor]):
        failure = failing(connect(there).run, asked, deadline())
        assert (failure.reason, failure.broken) == (Reason.PERMISSION, False), asked
        assert failure.fix
        server.execute(failure.fix)
        connect(there).run(asked, deadline())


def test_an_account_without_grants_still_tells_who_answers(server: DatabaseServer, connect: Connect) -> None:
    server.execute("DROP USER IF EXISTS bare")
    server.execute("CREATE USER bare IDENTIFIED BY 'bare'")
    session = connect(config_of(server, Account("bare", "bare")))
    assert MYSQL.identify(session, deadline()).role is Role.PRIMARY
    server.execute("SET GLOBAL read_only = 1")
    try:
        assert MYSQL.identify(session, deadline()).role is Role.REPLICA
    finally:
        server.execute("SET GLOBAL read_only = 0")


def test_who_answers(server: DatabaseServer, replica: DatabaseServer, connect: Connect) -> None:
    account = server.account(name="session_pair", limit=5)
    replica.wait_until_caught_up()
    here, there = connect(config_of(server, account)), connect(config_of(replica, account))
    first, other = MYSQL.identify(here, deadline()), MYSQL.identify(there, deadline())
    assert (first.role, other.role) == (Role.PRIMARY, Role.REPLICA)
    assert first.system != other.system
    assert first.same_server(MYSQL.identify(here, deadline()))
    uptime = float(server.execute("SHOW GLOBAL STATUS LIKE 'Uptime'")[0][1])
    assert abs(time.time() - uptime - first.start_time) < 3
    if server.flavor == "mysql":
        assert first.system == server.execute("SELECT @@server_uuid")[0][0]


def test_facts_are_what_the_server_says(server: DatabaseServer, connect: Connect) -> None:
    there = config_of(server, server.account(name="session_facts"))
    session = connect(there)
    facts = MYSQL.learn(session, MYSQL.identify(session, deadline()), there, deadline())
    assert (facts.flavor, facts.version) == (server.flavor, server.version)
    shown = {name.lower(): text for name, text in server.execute("SHOW GLOBAL STATUS")}
    shown |= dict(server.execute("SHOW GLOBAL VARIABLES"))
    for name, text in facts.settings.items():
        # The others are no variables.
        assert name in {"transaction_instrument", "connections_of_account"} or shown[name] == text, name
    assert {"PROCESS", "REFERENCES", "SELECT ON performance_schema.*"} <= facts.grants
    assert ("SLAVE MONITOR" if server.flavor == "mariadb" else "REPLICATION CLIENT") in facts.grants


@pytest.mark.flavor("mysql")
def test_what_was_revoked_in_part_is_not_had(server: DatabaseServer, connect: Connect) -> None:
    account = server.account(name="session_partial", limit=5)
    server.execute("SET GLOBAL partial_revokes = ON")
    try:
        with server.connect() as admin, admin.cursor() as cursor:
            for statement in (
                # Replicas don't know partial revokes.
                "SET SESSION sql_log_bin = 0",
                "REVOKE SELECT ON performance_schema.* FROM session_partial",
                "GRANT SELECT ON *.* TO session_partial",
                "REVOKE SELECT ON performance_schema.* FROM session_partial",
            ):
                cursor.execute(statement)
        there = config_of(server, account)
        session = connect(there)
        facts = MYSQL.learn(session, MYSQL.identify(session, deadline()), there, deadline())
        assert {"SELECT", "SELECT ON mysql.user"} <= facts.grants
        assert "SELECT ON performance_schema.*" not in facts.grants
    finally:
        server.execute("DROP USER session_partial")
        server.execute("SET GLOBAL partial_revokes = OFF")


def test_facts_are_learnt_although_one_is_refused(
    server: DatabaseServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = config_of(server, server.account(name="session_refused"))
    session = connect(there)
    identity = MYSQL.identify(session, deadline())
    # What was granted when SHOW GRANTS said so may be gone a moment later.
    server.execute("REVOKE SELECT ON performance_schema.* FROM session_refused")
    monkeypatch.setattr(knowledge, "privileges", lambda _: frozenset({"SELECT ON performance_schema.*"}))
    assert MYSQL.learn(session, identity, there, deadline()).flavor == server.flavor


def test_privileges_of_a_role_count(server: DatabaseServer, connect: Connect) -> None:
    for statement in (
        "DROP ROLE IF EXISTS watchers",
        "CREATE ROLE watchers",
        "GRANT PROCESS ON *.* TO watchers",
        "DROP USER IF EXISTS watcher",
        "CREATE USER watcher IDENTIFIED BY 'watcher'",
        "GRANT watchers TO watcher",
        "SET DEFAULT ROLE watchers" + (" TO watcher" if server.flavor == "mysql" else " FOR watcher"),
    ):
        server.execute(statement)
    there = config_of(server, Account("watcher", "watcher"))
    session = connect(there)
    facts = MYSQL.learn(session, MYSQL.identify(session, deadline()), there, deadline())
    assert "PROCESS" in facts.grants


def test_invalid_bytes_and_odd_values_pass(server: DatabaseServer, account: Account, connect: Connect) -> None:
    session = connect(config_of(server, account))
    row = session.run(
        "SELECT CAST(X'61FF62' AS BINARY) AS bytes, 1.50 AS dec_, 12345678901234567890 AS big, TIME'-12:00:01' AS t,"
        " DATE'2026-01-02' AS d, NULL AS nothing, 0.25e0 AS f, b'101' AS bits, CAST(7 AS DECIMAL(20,0)) AS whole,"
        " _utf8mb4 X'F09F9880' AS smile, CAST('0000-00-00' AS DATETIME) AS never",
        deadline(),
    ).rows[0]
    assert row[0] == "a\ufffdb"
    assert row[1:3] == (1.5, 12345678901234567890)
    assert row[3:8] == ("-12:00:01", "2026-01-02", None, 0.25, row[7])
    assert row[8:10] == (7, "\U0001f600")
    assert type(row[8]) is int


def test_our_statements_stay_out_of_the_slow_log(server: DatabaseServer, account: Account, connect: Connect) -> None:
    slow = "slow_query_log"
    server.execute(f"SET GLOBAL {slow} = 1")
    server.execute("SET GLOBAL long_query_time = 0")
    server.execute("SET GLOBAL log_output = 'TABLE'")
    try:
        session = connect(config_of(server, account))
        session.run("SELECT 'a statement of ours', SLEEP(0.05)", deadline())
        # From the first that makes it a session.
        of_session = f"SELECT sql_text FROM mysql.slow_log WHERE thread_id = {session.connection_id}"
        assert list(server.execute(of_session)) == []
        with server.connect(user=account.user, password=account.password) as other, other.cursor() as cursor:
            cursor.execute("SELECT 'a statement of theirs', SLEEP(0.05)")
    finally:
        server.execute("SET GLOBAL log_output = 'FILE'")
        server.execute("SET GLOBAL long_query_time = 10")
        server.execute(f"SET GLOBAL {slow} = 0")
    logged = (
        "SELECT COUNT(*) FROM mysql.slow_log WHERE CONVERT(sql_text USING utf8mb4) LIKE 'SELECT ''a statement of {}%'"
    )
    assert server.execute(logged.format("theirs"))[0][0] == 1
    assert server.execute(logged.format("ours"))[0][0] == 0


def test_what_uses_no_index_stays_out_of_the_slow_log_too(
    server: DatabaseServer, account: Account, connect: Connect
) -> None:
    """MySQL lets only those do that who may set more of their session; without it the rest is set all the same."""
    bare = connect(config_of(server, account))
    assert value(bare, "@@session.long_query_time") == 3600
    if server.flavor == "mysql":
        server.execute(f"GRANT SESSION_VARIABLES_ADMIN ON *.* TO '{account.user}'@'%'")
    # It has begun before the setting is switched on.
    session = connect(config_of(server, account))
    server.execute("SET GLOBAL slow_query_log = 1")
    server.execute("SET GLOBAL log_queries_not_using_indexes = 1")
    server.execute("SET GLOBAL log_output = 'TABLE'")
    try:
        session.run("SELECT 'unindexed of ours', COUNT(*) FROM information_schema.PLUGINS", deadline())
        with server.connect(user=account.user, password=account.password) as other, other.cursor() as cursor:
            cursor.execute("SELECT 'unindexed of theirs', COUNT(*) FROM information_schema.PLUGINS")
    finally:
        server.execute("SET GLOBAL log_output = 'FILE'")
        server.execute("SET GLOBAL log_queries_not_using_indexes = 0")
        server.execute("SET GLOBAL slow_query_log = 0")
        if server.flavor == "mysql":
            server.execute(f"REVOKE SESSION_VARIABLES_ADMIN ON *.* FROM '{account.user}'@'%'")
    logged = (
        "SELECT COUNT(*) FROM mysql.slow_log WHERE CONVERT(sql_text USING utf8mb4) LIKE 'SELECT ''unindexed of {}%'"
    )
    assert server.execute(logged.format("theirs"))[0][0] == 1
    assert server.execute(logged.format("ours"))[0][0] == 0


def test_a_closed_session_leaves_no_trace(server: DatabaseServer, account: Account) -> None:
    def aborted() -> int:
        return int(server.execute("SHOW GLOBAL STATUS LIKE 'Aborted_clients'")[0][1])

    before = aborted()
    for _ in range(3):
        session = MYSQL.connect(config_of(server, account), deadline())
        session.close()
        assert session.closed
        assert failing(session.run, "SELECT 1", deadline()).reason is Reason.CONNECT
    here = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = %s"
    assert wait_for(lambda: server.execute(here, params=(account.user,))[0][0] == 0, 10)
    assert aborted() == before


@pytest.mark.flavor("mysql")
@pytest.mark.parametrize("by_number", [True, False])
def test_what_a_session_that_was_cut_off_still_runs_is_ended(
    server: DatabaseServer, account: Account, connect: Connect, by_number: bool
) -> None:
    if not by_number:
        account = Account("session_blind", "session_blind secret")
        server.execute("CREATE USER IF NOT EXISTS session_blind IDENTIFIED BY 'session_blind secret'")
    there = config_of(server, account)
    session = connect(there)
    MYSQL.identify(session, deadline())

    def running() -> list[tuple[Any, ...]]:
        sql = "SELECT INFO FROM performance_schema.processlist WHERE ID = %s"
        return server.execute(sql, params=(session.connection_id,))

    # MySQL's own limit on statements does not know this one.
    slow = "SHOW DATABASES WHERE SLEEP(60)"
    failure = failing(session.run, slow, deadline(0.7))
    assert (failure.reason, failure.broken, session.closed) == (Reason.TIMEOUT, True, True)
    time.sleep(0.5)
    assert running() == [(slow,)]
    listed = "SHOW GLOBAL STATUS LIKE 'Deprecated_use_i_s_processlist_count'"
    before = [int(count) for _, count in server.execute(listed)]
    assert MYSQL.cancel(there, session, deadline())
    assert wait_for(lambda: running() == [], 5)
    # Who may read performance_schema has no list made of all sessions; servers before 8.3 don't count that.
    assert [int(count) for _, count in server.execute(listed)] == [count + (not by_number) for count in before]


def _alive(session: Any) -> bool:
    try:
        session.ping(reconnect=False)
    except pymysql.err.MySQLError:
        return False
    return True


def test_nobody_is_ended_on_another_server(server: DatabaseServer, replica: DatabaseServer) -> None:
    account = server.account(name="session_moved", limit=20)
    replica.wait_until_caught_up()
    with Proxy(server.host, server.port) as proxy, ExitStack() as stack:
        there = config_of(server, account, host="127.0.0.1", port=proxy.port)
        session = MYSQL.connect(there, deadline())
        stack.callback(session.close)
        MYSQL.identify(session, deadline())
        here, elsewhere = (
            stack.enter_context(each.connect(user=account.user, password=account.password))
            for each in (server, replica)
        )
        # As if the other server counted its connections to the same number, which is a session of our own account.
        proxy.upstream = (replica.host, replica.port)
        session.connection_id = elsewhere.thread_id()
        MYSQL.cancel(there, session, deadline())
        assert _alive(elsewhere)
        proxy.upstream = (server.host, server.port)
        session.connection_id = here.thread_id()
        MYSQL.cancel(there, session, deadline())
        assert wait_for(lambda: not _alive(here), 5)


@pytest.mark.flavor("mariadb")
def test_nobody_is_ended_on_a_server_that_only_its_id_tells_apart(server: DatabaseServer) -> None:
    account = server.account(name="session_twin", limit=20)
    there = config_of(server, account)
    [(number,)] = server.execute("SELECT @@GLOBAL.server_id")
    with ExitStack() as stack:
        session = MYSQL.connect(there, deadline())
        stack.callback(session.close)
        MYSQL.identify(session, deadline())
        other = stack.enter_context(server.connect(user=account.user, password=account.password))
        session.connection_id = other.thread_id()
        stack.callback(server.execute, f"SET GLOBAL server_id = {number}")
        server.execute(f"SET GLOBAL server_id = {int(number) + 1}")
        MYSQL.cancel(there, session, deadline())
        assert _alive(other)
        server.execute(f"SET GLOBAL server_id = {number}")
        MYSQL.cancel(there, session, deadline())
        assert wait_for(lambda: not _alive(other), 5)


def test_nobody_else_is_ended(server: DatabaseServer) -> None:
    account = server.account("GRANT SUPER ON *.* TO session_super", name="session_super", limit=20)
    there = config_of(server, account)
    with ExitStack() as stack:
        session = MYSQL.connect(there, deadline())
        stack.callback(session.close)
        MYSQL.identify(session, deadline())
        somebody = stack.enter_context(server.connect())
        session.connection_id = somebody.thread_id()
        MYSQL.cancel(there, session, deadline())
        assert _alive(somebody)


def test_ending_a_session_that_has_ended_fails_silently(server: DatabaseServer, account: Account) -> None:
    there = config_of(server, account)
    session = MYSQL.connect(there, deadline())
    MYSQL.identify(session, deadline())
    listed = "SHOW GLOBAL STATUS LIKE 'Deprecated_use_i_s_processlist_count'"
    here = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = %s"
    assert server.execute(here, params=(session.connection_id,)) == [(1,)]
    session.close()
    assert wait_for(lambda: server.execute(here, params=(session.connection_id,)) == [(0,)], 10)
    before = server.execute(listed)
    assert MYSQL.cancel(there, session, deadline())
    # No list of all sessions is made to find that it is gone.
    assert server.execute(listed) == before


def test_ending_a_session_of_a_server_that_is_silent_ends_in_time(server: DatabaseServer, account: Account) -> None:
    there = config_of(server, account)
    session = MYSQL.connect(there, deadline())
    MYSQL.identify(session, deadline())
    server.pause()
    try:
        started = time.monotonic()
        assert not MYSQL.cancel(there, session, deadline(0.5))
        # Nothing else would end it.
        assert time.monotonic() - started < 20
    finally:
        server.resume()
        session.close()


def test_it_connects_through_the_socket(server: DatabaseServer, account: Account, connect: Connect) -> None:
    if server.socket is None:
        return
    server.execute("CREATE USER IF NOT EXISTS 'session_tester'@'localhost' IDENTIFIED BY 'session_tester secret'")
    session = connect(config_of(server, account, host="localhost", socket=str(server.socket)))
    assert session.tls is None
    assert value(session, "USER()") == "session_tester@localhost"
    nowhere = config_of(server, account, host="localhost", socket="/no/such/socket")
    assert failing(MYSQL.connect, nowhere, deadline()).reason is Reason.CONNECT


@pytest.mark.flavor("mysql")
@pytest.mark.parametrize("mode", ["disable", "require"])
def test_caching_sha2_on_a_cold_cache(server: DatabaseServer, mode: str, connect: Connect) -> None:
    server.execute("DROP USER IF EXISTS sha2")
    server.execute("CREATE USER sha2 IDENTIFIED WITH caching_sha2_password BY 'gehéim secret'")
    session = connect(config_of(server, Account("sha2", "gehéim secret"), tls=TLS(mode=mode)))
    assert (session.tls is not None) is (mode == "require")


def test_tls(fresh_server: Callable[..., DatabaseServer], server: DatabaseServer, tmp_path: Path) -> None:
    made = fresh_server(server.name, tls=True)
    assert made.certificate is not None
    account = made.account()
    trusted = str(made.certificate.authority)
    for mode, more in (
        ("require", {}),
        ("verify-ca", {"ca": trusted}),
        ("verify-full", {"ca": trusted}),
    ):
        session = MYSQL.connect(config_of(made, account, tls={"mode": mode, **more}), deadline())
        cipher = session.run("SHOW SESSION STATUS LIKE 'Ssl_cipher'", deadline()).rows[0][1]
        assert session.tls is not None
        assert session.tls.endswith(cipher)
        session.close()
    for tls in (
        {"mode": "verify-full"},
        {"mode": "verify-full", "ca": trusted, "server_name": "elsewhere.test"},
    ):
        failure = failing(MYSQL.connect, config_of(made, account, tls=tls), deadline())
        assert (failure.reason, failure.broken) == (Reason.TLS, True)
    made.execute(f"ALTER USER {account.user} REQUIRE SSL")
    plain = failing(MYSQL.connect, config_of(made, account, tls={"mode": "disable"}), deadline())
    assert plain.reason in {Reason.AUTH, Reason.TLS}


def test_tls_is_not_given_up_where_the_server_offers_none(
    fresh_server: Callable[..., DatabaseServer], server: DatabaseServer
) -> None:
    made = fresh_server(server.name, tls=True)
    there = config_of(made, made.account(), tls={"mode": "require"})
    MYSQL.connect(there, deadline()).close()
    made.restart(**{"tls_version": ""} if made.flavor == "mysql" else {"skip_ssl": "1"})
    assert failing(MYSQL.connect, there, deadline()).reason is Reason.TLS
