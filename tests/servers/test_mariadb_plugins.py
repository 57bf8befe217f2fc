"""What MariaDB knows with plugins alone, which come with the server: logins, how long statements take, a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pymysql
import pytest

from exporter.compare.pages import fetch
from exporter.config.model import TLS
from exporter.engines.deadline import Deadline
from exporter.engines.mysql.engine import MYSQL
from exporter.failure import Failure, Reason
from tests.providers.base import Account, DatabaseServer, wait_for
from tests.providers.processes import free_port
from tests.providers.tools import Program, tool
from tests.servers.collecting import config_of, watching

pytestmark = [pytest.mark.engine("mysql"), pytest.mark.flavor("mariadb")]


@pytest.fixture
def signed(server: DatabaseServer) -> Iterator[Account]:
    """An account that proves its password with a signature of it."""
    server.execute("INSTALL SONAME 'auth_ed25519'")
    account = Account("signed", "gehéim secret, of more than thirty-two letters")
    # Replicas, which other tests make of this server, don't have the plugin.
    with server.connect() as session, session.cursor() as cursor:
        cursor.execute("SET SESSION sql_log_bin = 0")
        cursor.execute("CREATE USER signed IDENTIFIED VIA ed25519 USING PASSWORD(%s)", (account.password,))
        yield account
        cursor.execute("DROP USER signed")
    server.execute("UNINSTALL SONAME 'auth_ed25519'")


def test_an_account_with_ed25519(server: DatabaseServer, signed: Account) -> None:
    there = config_of(server, signed, tls=TLS(mode="disable"))
    session = MYSQL.connect(there, Deadline.after(10))
    try:
        assert session.run("SELECT CURRENT_USER()", Deadline.after(10)).rows == [("signed@%",)]
    finally:
        session.close()
    with pytest.raises(Failure) as refused:
        MYSQL.connect(config_of(server, Account("signed", "another"), tls=TLS(mode="disable")), Deadline.after(10))
    assert refused.value.reason is Reason.AUTH


@pytest.fixture
def timed(server: DatabaseServer) -> Iterator[DatabaseServer]:
    """A server that keeps how long statements take."""
    server.execute("INSTALL SONAME 'query_response_time'")
    server.execute("SET GLOBAL query_response_time_stats = ON")
    server.execute("SET GLOBAL query_response_time_flush = 1")
    yield server
    server.execute("UNINSTALL SONAME 'query_response_time'")


def test_how_long_statements_take(timed: DatabaseServer) -> None:
    name = "mysql_info_schema_query_response_time_seconds"
    with watching(timed) as watch:
        facts = watch.facts()
        before = watch.run("mysql_query_response_time", facts).by(f"{name}_bucket", "le")
        # Longer than anything else takes here, and far from the next bound.
        for seconds in (0.2, 0.2, 1.2):
            timed.execute(f"DO SLEEP({seconds})")
        all_of_it = "SELECT TRIM(TIME), COUNT, TRIM(TOTAL) FROM information_schema.QUERY_RESPONSE_TIME"
        least = total_of(timed.execute(all_of_it))
        found = watch.run("mysql_query_response_time", facts)
        stated = timed.execute(all_of_it)
    after = found.by(f"{name}_bucket", "le")
    added = {float(bound): after[bound] - before[bound] for bound in after}
    # The last bound is not a number, nor is the time of what went beyond it: nothing did.
    *bounds, beyond = stated
    assert beyond == ("TOO LONG", 0, "TOO LONG")
    assert sorted(added) == [*sorted(float(bound) for bound, _, _ in bounds), float("inf")]
    # Of ours, those of 0.2 s are below a second and that of 1.2 s is not.
    assert added[10.0] - added[1.0] == 1
    assert added[1.0] - added[0.1] == 2
    # A total is cut at its last digit.
    assert 1.6 <= least - 0.001 <= found.one(f"{name}_sum") <= total_of(stated) + 0.001


def total_of(rows: list[tuple[Any, ...]]) -> float:
    """Seconds of all statements that are not beyond the last bound."""
    return sum(float(total) for _, _, total in rows[:-1])


def test_how_long_reads_and_writes_take(timed: DatabaseServer, program: Callable[..., Program]) -> None:
    """MariaDB 11.5 and later tells them apart, if all of the plugin is installed."""
    name = "mysql_info_schema_{}_query_response_time_seconds_{}"
    split = timed.kind.release >= (11, 5)
    account = timed.account()
    url = f"http://127.0.0.1:{(port := free_port())}/metrics"
    flags = (f"--mysqld.address={timed.host}:{timed.port}", f"--mysqld.username={account.user}", "--config.my-cnf=none")
    argv = [tool("mysqld_exporter"), f"--web.listen-address=127.0.0.1:{port}", *flags]
    program("peer", argv, env={"MYSQLD_EXPORTER_PASSWORD": account.password}, url=url)
    with watching(timed, account) as watch:
        facts = watch.facts()
        theirs = {metric for metric in fetch(url).metrics if "query_response_time_seconds" in metric}
        assert watch.run("mysql_query_response_time", facts).names() == theirs
        assert (name.format("read", "sum") in theirs) == split
        if not split:
            return
        timed.execute("CREATE OR REPLACE DATABASE slow_writes")
        timed.execute("CREATE TABLE slow_writes.t (a double)")

        def slow(kind: str) -> float:
            took = watch.run("mysql_query_response_time", facts).by(name.format(kind, "bucket"), "le")
            return took["+Inf"] - next(count for bound, count in took.items() if float(bound) == 0.1)

        writes, reads = slow("write"), slow("read")
        for _ in range(3):
            timed.execute("INSERT INTO slow_writes.t SELECT SLEEP(0.2)")
        timed.execute("DO SLEEP(0.2)")
        assert slow("write") - writes == 3
        assert slow("read") - reads >= 1
        timed.execute("DROP DATABASE slow_writes")
        # A server that was upgraded does not have the newer parts.
        timed.execute("UNINSTALL PLUGIN QUERY_RESPONSE_TIME_READ")
        try:
            left = watch.run("mysql_query_response_time").names()
        finally:
            timed.execute("INSTALL PLUGIN QUERY_RESPONSE_TIME_READ SONAME 'query_response_time'")
        assert "mysql_info_schema_query_response_time_seconds_sum" in left
        assert name.format("write", "sum") not in left


@pytest.mark.full
def test_a_cluster_of_one_node(fresh_server: Callable[..., DatabaseServer], server: DatabaseServer) -> None:
    made = fresh_server(
        server.name,
        {
            "wsrep_on": "ON",
            "wsrep_provider": "/usr/lib/galera/libgalera_smm.so",
            "wsrep_cluster_address": "gcomm://",
            "wsrep_cluster_name": "alone",
            "wsrep_node_address": "127.0.0.1",
            "wsrep_provider_options": f"gmcast.listen_addr=tcp://127.0.0.1:{free_port()};gcache.size=16M",
            "binlog_format": "ROW",
            "innodb_autoinc_lock_mode": "2",
        },
    )
    with watching(made) as watch:
        assert wait_for(lambda: watch.run("mysql_galera").values("mysql_galera_state", state="synced") == [1], 20)
        found = watch.run("mysql_galera")
        status = dict(made.execute("SHOW GLOBAL STATUS LIKE 'wsrep%'"))
        assert sum(found.by("mysql_galera_state", "state").values()) == 1
        assert found.one("mysql_galera_state_shared") == 1
        uuid, version = status["wsrep_local_state_uuid"], status["wsrep_provider_version"]
        labels = {"wsrep_local_state_uuid": uuid, "wsrep_cluster_state_uuid": uuid, "wsrep_provider_version": version}
        assert found.one("mysql_galera_status_info", **labels) == 1
        assert found.one("mysql_galera_flow_control_paused_seconds_total") == 0
        general = watch.run("mysql_status")
        assert general.one("mysql_global_status_wsrep_cluster_size") == 1
        assert general.one("mysql_global_status_wsrep_cluster_status") == 1
        assert general.one("mysql_global_status_wsrep_ready") == 1
        before = general.one("mysql_global_status_wsrep_replicated")
        made.execute("CREATE DATABASE clustered")
        made.execute("CREATE TABLE clustered.t (a int PRIMARY KEY)")
        made.execute("INSERT INTO clustered.t VALUES (1)")
        assert watch.run("mysql_status").one("mysql_global_status_wsrep_replicated") == before + 3
        settings = watch.run("mysql_all_variables")
        assert settings.one("mysql_galera_variables_info", wsrep_cluster_name="alone") == 1
        assert settings.one("mysql_galera_gcache_size_bytes") == 16 * 1024**2
        made.execute("SET GLOBAL wsrep_desync = ON")
        assert watch.run("mysql_galera").one("mysql_galera_state", state="donor") == 1
        # A node that is cut off from its cluster refuses nearly all that it is asked, also who comes only then.
        account = made.account()
        made.execute("SET GLOBAL wsrep_reject_queries = ALL")
        try:
            with (
                made.connect() as other,
                other.cursor() as cursor,
                pytest.raises(pymysql.OperationalError, match="1047"),
            ):
                cursor.execute("SELECT COUNT(*) FROM clustered.t")
            with watching(made, account) as late:
                assert late.run("mysql_galera").one("mysql_galera_state_shared") == 1
                assert late.run("mysql_activity").names() >= {"db_connections"}
        finally:
            made.execute("SET GLOBAL wsrep_reject_queries = NONE")
