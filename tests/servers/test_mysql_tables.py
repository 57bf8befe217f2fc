"""Tables, indexes, InnoDB, accounts and encryption of MySQL and MariaDB against what we did and what they say."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pymysql
import pytest
from cryptography import x509

from exporter.collectors.mysql import needless_indexes
from exporter.collectors.mysql.connections_tls import connections_tls
from exporter.collectors.mysql.processes import SQL as PROCESSES
from exporter.engines.deadline import Deadline
from exporter.facts import Facts
from exporter.registry import collectors_by_name
from tests.alone import alone
from tests.providers.base import DatabaseServer, wait_for
from tests.providers.fleet import Fleet
from tests.providers.mysql import ROLE_TABLES
from tests.providers.processes import free_port
from tests.servers.collecting import Watch, watching

pytestmark = pytest.mark.engine("mysql")


@pytest.fixture
def watch(server: DatabaseServer) -> Iterator[Watch]:
    with watching(server) as made:
        yield made


@pytest.fixture(scope="module")
def recorded(fleet: Fleet, server: DatabaseServer) -> Iterator[DatabaseServer]:
    """A server of its own with performance_schema on, which MariaDB has off."""
    made = fleet.provider.create(server.name, {"performance_schema": "ON"})
    yield made
    made.remove()


_TABLE = """
    CREATE TABLE shop.items (
        id tinyint PRIMARY KEY AUTO_INCREMENT, a int, b int,
        UNIQUE KEY b (b), KEY a (a), KEY a_again (a), KEY a_b (a, b)
    )"""


def shop(server: DatabaseServer) -> None:
    for statement in (
        "DROP DATABASE IF EXISTS shop",
        "CREATE DATABASE shop",
        _TABLE,
        "INSERT INTO shop.items (a, b) VALUES (1, 1), (2, 2), (3, 3)",
    ):
        server.execute(statement)


def test_reads_and_writes_of_tables_and_indexes(recorded: DatabaseServer) -> None:
    shop(recorded)
    with watching(recorded) as watch:
        labels = {"schema": "shop"}
        rows = "mysql_perf_schema_table_io_waits_total"
        assert watch.run("mysql_table_io").one(rows, **labels, operation="insert") == 3
        before = watch.run("mysql_index_io").one(
            "mysql_perf_schema_index_io_waits_total", **labels, index="b", operation="fetch"
        )
        recorded.execute("SELECT * FROM shop.items WHERE b = 2")
        recorded.execute("DELETE FROM shop.items WHERE id = 3")
        tables, indexes = watch.run("mysql_table_io"), watch.run("mysql_index_io")
        assert tables.one(rows, **labels, operation="delete") == 1
        assert tables.one("mysql_perf_schema_table_io_waits_seconds_total", **labels, operation="delete") > 0
        fetched = "mysql_perf_schema_index_io_waits_total"
        assert indexes.one(fetched, **labels, index="b", operation="fetch") == before + 1
        # Rows are inserted into all indexes: the server counts that for none.
        assert indexes.one(fetched, **labels, index="NONE", operation="insert") == 3
        assert indexes.values(fetched, **labels, index="b", operation="insert") == []


def test_indexes_that_nobody_uses(recorded: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    shop(recorded)
    recorded.execute(
        "CREATE TABLE shop.sales (id int PRIMARY KEY, item tinyint, day date, KEY item (item), KEY day (day), "
        "FOREIGN KEY (item) REFERENCES shop.items (id))"
    )
    # InnoDB lets a foreign key refer to what is not unique, if it may.
    recorded.execute("CREATE TABLE shop.codes (id int PRIMARY KEY, code int, KEY code (code))")
    with recorded.connect() as connection, connection.cursor() as cursor:
        if recorded.flavor == "mysql":
            cursor.execute("SET SESSION restrict_fk_on_non_standard_key = OFF")
        cursor.execute(
            "CREATE TABLE shop.coded (code int PRIMARY KEY, FOREIGN KEY (code) REFERENCES shop.codes (code))"
        )
    recorded.execute("SELECT * FROM shop.items FORCE INDEX (a_b) WHERE a = 1 AND b = 1")
    # As if the server had run for long enough.
    monkeypatch.setattr(needless_indexes, "WEEK", 0)
    with watching(recorded) as watch:
        found = watch.run("mysql_index_findings")
    told = found.by("mysql_index_finding_info", "schema", "index", "kind")
    unused = {index for schema, index, kind in told if (schema, kind) == ("shop", "unused")}
    # Neither the one that was used, nor the unique one, nor those of foreign keys.
    assert unused == {"a", "a_again", "day"}
    assert found.one("mysql_index_findings", kind="unused") == 3
    sizes = recorded.execute(
        "SELECT stat_value * @@innodb_page_size FROM mysql.innodb_index_stats "
        "WHERE database_name = 'shop' AND index_name IN ('a', 'a_again', 'day') AND stat_name = 'size'"
    )
    assert found.one("mysql_index_findings_bytes", kind="unused") == sum(int(size) for (size,) in sizes) > 0


def test_where_reads_are_counted_anew_nothing_is_unused_yet(
    recorded: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop(recorded)
    recorded.execute("CREATE TABLE shop.other (id int PRIMARY KEY, a int, KEY a (a), KEY never (id, a))")
    recorded.execute("INSERT INTO shop.other VALUES (1, 1)")
    reads = (
        "SELECT * FROM shop.items FORCE INDEX (a) WHERE a = 1",
        "SELECT * FROM shop.other FORCE INDEX (a) WHERE a = 1",
    )
    for sql in reads:
        recorded.execute(sql)
    monkeypatch.setattr(needless_indexes, "WEEK", 0)
    with watching(recorded) as watch:

        def unused() -> set[str]:
            told = watch.run("mysql_index_findings").by("mysql_index_finding_info", "schema", "table", "index", "kind")
            return {f"{table}.{name}" for schema, table, name, kind in told if (schema, kind) == ("shop", "unused")}

        assert unused() == {"items.a_again", "items.a_b", "other.never"}
        recorded.execute("TRUNCATE TABLE performance_schema.table_io_waits_summary_by_index_usage")
        # Now a week is a moment, which is less than these tables are old, and longer than ago that was.
        age = "SELECT MIN(TIMESTAMPDIFF(SECOND, CREATE_TIME, NOW())) FROM information_schema.TABLES"
        assert wait_for(lambda: recorded.execute(f"{age} WHERE TABLE_SCHEMA = 'shop'")[0][0] >= 1, 10)
        monkeypatch.setattr(needless_indexes, "WEEK", 0.5)
        assert unused() == set()
        assert wait_for(lambda: unused() >= {"items.a", "other.a"}, 10)


@pytest.mark.full
def test_an_index_that_is_new_is_not_unused_yet(recorded: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    shop(recorded)
    recorded.execute("CREATE TABLE shop.old (id int PRIMARY KEY, a int, b int, KEY a (a))")
    recorded.execute("CREATE TABLE shop.grown (id int PRIMARY KEY, a int, b int, KEY a (a))")
    time.sleep(16)
    recorded.execute("CREATE INDEX b ON shop.grown (b)")
    # As long a time as it may take to be asked.
    monkeypatch.setattr(needless_indexes, "WEEK", 15)
    with watching(recorded) as watch:
        told = watch.run("mysql_index_findings").by("mysql_index_finding_info", "schema", "table", "kind")
    assert {table for schema, table, kind in told if (schema, kind) == ("shop", "unused")} == {"items", "old"}


@pytest.mark.parametrize("partitions", ["", "PARTITION BY HASH (id) PARTITIONS 3"])
def test_pages_of_compressed_tables_are_smaller(server: DatabaseServer, watch: Watch, partitions: str) -> None:
    server.execute("DROP DATABASE IF EXISTS squeezed")
    server.execute("CREATE DATABASE squeezed")
    server.execute(
        "CREATE TABLE squeezed.`t-é` (id int PRIMARY KEY, a int, KEY a (a), KEY again (a)) "
        f"ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=4 {partitions}"
    )
    server.execute("CREATE TABLE squeezed.t (id int PRIMARY KEY, a int, KEY a (a), KEY again (a))")
    for table in ("t-é", "t"):
        server.execute(f"ANALYZE TABLE squeezed.`{table}`")
    pages = dict(
        server.execute(
            "SELECT SUBSTRING_INDEX(LOWER(table_name), '#p#', 1), SUM(stat_value) FROM mysql.innodb_index_stats "
            "WHERE database_name = 'squeezed' AND index_name = 'again' AND stat_name = 'size' GROUP BY 1"
        )
    )
    found = watch.run("mysql_index_findings").by("mysql_index_finding_size_bytes", "schema", "table", "index")
    assert found["squeezed", "t-é", "again"] == pages["t-é"] * 4096
    assert found["squeezed", "t", "again"] == pages["t"] * 16384
    server.execute("DROP DATABASE squeezed")


def test_the_largest_indexes_have_their_size_in_all_partitions(
    server: DatabaseServer, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop(server)
    server.execute("CREATE TABLE shop.`p-é` (id int PRIMARY KEY, a int, KEY a (a)) PARTITION BY HASH (id) PARTITIONS 3")
    for table in ("items", "p-é"):
        server.execute(f"ANALYZE TABLE shop.`{table}`")
    by_hand = {
        (table, index): int(size)
        for table, index, size in server.execute(
            "SELECT SUBSTRING_INDEX(LOWER(table_name), '#p#', 1), index_name, SUM(stat_value) * @@innodb_page_size "
            "FROM mysql.innodb_index_stats WHERE database_name = 'shop' AND stat_name = 'size' GROUP BY 1, 2"
        )
    }
    found = watch.run("mysql_index_sizes").by("mysql_index_size_bytes", "schema", "table", "index")
    assert {key[1:]: size for key, size in found.items() if key[0] == "shop"} == by_hand
    assert by_hand["p-é", "a"] == 3 * by_hand["items", "a"] > 0
    assert not {schema for schema, _, _ in found} & {"mysql", "sys"}
    monkeypatch.setattr(needless_indexes, "LARGEST", 1)
    few = watch.run("mysql_index_sizes").by("mysql_index_size_bytes", "schema", "table", "index")
    assert list(few.values()) == [max(found.values())]


@pytest.mark.parametrize("wanting", ["SELECT ON mysql.innodb_index_stats", "PROCESS ON *.*"])
def test_who_may_not_read_the_sizes_of_indexes_is_told_the_grant(server: DatabaseServer, wanting: str) -> None:
    collector = collectors_by_name()["mysql_index_sizes"]
    with watching(server, server.account(f"REVOKE {wanting} FROM blind", name="blind")) as watch:
        miss = collector.when.miss(watch.facts())
        assert collectors_by_name()["mysql_index_findings"].when.passes(watch.facts()), "it does without sizes"
    assert miss is not None
    assert miss.fix == f"GRANT {wanting} TO 'blind'@'%';"
    server.execute(miss.fix)
    with watching(server, server.known_account) as watch:
        assert collector.when.miss(watch.facts()) is None


@pytest.mark.flavor("mysql")
def test_pages_of_a_compressed_table_in_a_shared_tablespace_are_not_guessed(
    server: DatabaseServer, watch: Watch
) -> None:
    server.execute("DROP DATABASE IF EXISTS squeezed")
    server.execute("CREATE DATABASE squeezed")
    server.execute("CREATE TABLESPACE squeezing ADD DATAFILE 'squeezing.ibd' FILE_BLOCK_SIZE = 8192")
    try:
        server.execute(
            "CREATE TABLE squeezed.t (id int PRIMARY KEY, a int, KEY a (a), KEY again (a)) TABLESPACE squeezing "
            "ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8"
        )
        server.execute("ANALYZE TABLE squeezed.t")
        found = watch.run("mysql_index_findings")
        labels = {"schema": "squeezed", "index": "again"}
        assert found.one("mysql_index_finding_info", **labels) == 1
        assert found.values("mysql_index_finding_size_bytes", **labels) == []
    finally:
        server.execute("DROP DATABASE squeezed")
        server.execute("DROP TABLESPACE squeezing")


@pytest.mark.flavor("mysql")
def test_an_index_whose_reads_nobody_counts_is_not_unused(
    server: DatabaseServer, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.execute("DROP DATABASE IF EXISTS searched")
    server.execute("CREATE DATABASE searched")
    server.execute("CREATE TABLE searched.t (id int PRIMARY KEY, a int, b text, KEY a (a), FULLTEXT KEY words (b))")
    server.execute("INSERT INTO searched.t VALUES (1, 1, 'lost words'), (2, 2, 'others')")
    assert server.execute("SELECT id FROM searched.t WHERE MATCH (b) AGAINST ('lost')") == [(1,)]
    # As if the server had run for long enough.
    monkeypatch.setattr(needless_indexes, "WEEK", 0)

    def unused() -> set[str]:
        told = watch.run("mysql_index_findings").by("mysql_index_finding_info", "schema", "index", "kind")
        return {index for schema, index, kind in told if (schema, kind) == ("searched", "unused")}

    assert unused() == {"a"}
    off = "UPDATE performance_schema.{} SET ENABLED = '{}' WHERE NAME = '{}'"
    for table, name in (
        ("setup_instruments", "wait/io/table/sql/handler"),
        ("setup_consumers", "global_instrumentation"),
    ):
        server.execute(off.format(table, "NO", name))
        try:
            assert "unused" not in watch.run("mysql_index_findings").by("mysql_index_findings", "kind")
        finally:
            server.execute(off.format(table, "YES", name))
    actors = "performance_schema.setup_actors"
    # Whoever logs in from here on is left out: all others, or one account.
    for leave_out, undo in (
        (
            f"UPDATE {actors} SET ENABLED = 'NO' WHERE USER = '%'",
            f"UPDATE {actors} SET ENABLED = 'YES' WHERE USER = '%'",
        ),
        (f"INSERT INTO {actors} VALUES ('%', 'shop', '%', 'NO', 'NO')", f"DELETE FROM {actors} WHERE USER = 'shop'"),
    ):
        server.execute(leave_out)
        try:
            server.execute("SELECT id FROM searched.t FORCE INDEX (a) WHERE a = 1")
            assert "unused" not in watch.run("mysql_index_findings").by("mysql_index_findings", "kind")
        finally:
            server.execute(undo)
    server.execute(f"INSERT INTO {actors} VALUES ('%', 'exporter', '%', 'NO', 'NO')")
    try:
        assert "unused" in watch.run("mysql_index_findings").by("mysql_index_findings", "kind")
    finally:
        server.execute(f"DELETE FROM {actors} WHERE USER = 'exporter'")
    server.execute("DROP DATABASE searched")


@pytest.mark.flavor("mysql")
def test_an_index_whose_reads_there_was_no_room_to_count_is_not_unused(
    fresh_server: Callable[..., DatabaseServer], server: DatabaseServer
) -> None:
    made = fresh_server(server.name, {"performance_schema_max_table_handles": "3"})
    made.execute("CREATE DATABASE searched")
    for number in range(6):
        made.execute(f"CREATE TABLE searched.t{number} (id int PRIMARY KEY, a int, KEY a (a))")

    def uptimes() -> int:
        """Rows without which nothing is unused."""
        with watching(made) as watch:
            facts = watch.facts()
            query = collectors_by_name()["mysql_index_findings"].query(facts)
            assert query is not None
            rows = watch.session.run(query.sql, Deadline.after(20))
        return sum(row["part"] == "uptime" for row in rows.dicts())

    with made.connect() as session, session.cursor() as cursor:
        cursor.execute("SELECT " + ", ".join(f"(SELECT COUNT(*) FROM searched.t{n})" for n in range(6)))
    lost = "SHOW GLOBAL STATUS LIKE 'Performance_schema_table_handles_lost'"
    assert int(made.execute(lost)[0][1]) > 0
    assert uptimes() == 0
    made.restart(performance_schema_max_table_handles="-1")
    assert int(made.execute(lost)[0][1]) == 0
    assert uptimes() == 1


def test_files_memory_and_how_much_is_recorded(recorded: DatabaseServer) -> None:
    shop(recorded)
    with watching(recorded) as watch:
        digests, most = recorded.execute(
            "SELECT COUNT(*), @@performance_schema_digests_size "
            "FROM performance_schema.events_statements_summary_by_digest"
        )[0]
        told = watch.run("mysql_performance_schema")
        assert told.one("mysql_performance_schema_digests_max") == most
        assert digests <= told.one("mysql_performance_schema_digests") <= digests + 20
        consumers = dict(recorded.execute("SELECT NAME, ENABLED = 'YES' FROM performance_schema.setup_consumers"))
        assert told.by("mysql_performance_schema_consumer_enabled", "consumer") == consumers
        figures = {
            "reads_total": "COUNT_READ", "read_seconds_total": "SUM_TIMER_READ / 1e12",
            "read_bytes_total": "SUM_NUMBER_OF_BYTES_READ", "writes_total": "COUNT_WRITE",
            "write_seconds_total": "SUM_TIMER_WRITE / 1e12", "written_bytes_total": "SUM_NUMBER_OF_BYTES_WRITE",
            "other_operations_total": "COUNT_MISC", "other_operations_seconds_total": "SUM_TIMER_MISC / 1e12",
        }  # fmt: skip
        sql = (
            f"SELECT {', '.join(figures.values())} FROM performance_schema.file_summary_by_event_name "
            "WHERE EVENT_NAME = 'wait/io/file/innodb/innodb_data_file'"
        )
        # Pages are written when there is time, unless none may be dirty.
        recorded.execute("SET GLOBAL innodb_max_dirty_pages_pct = 0")
        assert wait_for(lambda: recorded.execute(sql)[0][3] > 0, 20)
        [before] = recorded.execute(sql)
        files = watch.run("mysql_innodb_io")
        [after] = recorded.execute(sql)
        for name, least, most in zip(figures, before, after, strict=True):
            value = files.one(f"mysql_file_{name}", file="innodb_data_file")
            assert 0 < float(least) * (1 - 1e-9) <= value <= float(most) * (1 + 1e-9), name
        for name in ("mysql_file_events", "mysql_file_instances", "mysql_memory_events", "mysql_table_locks"):
            assert watch.run(name).all, name


@pytest.mark.flavor("mariadb")
def test_statistics_of_users_without_performance_schema(fresh_server: Any, server: DatabaseServer) -> None:
    made = fresh_server(server.name, {"userstat": "ON", "skip_name_resolve": "ON"})
    shop(made)
    made.execute("CREATE USER teller IDENTIFIED BY 'x'")
    made.execute("GRANT SELECT ON shop.* TO teller")
    with made.connect("shop", "teller", "x", bind_address="127.0.0.2") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM items")
        cursor.execute("SELECT a FROM items FORCE INDEX (b) WHERE b = 1")
        # Of three rows that it reads it gets one.
        cursor.execute("SELECT * FROM items WHERE id + 0 = 1")
    with watching(made) as watch:
        name = "mysql_info_schema_user_statistics_rows_sent_total"
        assert wait_for(lambda: watch.run("mysql_user_statistics").values(name, user="teller") == [5], 10)
        users = watch.run("mysql_user_statistics")
        assert users.one("mysql_info_schema_user_statistics_total_connections", user="teller") == 1
        clients = watch.run("mysql_client_statistics")
        # Nobody else comes from there.
        assert clients.one("mysql_info_schema_client_statistics_rows_sent_total", client="127.0.0.2") == 5
        # Of too many clients those are read that have read and sent most.
        most = [("127.0.0.3",), ("127.0.0.4",)]
        for (host,), rows in zip([*most, ("127.0.0.5",)], (9000, 8000, 1), strict=True):
            with made.connect("shop", bind_address=host) as connection, connection.cursor() as cursor:
                cursor.execute(f"SELECT seq FROM seq_1_to_{rows}")
        everyone = "SELECT CLIENT FROM information_schema.CLIENT_STATISTICS"
        assert wait_for(lambda: {*most, ("127.0.0.5",)} <= set(made.execute(everyone)), 10)
        query = collectors_by_name()["mysql_client_statistics"].query(watch.facts())
        assert query is not None
        fewer, bounds = re.subn(r"LIMIT \d+$", "LIMIT 2", query.sql)
        assert bounds == 1
        found = watch.session.run(fewer, Deadline.after(10))
        assert [row[:1] for row in found.rows] == most
        # How many there are is told of all.
        hosts = len(made.execute(everyone))
        assert {dict(zip(found.columns, row, strict=True))["kept"] for row in found.rows} == {hosts}
        assert watch.run("mysql_client_statistics").one("mysql_client_statistics_hosts") == hosts > len(found.rows)
        [(names,)] = made.execute("SELECT COUNT(*) FROM information_schema.USER_STATISTICS")
        assert watch.run("mysql_user_statistics").one("mysql_user_statistics_users") == names
        # So are those who were refused what they asked for, and have no rows.
        with made.connect("shop", "teller", "x", bind_address="127.0.0.6") as refused, refused.cursor() as cursor:
            for _ in range(5):
                with pytest.raises(pymysql.err.OperationalError, match="denied"):
                    cursor.execute("DELETE FROM items")
        assert wait_for(lambda: ("127.0.0.6",) in made.execute(everyone), 10)
        order = [row[0] for row in watch.session.run(query.sql, Deadline.after(10)).rows]
        assert order.index("127.0.0.4") < order.index("127.0.0.6") < order.index("127.0.0.5")
        # The server leaves out what an account may not read, so nothing is said without the privilege.
        for name in ("mysql_table_statistics", "mysql_index_statistics"):
            assert watch.lacks_only(name, "SELECT")
    # Without the privilege the server shows no user and refuses nothing.
    with watching(made, made.account("REVOKE PROCESS ON *.* FROM blind", name="blind")) as watch:
        assert watch.session.run("SELECT * FROM information_schema.USER_STATISTICS", Deadline.after(10)).rows == []
        for name in ("mysql_user_statistics", "mysql_client_statistics"):
            miss = collectors_by_name()[name].when.miss(watch.facts())
            assert miss is not None
            assert miss.fix == "GRANT PROCESS ON *.* TO 'blind'@'%';"
    with watching(made, made.account("GRANT SELECT ON *.* TO exporter")) as watch:
        tables = watch.run("mysql_table_statistics")
        assert tables.one("mysql_info_schema_table_statistics_rows_changed_total", schema="shop", table="items") == 3
        assert tables.one("mysql_info_schema_schema_statistics_rows_changed_total", schema="shop") == 3
        indexes = watch.run("mysql_index_statistics")
        name = "mysql_info_schema_index_statistics_rows_read_total"
        assert indexes.one(name, schema="shop", table="items", index="b") == 1
        # As HELP says.
        read = "mysql_info_schema_schema_statistics_rows_read_total"
        made.execute("CREATE TABLE shop.staging AS SELECT * FROM shop.items")
        made.execute("SELECT * FROM shop.staging")
        before = watch.run("mysql_table_statistics").one(read, schema="shop")
        made.execute("DROP TABLE shop.staging")
        assert watch.run("mysql_table_statistics").one(read, schema="shop") == before - 3


def test_automatic_numbers(server: DatabaseServer, watch: Watch) -> None:
    shop(server)
    labels = {"schema": "shop", "table": "items", "column": "id"}
    found = watch.run("mysql_auto_increment")
    assert found.one("mysql_info_schema_auto_increment_column", **labels) == 4
    assert found.one("mysql_info_schema_auto_increment_column_max", **labels) == 127
    # The fullest stands first, since where there is no room for all the last are left out.
    assert found.all[0][1] == labels


def test_needless_indexes(server: DatabaseServer, watch: Watch) -> None:
    shop(server)
    found = watch.run("mysql_index_findings")
    told = found.by("mysql_index_finding_info", "schema", "index", "kind")
    assert {key for key in told if key[0] == "shop"} == {("shop", "a_again", "duplicate"), ("shop", "a", "redundant")}
    [(size,)] = server.execute(
        "SELECT stat_value * @@innodb_page_size FROM mysql.innodb_index_stats "
        "WHERE database_name = 'shop' AND index_name = 'a' AND stat_name = 'size'"
    )
    assert found.one("mysql_index_finding_size_bytes", schema="shop", index="a") == size
    # A week after the start at the earliest.
    assert "unused" not in found.by("mysql_index_findings", "kind")


def test_what_statements_do_not_see_makes_no_index_needless(server: DatabaseServer, watch: Watch) -> None:
    shop(server)
    for index in ("a_again", "a_b"):
        hide = "INVISIBLE" if server.flavor == "mysql" else "IGNORED"
        server.execute(f"ALTER TABLE shop.items ALTER INDEX {index} {hide}")
    told = watch.run("mysql_index_findings").by("mysql_index_finding_info", "schema", "index", "kind")
    assert {key for key in told if key[0] == "shop"} == {("shop", "a_again", "duplicate")}


def test_sessions_by_user_and_host(server: DatabaseServer, watch: Watch) -> None:
    for user in ("teller", "Teller"):
        server.execute(f"DROP USER IF EXISTS {user}")
        server.execute(f"CREATE USER {user} IDENTIFIED BY 'x'")
    with (
        server.connect(user="teller", password="x"),
        server.connect(user="teller", password="x"),
        server.connect(user="Teller", password="x"),
    ):
        found = watch.run("mysql_processes")
        assert found.one("mysql_info_schema_processlist_processes_by_user", mysql_user="teller") == 2
        assert found.one("mysql_info_schema_processlist_processes_by_user", mysql_user="Teller") == 1
        hosts = found.by("mysql_info_schema_processlist_processes_by_host", "client_host")
        assert sum(hosts.values()) >= 2
        assert not [host for host in hosts if ":" in host]
        threads = found.by("mysql_info_schema_processlist_threads", "command")
        assert threads["sleep"] >= 2


def test_sessions_by_database(server: DatabaseServer, watch: Watch) -> None:
    """Idle ones too, against the server's own list; names that differ by case alone are two databases."""
    for name in ("till", "Till"):
        server.execute(f"DROP DATABASE IF EXISTS {name}")
        server.execute(f"CREATE DATABASE {name}")
    listed = (
        "SELECT COALESCE(MAX(db), ''), COUNT(*) FROM information_schema.PROCESSLIST "
        "WHERE COALESCE(db, '') <> 'information_schema' AND ID <> CONNECTION_ID() "
        "AND USER NOT IN ('system user', 'event_scheduler') GROUP BY CAST(db AS BINARY)"
    )
    with server.connect("till"), server.connect("till"), server.connect("Till"):

        def shown() -> dict[str, float]:
            found = watch.run("mysql_processes").by("mysql_connections_by_database", "database")
            # Our own sessions are the only ones there.
            found.pop("information_schema", None)
            return found

        assert wait_for(lambda: shown() == dict(server.execute(listed)), 10)
        assert (shown()["till"], shown()["Till"]) == (2, 1)
    assert wait_for(lambda: not {"till", "Till"} & set(shown()), 10)


@pytest.mark.parametrize(
    ("host", "client"),
    [("fe80::1:5000", "fe80::1"), ("::1:5000", "::1"), ("10.0.0.1:5000", "10.0.0.1"), ("app", "app"), ("", "")],
)
def test_clients_with_an_ipv6_address(server: DatabaseServer, host: str, client: str) -> None:
    """The port stands behind the last colon; where the server has no address, there is none."""
    there = f"(SELECT 0 AS id, 'a' AS user, '{host}' AS host, '' AS command, '' AS state, 1 AS time, '' AS db) there"
    [(_, found, *_)] = server.execute(PROCESSES.format(there))
    assert found == client


def test_accounts(server: DatabaseServer) -> None:
    names = ("''", "file_reader", "stale", "reader", "aged", "aging", "elsewhere")
    dropped = ", ".join(f"{name}@'10.9.9.9'" for name in names)
    for statement in (
        f"DROP USER IF EXISTS {dropped}",
        "CREATE USER ''@'10.9.9.9' IDENTIFIED BY 'x'",
        "CREATE USER file_reader@'10.9.9.9' IDENTIFIED BY 'x' WITH MAX_QUERIES_PER_HOUR 12",
        "GRANT FILE ON *.* TO file_reader@'10.9.9.9'",
        "CREATE USER stale@'10.9.9.9' IDENTIFIED BY '' PASSWORD EXPIRE",
        "CREATE USER reader@'10.9.9.9' IDENTIFIED BY 'x'",
        "GRANT SELECT ON *.* TO reader@'10.9.9.9'",
        "CREATE USER aged@'10.9.9.9' IDENTIFIED BY 'x' PASSWORD EXPIRE INTERVAL 3 DAY",
        "CREATE USER aging@'10.9.9.9' IDENTIFIED BY 'x' PASSWORD EXPIRE INTERVAL 5 DAY",
        "CREATE USER elsewhere@'10.9.9.9' IDENTIFIED BY 'x' PASSWORD EXPIRE INTERVAL 3 DAY",
    ):
        server.execute(statement)
    # All four days old. MariaDB tells nobody.
    aged = set()
    if server.flavor == "mysql":
        server.execute("UPDATE mysql.user SET password_last_changed = NOW() - INTERVAL 4 DAY WHERE host = '10.9.9.9'")
        # The password is kept by somebody else: the server does not ask how old it is.
        server.execute("UPDATE mysql.user SET plugin = 'authentication_ldap_simple' WHERE user = 'elsewhere'")
        aged = {("aged", "10.9.9.9", "password_expired")}
    try:
        with watching(server, server.account("GRANT SELECT ON mysql.user TO exporter")) as watch:
            found = watch.run("mysql_account_findings")
            told = set(found.by("mysql_account_finding_info", "mysql_user", "hostmask", "kind"))
            assert {item for item in told if item[1] == "10.9.9.9"} == {
                ("", "10.9.9.9", "anonymous"),
                ("file_reader", "10.9.9.9", "reads_files"),
                ("stale", "10.9.9.9", "password_expired"),
                ("reader", "10.9.9.9", "reads_everywhere"),
                *aged,
            }
            assert found.one("mysql_account_findings", kind="anonymous") == 1
            limits = watch.run("mysql_account_limits")
            assert limits.one("mysql_mysql_max_questions", mysql_user="file_reader") == 12
            privileges = watch.run("mysql_account_privileges")
            assert privileges.one("mysql_mysql_file_priv", mysql_user="file_reader") == 1
            assert privileges.one("mysql_mysql_super_priv", mysql_user="file_reader") == 0
            before = watch.run("mysql_accounts_without_password").one("mysql_accounts_without_password")
            server.execute("ALTER USER stale@'10.9.9.9' IDENTIFIED BY 'y'")
            assert watch.run("mysql_accounts_without_password").one("mysql_accounts_without_password") == before - 1
    finally:
        server.execute(f"DROP USER {dropped}")


# By account of the test: what it was granted, and what is found of it.
POWERS: dict[str, dict[str, tuple[tuple[str, ...], set[str]]]] = {
    "any": {
        "harmless": (("SELECT, INSERT, DELETE, DROP, ALTER ON powers.*", "PROCESS, CREATE, RELOAD ON *.*"), set()),
        **{
            f"w_{verb.lower()}": ((f"{verb} ON *.*",), {"writes_everywhere"})
            for verb in ("INSERT", "UPDATE", "DELETE", "DROP", "ALTER")
        },
        "creator": (("CREATE USER ON *.*",), {"creates_accounts"}),
        "ender": (("SHUTDOWN ON *.*",), {"shuts_down"}),
        "wizard": (("SUPER ON *.*",), {"superuser"}),
        "granter": (("USAGE ON *.* TO {} WITH GRANT OPTION",), {"grants_everything"}),
        # A role within a role, and none of them active.
        "member": (("powers_outer",), {"superuser", "reads_everywhere"}),
        # Lets nobody in.
        "locked": (("FILE ON *.*",), set()),
    },
    "mysql": {
        **{
            f"d_{name.lower()[:20]}": ((f"{name} ON *.*",), {"superuser"})
            for name in ("SYSTEM_VARIABLES_ADMIN", "CONNECTION_ADMIN", "ROLE_ADMIN", "BINLOG_ADMIN", "CLONE_ADMIN")
        },
        "modest": (("SESSION_VARIABLES_ADMIN, BACKUP_ADMIN, SYSTEM_USER ON *.*",), set()),
        "dynamic": (("powers_parts",), {"superuser"}),
    },
    "mariadb": {
        "definer": (("SET USER ON *.*",), {"superuser"}),
        "reader": (("REPLICATION SLAVE, BINLOG MONITOR, SLAVE MONITOR ON *.*",), set()),
    },
}
_THERE = "'10.9.9.8'"


def test_privileges_on_the_whole_server_in_whatever_way_they_were_granted(server: DatabaseServer) -> None:
    powers = POWERS["any"] | POWERS[server.flavor]
    roles = ["powers_inner", "powers_outer", "powers_parts"]
    drop = [f"DROP USER IF EXISTS {', '.join(f'{name}@{_THERE}' for name in powers)}"]
    drop += [f"DROP ROLE IF EXISTS {', '.join(roles)}"]
    grants = ["SUPER, SELECT ON *.* TO powers_inner", "powers_inner TO powers_outer"]
    if server.flavor == "mysql":
        grants += ["ROLE_ADMIN ON *.* TO powers_parts"]
    for name, (granted, _) in powers.items():
        grants += [f"{what if ' TO ' in what else what + ' TO {}'}".format(f"{name}@{_THERE}") for what in granted]
    for statement in (
        *drop,
        f"CREATE ROLE {', '.join(roles)}" if server.flavor == "mysql" else "",
        *(f"CREATE ROLE {role}" for role in roles if server.flavor == "mariadb"),
        *(f"CREATE USER {name}@{_THERE} IDENTIFIED BY 'x'" for name in powers),
        *(f"GRANT {grant}" for grant in grants),
        f"ALTER USER locked@{_THERE} ACCOUNT LOCK",
    ):
        if statement:
            server.execute(statement)
    expected = {(name, kind) for name, (_, kinds) in powers.items() for kind in kinds}
    # Beside the hashes of passwords, where the printed account does not look.
    hidden = {("definer", "superuser"), ("locked", "reads_files")} if server.flavor == "mariadb" else set()
    try:
        with watching(server, server.account()) as watch:
            found = watch.run("mysql_account_findings")
            told = found.by("mysql_account_finding_info", "mysql_user", "hostmask", "kind")
            assert {(user, kind) for user, host, kind in told if host == "10.9.9.8"} == expected ^ hidden
            supers = [user for user, _, kind in told if kind == "superuser"]
            assert found.one("mysql_account_findings", kind="superuser") == len(supers)
            assert set(found.by("mysql_account_findings", "kind")) >= {"shuts_down", "anonymous"}
            # What there is no room to name is counted all the same.
            few = watch.run("mysql_account_findings", limit=2)
            assert len(few.values("mysql_account_finding_info")) == 2
            assert few.by("mysql_account_findings", "kind") == found.by("mysql_account_findings", "kind")
        if hidden:
            with watching(server, server.account("GRANT SELECT ON mysql.global_priv TO exporter")) as watch:
                found = watch.run("mysql_account_findings")
                told = found.by("mysql_account_finding_info", "mysql_user", "hostmask", "kind")
                assert {(user, kind) for user, host, kind in told if host == "10.9.9.8"} == expected
    finally:
        for statement in drop:
            server.execute(statement)


def test_what_is_within_a_role_is_found_once_for_all_who_have_it(server: DatabaseServer) -> None:
    roles = [f"nested_{depth}" for depth in range(10)]
    accounts = [f"nested_user_{number}@{_THERE}" for number in range(300)]
    collector = collectors_by_name()["mysql_account_findings"]
    with watching(server) as watch:
        query = collector.query(watch.facts())
        assert query is not None
    sql = query.sql.replace("{limit}", "1000")

    def powerful(cursor: Any) -> int:
        cursor.execute(sql)
        found = [row for row in cursor.fetchall() if row[0] == "superuser" and row[3] == "10.9.9.8" and row[4]]
        return len(found)

    def written(cursor: Any) -> int:
        """Rows that the query writes to tables of its own."""
        cursor.execute("FLUSH STATUS")
        powerful(cursor)
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler%write'")
        return sum(int(count) for _, count in cursor.fetchall())

    for role in roles:
        server.execute(f"CREATE ROLE {role}")
    try:
        # So that as much is found before they are nested.
        server.execute(f"GRANT SUPER ON *.* TO {roles[0]}")
        server.execute(f"CREATE USER {', '.join(accounts)}")
        server.execute(f"GRANT {roles[0]} TO {', '.join(accounts)}")
        with server.connect() as connection, connection.cursor() as cursor:
            before = written(cursor)
            for outer, inner in pairwise(roles):
                server.execute(f"GRANT {inner} TO {outer}")
            assert powerful(cursor) == len(accounts)
            # Nine for each account would be 2,700 and more.
            assert written(cursor) - before < 900
    finally:
        server.execute(f"DROP USER {', '.join(accounts)}")
        for role in roles:
            server.execute(f"DROP ROLE {role}")


@pytest.mark.flavor("mysql")
@pytest.mark.parametrize("written", ["{inner}, powers_all", "'none'@'%',\"powers_all\"@`%`,{inner}"])
def test_privileges_of_roles_that_everybody_has(server: DatabaseServer, written: str) -> None:
    roles = ["powers_all", "powers_role", f"powers_inner@{_THERE}"]
    for statement in (
        f"CREATE ROLE {', '.join(roles)}",
        "GRANT SHUTDOWN ON *.* TO powers_role",
        "GRANT powers_role TO powers_all",
        f"GRANT FILE ON *.* TO powers_inner@{_THERE}",
        f"CREATE USER powers_nobody@{_THERE} IDENTIFIED BY 'x'",
    ):
        server.execute(statement)
    before = server.execute("SELECT @@GLOBAL.mandatory_roles")[0][0]

    def told(watch: Watch) -> set[str]:
        found = watch.run("mysql_account_findings").by("mysql_account_finding_info", "mysql_user", "kind")
        return {kind for user, kind in found if user == "powers_nobody"}

    try:
        with watching(server, server.account()) as watch:
            assert told(watch) == set()
            server.execute("SET GLOBAL mandatory_roles = %s", params=(written.format(inner=f"powers_inner@{_THERE}"),))
            assert told(watch) == {"shuts_down", "reads_files"}
            # Roles are no accounts.
            found = watch.run("mysql_account_findings").by("mysql_account_finding_info", "mysql_user", "kind")
            assert not {user for user, _ in found} & {"powers_all", "powers_role", "powers_inner"}
    finally:
        server.execute("SET GLOBAL mandatory_roles = %s", params=(before,))
        server.execute(f"DROP ROLE IF EXISTS {', '.join(roles)}")
        server.execute(f"DROP USER powers_nobody@{_THERE}")


# By the role that everybody is given here: what is found of everybody then.
_ODD_ROLES = {
    ("odd,role", "%"): ("FILE", "reads_files"),
    ("odd role", "%"): ("SHUTDOWN", "shuts_down"),
    ("odd\"ro'le", "%"): ("CREATE USER", "creates_accounts"),
    ("odd`role", "%"): ("SUPER", "superuser"),
    ("odd@role", "here"): ("SELECT", "reads_everywhere"),
    ("oddrole", "%"): ("INSERT", "writes_everywhere"),
}


@pytest.mark.flavor("mysql")
def test_roles_that_everybody_has_are_read_as_the_server_reads_them(server: DatabaseServer) -> None:
    def quoted(name: str) -> str:
        return "`" + name.replace("`", "``") + "`"

    written = {f"{quoted(name)}@`{host}`" for name, host in _ODD_ROLES}
    server.execute(f"CREATE ROLE {', '.join(written)}")
    for (name, host), (privilege, _) in _ODD_ROLES.items():
        server.execute(f"GRANT {privilege} ON *.* TO {quoted(name)}@`{host}`")
    server.execute("CREATE USER powers_nobody IDENTIFIED BY 'x'")
    before = server.execute("SELECT @@GLOBAL.mandatory_roles")[0][0]
    seen: set[str] = set()
    try:
        with watching(server, server.account()) as watch:
            for listed in (
                "odd,role", "`odd,role`", "'odd,role', \"odd role\"", "odd role", "'odd`role','odd,role'",
                "`odd``role`", "odd`role", "`odd\"ro'le`", "'odd\"ro''le'",
                "odd@role@here", "'odd@role'@here", "`odd@role` @ 'here'",
                "'odd@role'@HERE", "'odd@role'", "ODDROLE", "od d'role' @", "oddrole@%,`odd,role", " `oddrole`@'%' ",
                "'odd,role'@`%`,nobody_of_this_name,\"odd`role\"", "' oddrole'", "'odd\\,role'", "",
            ):  # fmt: skip
                server.execute("SET GLOBAL mandatory_roles = %s", params=(listed,))
                # The server shows them to whom they concern.
                with server.connect(user="powers_nobody", password="x") as client, client.cursor() as cursor:
                    cursor.execute("SHOW GRANTS")
                    grants = " ".join(row[0] for row in cursor.fetchall())
                expected = {
                    kind for (name, host), (_, kind) in _ODD_ROLES.items() if f"{quoted(name)}@`{host}`" in grants
                }
                found = watch.run("mysql_account_findings").by("mysql_account_finding_info", "mysql_user", "kind")
                told = {kind for user, kind in found if user == "powers_nobody"}
                assert told == {*expected, "any_host"}, listed
                seen |= expected
    finally:
        server.execute("SET GLOBAL mandatory_roles = %s", params=(before,))
        server.execute(f"DROP ROLE {', '.join(written)}")
        server.execute("DROP USER powers_nobody")
    assert seen == {kind for _, kind in _ODD_ROLES.values()}


def test_an_account_that_sees_no_roles_calls_nobody_harmless(server: DatabaseServer) -> None:
    account = server.account()
    for table in ROLE_TABLES[server.flavor]:
        server.execute(f"REVOKE SELECT ON mysql.{table} FROM exporter")
    with watching(server, account) as watch:
        wanting = [f"SELECT ON mysql.{table}" for table in ROLE_TABLES[server.flavor]]
        assert watch.lacks_only("mysql_account_findings", *wanting)
        assert "mysql_mysql_max_questions" in watch.run("mysql_account_limits").names()


def test_accounts_that_let_in_from_everywhere_however_their_host_is_written(
    server: DatabaseServer, watch: Watch
) -> None:
    hosts = ["%", "%%", "_%"]
    some = ["10.%", "0.0.0.0/0.0.0.0", "%.example.com", "_"]
    if server.flavor == "mysql":
        hosts.append("")
    for host in hosts + some:
        server.execute(f"CREATE USER 'guest'@'{host}' IDENTIFIED BY 'x'")
    try:
        told = watch.run("mysql_account_findings").by("mysql_account_finding_info", "mysql_user", "hostmask", "kind")
        assert {host for user, host, kind in told if (user, kind) == ("guest", "any_host")} == set(hosts)
    finally:
        for host in hosts + some:
            server.execute(f"DROP USER 'guest'@'{host}'")


@pytest.mark.flavor("mysql")
def test_encrypted_connections(server: DatabaseServer, watch: Watch) -> None:
    def encrypted() -> float:
        found = watch.run("mysql_connections_tls").by("mysql_tls_connections", "version", "transport")
        return sum(value for (version, _), value in found.items() if version)

    with server.connect(ssl_disabled=True) as plain:
        alone(plain, others=1)
        before = encrypted()
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_version'")
        [(_, version)] = cursor.fetchall()
        assert encrypted() == before + (1 if version else 0)
    [(expiry,)] = server.execute(
        "SELECT UNIX_TIMESTAMP(STR_TO_DATE(VARIABLE_VALUE, '%b %e %H:%i:%s %Y GMT')) "
        "FROM performance_schema.global_status "
        "WHERE VARIABLE_NAME = 'Ssl_server_not_after'"
    )
    assert watch.run("mysql_status").one("mysql_server_certificate_expiry_timestamp_seconds") == expiry


@pytest.mark.flavor("mysql")
def test_only_encrypted_sessions_are_looked_up_and_once_each(server: DatabaseServer) -> None:
    with watching(server) as watch:
        query = connections_tls.query(watch.facts())
    assert query is not None
    with server.connect(ssl_disabled=True) as plain, server.connect(ssl_disabled=True), server.connect():
        alone(plain, others=2)
        with server.connect() as asking, asking.cursor() as cursor:
            cursor.execute(f"EXPLAIN ANALYZE {query.sql}")
            [(steps,)] = cursor.fetchall()
            cursor.execute(
                "SELECT COUNT(*) FROM performance_schema.threads "
                "WHERE CONNECTION_TYPE = 'SSL/TLS' AND PROCESSLIST_ID <> CONNECTION_ID()"
            )
            [(encrypted,)] = cursor.fetchall()
    # All variables of a session are read to find two.
    [(variables,)] = server.execute(
        "SELECT COUNT(*) FROM performance_schema.status_by_thread WHERE THREAD_ID = PS_CURRENT_THREAD_ID()"
    )
    [(rows, times)] = re.findall(r"lookup on v .*actual.* rows=(\S+) loops=(\d+)", steps)
    assert encrypted
    assert float(rows) * int(times) == pytest.approx(encrypted * variables, rel=0.05), steps


@pytest.mark.flavor("mariadb")
def test_to_ask_for_encryption_reads_the_variables_of_each_session_once(server: DatabaseServer) -> None:
    with watching(server) as watch:
        query = connections_tls.query(watch.facts())
    assert query is not None
    steps = {str(step[1]) for step in server.execute(f"EXPLAIN {query.sql}")}
    assert "DERIVED" in steps
    assert "DEPENDENT SUBQUERY" not in steps


@pytest.mark.flavor("mariadb")
def test_encrypted_connections_of_mariadb(fresh_server: Callable[..., DatabaseServer], server: DatabaseServer) -> None:
    made = fresh_server(server.name, {"performance_schema": "ON"}, tls=True)
    assert made.certificate is not None
    with watching(made, tls={"mode": "require"}) as watch:

        def connections() -> dict[tuple[str, str, str], float]:
            return watch.run("mysql_connections_tls").by("mysql_tls_connections", "version", "cipher", "transport")

        with made.connect(ssl_disabled=True) as plain:
            alone(plain, others=1)
            before = connections()
        with made.connect(ssl={"ca": str(made.certificate.authority)}) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW SESSION STATUS WHERE Variable_name IN ('Ssl_version', 'Ssl_cipher')")
            said = dict(cursor.fetchall())
            encrypted = (said["Ssl_version"], said["Ssl_cipher"], "tcp")
            assert connections()[encrypted] == before.get(encrypted, 0) + 1
        authority = x509.load_pem_x509_certificate(made.certificate.certificate.read_bytes())
        expiry = watch.run("mysql_status").one("mysql_server_certificate_expiry_timestamp_seconds")
        assert expiry == authority.not_valid_after_utc.timestamp()


def x_session(server: DatabaseServer, port: int, *, silent: bool = False) -> socket.socket:
    """An encrypted session of the X protocol that has said something or nothing, in as many messages as that takes."""

    def field(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, len(value)]) + value

    def ask(kind: int, body: bytes, wanted: int) -> None:
        connection.sendall((1 + len(body)).to_bytes(4, "little") + bytes([kind]) + body)
        answer = -1
        while answer != wanted:
            size = int.from_bytes(received(4), "little")
            answer, text = received(1)[0], received(size - 1)
            assert answer != 1, text

    def received(size: int) -> bytes:
        got = b""
        while len(got) < size:
            got += connection.recv(size - len(got))
        return got

    connection = socket.create_connection((server.host, port), timeout=20)
    on = field(2, b"\x08\x01" + field(2, b"\x08\x07\x40\x01"))
    ask(2, field(1, field(1, field(1, b"tls") + on)), wanted=0)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = context.wrap_socket(connection)
    login = f"\0{server.admin.user}\0{server.admin.password}".encode()
    ask(4, field(1, b"PLAIN") + field(2, login), wanted=4)
    if not silent:
        ask(12, field(1, b"SELECT 1"), wanted=17)
    return connection


@pytest.mark.full
@pytest.mark.flavor("mysql")
def test_sessions_of_the_x_protocol(fresh_server: Callable[..., DatabaseServer], server: DatabaseServer) -> None:
    port = free_port()
    settings = {"mysqlx": "ON", "mysqlx_port": str(port), "mysqlx_bind_address": "127.0.0.1"}
    made = fresh_server(server.name, settings)
    with watching(made) as watch:

        def connections() -> dict[tuple[str, str], float]:
            found = watch.run("mysql_connections_tls").by("mysql_tls_connections", "version", "cipher", "transport")
            return {(version, cipher): count for (version, cipher, transport), count in found.items() if count}

        with contextlib.ExitStack() as stack:
            with made.connect(ssl_disabled=True) as plain, plain.cursor() as cursor:
                alone(plain, others=1)
                before = connections().get(("", ""), 0)
                stack.enter_context(x_session(made, port))
                cursor.execute(
                    "SELECT CONNECTION_TYPE FROM performance_schema.threads "
                    "WHERE NAME = 'thread/mysqlx/worker' AND PROCESSLIST_ID IS NOT NULL"
                )
                assert cursor.fetchall() == (("SSL/TLS",),)
                found = connections()
                assert found[("unknown", "unknown")] == 1
                assert found.get(("", ""), 0) == before

            def all_counted() -> bool:
                """All that the server counts but for the session that asks it: ours, those of X, and nobody else."""
                connected = int(made.execute("SHOW GLOBAL STATUS LIKE 'Threads_connected'")[0][1]) - 1
                found = watch.run("mysql_activity")
                idle = found.one("db_connections", state="idle")
                return (idle, idle + found.one("db_connections_reserved")) == (3, connected) == (3, 4)

            with x_session(made, port, silent=True), socket.create_connection((made.host, port)):
                assert wait_for(all_counted, 20)


def written_by_innodb(server: DatabaseServer, *figures: str) -> int:
    """A figure of the text that InnoDB writes about itself, less a second one of the same text."""
    text = server.execute("SHOW ENGINE INNODB STATUS")[0][2]
    found = [int(match[1]) for figure in figures if (match := re.search(figure, text))]
    assert len(found) == len(figures)
    return found[0] - sum(found[1:])


def checkpoint_age(server: DatabaseServer) -> int:
    return written_by_innodb(server, r"Log sequence number\s+(\d+)", r"Last checkpoint at\s+(\d+)")


def test_what_innodb_says(server: DatabaseServer, watch: Watch) -> None:
    name = "mysql_deadlocks" if server.flavor == "mysql" else "mysql_status"
    with server.connect() as reader, reader.cursor() as cursor:
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        shop(server)
        for value in range(5):
            server.execute(f"UPDATE shop.items SET a = {value + 10} WHERE id = 1")

        def as_in_the_text() -> bool:
            """An open reader keeps old versions from being purged, so the text says the same before and after."""
            before = written_by_innodb(server, r"History list length (\d+)")
            length = watch.run(name).one("mysql_innodb_history_list_length")
            return 5 <= before == length == written_by_innodb(server, r"History list length (\d+)")

        assert wait_for(as_in_the_text, 20)

    def between(collector: str, facts: Facts) -> bool:
        """What the server says before and after, unless a checkpoint comes in between."""
        before = checkpoint_age(server)
        age = watch.run(collector, facts).one("mysql_innodb_checkpoint_age_bytes")
        return 0 < before <= age <= checkpoint_age(server)

    facts = watch.facts()
    assert wait_for(lambda: between("mysql_status", facts), 20)
    assert not watch.run("mysql_innodb_status", facts).values("mysql_innodb_checkpoint_age_bytes")
    if server.flavor == "mysql":
        older = replace(facts, version=(8, 0, 29))
        assert wait_for(lambda: between("mysql_innodb_status", older), 20)
        assert not watch.run("mysql_status", older).values("mysql_innodb_checkpoint_age_bytes")
    found = watch.run("mysql_tablespaces")
    table = "INNODB_TABLESPACES" if server.flavor == "mysql" else "INNODB_SYS_TABLESPACES"
    [(size,)] = server.execute(f"SELECT FILE_SIZE FROM information_schema.{table} WHERE NAME = 'shop/items'")
    assert found.one("mysql_info_schema_innodb_tablespace_file_size_bytes", tablespace_name="shop/items") == size


@pytest.mark.flavor("mysql")
def test_errors_are_counted_by_their_name(server: DatabaseServer, watch: Watch) -> None:
    shop(server)
    server.execute(
        "CREATE PROCEDURE shop.careful() BEGIN DECLARE CONTINUE HANDLER FOR SQLSTATE '23000' BEGIN END; "
        "INSERT INTO shop.items (id) VALUES (1); END"
    )

    def told() -> list[float]:
        found = watch.run("mysql_errors")
        names = ({"error": "ER_DUP_ENTRY", "number": "1062"}, {"error": "ER_BAD_FIELD_ERROR", "number": "1054"})
        return [sum(found.values("mysql_errors_raised_total", **name)) for name in names]

    before = told()
    for _ in range(3):
        with pytest.raises(pymysql.err.IntegrityError):
            server.execute("INSERT INTO shop.items (id) VALUES (1)")
    for _ in range(2):
        server.execute("CALL shop.careful()")
        with pytest.raises(pymysql.err.OperationalError):
            server.execute("SELECT nothing_of_the_kind FROM shop.items")
    # As a warning it counts, too.
    server.execute("INSERT IGNORE INTO shop.items (id) VALUES (1)")
    assert [now - then for now, then in zip(told(), before, strict=True)] == [4, 2]
    # What never happened has no series.
    [(happened,)] = server.execute(
        "SELECT COUNT(*) FROM performance_schema.events_errors_summary_global_by_error WHERE SUM_ERROR_RAISED > 0"
    )
    assert len(watch.run("mysql_errors").by("mysql_errors_raised_total", "error")) == happened


def test_users_are_added_up_once_for_all_of_their_hosts(recorded: DatabaseServer) -> None:
    """The view has all but connections and hosts times the number of hosts."""
    shop(recorded)
    recorded.execute("DROP USER IF EXISTS adder")
    recorded.execute("CREATE USER adder IDENTIFIED BY 'x'")
    recorded.execute("GRANT SELECT, CREATE ON shop.* TO adder")
    login = {"user": "adder", "password": "x", "database": "shop"}
    view = (
        "SELECT statements, statement_latency / 1e12, table_scans, file_ios, file_io_latency / 1e12, current_memory,"
        " total_memory_allocated, current_connections, total_connections, unique_hosts"
        " FROM sys.x$user_summary WHERE user = 'adder'"
    )
    names = ("statements_total", "statement_latency", "table_scans_total", "file_ios_total", "file_io_seconds_total",
             "current_memory_bytes", "memory_allocated_bytes_total")  # fmt: skip
    same = ("current_connections", "connections_total", "unique_hosts_total")
    with recorded.connect(**login) as one, recorded.connect(**login, bind_address="127.0.0.2") as other:
        for _ in range(2):
            one.query("SELECT * FROM items IGNORE INDEX (PRIMARY, b, a, a_again, a_b)")
        other.query("CREATE TABLE made (a int)")
        with watching(recorded) as watch:
            found = watch.run("mysql_user_summary")
        [told] = recorded.execute(view)
        table = "performance_schema.events_statements_summary_by_user_by_event_name"
        [(statements,)] = recorded.execute(f"SELECT SUM(COUNT_STAR) FROM {table} WHERE USER = 'adder'")
    assert told[7:] == (2, 2, 2)
    for name, value in zip((*names, *same), told, strict=True):
        times = 2 if name in names else 1
        assert found.one(f"mysql_sys_{name}", user="adder") * times == pytest.approx(float(value), rel=1e-6), name
    # Nothing is compared with nothing.
    assert all(value > 0 for value in told[:5])
    assert found.one("mysql_sys_statements_total", user="adder") == statements


@pytest.mark.flavor("mysql")
def test_digests_added_up(server: DatabaseServer, watch: Watch) -> None:
    table = "performance_schema.events_statements_summary_by_digest"
    [(before,)] = server.execute(f"SELECT SUM(COUNT_STAR) FROM {table}")
    told = watch.run("mysql_statement_sums").one("mysql_perf_schema_events_statements_sum_total")
    [(after,)] = server.execute(f"SELECT SUM(COUNT_STAR) FROM {table}")
    assert before <= told <= after
