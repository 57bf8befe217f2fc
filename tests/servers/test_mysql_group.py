"""A replication group: of one member, which has states, roles and queues, and of two that both take writes."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from exporter.facts import Role
from tests.alone import alone
from tests.providers.base import DatabaseServer, wait_for
from tests.providers.processes import free_port
from tests.servers.collecting import Samples, Watch, watching

APPLIER, RECOVERY = "group_replication_applier", "group_replication_recovery"
_PEERS = "mysql_perf_schema_"
_COUNTED = {
    "transactions_in_queue": "COUNT_TRANSACTIONS_IN_QUEUE",
    "transactions_checked_total": "COUNT_TRANSACTIONS_CHECKED",
    "conflicts_detected_total": "COUNT_CONFLICTS_DETECTED",
    "transactions_rows_validating_total": "COUNT_TRANSACTIONS_ROWS_VALIDATING",
    "transactions_remote_in_applier_queue": "COUNT_TRANSACTIONS_REMOTE_IN_APPLIER_QUEUE",
    "transactions_remote_applied_total": "COUNT_TRANSACTIONS_REMOTE_APPLIED",
    "transactions_local_proposed_total": "COUNT_TRANSACTIONS_LOCAL_PROPOSED",
    "transactions_local_rollback_total": "COUNT_TRANSACTIONS_LOCAL_ROLLBACK",
}


def _start(server: DatabaseServer, own: int, seeds: tuple[int, ...], *, first: bool) -> None:
    """Make a server a member of the group; the first one founds it. All of them take writes."""
    login = f"SOURCE_USER = '{server.admin.user}', SOURCE_PASSWORD = '{server.admin.password}'"
    for statement in (
        "INSTALL PLUGIN group_replication SONAME 'group_replication.so'",
        "SET GLOBAL group_replication_group_name = 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa'",
        "SET GLOBAL group_replication_single_primary_mode = OFF",
        "SET GLOBAL group_replication_recovery_get_public_key = ON",
        # A member that fails goes on letting accounts in.
        "SET GLOBAL group_replication_exit_state_action = READ_ONLY",
        f"SET GLOBAL group_replication_local_address = '127.0.0.1:{own}'",
        f"SET GLOBAL group_replication_group_seeds = '{','.join(f'127.0.0.1:{port}' for port in seeds)}'",
        f"SET GLOBAL group_replication_bootstrap_group = {'ON' if first else 'OFF'}",
        f"CHANGE REPLICATION SOURCE TO {login} FOR CHANNEL '{RECOVERY}'",
        "START GROUP_REPLICATION",
        "SET GLOBAL group_replication_bootstrap_group = OFF",
    ):
        server.execute(statement)


def _counted_as_told(server: DatabaseServer, stats: Samples) -> bool:
    """Whether all that is told of the member's transactions is what the server counts."""
    columns = ", ".join(_COUNTED.values())
    mine = "FROM performance_schema.replication_group_member_stats WHERE MEMBER_ID = @@server_uuid"
    [row] = server.execute(f"SELECT {columns} {mine}")
    return {name: stats.one(_PEERS + name) for name in _COUNTED} == dict(zip(_COUNTED, row, strict=True))


def _state_and_role(server: DatabaseServer) -> tuple[str, str]:
    """What the server says of itself as a member."""
    mine = "FROM performance_schema.replication_group_members WHERE MEMBER_ID = @@server_uuid"
    [(state, role)] = server.execute(f"SELECT MEMBER_STATE, MEMBER_ROLE {mine}")
    return state, role


@pytest.mark.full
def test_a_group_and_its_member(mysql: DatabaseServer, fresh_server: Callable[..., DatabaseServer]) -> None:
    # As MySQL is shipped, with the X plugin, whose own threads are no connections.
    x_plugin = {"mysqlx": "ON", "mysqlx_bind_address": "127.0.0.1", "mysqlx_port": str(free_port())}
    server = fresh_server(mysql.name, {**x_plugin, "mysqlx_socket": "x.sock", "report_host": "127.0.0.1"})
    ports = (free_port(), free_port())
    with watching(server, server.account()) as watch:
        assert watch.run("mysql_replication_group_members").names() == set()
        assert watch.run("mysql_semi_sync").names() == set()
        for collector in ("mysql_replica_threads", "mysql_replica_workers", "mysql_replica_lag"):
            assert watch.run(collector).names() == set()
        assert server.execute("SELECT COUNT(*) FROM performance_schema.threads WHERE NAME LIKE 'thread/mysqlx/%'")[0][0]
        ours = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'exporter'"
        assert watch.run("mysql_activity").one("db_connections_reserved") == server.execute(ours)[0][0] >= 1
        _sessions_of_the_x_protocol(server, watch, int(x_plugin["mysqlx_port"]))
        _start(server, ports[0], ports, first=True)
        server.execute("INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'")
        server.execute("SET GLOBAL rpl_semi_sync_source_enabled = ON")
        member = "mysql_replication_group_online"
        assert wait_for(lambda: watch.run("mysql_replication_group_members").values(member) == [1], 20)
        found = watch.run("mysql_replication_group_members")
        assert found.one("mysql_replication_group_primary") == 1
        assert found.one("db_replication_joining") == 0
        assert found.one("mysql_replication_group_members", state="online") == 1
        assert found.one("mysql_replication_group_members", state="error") == 0
        uuid = server.execute("SELECT @@server_uuid")[0][0]
        assert found.one("mysql_perf_schema_replication_group_member_info", member_id=uuid, member_state="ONLINE") == 1
        server.execute("CREATE DATABASE grouped")
        server.execute("CREATE TABLE grouped.t (a int PRIMARY KEY)")
        checked = "mysql_perf_schema_transactions_local_proposed_total"
        assert wait_for(lambda: watch.run("mysql_replication_group_stats").one(checked) >= 2, 20)
        stats = watch.run("mysql_replication_group_stats")
        assert stats.kinds["mysql_perf_schema_transactions_rows_validating_total"] == "gauge"
        assert stats.kinds["mysql_perf_schema_transactions_checked_total"] == "counter"
        assert watch.run("mysql_semi_sync").one("mysql_semi_sync_replicas") == 0
        server.execute("SET GLOBAL rpl_semi_sync_source_enabled = OFF")
        _of_two(server, watch, fresh_server(mysql.name, {"report_host": "127.0.0.1"}), ports)
        server.execute("STOP GROUP_REPLICATION")
        found = watch.run("mysql_replication_group_members")
        assert found.values(member) == [0]
        assert found.values("db_replication_joining") == found.values("db_replication_unreachable_members") == []
        # It left: nobody knows how far the others are, and nothing was to run.
        assert watch.run("mysql_replica_lag").names() == set()


def _sessions_of_the_x_protocol(server: DatabaseServer, watch: Watch, port: int) -> None:
    """Who has connected and said nothing yet has no number of a session, and is one."""
    active = "SHOW GLOBAL STATUS LIKE 'Mysqlx_worker_threads_active'"
    with server.connect() as other:
        alone(other, others=1)
        # But for this one, which is gone by then.
        before = watch.run("mysql_activity").one("db_connections", state="idle") - 1
    with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
        assert wait_for(lambda: server.execute(active)[0][1] == "2", 10)
        numbered = "SELECT COUNT(PROCESSLIST_ID) FROM performance_schema.threads WHERE NAME LIKE 'thread/mysqlx/%'"
        assert server.execute(numbered) == [(0,)]
        assert wait_for(lambda: watch.run("mysql_activity").one("db_connections", state="idle") == before + 2, 10)
    assert wait_for(lambda: server.execute(active)[0][1] == "0", 10)


def _of_two(first: DatabaseServer, watch: Watch, second: DatabaseServer, ports: tuple[int, int]) -> None:
    """Join another member, which applies what the first one writes, is held up, and fails."""
    account = second.account()
    second.execute("RESET BINARY LOGS AND GTIDS" if second.version >= (8, 4) else "RESET MASTER")
    _start(second, ports[1], ports, first=False)
    online = "mysql_replication_group_members"
    assert wait_for(lambda: watch.run(online).one(online, state="online") == 2, 60)
    with watching(second, account) as other:
        first.execute("INSERT INTO grouped.t VALUES (1)")
        applied = f"{_PEERS}transactions_remote_applied_total"
        assert wait_for(lambda: other.run("mysql_replication_group_stats").one(applied) >= 1, 20)
        for server, seen in ((first, watch), (second, other)):
            assert wait_for(lambda s=server, w=seen: _counted_as_told(s, w.run("mysql_replication_group_stats")), 20)
            # Each takes writes, and runs what applies those of the other.
            assert _state_and_role(server) == ("ONLINE", "PRIMARY")
            assert seen.facts().role is Role.PRIMARY
            assert seen.run("mysql_replication_group_members").one("mysql_replication_group_primary") == 1
            lag = seen.run("mysql_replica_lag")
            assert lag.by("db_replication_lag_seconds", "channel") == {APPLIER: 0}
            assert lag.by("db_replication_running", "channel") == {APPLIER: 1}
            threads = seen.run("mysql_replica_threads")
            assert threads.by("mysql_replica_applier_running", "channel") == {APPLIER: 1}
            assert threads.one("mysql_replica_error_number", channel=RECOVERY, thread="applier") == 0
            workers = server.execute("SELECT @@global.replica_parallel_workers")[0][0]
            states = {(APPLIER, "applying"): 0, (APPLIER, "idle"): workers, (APPLIER, "stopped"): 0}
            assert threads.by("mysql_replica_workers", "channel", "state") == states
        ended = f"{_PEERS}last_applied_transaction_end_apply_timestamp_seconds"
        [(moment,)] = second.execute(
            "SELECT MAX(UNIX_TIMESTAMP(LAST_APPLIED_TRANSACTION_END_APPLY_TIMESTAMP)) "
            f"FROM performance_schema.replication_applier_status_by_worker WHERE CHANNEL_NAME = '{APPLIER}'"
        )
        told = other.run("mysql_replica_workers").values(ended, channel_name=APPLIER)
        assert max(told) == pytest.approx(float(moment), abs=1e-5)
        ways = other.run("mysql_replica_threads").by("mysql_replica_transaction_duration_seconds", "channel", "stage")
        assert set(ways) == {(APPLIER, stage) for stage in ("transport", "queue", "apply")}

        applying = f"{_PEERS}applying_transaction_start_apply_timestamp_seconds"
        with second.connect() as holder, holder.cursor() as cursor:
            cursor.execute("LOCK TABLES grouped.t READ")
            first.execute("INSERT INTO grouped.t VALUES (2)")
            behind = "db_replication_lag_seconds"
            assert wait_for(lambda: other.run("mysql_replica_lag").one(behind, channel=APPLIER) > 1, 20)
            found = other.run("mysql_replica_threads")
            assert found.one("mysql_replica_workers", channel=APPLIER, state="applying") == 1
            assert len(other.run("mysql_replica_workers").values(applying, channel_name=APPLIER)) == 1
            assert _counted_as_told(second, other.run("mysql_replication_group_stats"))
            assert watch.run("mysql_replica_lag").one(behind, channel=APPLIER) == 0
            cursor.execute("UNLOCK TABLES")
        assert wait_for(lambda: other.run("mysql_replica_lag").one(behind, channel=APPLIER) == 0, 20)

        _one_is_silent(second, watch)
        _errant_by_the_primary(first, second, other)

        # What the second one has beside the group stops its applier.
        with second.connect() as apart, apart.cursor() as cursor:
            cursor.execute("SET SESSION sql_log_bin = 0")
            cursor.execute("INSERT INTO grouped.t VALUES (3)")
        first.execute("INSERT INTO grouped.t VALUES (3)")
        assert wait_for(lambda: other.run(online).one(online, state="error") == 1, 20)
        found = other.run("mysql_replica_threads")
        assert found.one("mysql_replica_error_number", channel=APPLIER, thread="applier") == 1062
        assert found.one("mysql_replica_applier_running", channel=APPLIER) == 0
        # The other one goes on without it.
        assert wait_for(lambda: watch.run(online).by(online, "state")["online"] == 1, 20)
        assert sum(watch.run(online).values(online)) == 1
        assert _state_and_role(second) == ("ERROR", "")
        assert other.facts().role is Role.REPLICA
        found = other.run(online)
        assert found.one("mysql_replication_group_primary") == 0
        assert found.values("db_replication_joining") == []
        lag = other.run("mysql_replica_lag")
        assert lag.names() == {"db_replication_running"}
        assert lag.by("db_replication_running", "channel") == {APPLIER: 0}
        _joins_again(second, other)


def _one_is_silent(server: DatabaseServer, seen: Watch) -> None:
    """Of two one is no majority that could put the other one out."""
    members, unreachable = "mysql_replication_group_members", "db_replication_unreachable_members"
    assert seen.run(members).one(unreachable) == 0
    server.pause()
    try:
        assert wait_for(lambda: seen.run(members).one(unreachable) == 1, 30)
        assert seen.run(members).one(members, state="unreachable") == 1
    finally:
        server.resume()
    assert wait_for(lambda: seen.run(members).by(members, "state")["online"] == 2, 60)
    assert seen.run(members).one(unreachable) == 0


def _joins_again(server: DatabaseServer, seen: Watch) -> None:
    """Let a member that failed come back, held up on the way: it is called a primary, and takes no writes."""
    for statement in (
        "STOP GROUP_REPLICATION",
        "SET GLOBAL super_read_only = OFF",
        "SET GLOBAL read_only = OFF",
    ):
        server.execute(statement)
    assert seen.run("mysql_replica_lag").names() == set()
    with server.connect() as apart, apart.cursor() as cursor:
        cursor.execute("SET SESSION sql_log_bin = 0")
        cursor.execute("DELETE FROM grouped.t WHERE a = 3")
    online = "mysql_replication_group_members"
    with server.connect() as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLES grouped.t READ")
        server.execute("START GROUP_REPLICATION")
        assert wait_for(lambda: _state_and_role(server) == ("RECOVERING", "PRIMARY"), 20)
        assert server.execute("SELECT @@global.super_read_only")[0][0] == 1
        assert seen.facts().role is Role.REPLICA
        found = seen.run(online)
        assert found.one(online, state="recovering") == 1
        assert found.one("mysql_replication_group_primary") == found.one("mysql_replication_group_online") == 0
        assert found.one("db_replication_joining") == 1
        assert seen.run("mysql_replica_lag").values("db_replication_running") == []
        cursor.execute("UNLOCK TABLES")
    assert wait_for(lambda: seen.run(online).one("mysql_replication_group_primary") == 1, 60)
    assert seen.facts().role is Role.PRIMARY
    assert seen.run("mysql_replica_lag").by("db_replication_running", "channel") == {APPLIER: 1}


def _errant_by_the_primary(first: DatabaseServer, second: DatabaseServer, other: Watch) -> None:
    """Of a member that takes no writes nothing is errant that the one that does has, and nothing is told without it."""
    [(primary,)] = second.execute("SELECT @@server_uuid")
    first.execute(f"SELECT group_replication_switch_to_single_primary_mode('{primary}')")
    # It is a replica from now on.
    with watching(first, first.known_account) as replica:
        sets, errant = "mysql_gtid_sets", "mysql_replica_errant_transactions"
        found = replica.run(sets)
        assert found.values(errant) == []
        assert found.by("mysql_replica_source_compared", "channel") == {APPLIER: 0}
        other.run(sets)
        found = replica.run(sets)
        assert found.by("mysql_replica_source_compared", "channel") == {APPLIER: 1}
        assert found.one(errant) == 0
    first.execute("SELECT group_replication_switch_to_multi_primary_mode()")
