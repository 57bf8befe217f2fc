"""Sizes against the files on disk of a real MySQL or MariaDB."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.config.model import CollectorSettings
from exporter.engines.mysql import facts as mysql_facts
from exporter.failure import Reason
from exporter.polling.snapshot import State
from exporter.polling.tasks import Task
from exporter.registry import collectors_by_name
from tests.exporters import Exporter, server_entry
from tests.providers.base import DatabaseServer, wait_for
from tests.providers.fleet import Fleet
from tests.servers.collecting import Watch, watching

pytestmark = pytest.mark.engine("mysql")
# What a file system can't spell, what looks like its spelling, and what is empty.
NAMES = ("plain", "we ird-ü", "日本", "at@sign", "Sizes.$x")


@pytest.fixture(scope="module")
def filled(server: DatabaseServer) -> DatabaseServer:
    for name in NAMES:
        server.execute(f"CREATE DATABASE IF NOT EXISTS `{name}`")
        server.execute(f"CREATE TABLE IF NOT EXISTS `{name}`.`t-é` (a int PRIMARY KEY, b longtext)")
        server.execute(f"REPLACE INTO `{name}`.`t-é` VALUES (1, REPEAT('x', 3000000))")
    server.execute("CREATE TABLE IF NOT EXISTS plain.m (a int PRIMARY KEY) ENGINE = MyISAM")
    server.execute("REPLACE INTO plain.m VALUES (1), (2)")
    server.execute("CREATE TABLE IF NOT EXISTS plain.p (a int) PARTITION BY HASH (a) PARTITIONS 3")
    server.execute("CREATE DATABASE IF NOT EXISTS nothing_in_it")
    return server


def directory(server: DatabaseServer, name: str) -> Path:
    """Where the server keeps a schema: it writes names as its character set `filename` has them."""
    assert server.data is not None
    written = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter == "_") else f"@{ord(letter):04x}" for letter in name
    )
    # ü has a short form of its own.
    return server.data / written.replace("@00fc", "@1o")


def test_schemas_are_as_large_as_their_files(filled: DatabaseServer) -> None:
    if filled.data is None:
        return

    def on_disk(name: str) -> int:
        files = [path for path in directory(filled, name).iterdir() if path.suffix in {".ibd", ".MYD", ".MYI"}]
        return sum(path.stat().st_size for path in files)

    with watching(filled) as watch:
        for name in NAMES:
            assert directory(filled, name).is_dir(), name

        def equal() -> bool:
            sizes = watch.run("mysql_schema_sizes").by("db_size_bytes", "database")
            return all(sizes[name] == pytest.approx(on_disk(name), abs=2048) for name in NAMES)

        assert wait_for(equal, 20, 1), (
            watch.run("mysql_schema_sizes").by("db_size_bytes", "database"),
            {name: on_disk(name) for name in NAMES},
        )
        sizes = watch.run("mysql_schema_sizes").by("db_size_bytes", "database")
        assert sizes["nothing_in_it"] == 0
        assert sizes["mysql"] > 0
        assert not {"information_schema", "performance_schema"} & set(sizes)


def test_growth_is_seen_at_once(filled: DatabaseServer) -> None:
    with watching(filled) as watch:
        before = watch.run("mysql_schema_sizes").one("db_size_bytes", database="plain")
        for number in range(2, 6):
            filled.execute(f"REPLACE INTO plain.`t-é` VALUES ({number}, REPEAT('y', 4000000))")
        after = watch.run("mysql_schema_sizes").one("db_size_bytes", database="plain")
    assert after - before > 10_000_000


def test_without_references_there_are_no_sizes_rather_than_wrong_ones(filled: DatabaseServer, tmp_path: Path) -> None:
    # The server would leave out tables and schemas that the account has no right on, and say nothing.
    account = filled.account("REVOKE REFERENCES ON *.* FROM exporter")
    entry = server_entry(filled, account, collectors={"mysql_schema_sizes": {"every": "1s"}})
    with Exporter(tmp_path, {"servers": [entry]}) as running:
        page = running.scrape_until(
            lambda page: "mysql_schema_sizes" in page.failures(filled.name), filled.name, seconds=20
        )
    assert page.failures(filled.name)["mysql_schema_sizes"] == "permission"
    assert not page.has("db_size_bytes")


def test_what_lies_outside_the_schemas(filled: DatabaseServer) -> None:
    with watching(filled) as watch:
        outside = watch.run("mysql_schema_sizes").by("db_storage_bytes", "kind")
        binlog = watch.run("mysql_binlog")
        redo = watch.run("mysql_status").by("db_storage_bytes", "kind") | watch.run("mysql_variables").by(
            "db_storage_bytes", "kind"
        )
    logs = filled.execute("SHOW BINARY LOGS")
    assert binlog.one("db_storage_bytes", kind="binlog") == pytest.approx(sum(int(log[1]) for log in logs), rel=0.2)
    assert binlog.one("mysql_binlog_files") == len(logs)
    assert binlog.one("mysql_binlog_file_number") == int(logs[-1][0].rpartition(".")[2])
    assert outside["temp"] > 0
    assert outside.get("undo", 0) > 0 or filled.flavor == "mariadb"
    if filled.data is None:
        return
    pattern = "#innodb_redo/#ib_redo*" if filled.flavor == "mysql" else "ib_logfile*"
    files = [path for path in filled.data.glob(pattern) if not path.name.endswith("_tmp")]
    assert redo["redo"] == pytest.approx(sum(path.stat().st_size for path in files), rel=0.05)

    def on_disk(*patterns: str) -> int:
        assert filled.data is not None
        return sum(path.stat().st_size for pattern in patterns for path in filled.data.glob(pattern))

    # Other sessions of a test may use them meanwhile.
    assert outside.get("undo", 0) == pytest.approx(on_disk("undo_0*", "undo0*"), rel=0.3)
    assert outside["temp"] == pytest.approx(on_disk("ibtmp1", "#innodb_temp/*.ibt"), rel=0.3)


@pytest.fixture
def wide(filled: DatabaseServer) -> DatabaseServer:
    """Give the server with a database of 200 tables."""
    filled.execute("CREATE DATABASE IF NOT EXISTS wide")
    with filled.connect("wide") as session, session.cursor() as cursor:
        for number in range(200):
            cursor.execute(f"CREATE TABLE IF NOT EXISTS t{number} (a int PRIMARY KEY)")
    return filled


@pytest.fixture
def lodging(server: DatabaseServer) -> Iterator[tuple[DatabaseServer, str]]:
    """Give a server with a schema whose tables lie in shared tablespaces, all but one."""
    name = "lod ging-ü"
    statements = [
        f"CREATE DATABASE `{name}`",
        "SET GLOBAL innodb_file_per_table = OFF",
        f"CREATE TABLE `{name}`.`t é/x` (a int PRIMARY KEY, b longtext, c int, KEY (c))",
        f"CREATE TABLE `{name}`.`pa rt` (a int PRIMARY KEY, b longtext) PARTITION BY HASH (a) PARTITIONS 2",
        f"CREATE TABLE `{name}`.unkept (a int PRIMARY KEY, b longtext) STATS_PERSISTENT = 0",
        "SET GLOBAL innodb_file_per_table = ON",
    ]
    shared = ["t é/x", "pa rt", "unkept"]
    if server.flavor == "mysql":
        shared += ["in general", "compressed"]
        statements += [
            "CREATE TABLESPACE `gene ral` ADD DATAFILE 'gene_ral.ibd'",
            "CREATE TABLESPACE small ADD DATAFILE 'small.ibd' FILE_BLOCK_SIZE = 8192",
            f"CREATE TABLE `{name}`.`in general` (a int PRIMARY KEY, b longtext) TABLESPACE `gene ral`",
            f"CREATE TABLE `{name}`.compressed (a int PRIMARY KEY, b longtext) TABLESPACE small KEY_BLOCK_SIZE = 8",
        ]
    try:
        for statement in statements:
            server.execute(statement)
        for number, table in enumerate(shared):
            for key in (1, 2):
                server.execute(
                    f"INSERT INTO `{name}`.`{table}` (a, b) VALUES ({key}, REPEAT('x', {(number + 1) * 300_000}))"
                )
            server.execute(f"ANALYZE TABLE `{name}`.`{table}`")
        server.execute(f"CREATE TABLE `{name}`.housed (a int PRIMARY KEY)")
        yield server, name
    finally:
        server.execute("SET GLOBAL innodb_file_per_table = ON")
        server.execute(f"DROP DATABASE IF EXISTS `{name}`")
        if server.flavor == "mysql":
            for tablespace in ("gene ral", "small"):
                server.execute(f"DROP TABLESPACE `{tablespace}`")


def stated(server: DatabaseServer, name: str) -> int:
    """What the server says of a schema's tables in shared tablespaces, with what the file of the others takes."""
    with server.connect() as session, session.cursor() as cursor:
        if server.flavor == "mysql":
            cursor.execute("SET information_schema_stats_expiry = 0")
        cursor.execute(
            "SELECT SUM(DATA_LENGTH + INDEX_LENGTH) FROM information_schema.TABLES "
            f"WHERE TABLE_SCHEMA = '{name}' AND TABLE_NAME <> 'housed'"
        )
        [[size]] = cursor.fetchall()
        table = "INNODB_TABLESPACES" if server.flavor == "mysql" else "INNODB_SYS_TABLESPACES"
        cursor.execute(f"SELECT FILE_SIZE FROM information_schema.{table} WHERE NAME LIKE 'lod%/housed'")
        [[file]] = cursor.fetchall()
    return int(size) + int(file)


def test_tables_in_shared_tablespaces_count(lodging: tuple[DatabaseServer, str]) -> None:
    server, name = lodging
    expected = stated(server, name)
    assert expected > 2_000_000
    with watching(server) as watch:
        assert watch.run("mysql_schema_sizes").one("db_size_bytes", database=name) == expected
        # A full-text index lies in hidden tables, whose size nobody tells.
        server.execute("SET GLOBAL innodb_file_per_table = OFF")
        server.execute(f"CREATE TABLE `{name}`.searched (a int PRIMARY KEY, b text, FULLTEXT (b))")
        server.execute("SET GLOBAL innodb_file_per_table = ON")
        sizes = watch.run("mysql_schema_sizes").by("db_size_bytes", "database")
        assert name not in sizes
        assert sizes["mysql"] > 0
        server.execute(f"DROP TABLE `{name}`.searched")
        assert watch.run("mysql_schema_sizes").one("db_size_bytes", database=name) == expected


def test_without_statistics_only_schemas_in_shared_tablespaces_have_no_size(
    lodging: tuple[DatabaseServer, str],
) -> None:
    server, name = lodging
    account = server.account("REVOKE SELECT ON mysql.innodb_index_stats FROM exporter")
    with watching(server, account) as watch:
        sizes = watch.run("mysql_schema_sizes").by("db_size_bytes", "database")
    assert name not in sizes
    assert sizes["mysql"] > 0


def opened(server: DatabaseServer) -> int:
    """How many tables the server has opened since it started."""
    return int(server.execute("SHOW GLOBAL STATUS LIKE 'Opened_tables'")[0][1])


def test_tables_are_not_opened_for_their_size(wide: DatabaseServer) -> None:
    with wide.connect("wide") as session, session.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE VIEW v AS SELECT t1.a FROM t1 JOIN t2 USING (a)")
    with watching(wide) as watch:
        facts = watch.facts()
        # As after a start, or where there are more tables than the cache holds.
        wide.execute("FLUSH TABLES")
        before = opened(wide)
        assert watch.run("mysql_schema_sizes", facts).one("db_size_bytes", database="wide") > 0
        assert opened(wide) - before < 100


def test_many_tables_of_other_engines_are_all_counted(filled: DatabaseServer) -> None:
    filled.execute("DROP DATABASE IF EXISTS crowd")
    filled.execute("CREATE DATABASE crowd")
    with filled.connect("crowd") as session, session.cursor() as cursor:
        for number in range(501):
            cursor.execute(f"CREATE TABLE `m,{number}` (a int) ENGINE = MyISAM")
            cursor.execute(f"INSERT INTO `m,{number}` VALUES (1)")
        # It has no file of its own: what it shows is counted where it is.
        cursor.execute("CREATE TABLE merged (a int) ENGINE = MRG_MyISAM UNION = (`m,1`, `m,2`)")
        # What the server itself says of each.
        cursor.execute("SHOW TABLE STATUS LIKE 'm,%'")
        sizes = [int(row[6]) + int(row[8]) for row in cursor.fetchall()]
    assert len(sizes) == 501
    with watching(filled) as watch:
        assert watch.run("mysql_schema_sizes").one("db_size_bytes", database="crowd") == sum(sizes)
    filled.execute("DROP DATABASE crowd")


def test_what_is_free_in_a_file(filled: DatabaseServer) -> None:
    """Against what the server says of the table, which it opens for that."""
    filled.execute("CREATE TABLE IF NOT EXISTS plain.holes (a int PRIMARY KEY AUTO_INCREMENT, b varchar(2000))")
    filled.execute("INSERT INTO plain.holes (b) SELECT REPEAT('x', 2000) FROM information_schema.COLLATIONS LIMIT 100")
    for _ in range(6):
        filled.execute("INSERT INTO plain.holes (b) SELECT b FROM plain.holes")
    filled.execute("DELETE FROM plain.holes WHERE a > 100")
    free = "mysql_innodb_tablespace_free_bytes"

    def stated() -> int:
        with filled.connect("plain") as session, session.cursor() as cursor:
            # As it is, not as it was a day ago.
            if filled.flavor == "mysql":
                cursor.execute("SET information_schema_stats_expiry = 0")
            cursor.execute("SHOW TABLE STATUS LIKE 'holes'")
            return int(cursor.fetchone()[9])

    with watching(filled) as watch:

        def told() -> float:
            return watch.run("mysql_tablespaces").one(free, tablespace_name="plain/holes")

        # Deleted rows are purged in the background.
        assert wait_for(lambda: stated() > 8_000_000 and told() == stated(), 30), (stated(), told())
        found = watch.run("mysql_tablespaces")
        sizes = found.by("mysql_info_schema_innodb_tablespace_file_size_bytes", "tablespace_name")
        assert list(sizes.values()) == sorted(sizes.values(), reverse=True)
        assert found.one("mysql_tablespaces") == len(sizes)
        if filled.data is not None:
            assert_as_the_disk_says(watch, "plain/holes", filled.data / "plain/holes.ibd")


def assert_as_the_disk_says(watch: Watch, tablespace: str, file: Path) -> None:
    """What is told of a file is what the disk says before and after; pages are written all the while."""

    def agrees() -> bool:
        before, found, after = file.stat(), watch.run("mysql_tablespaces"), file.stat()
        return all(
            min(low, high) <= found.one(f"mysql_info_schema_innodb_tablespace_{name}_bytes", tablespace_name=tablespace)
            <= max(low, high)
            for name, low, high in (
                ("file_size", before.st_size, after.st_size),
                ("allocated_size", before.st_blocks * 512, after.st_blocks * 512),
            )
        )  # fmt: skip

    assert wait_for(agrees, 10), (watch.run("mysql_tablespaces").all, file.stat())


def test_of_files_of_one_size_always_the_same_are_told(wide: DatabaseServer) -> None:
    table = "INNODB_TABLESPACES" if wide.flavor == "mysql" else "INNODB_SYS_TABLESPACES"
    files = wide.execute(f"SELECT NAME, FILE_SIZE FROM information_schema.{table}")
    if wide.flavor == "mysql":
        # Which lists no system tablespace; larger than any of these it is.
        files.append(("innodb_system", 12 * 2**20))
    largest = [str(name) for name, _ in sorted(files, key=lambda file: (-int(file[1]), str(file[0]).lower()))[:100]]
    # They are many more than are told of.
    assert Counter(int(taken) for _, taken in files).most_common(1)[0][1] > 100

    def tables(names: Iterable[str]) -> set[str]:
        """Without what belongs to no table, and partitions, which MariaDB does not tell of."""
        return {name for name in names if "/" in name and "#" not in name}

    with watching(wide) as watch:
        found = watch.run("mysql_tablespaces").by("mysql_innodb_tablespace_free_bytes", "tablespace_name")
    assert tables(found) == tables(largest)


@pytest.mark.flavor("mysql")
def test_for_what_is_free_nobody_is_waited_for(wide: DatabaseServer) -> None:
    """Each table that is locked would take a second, and those that wait for it would fail all."""

    def given_up() -> int:
        sql = "SELECT SUM(SUM_ERROR_RAISED) FROM performance_schema.events_errors_summary_global_by_error "
        return int(wide.execute(sql + "WHERE ERROR_NUMBER = 1205")[0][0])

    free = "mysql_innodb_tablespace_free_bytes"
    with watching(wide) as watch, wide.connect("wide") as session, session.cursor() as cursor:
        told = watch.run("mysql_tablespaces").by(free, "tablespace_name")
        first, second, *others = [name for name in told if name.startswith("wide/t")]
        before = given_up()
        cursor.execute(f"LOCK TABLES `{first[5:]}` WRITE, `{second[5:]}` WRITE")
        found = watch.run("mysql_tablespaces")
        cursor.execute("UNLOCK TABLES")
    assert given_up() == before
    assert set(others) < found.by(free, "tablespace_name").keys() == told.keys() - {first, second}
    sizes = found.by("mysql_info_schema_innodb_tablespace_file_size_bytes", "tablespace_name")
    assert sizes[first] > 0
    assert sizes[second] > 0


@pytest.mark.flavor("mariadb")
def test_for_what_is_free_few_tables_are_opened(wide: DatabaseServer) -> None:
    with watching(wide) as watch:
        facts = watch.facts()
        wide.execute("FLUSH TABLES")
        before = opened(wide)
        assert watch.run("mysql_tablespaces", facts).one("mysql_tablespaces") > 200
        assert opened(wide) - before <= 110


def test_above_its_number_of_tables_a_collector_steps_down(filled: DatabaseServer) -> None:
    """Counted anew as facts are learnt; the config may insist."""
    filled.execute("CREATE DATABASE IF NOT EXISTS counted")

    def partitions() -> int:
        """Those that the table has besides itself, on MySQL instead of itself."""
        found = filled.execute(
            "SELECT COUNT(*), COUNT(DISTINCT TABLE_SCHEMA, TABLE_NAME) FROM information_schema.PARTITIONS "
            "WHERE PARTITION_NAME IS NOT NULL"
        )
        parts, tables = map(int, found[0])
        return parts - tables if filled.flavor == "mysql" else parts

    with watching(filled) as watch:
        before = watch.facts().tables
        shown = sum(len(filled.execute(f"SHOW TABLES FROM `{name}`")) for (name,) in filled.execute("SHOW DATABASES"))
        assert before == shown + partitions()
        filled.execute("CREATE TABLE IF NOT EXISTS counted.p (a int) PARTITION BY HASH (a) PARTITIONS 20")
        facts = watch.facts()
        assert facts.tables == before + (20 if filled.flavor == "mysql" else 21)
        narrow = replace(collectors_by_name()["mysql_auto_increment"], tables=before + 10)
        miss = Task.of(narrow, watch.config).miss(facts)
        assert miss is not None
        outcome = Task.of(narrow, watch.config).unsupported(miss)
        assert (outcome.state, outcome.reason) == (State.UNSUPPORTED, Reason.TOO_MANY_TABLES)
        insists = watch.config.model_copy(update={"collectors": {narrow.name: CollectorSettings(enabled=True)}})
        assert Task.of(narrow, insists).miss(facts) is None
        filled.execute("DROP TABLE counted.p")
        assert Task.of(narrow, watch.config).miss(watch.facts()) is None


@pytest.mark.flavor("mariadb")
def test_tables_that_keep_their_history_and_sequences_have_a_size(filled: DatabaseServer) -> None:
    filled.execute("CREATE DATABASE history")
    try:
        filled.execute("CREATE TABLE history.t (a char(200)) ENGINE = Aria WITH SYSTEM VERSIONING")
        filled.execute("INSERT INTO history.t SELECT REPEAT('x', 200) FROM history.seq_1_to_20000")
        filled.execute("CREATE SEQUENCE history.s ENGINE = MyISAM")
        filled.execute("FLUSH TABLES")
        if filled.data is None:
            return
        files = sum(path.stat().st_size for path in (filled.data / "history").glob("*.MA[DI]"))
        files += sum(path.stat().st_size for path in (filled.data / "history").glob("*.MY[DI]"))
        with watching(filled) as watch:
            size = watch.run("mysql_schema_sizes").one("db_size_bytes", database="history")
        assert files > 4_000_000
        assert size == pytest.approx(files, abs=32 * 1024)
    finally:
        filled.execute("DROP DATABASE history")


def test_tables_count_whatever_their_engine_and_file(filled: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ["ENGINE = MyISAM", "ENGINE = InnoDB", "ENGINE = InnoDB", "ENGINE = InnoDB"]
    if filled.flavor == "mariadb":
        kinds += ["ENGINE = Aria", "ENGINE = Aria"]
    with watching(filled) as watch, filled.connect() as session, session.cursor() as cursor:
        before = watch.facts().tables
        assert before is not None
        # All these lie in one file.
        cursor.execute("SET GLOBAL innodb_file_per_table = OFF")
        try:
            cursor.execute("CREATE DATABASE mixed")
            for number, kind in enumerate(kinds):
                cursor.execute(f"CREATE TABLE mixed.t{number} (a int) {kind}")
            assert watch.facts().tables == before + len(kinds)
            monkeypatch.setattr(mysql_facts, "_COUNTED", before + 2)
            assert watch.facts().tables == before + 2
        finally:
            cursor.execute("SET GLOBAL innodb_file_per_table = ON")
            cursor.execute("DROP DATABASE IF EXISTS mixed")
    blind = filled.account("REVOKE REFERENCES ON *.* FROM 'counts_few'@'%'", name="counts_few")
    with watching(filled, blind) as watch:
        assert watch.facts().tables is None


def test_to_count_tables_none_is_opened(wide: DatabaseServer) -> None:
    def opened() -> int:
        found = wide.execute("SHOW GLOBAL STATUS WHERE Variable_name IN ('Opened_tables', 'Opened_table_definitions')")
        return sum(int(value) for _, value in found)

    with watching(wide) as watch:
        watch.facts()
        wide.execute("FLUSH TABLES")
        before = opened()
        found = watch.facts().tables
        assert found is not None
        assert found > 200
        # Those of the server itself that FLUSH has closed.
        assert opened() - before <= 50


def test_rows_and_sizes_of_each_table(filled: DatabaseServer) -> None:
    fresh = "SET SESSION information_schema_stats_expiry = 0" if filled.flavor == "mysql" else "DO 0"
    with filled.connect() as session, session.cursor() as cursor:
        cursor.execute(fresh)
        cursor.execute("ANALYZE TABLE plain.`t-é`, plain.m, plain.p")
        cursor.fetchall()
        cursor.execute("CREATE OR REPLACE VIEW plain.seen AS SELECT a FROM plain.m")
        # What the server itself says of each, in words of its own.
        cursor.execute("SHOW TABLE STATUS FROM plain")
        stated = {
            row[0]: dict(zip([item[0].lower() for item in cursor.description], row, strict=True))
            for row in cursor.fetchall()
        }
    with watching(filled) as watch:
        found = watch.run("mysql_tables")
    for name in ("t-é", "m", "p"):
        told = stated[name]
        labels = {"schema": "plain", "table": name}
        assert found.one("mysql_info_schema_table_rows", **labels) == told["rows"]
        for component in ("data_length", "index_length", "data_free"):
            size = found.one("mysql_info_schema_table_size", component=component, **labels)
            assert size == told[component], (name, component)
        version = found.one(
            "mysql_info_schema_table_version", type="BASE TABLE", row_format=told["row_format"], **labels
        )
        assert version == told["version"] == 10
    assert found.one("mysql_info_schema_table_rows", schema="plain", table="m") == 2
    assert found.one("mysql_tables_left_out") == 0
    tables = found.by("mysql_info_schema_table_rows", "schema", "table")
    # Nobody counts what a view shows.
    assert ("plain", "seen") not in tables
    assert not {schema for schema, _ in tables} & {"mysql", "sys", "performance_schema", "information_schema"}


def test_of_too_many_tables_none_is_opened(wide: DatabaseServer) -> None:
    internal = "('mysql', 'sys', 'performance_schema', 'information_schema')"
    [[there]] = wide.execute(f"SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN {internal}")
    with watching(wide) as watch:
        facts = watch.facts()
        wide.execute("FLUSH TABLES")
        before = opened(wide)
        found = watch.run("mysql_tables", facts, limit=100)
        assert opened(wide) - before < 100
        assert found.one("mysql_tables_left_out") == there
        assert found.names() == {"mysql_tables_left_out"}
        assert watch.run("mysql_tables", facts, limit=1000).one("mysql_tables_left_out") == 0


def test_the_system_tablespace_is_as_large_as_its_file(filled: DatabaseServer) -> None:
    if filled.data is None:
        return
    with watching(filled) as watch:
        size = watch.run("mysql_tablespaces").one(
            "mysql_info_schema_innodb_tablespace_file_size_bytes", tablespace_name="innodb_system"
        )
    assert size == sum(path.stat().st_size for path in filled.data.glob("ibdata*"))


@pytest.mark.flavor("mysql")
def test_what_a_file_takes_on_disk_is_what_the_disk_says(server: DatabaseServer) -> None:
    """A disk may give a file more than it asked for: a temporary tablespace, too, which is told of in another way."""
    if server.data is None:
        return
    file = server.data / "ibtmp1"
    # Where the file system has no way to do so, what it gave by itself has to do.
    more = ["fallocate", "--keep-size", f"--offset={file.stat().st_size}", f"--length={2**20}", file]
    subprocess.run(more, capture_output=True, check=False)
    with watching(server) as watch:
        assert_as_the_disk_says(watch, "innodb_temporary", file)


@pytest.mark.flavor("mysql")
def test_a_tablespace_of_several_files_is_as_large_as_all_of_them(server: DatabaseServer, fleet: Fleet) -> None:
    files = {"innodb_data_file_path": "ibdata", "innodb_temp_data_file_path": "ibtmp"}
    made = fleet.provider.create(
        server.name, {setting: f"{name}1:12M;{name}2:20M:autoextend" for setting, name in files.items()}
    )
    try:
        with watching(made) as watch:
            found = watch.run("mysql_tablespaces")
            stored = watch.run("mysql_schema_sizes").one("db_storage_bytes", kind="temp")
        told = found.by("mysql_info_schema_innodb_tablespace_file_size_bytes", "tablespace_name")
        assert told["innodb_system"] == told["innodb_temporary"] == 32 * 2**20
        # Those of sessions besides.
        assert stored >= told["innodb_temporary"]
        for name in ("innodb_system", "innodb_temporary"):
            assert len(found.values("mysql_innodb_tablespace_free_bytes", tablespace_name=name)) == 1
    finally:
        made.remove()


def test_a_table_of_another_server_that_is_gone_takes_no_others_figures(
    server: DatabaseServer, fresh_server: Callable[..., DatabaseServer]
) -> None:
    made = fresh_server(server.name, {"federated": "ON"} if server.flavor == "mysql" else {})
    if server.flavor == "mariadb":
        made.execute("INSTALL SONAME 'ha_federatedx'")
    made.execute("CREATE DATABASE near")
    columns = "(a int AUTO_INCREMENT PRIMARY KEY, b int, KEY one (b), KEY two (b))"
    for table in ("here", "there"):
        made.execute(f"CREATE TABLE near.{table} {columns}")
        made.execute(f"INSERT INTO near.{table} (b) VALUES (1)")
    place = f"mysql://admin:{made.admin.password}@127.0.0.1:{made.port}/near/there"
    made.execute(f"CREATE TABLE near.far {columns} ENGINE = FEDERATED CONNECTION = '{place}'")
    assert made.execute("SELECT COUNT(*) FROM near.far") == [(1,)]
    made.execute("DROP TABLE near.there")
    made.execute("FLUSH TABLES")
    with watching(made) as watch:
        numbers = watch.run("mysql_auto_increment").by("mysql_info_schema_auto_increment_column", "schema", "table")
        findings = watch.run("mysql_index_findings").by("mysql_index_findings", "kind")
        rows = watch.run("mysql_tables").by("mysql_info_schema_table_rows", "schema", "table")
        sizes = watch.run("mysql_schema_sizes").by("db_size_bytes", "database")
    assert numbers["near", "here"] == 2
    assert ("near", "far") not in numbers
    # MySQL has the indexes of the other in its dictionary.
    assert findings["duplicate"] == (2 if server.flavor == "mysql" else 1)
    assert ("near", "here") in rows
    assert "near" in sizes
