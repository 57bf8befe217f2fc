"""The servers' own logs, read while they are written: what the exporter counts is what this test has run."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from exporter.config.model import SLOW_LOG_COLLECTORS
from exporter.failure import Reason
from exporter.polling.snapshot import Snapshot
from exporter.subjects.logs.helper import HELPER
from tests.exporters import Exporter, Samples, server_entry
from tests.providers.base import Account, DatabaseServer, wait_for
from tests.servers.statement_runs import Sample, Watch, watching

# Far from what runs for a tenth of a second and is not slow: a busy machine takes longer.
THRESHOLD = 0.5
THRESHOLDS = {"slow_statements": {"warning": THRESHOLD}}
NAME = "slow log"
TOTAL, SECONDS = "db_slow_statements_total", "db_slow_statement_duration_seconds"


def collector_of(watch: Watch) -> str:
    assert watch.config.slow_log is not None
    return SLOW_LOG_COLLECTORS[watch.config.engine, watch.config.slow_log.over_sql]


def settled(watch: Watch, done: Callable[[Sample], bool]) -> Sample:
    """The sample of the first run that satisfies `done`: a log is written, and read, a moment later."""
    found: list[Sample] = []

    def look() -> bool:
        found.append(watch.look(collector_of(watch)))
        return done(found[-1])

    assert wait_for(look, 30), executions(found[-1])
    return found[-1]


def slow(sample: Sample) -> float:
    return sample(TOTAL, database=NAME, source="log")


def names_of(snapshot: Snapshot) -> set[str]:
    """The metrics that have a series in an outcome."""
    return {part.name for part in snapshot.families if part.text}


def counted(sample: Sample) -> float:
    """Slow statements in all databases."""
    return sum(value for _, value in sample.all(TOTAL))


def executions(sample: Sample | Samples) -> dict[str, float]:
    """How often each statement of the test's database was slow, by the text that is shown of it."""
    texts = {
        labels["fingerprint"]: labels["query"]
        for labels, _ in sample.all("db_slow_statement_info")
        if labels["database"] == NAME
    }
    return {
        texts[labels["fingerprint"]]: value
        for labels, value in sample.all("db_slow_statement_executions_total")
        if labels["database"] == NAME
    }


@contextlib.contextmanager
def following(server: DatabaseServer, slow_log: Any, account: Account | None = None) -> Iterator[Watch]:
    """A watch whose first run has found the end of the log."""
    with watching(server, account, thresholds=THRESHOLDS, slow_log=slow_log) as watch:
        watch.look(collector_of(watch))
        yield watch


# PostgreSQL

LOGGING = {
    "logging_collector": "on",
    "log_min_duration_statement": "100",
    "log_temp_files": "0",
    "log_line_prefix": "%m [%p] %q%u@%d/%a ",
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "100",
    "auto_explain.log_format": "json",
    "auto_explain.log_nested_statements": "on",
    "deadlock_timeout": "100ms",
}


def run_postgres(server: DatabaseServer) -> None:
    """Eight entries over half a second, two under it, and what else a log tells of."""
    with server.connect(NAME) as session:
        session.execute("CREATE TABLE IF NOT EXISTS t AS SELECT g AS id, 0 AS n FROM generate_series(1, 20000) g")
        session.execute("CREATE OR REPLACE FUNCTION nap() RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(0.55)'")
        sort = "(select id from t order by n, id desc offset 1) as sorted"
        sorts = f"LANGUAGE sql AS 'select count(*) from {sort}'"
        session.execute(f"CREATE OR REPLACE FUNCTION sort() RETURNS bigint {sorts}")
        # In one message, and as three: parse, bind, execute.
        session.execute("select pg_sleep(0.55), 'it''s hunter2',\n\n 42 /* hunter2 */")
        session.execute("select pg_sleep(%s), %s::text", (0.55, "hunter2"))
        session.execute("select pg_sleep(%s), %s::text", (0.55, "hunter2\n2026-11-22 17:48:48.513 UTC [1] LOG:  "))
        session.execute("select pg_sleep(0.12)")
        session.execute("select pg_sleep(0.12)")
        session.execute("prepare nap(text) as select pg_sleep(0.55), $1")
        session.execute("execute nap('hunter2')")
        # auto_explain tells of the inner statement, too.
        session.execute("select nap()")
        session.execute("do $$ begin perform pg_sleep(0.55), 'hunter2'; end $$")
        session.execute("do $$ begin raise log 'duration: 9000.000 ms  statement: select forged'; end $$")
        session.execute("begin; select pg_sleep(0.55); commit")
        session.execute(b"select pg_sleep(0.55), '" + b"x" * 200_000 + b"'")
        with contextlib.suppress(psycopg.errors.DivisionByZero):
            session.execute("select 1 / 0")
        session.execute("set work_mem = '64kB'")
        session.execute(f"select count(*) from {sort}")
        session.execute("select sort()")
        session.execute("do $$ begin perform sort(); end $$")
        session.execute("do $$ begin raise log 'temporary file: path \"forged\", size 9000'; end $$")
    deadlock(server)


def deadlock(server: DatabaseServer) -> None:
    """One of two sessions is ended; the other's statement waits for it."""
    ends: list[BaseException] = []
    ready = threading.Barrier(2)

    def update(first: int, second: int) -> None:
        with server.connect(NAME) as session:
            try:
                session.execute("begin")
                session.execute(f"update t set n = 1 where id = {first}")
                ready.wait(10)
                session.execute(f"update t set n = 1 where id = {second}")
                session.execute("commit")
            except psycopg.errors.DeadlockDetected as error:
                ends.append(error)
                session.execute("rollback")

    threads = [threading.Thread(target=update, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ends) == 1


@pytest.mark.engine("postgres")
def test_postgres(server: DatabaseServer, fresh_server: Callable[..., DatabaseServer], tmp_path: Path) -> None:
    modern = server.version >= (14,)
    formats = ["stderr", "csv", "json"] if server.version >= (15,) else ["stderr", "csv"]
    destinations = ",".join("stderr" if name == "stderr" else f"{name}log" for name in formats)
    settings = {**LOGGING, "log_destination": destinations}
    if modern:
        settings |= {"compute_query_id": "on", "log_line_prefix": "%m [%p] %q%u@%d/%a %Q "}
    other = fresh_server(server.name, settings)
    if other.data is None:
        pytest.skip("its files are in a container")
    other.execute(f'CREATE DATABASE "{NAME}"')
    endings = {"stderr": "log", "csv": "csv", "json": "json"}
    with contextlib.ExitStack() as stack:
        account = other.account(HELPER.format(account="exporter"), limit=6)
        watches = {
            name: stack.enter_context(following(other, {"file": f"{other.data}/log/*.{endings[name]}"}, account))
            for name in formats
        }
        watches["asked"] = stack.enter_context(following(other, True, account))
        watches["sql"] = stack.enter_context(following(other, "sql", account))
        check_helper(other, account)
        run_postgres(other)
        [(files, size)] = other.execute(
            "SELECT temp_files, temp_bytes::float8 FROM pg_stat_database WHERE datname = %s", params=(NAME,)
        )
        assert files > 0
        for name, watch in watches.items():
            # The deadlock's waiter may have taken longer than a slow statement, or not.
            sample = settled(watch, lambda found: found("pg_log_deadlocks_total", database=NAME) == 1)
            sample = settled(watch, lambda found: slow(found) >= 8)
            found = executions(sample)
            found.pop("update t set n = ? where id = ?", None)
            assert found == {
                "select pg_sleep(?), ?": 2,
                # Of a text as long as that only the beginning is read.
                "select pg_sleep(?), ? ...": 1,
                "select pg_sleep(?), ?::text": 2,
                "select nap()": 1,
                "do ...": 1,
                "begin ...": 1,
            }, name
            assert sample("db_slow_statement_threshold_seconds", source="log") == THRESHOLD
            total = sample(f"{SECONDS}_count", database=NAME)
            at_most = sample(f"{SECONDS}_bucket", database=NAME, le="0.1")
            assert at_most == 0
            assert total >= 10
            # Each has slept for that long at least.
            assert 8 * 0.55 + 2 * 0.12 <= sample(f"{SECONDS}_sum", database=NAME) < 0.12 * 2 + 9 * 1.5
            assert sample("pg_log_temporary_files_total", database=NAME) == files
            assert sample("pg_log_temporary_file_bytes_total", database=NAME) == size
            if name != "stderr":
                assert sample("pg_log_errors_total", database=NAME, sqlstate_class="22") == 1
                assert sample("pg_log_errors_total", database=NAME, sqlstate_class="40") == 1
            else:
                assert sample("pg_log_errors_total", database=NAME, sqlstate_class="") == 2
            assert sample("database_exporter_log_lines_not_understood_total") == 0, name
            assert sample("database_exporter_log_behind_bytes") == 0
            assert not [labels for key in sample.values for labels in key[1] if "hunter2" in labels[1]]
            assert not [labels for key in sample.values for labels in key[1] if "forged" in labels[1]]
            if modern:
                check_query_ids(other, sample)
        # Only auto_explain is left: each of its entries counts, but for those about statements inside a function.
        before = {name: slow(settled(watch, lambda _: True)) for name, watch in watches.items()}
        other.execute("ALTER SYSTEM SET log_min_duration_statement = -1")
        other.execute("SELECT pg_reload_conf(), pg_rotate_logfile()")
        assert wait_for(lambda: other.execute("SHOW log_min_duration_statement") == [("-1",)], 10)
        with other.connect(NAME) as session:
            session.execute("select nap()")
            session.execute("do $$ begin raise log E'duration: 9000.000 ms  plan:\\nQuery Text: forged'; end $$")
            session.execute("select pg_sleep(0.6)")
        for name, watch in watches.items():
            expected = before[name] + 2
            sample = settled(watch, lambda found, expected=expected: slow(found) == expected)
            found = executions(sample)
            assert (found["select pg_sleep(?)"], found["select nap()"]) == (1, 2), name
        check_others_take_over(other, watches)
        check_overwriting(other, watches)
        check_copies(other, watches)
        check_renaming(other, watches)
    for way in (True, "sql"):
        check_a_threshold_of_our_own(other, account, way)
        check_a_threshold_of_others(other, account, way)


def check_others_take_over(server: DatabaseServer, watches: dict[str, Watch]) -> None:
    """While the log has no slow statements they are estimated; each is counted once."""

    def set_to(setting: str, value: str) -> None:
        server.execute(f"ALTER SYSTEM SET {setting} = {value}")
        server.execute("SELECT pg_reload_conf()")
        assert wait_for(lambda: server.execute(f"SHOW {setting}")[0][0].startswith(value), 10)

    def nap() -> None:
        with server.connect(NAME) as session:
            session.execute("select pg_sleep(0.6)")

    before = {name: slow(watch.look(collector_of(watch))) for name, watch in watches.items()}
    for watch in watches.values():
        assert not watch.look("pg_statements").all(TOTAL)
    # Then it is in no log, unless log_min_messages is as low.
    set_to("auto_explain.log_level", "notice")
    nap()
    for name, watch in watches.items():
        silent = watch.snapshot(collector_of(watch))
        assert "logs no slow statements" in silent.message, name
        assert not {TOTAL, "db_slow_statement_threshold_seconds"} & names_of(silent)
        assert watch.look("pg_statements")(TOTAL, database=NAME, source="statements") == 0, name
        sample = watch.look("pg_statements")
        assert sample(TOTAL, database=NAME, source="statements") == 1, name
        assert sample("db_slow_statement_threshold_seconds", source="statements") == THRESHOLD
    set_to("log_min_duration_statement", "100")
    for name, watch in watches.items():
        sample = settled(watch, lambda found: bool(found.all(TOTAL)))
        assert slow(sample) == before[name], name
        assert not watch.look("pg_statements").all(TOTAL), name
    nap()
    for name, watch in watches.items():
        expected = before[name] + 1
        settled(watch, lambda found, expected=expected: slow(found) == expected)


def check_a_threshold_of_our_own(server: DatabaseServer, account: Account, way: Any) -> None:
    """Set for our role or database it hides the server's, so that others count until it is gone."""
    setting = "log_min_duration_statement"

    def nap() -> None:
        with server.connect(NAME) as session:
            session.execute("select pg_sleep(0.6)")

    with following(server, way, account) as watch:
        all_of_them = (f"ROLE {account.user}", "DATABASE postgres", f"ROLE {account.user} IN DATABASE postgres")
        for before, whose in enumerate(all_of_them):
            assert not watch.look("pg_statements").all(TOTAL), whose
            server.execute(f"ALTER {whose} SET {setting} = -1")
            watch.renew()
            hidden = watch.snapshot(collector_of(watch))
            assert setting in hidden.message, whose
            assert (hidden.fix or "").startswith(f"ALTER {whose} RESET {setting};")
            assert not {TOTAL, "db_slow_statement_threshold_seconds"} & names_of(hidden)
            assert watch.look("pg_statements")(TOTAL, database=NAME, source="statements") == before, whose
            nap()
            assert watch.look("pg_statements")(TOTAL, database=NAME, source="statements") == before + 1, whose
            server.execute((hidden.fix or "").partition(";")[0])
            watch.renew()
            assert slow(settled(watch, lambda found: bool(found.all(TOTAL)))) == before, whose
            assert not watch.look("pg_statements").all(TOTAL), whose
            nap()
            settled(watch, lambda found, expected=before + 1: slow(found) == expected)


def check_a_threshold_of_others(server: DatabaseServer, account: Account, way: Any) -> None:
    """Who has one of its own that keeps slow statements out of the log has others count until it is gone."""

    def nap() -> None:
        with server.connect(NAME) as session:
            session.execute("select pg_sleep(0.6)")

    server.execute("CREATE ROLE batch LOGIN")
    try:
        with following(server, way, account) as watch:
            [(user,)] = server.execute("SELECT quote_ident(session_user)")
            whose = (f'DATABASE "{NAME}"', f"ROLE {user}", f'ROLE {user} IN DATABASE "{NAME}"')
            for before, one in enumerate(whose):
                assert not watch.look("pg_statements").all(TOTAL), one
                server.execute(f"ALTER {one} SET log_min_duration_statement = '1min'")
                # Lower than the server's: that hides nothing.
                server.execute("ALTER ROLE batch SET log_min_duration_statement = '50ms'")
                hidden = watch.snapshot(collector_of(watch))
                assert f"({one}: log_min_duration_statement=1min)" in hidden.message
                assert hidden.fix == f"ALTER {one} RESET log_min_duration_statement;"
                assert not {TOTAL, "db_slow_statement_threshold_seconds"} & names_of(hidden)
                assert watch.look("pg_statements")(TOTAL, database=NAME, source="statements") == before, one
                nap()
                assert watch.look("pg_statements")(TOTAL, database=NAME, source="statements") == before + 1, one
                server.execute(hidden.fix)
                assert slow(settled(watch, lambda found: bool(found.all(TOTAL)))) == before, one
                nap()
                settled(watch, lambda found, expected=before + 1: slow(found) == expected)
    finally:
        server.execute("DROP ROLE batch")


def check_overwriting(server: DatabaseServer, watches: dict[str, Watch]) -> None:
    """A file whose name is used again for another one, which is longer when it is looked at, is read from its start."""
    assert server.data is not None
    before = {name: settled(watch, lambda found: bool(found.all(TOTAL))) for name, watch in watches.items()}
    newest = {path.suffix: path for path in sorted((server.data / "log").iterdir(), key=lambda p: p.stat().st_mtime)}
    most = max(path.stat().st_size for path in newest.values())
    for path in newest.values():
        # The server goes on at its start, since it adds to what it has open.
        os.truncate(path, 0)
    with server.connect(NAME) as session:
        session.execute("select pg_sleep(0.6)")
        session.execute(b"select pg_sleep(0.6), '" + b"x" * (most + 10_000) + b"'")
    for name, watch in watches.items():
        expected = slow(before[name]) + 2
        sample = settled(watch, lambda found, expected=expected: slow(found) == expected)
        lines = "database_exporter_log_lines_not_understood_total"
        assert sample(lines) == before[name](lines), name


def check_copies(server: DatabaseServer, watches: dict[str, Watch]) -> None:
    """A copy beside the log that ends as the log itself does counts only for what is in it alone."""
    assert server.data is not None
    before = {name: slow(watch.look(collector_of(watch))) for name, watch in watches.items()}
    newest = {path.suffix: path for path in sorted((server.data / "log").iterdir(), key=lambda p: p.stat().st_mtime)}

    def entries() -> list[int]:
        return [path.read_bytes().count(b"select pg_sleep(0.6)") for path in newest.values()]

    with server.connect(NAME) as session:
        for number in range(2):
            logged = [count + 1 for count in entries()]
            session.execute("select pg_sleep(0.6)")
            assert wait_for(lambda logged=logged: entries() == logged, 10)
            for path in newest.values():
                shutil.copyfile(path, path.with_name(f"{path.stem}-{number}{path.suffix}"))
        for path in newest.values():
            os.truncate(path, 0)
        session.execute("select pg_sleep(0.6)")
    for name, watch in watches.items():
        expected = before[name] + 3
        settled(watch, lambda found, expected=expected: slow(found) == expected)
        for _ in range(5):
            assert slow(watch.look(collector_of(watch))) == expected, name


def check_renaming(server: DatabaseServer, watches: dict[str, Watch]) -> None:
    """What the server writes into a file that was renamed, before it opens another one, is read, too."""
    assert server.data is not None
    before = {name: slow(watch.look(collector_of(watch))) for name, watch in watches.items()}
    newest = {path.suffix: path for path in sorted((server.data / "log").iterdir(), key=lambda p: p.stat().st_mtime)}
    for path in newest.values():
        path.rename(path.with_name(f"{path.name}.1"))
    with server.connect(NAME) as session:
        session.execute("select pg_sleep(0.6)")
        session.execute("select pg_sleep(0.6)")
        # Its name has the second in it.
        session.execute("select pg_sleep(1), pg_rotate_logfile()")
        assert wait_for(lambda: all(path.suffix in suffixes(server) for path in newest.values()), 10)
        session.execute("select pg_sleep(0.6)")
    for name, watch in watches.items():
        expected = before[name] + 4
        settled(watch, lambda found, expected=expected: slow(found) == expected)


def suffixes(server: DatabaseServer) -> set[str]:
    """Those of the files of the log."""
    assert server.data is not None
    return {path.suffix for path in (server.data / "log").iterdir()}


def check_helper(server: DatabaseServer, account: Account) -> None:
    """It reads the log and no other file, whoever asks how."""
    with server.connect(user=account.user, password=account.password) as session:
        [(name, size)] = session.execute("SELECT name, size FROM pg_ls_logdir() WHERE name LIKE '%.log'").fetchall()
        read = "SELECT database_exporter.read_log(%s, %s, %s)"
        [(found,)] = session.execute(read, (name, 0, 10_000_000)).fetchall()
        assert server.data is not None
        assert (server.data / "log" / name).read_bytes().startswith(bytes(found))
        assert len(found) >= size
        for other in ("../pg_hba.conf", "../postgresql.conf", f"../log/{name}", "/etc/passwd", ""):
            assert session.execute(read, (other, 0, 100)).fetchall() == [(None,)]
    with server.connect() as session:
        session.execute("CREATE ROLE other_role")
        session.execute("SET ROLE other_role")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("SELECT database_exporter.read_log('x', 0, 1)")


def check_query_ids(server: DatabaseServer, sample: Sample) -> None:
    ids = {labels["query"]: labels["queryid"] for labels, _ in sample.all("db_slow_statement_info")}
    known = {
        str(query_id)
        for (query_id,) in server.execute(
            "SELECT queryid FROM pg_stat_statements JOIN pg_database d ON d.oid = dbid WHERE datname = %s",
            params=(NAME,),
        )
    }
    assert ids["select pg_sleep(?), ?::text"] in known
    assert ids["select nap()"] in known
    # Of several statements in one message nobody knows whose number it is.
    assert ids["begin ..."] == ""


@pytest.mark.engine("postgres")
def test_a_log_that_is_not_there_is_a_failure_with_its_fix(server: DatabaseServer) -> None:
    with watching(server, slow_log=True) as watch:
        snapshot = watch.snapshot("pg_slow_log")
        assert snapshot.reason == Reason.ERROR
        assert "logging_collector is off" in snapshot.message
        assert "slow_log:" in (snapshot.fix or "")


# MySQL and MariaDB


@pytest.fixture
def logging_mysql(server: DatabaseServer) -> Iterator[DatabaseServer]:
    """Give `server` with its slow log on, in a file of its own, and a database that this test alone uses."""
    with logging(server):
        yield server


@pytest.fixture
def logging_observed(instrumented: DatabaseServer) -> Iterator[DatabaseServer]:
    """The same with performance_schema."""
    with logging(instrumented):
        yield instrumented


@contextlib.contextmanager
def logging(server: DatabaseServer) -> Iterator[None]:
    """Turn a server's slow log on, in a file of its own, and make a database."""
    if server.data is None:
        pytest.skip("its files are in a container")
    names = ["slow_query_log", "slow_query_log_file", "long_query_time", "log_queries_not_using_indexes"]
    names += ["log_slow_extra"] if server.flavor == "mysql" else ["log_slow_verbosity"]
    was = dict(server.execute(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({', '.join(map(repr, names))})"))
    server.execute(f"CREATE DATABASE IF NOT EXISTS `{NAME}`")
    server.execute(f"CREATE TABLE IF NOT EXISTS `{NAME}`.t (id INT PRIMARY KEY)")
    server.execute(f"INSERT IGNORE INTO `{NAME}`.t VALUES (1), (2), (3)")
    server.execute("SET GLOBAL slow_query_log_file = 'slow log of a test.log'")
    server.execute("SET GLOBAL slow_query_log = ON")
    server.execute("SET GLOBAL long_query_time = 0.1")
    yield
    server.execute(f"DROP DATABASE `{NAME}`")
    for name, value in was.items():
        server.execute(f"SET GLOBAL {name} = {value if value.replace('.', '').isdigit() else repr(value)}")
    (server.data / "slow log of a test.log").unlink(missing_ok=True)


def nap(server: DatabaseServer) -> None:
    """One slow statement that reads no row."""
    with server.connect(NAME) as session, session.cursor() as cursor:
        cursor.execute("select sleep(0.6)")


def run_mysql(server: DatabaseServer, rounds: int = 1) -> None:
    """Four entries over half a second a round, and one under it."""
    with server.connect(NAME) as session, session.cursor() as cursor:
        for _ in range(rounds):
            cursor.execute("SET timestamp = 1000000000")
            cursor.execute("select sleep(0.55), 'it\\'s hunter2', \"hunter2\",\n'# Time: 010909  1:46:40\n', 42")
            cursor.execute("select sleep(0.19), id from t where id < 99")
            cursor.execute("do sleep(0.55), 'hunter2'")
            cursor.execute("select sleep(0.55), '" + "x" * 200_000 + "'")
            cursor.execute("select sleep(0.12)")


@pytest.mark.engine("mysql")
@pytest.mark.parametrize("verbose", [False, True])
def test_mysql(logging_mysql: DatabaseServer, verbose: bool) -> None:
    server = logging_mysql
    if server.flavor == "mysql":
        server.execute(f"SET GLOBAL log_slow_extra = {'ON' if verbose else 'OFF'}")
    else:
        levels = "query_plan,innodb,explain" if verbose else ""
        server.execute(f"SET GLOBAL log_slow_verbosity = '{levels}'")
    assert server.data is not None
    file = server.data / "slow log of a test.log"
    [(counted,)] = [(int(value),) for _, value in server.execute("SHOW GLOBAL STATUS LIKE 'Slow_queries'")]
    with following(server, {"file": str(file)}) as watch:
        run_mysql(server)
        sample = settled(watch, lambda found: found(f"{SECONDS}_count", database=NAME) == 5)
        assert slow(sample) == 4
        assert executions(sample) == {
            "select sleep(?), ?": 1,
            # Of a text as long as that only the beginning is read.
            "select sleep(?), ? ...": 1,
            "select sleep(?), id from t where id < ?": 1,
            "do ...": 1,
        }
        assert sample("db_slow_statement_threshold_seconds", source="log") == THRESHOLD
        [(now,)] = [(int(value),) for _, value in server.execute("SHOW GLOBAL STATUS LIKE 'Slow_queries'")]
        # What the server itself counts; everything else in it is too fast.
        assert sample(f"{SECONDS}_count", database=NAME) == now - counted == 5
        assert sample("mysql_slow_log_rows_sent_total", database=NAME) == 6
        assert sample("mysql_slow_log_rows_examined_total", database=NAME) >= 3
        assert sample("database_exporter_log_lines_not_understood_total") == 0
        assert not [labels for key in sample.values for labels in key[1] if "hunter2" in labels[1]]
        # As logrotate does it.
        file.rename(file.with_suffix(".1"))
        run_mysql(server)
        server.execute("FLUSH SLOW LOGS")
        run_mysql(server, rounds=2)
        sample = settled(watch, lambda found: found(f"{SECONDS}_count", database=NAME) == 20)
        assert slow(sample) == 16
        # And with copytruncate: MySQL doesn't say once more which database it is.
        os.truncate(file, 0)
        run_mysql(server)
        sample = settled(watch, lambda found: found(f"{SECONDS}_count", database=NAME) == 25)
        assert slow(sample) == 20
        assert sample("database_exporter_log_lines_not_understood_total") == 0
        file.with_suffix(".1").unlink()


@pytest.mark.engine("mysql")
def test_mysql_goes_on_in_another_file_and_comes_back(logging_mysql: DatabaseServer) -> None:
    """As those rotate who set slow_query_log_file; one that the server has written before begins with old entries."""
    server = logging_mysql
    assert server.data is not None
    one, other = "slow log of a test.log", "slow log of a test, too.log"

    def so_far(found: Sample) -> float:
        return sum(value for labels, value in found.all(TOTAL) if labels["database"] == NAME)

    server.execute(f"SET GLOBAL slow_query_log_file = '{other}'")
    try:
        nap(server)
        server.execute(f"SET GLOBAL slow_query_log_file = '{one}'")
        # A file is only seen to be older from a second on.
        time.sleep(1.5)
        with following(server, True) as watch:
            nap(server)
            sample = settled(watch, lambda found: so_far(found) == 1)
            for name, expected in ((other, 4), (one, 7)):
                nap(server)
                server.execute(f"SET GLOBAL slow_query_log_file = '{name}'")
                nap(server)
                nap(server)
                sample = settled(watch, lambda found, expected=expected: slow(found) == expected)
            assert sample("database_exporter_log_lines_not_understood_total") == 0
            assert sample(f"{SECONDS}_count", database=NAME) == 7
    finally:
        server.execute(f"SET GLOBAL slow_query_log_file = '{one}'")
        (server.data / other).unlink(missing_ok=True)


@pytest.mark.engine("mysql")
@pytest.mark.parametrize(
    ("off", "on"),
    [("slow_query_log = OFF", "slow_query_log = ON"), ("log_output = 'NONE'", "log_output = 'FILE'")],
)
def test_others_count_while_the_log_does_not(logging_mysql: DatabaseServer, off: str, on: str) -> None:
    server = logging_mysql
    assert server.data is not None
    log = "mysql_slow_log"
    [(_, observed)] = server.execute("SHOW GLOBAL VARIABLES LIKE 'performance_schema'")
    others = "mysql_statements" if observed == "ON" else "mysql_slow_statements_status"
    other = "mysql_statement_histogram" if server.flavor == "mysql" else others
    file = server.data / "slow log of a test.log"
    more = {"thresholds": {"slow_statements": {"warning": 0.5}}, "collectors": {log: {"every": 1}}}
    server.execute("SET GLOBAL long_query_time = 0.5")

    def nap(times: int) -> None:
        with server.connect(NAME) as session, session.cursor() as cursor:
            for _ in range(times):
                cursor.execute("select sleep(0.6), count(*) from t where id < 0 union select 1, 2")

    def shown() -> Sample | None:
        """What others show after another run of the log, if they show any."""
        watch.snapshot(log)
        sample = watch.look(other)
        return sample if sample.all(TOTAL) else None

    with watching(server, slow_log={"file": str(file)}, **more) as watch:
        assert shown() is None
        nap(1)
        settled(watch, lambda found: counted(found) == 1)
        assert shown() is None
        try:
            server.execute(f"SET GLOBAL {off}")
            nap(2)
            assert wait_for(lambda: shown() is not None, 30)
            nap(1)
            assert wait_for(lambda: (found := shown()) is not None and counted(found) == 3, 30)
            sample = shown()
            assert sample is not None
            [(labels, count)] = sample.all(TOTAL)
            assert count == 3
            assert labels["source"] == ("histogram" if server.flavor == "mysql" else "status")
            [(told, threshold)] = sample.all("db_slow_statement_threshold_seconds")
            assert told == {"source": labels["source"]}
            assert 0.45 < threshold <= 0.5
            assert TOTAL not in names_of(watch.snapshot(log))
        finally:
            server.execute(f"SET GLOBAL {on}")
        assert counted(settled(watch, lambda found: bool(found.all(TOTAL)))) == 1
        assert shown() is None
        nap(1)
        settled(watch, lambda found: counted(found) == 2)


@pytest.mark.engine("mysql")
def test_a_log_that_leaves_slow_statements_out_does_not_count(logging_observed: DatabaseServer) -> None:
    server = logging_observed
    assert server.data is not None
    log = "mysql_slow_log"
    other = "mysql_statement_histogram" if server.flavor == "mysql" else "mysql_statements"
    source = "histogram" if server.flavor == "mysql" else "statements"
    hiding = [("min_examined_row_limit", "1000", "0", source)]
    if server.flavor == "mysql":
        hiding.append(("log_throttle_queries_not_using_indexes", "1", "0", source))
        server.execute("SET GLOBAL log_queries_not_using_indexes = ON")
    if server.flavor == "mariadb":
        # The first takes out of Slow_queries too what it takes out of the log; a filter does not.
        hiding.append(("log_slow_filter", "'full_join,tmp_table'", "DEFAULT", "status"))
    config = {"slow_log": {"file": str(server.data / "slow log of a test.log")}, "collectors": {log: {"every": 1}}}
    server.execute("SET GLOBAL long_query_time = 0.5")
    with watching(server, thresholds={"slow_statements": {"warning": 0.5}}, **config) as watch:
        # Its first run has found the end of the log.
        watch.look(log)
        watch.look(other)
        for of_log, (name, value, default, by) in enumerate(hiding, 1):
            nap(server)
            settled(watch, lambda found, expected=of_log: counted(found) == expected)
            assert not watch.look(other).all(TOTAL), name
            server.execute(f"SET GLOBAL {name} = {value}")
            hidden = watch.snapshot(log)
            assert hidden.reason is Reason.ERROR, name
            assert hidden.fix == f"SET GLOBAL {name} = {default};"
            assert not {TOTAL, "db_slow_statement_threshold_seconds"} & names_of(hidden)
            before = counted(watch.look(other))
            nap(server)
            sample = watch.look(other)
            assert counted(sample) == before + 1, name
            assert {labels["source"] for labels, _ in sample.all(TOTAL)} == {by}
            assert {labels["source"] for labels, _ in sample.all("db_slow_statement_threshold_seconds")} == {by}
            server.execute(hidden.fix)
            assert counted(settled(watch, lambda found: bool(found.all(TOTAL)))) == of_log, name
            assert not watch.look(other).all(TOTAL), name
        nap(server)
        settled(watch, lambda found: counted(found) == len(hiding) + 1)


@pytest.mark.engine("mysql")
def test_mysql_s_table(logging_mysql: DatabaseServer) -> None:
    server = logging_mysql
    server.execute("SET GLOBAL log_output = 'TABLE'")
    try:
        account = server.account("GRANT SELECT ON mysql.slow_log TO 'exporter'@'%'")
        run_mysql(server)
        with following(server, "sql", account) as watch:
            run_mysql(server)
            sample = settled(watch, lambda found: found(f"{SECONDS}_count", database=NAME) == 5)
            assert slow(sample) == 4
            assert executions(sample)["do ..."] == 1
            assert sample("mysql_slow_log_rows_sent_total", database=NAME) == 6
            [(examined,)] = server.execute(
                f"SELECT SUM(rows_examined) FROM (SELECT * FROM mysql.slow_log WHERE db = '{NAME}' LIMIT 5, 5) AS mine"
            )
            assert sample("mysql_slow_log_rows_examined_total", database=NAME) == examined
            assert not [labels for key in sample.values for labels in key[1] if "hunter2" in labels[1]]
            # Emptied, it begins anew.
            server.execute("TRUNCATE mysql.slow_log")
            run_mysql(server)
            sample = settled(watch, lambda found: found(f"{SECONDS}_count", database=NAME) == 10)
            assert slow(sample) == 8
    finally:
        server.execute("SET GLOBAL log_output = 'FILE'")
        server.execute("TRUNCATE mysql.slow_log")


@pytest.mark.flavor("mysql")
def test_a_restart_counts_what_was_written_meanwhile_once(logging_mysql: DatabaseServer, tmp_path: Path) -> None:
    server = logging_mysql
    assert server.data is not None
    entry = server_entry(
        server,
        server.account(),
        slow_log={"file": str(server.data / "slow log of a test.log")},
        thresholds=THRESHOLDS,
        collectors={"mysql_slow_log": {"every": "1s"}},
    )
    wanted = {
        "select sleep(?), ?": 1,
        "select sleep(?), ? ...": 1,
        "select sleep(?), id from t where id < ?": 1,
        "do ...": 1,
    }

    def run_once() -> None:
        run_mysql(server)
        # It has no database of its own, so it counts for the one before; so do the exporter's on a busy machine.
        server.execute("select sleep(0.6)")

    run_once()

    def run() -> Exporter:
        return Exporter(tmp_path, {"servers": [entry]}, flags=[f"--state-dir={tmp_path / 'state'}"])

    def shown(exporter: Exporter) -> Samples:
        page = exporter.scrape_until(lambda page: wanted.keys() <= executions(page).keys())
        found = executions(page)
        assert {text: found[text] for text in wanted} == wanted
        assert page.value(TOTAL, database=NAME, source="log") == sum(found.values())
        return page

    with run() as exporter:
        assert wait_for(lambda: "the log is read from" in exporter.log(), 30)
        # It has found the end when it shows anything.
        exporter.scrape_until(lambda page: page.has("database_exporter_log_behind_bytes"))
        # The server names a database only where it is another one than before.
        server.execute("SELECT SLEEP(0.12)", "mysql")
        run_once()
        page = shown(exporter)
        assert {have["source"] for have, _ in page.all(TOTAL)} == {"log"}
        assert {have["source"] for have, _ in page.all("db_slow_statement_threshold_seconds")} == {"log"}
        assert page.has("db_statements_total"), "all else of the collector that counted them is there"
        assert "hunter2" not in page.text
    run_once()
    with run() as exporter:
        shown(exporter)
        assert not exporter.scrape().failures(server.name)
