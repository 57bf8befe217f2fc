"""MySQL and MariaDB without a server: versions, messages and what they ask for, privileges, session settings."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pymysql
import pytest

from exporter.config.model import TLS
from exporter.declare import Rows
from exporter.engines.deadline import Deadline
from exporter.engines.mysql.errors import Asker, failure
from exporter.engines.mysql.facts import _tables, privileges
from exporter.engines.mysql.session import (
    _may_be_node,
    _server_limit,
    read_version,
    session_settings,
    statement_limit,
)
from exporter.engines.mysql.tls import context
from exporter.failure import Failure, Reason
from exporter.own_sessions import CONNECTION_LIMIT
from tests.providers.mysql import USER_COLUMNS

if TYPE_CHECKING:
    from exporter.engines.mysql.session import MySQLSession

MYSQL = Asker("'exporter'@'%'", "mysql", (9, 7, 4))
MARIADB = Asker("'exporter'@'%'", "mariadb", (10, 11, 19))


@pytest.mark.parametrize(
    ("version", "comment", "flavor", "numbers"),
    [
        ("9.7.4-2", "(Debian)", "mysql", (9, 7, 4)),
        ("8.0.36", "MySQL Community Server - GPL", "mysql", (8, 0, 36)),
        ("8.0.36-28", "Percona Server (GPL), Release 28, Revision 47601f19", "percona", (8, 0, 36)),
        ("10.11.19-MariaDB-0+deb12u1-log", "Debian 12", "mariadb", (10, 11, 19)),
        ("5.5.5-10.6.18-MariaDB-log", "MariaDB Server", "mariadb", (10, 6, 18)),
        ("11.8.9-MariaDB-4 from Debian-log", "", "mariadb", (11, 8, 9)),
        ("8.0.mysql_aurora.3.05.2", "", "mysql", (8, 0)),
    ],
)
def test_versions(version: str, comment: str, flavor: str, numbers: tuple[int, ...]) -> None:
    assert read_version(version, comment)[:2] == (flavor, numbers)


@pytest.mark.parametrize(
    ("code", "text", "asker", "reason", "fix"),
    [
        (
            1227,
            "Access denied; you need (at least one of) the PROCESS privilege(s) for this operation",
            MYSQL,
            Reason.PERMISSION,
            "GRANT PROCESS ON *.* TO 'exporter'@'%';",
        ),
        (
            1227,
            "Access denied; you need (at least one of) the SUPER, REPLICATION CLIENT privilege(s) for this operation",
            MYSQL,
            Reason.PERMISSION,
            "GRANT REPLICATION CLIENT ON *.* TO 'exporter'@'%';",
        ),
        (
            1227,
            "Access denied; you need (at least one of) the SLAVE MONITOR privilege(s) for this operation",
            MARIADB,
            Reason.PERMISSION,
            "GRANT SLAVE MONITOR ON *.* TO 'exporter'@'%';",
        ),
        (
            1142,
            "SELECT command denied to user 'exporter'@'localhost' for table 'replication_connection_status'",
            MYSQL,
            Reason.PERMISSION,
            "GRANT SELECT ON performance_schema.* TO 'exporter'@'%';",
        ),
        (
            1142,
            "SELECT command denied to user 'exporter'@'localhost' for table `mysql`.`user`",
            MARIADB,
            Reason.PERMISSION,
            f"GRANT SELECT ({USER_COLUMNS['mariadb']}) ON mysql.user TO 'exporter'@'%';",
        ),
        (
            1143,
            "SELECT command denied to user 'exporter'@'localhost' for column 'max_user_connections' in table 'user'",
            MYSQL,
            Reason.PERMISSION,
            f"GRANT SELECT ({USER_COLUMNS['mysql']}) ON mysql.user TO 'exporter'@'%';",
        ),
        (
            1226,
            "User 'exporter' has exceeded the 'max_user_connections' resource (current value: 2)",
            MYSQL,
            Reason.TOO_MANY_CONNECTIONS,
            f"ALTER USER 'exporter'@'%' WITH MAX_USER_CONNECTIONS {CONNECTION_LIMIT};",
        ),
        (
            1226,
            "User 'exporter' has exceeded the 'max_user_connections' resource (current value: 3)",
            MARIADB,
            Reason.TOO_MANY_CONNECTIONS,
            "give whatever else logs in as 'exporter'@'%', a second exporter for example, an account of its own",
        ),
        (
            1226,
            "User 'exporter' has exceeded the 'max_questions' resource (current value: 100)",
            MYSQL,
            Reason.TOO_MANY_CONNECTIONS,
            "ALTER USER 'exporter'@'%' WITH MAX_QUERIES_PER_HOUR 0;",
        ),
        (
            1226,
            "User 'exporter' has exceeded the 'max_updates_per_hour' resource (current value: 100)",
            MARIADB,
            Reason.TOO_MANY_CONNECTIONS,
            "ALTER USER 'exporter'@'%' WITH MAX_UPDATES_PER_HOUR 0;",
        ),
        (1045, "Access denied for user 'x'@'h' (using password: YES)", MYSQL, Reason.AUTH,
         "give the config the account's password, or set it: ALTER USER ... IDENTIFIED BY '...';"),
        (1698, "Access denied for user 'root'@'localhost'", MARIADB, Reason.AUTH, None),
        (3024, "Query execution was interrupted, maximum statement execution time exceeded", MYSQL,
         Reason.TIMEOUT, None),
        (1969, "Query execution was interrupted (max_statement_time exceeded)", MARIADB, Reason.TIMEOUT, None),
        (1205, "Lock wait timeout exceeded; try restarting transaction", MYSQL, Reason.LOCK, None),
        (1053, "Server shutdown in progress", MYSQL, Reason.STARTING, None),
        (1047, "Unknown command", MYSQL, Reason.ERROR, None),
        (2013, "Lost connection to MySQL server during query", MYSQL, Reason.CONNECT, None),
        (9999, "two\nlines", MYSQL, Reason.ERROR, None),
    ],
)  # fmt: skip
def test_messages(code: int, text: str, asker: Asker, reason: Reason, fix: str | None) -> None:
    found = failure(pymysql.OperationalError(code, text), asker)
    assert (found.reason, found.fix) == (reason, fix)
    assert "\n" not in found.message
    assert str(code) in found.message


@pytest.mark.parametrize(
    ("sql", "schema"),
    [
        ("SELECT ts FROM `beats`.`Beat` ORDER BY 1", "beats"),
        ("SELECT ts FROM `my beats`.`beat`", "`my beats`"),
        ("SELECT a.b FROM shop.items JOIN performance_schema.beat", "performance_schema"),
        ("SHOW REPLICA STATUS", "performance_schema"),
    ],
)
def test_the_schema_that_the_server_leaves_out_is_that_of_the_statement(sql: str, schema: str) -> None:
    refused = pymysql.OperationalError(1142, "SELECT command denied to user 'e'@'h' for table 'beat'")
    assert failure(refused, MYSQL, sql).fix == f"GRANT SELECT ON {schema}.* TO 'exporter'@'%';"


def test_a_full_server_is_full_not_down() -> None:
    for code in (1040, 1203, 1226):
        found = failure(pymysql.OperationalError(code, "Too many"), MYSQL)
        assert found.reason is Reason.TOO_MANY_CONNECTIONS
        assert found.broken


@pytest.mark.parametrize(
    ("code", "text", "said", "fix"),
    [
        (1041, "Out of memory; check if mysqld or some other process uses all available memory", "memory", "memory"),
        (1135, "Can't create a new thread (errno 11); if you are not out of available memory", "threads", "ulimit -u"),
    ],
)
def test_a_server_that_gets_no_more_is_full_not_down(code: int, text: str, said: str, fix: str) -> None:
    found = failure(pymysql.OperationalError(code, text), MYSQL)
    assert (found.reason, found.broken) == (Reason.TOO_MANY_CONNECTIONS, True)
    assert f"the server is full, since it gets no more {said}, not down" in found.message
    assert found.reason is Reason.TOO_MANY_CONNECTIONS
    # Over a session it is the statement that gets no more.
    of_statement = failure(pymysql.err.OperationalError(code, text), Asker(), "SELECT 1")
    assert (of_statement.reason, of_statement.message) == (Reason.ERROR, f"{text} (error {code})")
    assert of_statement.fix == found.fix
    assert found.fix is not None
    assert fix in found.fix


@pytest.mark.parametrize("text", ["WSREP has not yet prepared node for application use", "WSREP has\nnot yet prepared"])
def test_a_node_that_is_not_ready_still_answers(text: str) -> None:
    """It refuses most statements, but not those whose figures are wanted just then."""
    found = failure(pymysql.OperationalError(1047, text), MARIADB)
    assert (found.reason, found.broken) == (Reason.STARTING, False)
    assert "joins its cluster or is cut off from it: WSREP" in found.message
    assert "(error 1047)" in found.message
    assert found.fix is not None
    assert "wsrep_cluster_status" in found.fix


def test_a_garbled_protocol_ends_the_session() -> None:
    assert failure(AssertionError("Protocol error, expecting EOF"), MYSQL).broken


def test_what_ssl_says_is_about_tls() -> None:
    wrapped = pymysql.OperationalError(2003, "Can't connect")
    wrapped.original_exception = ssl.SSLError(1, "wrong version number")  # type: ignore[attr-defined]
    assert failure(wrapped, MYSQL).reason is Reason.TLS


@pytest.mark.parametrize(
    ("lines", "has", "lacks"),
    [
        (
            [
                "GRANT PROCESS, REPLICATION CLIENT ON *.* TO `exporter`@`%`",
                "GRANT SELECT ON `performance_schema`.* TO `exporter`@`%`",
                "GRANT `watchers`@`%` TO `exporter`@`%`",
            ],
            {"PROCESS", "REPLICATION CLIENT", "SELECT ON performance_schema.*"},
            {"SELECT", "REFERENCES"},
        ),
        (
            ["GRANT PROCESS, BINLOG MONITOR, REPLICA MONITOR ON *.* TO `e`@`%` IDENTIFIED BY PASSWORD '*D8'"],
            {"PROCESS", "BINLOG MONITOR", "SLAVE MONITOR"},
            {"SELECT ON performance_schema.*"},
        ),
        (
            ["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"],
            {
                *("PROCESS", "SLAVE MONITOR", "SELECT", "SELECT ON performance_schema.*", "REFERENCES"),
                "REPLICATION MASTER ADMIN",
            },
            set(),
        ),
        (["GRANT SELECT ON *.* TO `e`@`%`"], {"SELECT", "SELECT ON performance_schema.*"}, {"PROCESS"}),
        (
            ["GRANT SELECT (`host`, `max_user_connections`, `user`), INSERT (`a`) ON `mysql`.`user` TO `e`@`%`"],
            {"SELECT ON mysql.user", "INSERT ON mysql.user"},
            {"SELECT"},
        ),
        (["GRANT ALL PRIVILEGES ON `shop`.* TO `e`@`%`"], {"SELECT ON shop.*"}, {"PROCESS", "SELECT"}),
        (
            ["GRANT SELECT ON `performance\\_schema`.* TO `e`@`%`", "GRANT SELECT ON `mysql`.* TO `e`@`%`"],
            {"SELECT ON performance_schema.*", "SELECT ON mysql.user"},
            {"SELECT"},
        ),
        (
            ["GRANT SELECT ON *.* TO `e`@`%`", "REVOKE SELECT ON `performance_schema`.* FROM `e`@`%`"],
            {"SELECT", "SELECT ON mysql.user"},
            {"SELECT ON performance_schema.*"},
        ),
        (
            [
                "GRANT SELECT ON *.* TO `e`@`%`",
                "GRANT SELECT (`User`) ON `mysql`.`user` TO `e`@`%`",
                "REVOKE SELECT ON `mysql`.* FROM `e`@`%`",
            ],
            {"SELECT", "SELECT ON performance_schema.*", "SELECT ON mysql.user"},
            {"SELECT ON mysql.*"},
        ),
    ],
)
def test_privileges(lines: list[str], has: set[str], lacks: set[str]) -> None:
    found = privileges(lines)
    assert has <= found
    assert not lacks & found


@pytest.mark.parametrize(
    ("flavor", "version", "has", "lacks"),
    [
        ("mysql", (9, 7, 4), {"transaction_read_only=1", "information_schema_stats_expiry=0"}, {"tx_read_only=1"}),
        ("mysql", (8, 0, 11), {"transaction_read_only=1", "information_schema_stats_expiry=0"}, set()),
        ("mariadb", (10, 6, 0), {"tx_read_only=1"}, {"transaction_read_only=1", "information_schema_stats_expiry=0"}),
        ("mariadb", (11, 8, 9), {"transaction_read_only=1"}, {"information_schema_stats_expiry=0"}),
    ],
)
def test_session_settings(flavor: str, version: tuple[int, ...], has: set[str], lacks: set[str]) -> None:
    settings, courtesies = session_settings(flavor, version, 0.25)
    assert has | {"lock_wait_timeout=1"} <= set(settings)
    assert not lacks & set(settings)
    assert ("slow_query_log=0" in courtesies) is (flavor == "mariadb")
    # The servers know whole seconds.
    assert {"lock_wait_timeout=3", "innodb_lock_wait_timeout=3"} <= set(session_settings(flavor, version, 2.5)[0])


@pytest.mark.parametrize("seconds", [0.05, 1, 5, 10, 15, 33, 60, 600])
def test_a_statement_has_nearly_all_of_the_time_that_is_left(seconds: float) -> None:
    assert 0.85 * seconds < _server_limit(Deadline.after(seconds)) < seconds


def test_the_limit_is_seldom_another() -> None:
    assert len({_server_limit(Deadline.after(30 + tenths / 10)) for tenths in range(300)}) <= 10


@pytest.mark.parametrize(
    ("version", "comment", "node"),
    [
        ("11.8.9-MariaDB-log", "mariadb.org binary distribution", True),
        ("8.0.42-33.1", "Percona XtraDB Cluster (GPL), Release rel33, Revision 7d2a7d8, WSREP version 26.1.4.3", True),
        ("8.0.42-33", "Percona Server (GPL), Release 33, Revision 9dc49998", False),
        ("9.7.4", "MySQL Community Server - GPL", False),
        ("8.0.42-cluster", "MySQL Cluster Community Server - GPL", False),
    ],
)
def test_servers_that_know_no_cluster_of_galera_are_asked_for_none(version: str, comment: str, node: bool) -> None:
    assert _may_be_node(read_version(version, comment)[0], f"{version} {comment}") == node


class Refusing:
    """A session that fails."""

    flavor = "mariadb"

    def __init__(self, failed: Failure) -> None:
        self.failed = failed

    def run(self, sql: str, deadline: Deadline) -> Rows:
        raise self.failed


def counted(failed: Failure) -> int | None:
    return _tables(cast("MySQLSession", Refusing(failed)), Deadline.after(5))


def test_tables_that_nobody_could_count_take_no_other_fact_with_them() -> None:
    assert counted(Failure(Reason.TIMEOUT, "Query execution was interrupted (error 1969)")) is None
    refused = pymysql.OperationalError(1047, "WSREP has not yet prepared node for application use")
    assert counted(failure(refused, MARIADB)) is None


def test_a_session_that_broke_over_counting_tables_is_a_failure() -> None:
    with pytest.raises(Failure):
        counted(Failure(Reason.CONNECT, "Server has gone away (error 2006)", broken=True))


def test_statement_limits_in_the_units_of_each() -> None:
    assert statement_limit("mysql", 2.0) == "max_execution_time=2000"
    assert statement_limit("percona", 0.0001) == "max_execution_time=1"
    assert statement_limit("mariadb", 0.5) == "max_statement_time=0.500000"


def test_one_context_for_equal_settings(tmp_path: Path) -> None:
    assert context(TLS(mode="disable")) is None
    assert context(TLS(mode="require")) is context(TLS(mode="require"))
    assert context(TLS(mode="require")) is not context(TLS(mode="verify-full"))
    (tmp_path / "ca.pem").write_text("nothing of the kind")
    with pytest.raises(Failure) as caught:
        context(TLS(mode="verify-ca", ca=str(tmp_path / "ca.pem")))
    assert caught.value.reason is Reason.TLS
    assert "ca.pem" in caught.value.message
    with pytest.raises(Failure) as caught:
        context(TLS(mode="verify-ca", ca=str(tmp_path / "missing.pem")))
    assert "missing.pem" in caught.value.message
