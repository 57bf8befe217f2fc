"""A replication group of one member, which is enough for states, roles and queues."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.providers.base import DatabaseServer, wait_for
from tests.providers.processes import free_port
from tests.servers.collecting import watching


@pytest.mark.full
def test_a_group_and_its_member(mysql: DatabaseServer, fresh_server: Callable[..., DatabaseServer]) -> None:
    # As MySQL is shipped, with the X plugin, whose own threads are no connections.
    x_plugin = {"mysqlx": "ON", "mysqlx_bind_address": "127.0.0.1", "mysqlx_port": str(free_port())}
    server = fresh_server(mysql.name, {**x_plugin, "mysqlx_socket": "x.sock"})
    address = f"127.0.0.1:{free_port()}"
    with watching(server, server.account()) as watch:
        assert watch.run("mysql_replication_group_members").names() == set()
        assert watch.run("mysql_semi_sync").names() == set()
        assert server.execute("SELECT COUNT(*) FROM performance_schema.threads WHERE NAME LIKE 'thread/mysqlx/%'")[0][0]
        ours = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'exporter'"
        assert watch.run("mysql_activity").one("db_connections_reserved") == server.execute(ours)[0][0] >= 1
        for statement in (
            "INSTALL PLUGIN group_replication SONAME 'group_replication.so'",
            "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
            "SET GLOBAL group_replication_group_name = 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa'",
            f"SET GLOBAL group_replication_local_address = '{address}'",
            f"SET GLOBAL group_replication_group_seeds = '{address}'",
            "SET GLOBAL group_replication_bootstrap_group = ON",
            "START GROUP_REPLICATION",
            "SET GLOBAL rpl_semi_sync_source_enabled = ON",
        ):
            server.execute(statement)
        member = "mysql_replication_group_online"
        assert wait_for(lambda: watch.run("mysql_replication_group_members").values(member) == [1], 20)
        found = watch.run("mysql_replication_group_members")
        assert found.one("mysql_replication_group_primary") == 1
        assert found.one("mysql_replication_group_members", state="online") == 1
        assert found.one("mysql_replication_group_members", state="error") == 0
        uuid = server.execute("SELECT @@server_uuid")[0][0]
        assert found.one("mysql_perf_schema_replication_group_member_info", member_id=uuid, member_state="ONLINE") == 1
        server.execute("CREATE DATABASE grouped")
        checked = "mysql_perf_schema_transactions_local_proposed_total"
        assert wait_for(lambda: watch.run("mysql_replication_group_stats").one(checked) >= 1, 20)
        stats = watch.run("mysql_replication_group_stats")
        assert stats.kinds["mysql_perf_schema_transactions_rows_validating_total"] == "gauge"
        assert stats.kinds["mysql_perf_schema_transactions_checked_total"] == "counter"
        assert watch.run("mysql_semi_sync").one("mysql_semi_sync_replicas") == 0
        server.execute("STOP GROUP_REPLICATION")
        assert watch.run("mysql_replication_group_members").values(member) == [0]
