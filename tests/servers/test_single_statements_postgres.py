"""PostgreSQL's single statements: the server's own numbers, bounded, and texts that give nothing away."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from exporter.config.model import Statements
from exporter.failure import Failure, Reason
from exporter.subjects.statements import tracked
from exporter.subjects.statements.tracked_postgres import OURS, THEIRS, TrackedStatements
from tests.providers.base import DatabaseServer
from tests.servers.collecting import Samples, watching

NAME, DATABASE, PREFIX = TrackedStatements.name, "single statements", "pg_stat_statements_"
LABELS = ("user", "datname", "queryid")
# The view has these under other names, or in parts, or only where they are measured.
COLUMNS = {
    "calls_total": "calls", "rows_total": "rows", "seconds_total": "total_exec_time / 1000",
    "shared_blocks_hit_total": "shared_blks_hit", "shared_blocks_read_total": "shared_blks_read",
    "shared_blocks_dirtied_total": "shared_blks_dirtied", "shared_blocks_written_total": "shared_blks_written",
    "local_blocks_written_total": "local_blks_written", "temp_blocks_read_total": "temp_blks_read",
    "temp_blocks_written_total": "temp_blks_written", "wal_records_total": "wal_records",
    "wal_bytes_total": "wal_bytes", "wal_full_page_images_total": "wal_fpi",
}  # fmt: skip
SINCE = {
    (1, 10): {"temp_block_read_seconds_total", "temp_block_write_seconds_total", "jit_functions_total",
              "jit_seconds_total"},
    (1, 11): {"local_block_read_seconds_total", "local_block_write_seconds_total"},
    (1, 12): {"wal_buffers_full_total", "parallel_workers_planned_total", "parallel_workers_launched_total"},
}  # fmt: skip
PLANNED = {"plans_total", "plan_seconds_total"}
pytestmark = pytest.mark.engine("postgres")


@pytest.fixture
def database(server: DatabaseServer) -> Iterator[str]:
    """Give a database of this test's own, in a server that knows no statement yet."""
    server.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)')
    server.execute(f'CREATE DATABASE "{DATABASE}"')
    server.execute("SELECT pg_stat_statements_reset()")
    yield DATABASE
    server.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)')


def view(server: DatabaseServer, columns: str, database: str = DATABASE) -> list[tuple[Any, ...]]:
    """What the server has of a database, with duplicates summed."""
    return server.execute(
        f"SELECT pg_get_userbyid(userid)::text, datname::text, queryid::text, {columns} "
        "FROM pg_stat_statements(false) JOIN pg_database d ON d.oid = dbid WHERE datname = %s GROUP BY 1, 2, 3",
        params=(database,),
    )


def shown(samples: Samples, name: str = "calls_total", database: str = DATABASE) -> dict[Any, float]:
    return {key: value for key, value in samples.by(PREFIX + name, *LABELS).items() if key[1] == database}


def work(server: DatabaseServer) -> None:
    """Statements with something in each column that a test can bring about."""
    with server.connect(DATABASE) as client:
        client.execute("CREATE TABLE t AS SELECT i, repeat('x', 100) AS body FROM generate_series(1, 3000) i")
        for number in range(3):
            client.execute(f"SELECT count(*) FROM t WHERE i > {number}".encode())
        # More than the buffer cache holds.
        client.execute("CREATE TABLE big AS SELECT repeat('x', 1000) AS body FROM generate_series(1, 20000)")
        client.execute("SELECT count(*) FROM big")
        client.execute("SET work_mem = '64kB'")
        client.execute("SELECT count(*) FROM (SELECT * FROM t ORDER BY body, i) s")
        client.execute("CREATE TEMP TABLE gone AS SELECT * FROM t")
        client.execute("UPDATE t SET body = 'y' WHERE i < 100")


def test_they_are_the_server_s_own_numbers(server: DatabaseServer, database: str) -> None:
    work(server)
    with watching(server) as watch:
        samples = watch.run(NAME)
    for name, column in COLUMNS.items():
        expected = {row[:3]: float(row[3]) for row in view(server, f"sum({column})::float8")}
        assert shown(samples, name) == pytest.approx(expected), name
        # The servers of the tests write no whole pages.
        assert any(expected.values()) or name == "wal_full_page_images_total", name
    longest = {row[:3]: row[3] for row in view(server, "max(max_exec_time) / 1000")}
    assert shown(samples, "longest_seconds") == pytest.approx(longest)
    texts = samples.by(f"{PREFIX}query_id", "queryid")
    assert {key[2] for key in shown(samples)} <= set(texts)


def test_times_of_blocks_are_those_that_the_extension_has(server: DatabaseServer, database: str) -> None:
    """postgres_exporter asks the server for its version, and fails where the extension is older."""
    versions = server.execute(
        "SELECT version FROM pg_available_extension_versions WHERE name = 'pg_stat_statements'"
        " AND string_to_array(version, '.')::int[] >= '{1,8}' ORDER BY string_to_array(version, '.')::int[]"
    )
    try:
        for (version,) in versions:
            server.execute("DROP EXTENSION pg_stat_statements")
            server.execute(f"CREATE EXTENSION pg_stat_statements VERSION '{version}'")
            number = tuple(map(int, version.split(".")))
            work_table = f"t{number[1]}"
            with server.connect(database) as client:
                client.execute(f"CREATE TABLE {work_table} AS SELECT 1 AS a".encode())
            with watching(server) as watch:
                samples = watch.run(NAME)
            found = {name.removeprefix(PREFIX) for name in samples.names()}
            lacking = set().union(*(names for since, names in SINCE.items() if number < since))
            assert found >= {*THEIRS, *OURS} - lacking - PLANNED, version
            assert not found & lacking, version
            prefix = "shared_" if number >= (1, 11) else ""
            for kind in ("read", "write"):
                column = f"sum({prefix}blk_{kind}_time) / 1000"
                expected = {row[:3]: row[3] for row in view(server, column)}
                assert shown(samples, f"block_{kind}_seconds_total") == pytest.approx(expected), version
    finally:
        server.execute("DROP EXTENSION pg_stat_statements")
        server.execute("CREATE EXTENSION pg_stat_statements")


def test_the_same_statement_sent_and_inside_a_function_is_one_with_all_its_calls(
    server: DatabaseServer, database: str
) -> None:
    """postgres_exporter shows one of the two and drops the other."""
    with server.connect(database) as client:
        client.execute("SET pg_stat_statements.track = 'all'")
        client.execute(
            "CREATE FUNCTION inner_call() RETURNS int LANGUAGE plpgsql "
            "AS 'BEGIN RETURN (SELECT count(*) FROM pg_am); END'"
        )
        for _ in range(3):
            client.execute("SELECT (SELECT count(*) FROM pg_am)")
        for _ in range(4):
            client.execute("SELECT inner_call()")
    twice = [row for row in view(server, "count(*), sum(calls)::int") if row[3] > 1]
    with watching(server) as watch:
        knows = watch.facts().extensions["pg_stat_statements"].version >= (1, 9)
        samples = shown(watch.run(NAME))
    assert [row[4] for row in twice] == ([7] if knows else [])
    assert samples == {row[:3]: row[3] for row in view(server, "sum(calls)::int")}


def test_planning_is_shown_where_the_server_measures_it(server: DatabaseServer, database: str) -> None:
    work(server)
    with watching(server) as watch:
        assert not PLANNED & {name.removeprefix(PREFIX) for name in watch.run(NAME).names()}
        with server.connect(database) as client:
            client.execute("SET pg_stat_statements.track_planning = on")
            for _ in range(3):
                client.execute("SELECT i, 'planned' FROM t WHERE i = 3")
        watch.run(NAME)
        samples = watch.run(NAME)
    expected = {row[:3]: float(row[3]) for row in view(server, "sum(plans)") if row[3]}
    assert shown(samples, "plans_total") == expected
    assert 3 in expected.values()
    assert all(0 < value < 10 for value in shown(samples, "plan_seconds_total").values())


@pytest.mark.full
def test_however_many_there_are_series_stay_as_few_as_configured(
    server: DatabaseServer, fresh_server: Callable[..., DatabaseServer]
) -> None:
    server = fresh_server(server.name, {"pg_stat_statements.max": "10000"})
    server.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    with server.connect() as client:
        for number in range(5000):
            client.execute(("SELECT 1" + ", 1" * (number % 50) + " WHERE true" + " AND true" * (number // 50)).encode())
    with watching(server, statements={"limit": 20}) as watch:
        for _ in range(3):
            samples = watch.run(NAME)
            assert len(samples.by(f"{PREFIX}calls_total", *LABELS)) == 20
    known = {
        row[:3] for (name,) in server.execute("SELECT datname FROM pg_database") for row in view(server, "1", name)
    }
    others = {key for key in known if key[0] != "exporter"}
    assert samples.one(f"{PREFIX}left_out") == pytest.approx(len(others) - 20, abs=8)
    assert samples.one(f"{PREFIX}left_out") > 4900


def test_who_does_most_of_late_comes_in(server: DatabaseServer, database: str) -> None:
    with server.connect(database) as client, watching(server, statements={"limit": 4}) as watch:
        client.execute("SELECT pg_sleep(0.3)")
        for _ in range(2):
            watch.run(NAME)
        for _ in range(40):
            client.execute("SELECT 'busy' AS lately")
        watch.run(NAME)
        found = shown(watch.run(NAME))
    assert 40 in found.values()


CANARIES = [
    "CREATE ROLE canary_role PASSWORD 'canary'",
    "ALTER USER canary_role PASSWORD 'canary'",
    "/* a comment */ ALTER ROLE canary_role SET search_path = 'canary'",
    "SET search_path = canary, public",
    "SET SESSION application_name = 'canary'",
    "COPY (SELECT 'canary') TO PROGRAM 'cat > /dev/null; : canary'",
    "DO $$ BEGIN PERFORM 'canary'; END $$",
    "DO $canary$ BEGIN PERFORM 'canary'; END $canary$",
    "PREPARE a_plan AS SELECT 'canary', 4242424242",
    "DECLARE a_cursor CURSOR WITH HOLD FOR SELECT 'it''s canary', E'a\\'canary', 4242424242",
    "NOTIFY a_channel, 'canary'",
    "COMMENT ON ROLE canary_role IS 'canary'",
    "CREATE PROCEDURE a_procedure(text) LANGUAGE sql AS 'SELECT ''canary'''",
    "CALL a_procedure('canary')",
    "EXPLAIN SELECT 'canary'",
    "CREATE TABLE a_table AS SELECT 'canary' AS a, 4242424242 AS b",
    "SELECT $1::text || 'canary', 4242424242 /* user='canary' */",
    "DROP ROLE canary_role",
]


@pytest.mark.parametrize("mode", ["info", "label"])
def test_texts_give_nothing_away(server: DatabaseServer, database: str, mode: str) -> None:
    server.execute("DROP ROLE IF EXISTS canary_role")
    server.execute("SELECT pg_stat_statements_reset()")
    with server.connect(database) as client:
        for statement in CANARIES:
            client.execute(statement.replace("$1", "'x'").encode())
    with watching(server, statements={"text": mode, "limit": 1000, "text_bytes": 2000}) as watch:
        samples = watch.run(NAME)
    pages = [" ".join(labels.values()) for name, labels, _ in samples.all if "query" in labels]
    # Names are no secrets.
    told = [re.sub("canary_role", "", page) for page in pages]
    assert [text for text in told if "canary" in text or "4242424242" in text] == []
    for expected in ("CREATE ROLE ...", "ALTER USER ...", "SET ...", "NOTIFY ..."):
        assert any(expected in text for text in pages), pages


def test_texts_are_cut_and_off_when_wanted(server: DatabaseServer, database: str) -> None:
    with server.connect(database) as client:
        client.execute(("SELECT " + ", ".join(f"1 AS wide_{number}" for number in range(100))).encode())
    with watching(server) as watch:
        texts = watch.run(NAME).by(f"{PREFIX}query_id", "query")
        assert max(len(text.encode()) for text in texts) == Statements().text_bytes
    with watching(server, statements={"text": "none"}) as watch:
        samples = watch.run(NAME)
        assert f"{PREFIX}query_id" not in samples.names()
        assert f"{PREFIX}calls_total" in samples.names()


def test_texts_are_read_seldom(server: DatabaseServer, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server reads its whole file of texts for one of them."""
    # As if it took long.
    monkeypatch.setattr(tracked, "TEXTS_PAUSE", 1e9)
    account = server.account(limit=20)

    def readings() -> int:
        # A reading of its own: of a text that is asked for as $1.
        [(count,)] = server.execute(
            "SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements"
            " WHERE userid = 'exporter'::regrole AND query ~ '^\\s*SELECT DISTINCT ON .queryid. queryid, left'"
        )
        return int(count)

    with server.connect(database) as client, watching(server, account) as watch:
        for number in range(8):
            client.execute(("SELECT 1" + ", 1" * number).encode())
            watch.run(NAME)
        assert readings() == 1


def test_a_text_that_can_not_be_read_takes_no_numbers_along(
    server: DatabaseServer, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.execute('DROP DATABASE IF EXISTS "raw bytes"')
    server.execute("CREATE DATABASE \"raw bytes\" ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    try:
        with server.connect("raw bytes") as client:
            client.execute("SET client_encoding = 'SQL_ASCII'")
            client.execute(b'SELECT 1 AS "caf\xe9"')
        server.execute("SELECT 1", database)
        with watching(server) as watch:
            samples = watch.run(NAME)
        assert shown(samples) == {row[:3]: row[3] for row in view(server, "sum(calls)::int")}
        assert shown(samples, database="raw bytes")
        assert f"{NAME}: texts of statements can't be read: invalid byte sequence" in caplog.text
    finally:
        server.execute('DROP DATABASE "raw bytes"')
        server.execute("SELECT pg_stat_statements_reset()")


def test_a_text_in_another_encoding_is_readable(server: DatabaseServer, database: str) -> None:
    server.execute('DROP DATABASE IF EXISTS "latin text"')
    server.execute("CREATE DATABASE \"latin text\" ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    try:
        with server.connect("latin text") as client:
            client.execute('SELECT 1 AS "café"')
        with watching(server) as watch:
            texts = watch.run(NAME).by(f"{PREFIX}query_id", "query")
        assert 'SELECT $1 AS "café"' in texts
    finally:
        server.execute('DROP DATABASE "latin text"')
        server.execute("SELECT pg_stat_statements_reset()")


def test_those_of_some_users_and_databases_can_be_left_out(server: DatabaseServer, database: str) -> None:
    server.execute('DROP ROLE IF EXISTS "it\'s left out"')
    server.execute("CREATE ROLE \"it's left out\" LOGIN PASSWORD 'x'")
    with server.connect(database, user="it's left out", password="x") as client:
        client.execute("SELECT 1")
    server.execute("SELECT 1", "postgres")
    users = {"exclude_users": ["it's left out"]}
    with watching(server) as watch:
        every = set(watch.run(NAME).by(f"{PREFIX}calls_total", "user", "datname"))
    with watching(server, statements=users) as watch:
        found = set(watch.run(NAME).by(f"{PREFIX}calls_total", "user", "datname"))
    assert {pair for pair in found if pair[1] == database} == set()
    assert ("postgres", "postgres") in found
    with watching(server, statements={"exclude_databases": [database]}) as watch:
        assert set(watch.run(NAME).by(f"{PREFIX}calls_total", "datname")) == {pair[1] for pair in every} - {database}
    assert {("it's left out", database), ("postgres", "postgres")} <= every
    # Of a role that is gone the number is left.
    server.execute('DROP ROLE "it\'s left out"')
    with watching(server) as watch:
        assert any(user.startswith("unknown (OID=") for user in watch.run(NAME).by(f"{PREFIX}calls_total", "user"))


def test_the_exporter_s_own_are_left_out_if_the_account_is_its_alone(server: DatabaseServer, database: str) -> None:
    for limit, own in ((3, False), (20, True)):
        with watching(server, server.account(limit=limit)) as watch:
            users = set[str]()
            for _ in range(3):
                users |= set(watch.run(NAME).by(f"{PREFIX}calls_total", "user"))
        assert ("exporter" in users) == own


def test_an_account_that_may_not_see_them_is_told_what_to_grant(server: DatabaseServer, database: str) -> None:
    server.execute("SELECT 1", database)
    account = server.account("REVOKE pg_monitor FROM nobody", name="nobody")
    with watching(server, account) as watch, pytest.raises(Failure) as caught:
        watch.run(NAME)
    assert (caught.value.reason, caught.value.fix) == (Reason.PERMISSION, "GRANT pg_monitor TO nobody;")


def test_a_standby_has_its_own(server: DatabaseServer, replica: DatabaseServer) -> None:
    replica.wait_until_caught_up()
    for _ in range(5):
        replica.execute("SELECT 'on the standby' AS here")
    with watching(replica) as watch:
        samples = watch.run(NAME)
    [own] = [
        queryid
        for query, queryid in samples.by(f"{PREFIX}query_id", "query", "queryid")
        if query == "SELECT $1 AS here"
    ]
    assert samples.values(f"{PREFIX}calls_total", queryid=own) == [5]


def test_a_reset_is_one(server: DatabaseServer, database: str) -> None:
    with server.connect(database) as client, watching(server) as watch:
        for _ in range(5):
            client.execute("SELECT 'again' AS a")
        assert 5 in shown(watch.run(NAME)).values()
        server.execute("SELECT pg_stat_statements_reset()")
        client.execute("SELECT 'again' AS a")
        found = shown(watch.run(NAME))
    assert found == {row[:3]: row[3] for row in view(server, "sum(calls)::int") if row[:3] in found}
    assert 5 not in found.values()
