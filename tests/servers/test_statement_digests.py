"""Series of single statements on MySQL and MariaDB: the server's numbers, no more than configured, texts once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pymysql
import pytest

from exporter.polling.snapshot import State
from tests.providers.base import DatabaseServer
from tests.servers.statement_runs import Sample, watching

NAME = "mysql_statement_digests"
TABLE = "performance_schema.events_statements_summary_by_digest"
PREFIX = "mysql_perf_schema_events_statements_"
# What has to be quoted, in each way that there is.
SCHEMA = "it's \\ a `\"né\" %s \\' schema"
CANARY = "canary7x1"
pytestmark = pytest.mark.engine("mysql")


@pytest.fixture
def digesting(instrumented: DatabaseServer) -> Iterator[DatabaseServer]:
    """Give a server with no digests yet, and a schema of this test's own."""
    quoted = "`" + SCHEMA.replace("`", "``") + "`"
    instrumented.execute(f"DROP DATABASE IF EXISTS {quoted}")
    instrumented.execute(f"CREATE DATABASE {quoted}")
    instrumented.execute("CREATE TABLE numbers (n INT PRIMARY KEY, word VARCHAR(20))", SCHEMA)
    instrumented.execute(f"TRUNCATE TABLE {TABLE}")
    yield instrumented
    instrumented.execute(f"DROP DATABASE {quoted}")


def run(server: DatabaseServer, *statements: str, times: int = 1) -> None:
    with server.connect(SCHEMA) as connection, connection.cursor() as cursor:
        for _ in range(times):
            for statement in statements:
                with contextlib.suppress(pymysql.MySQLError):
                    cursor.execute(statement)


def digest_of(server: DatabaseServer, text: str) -> str:
    [(digest,)] = server.execute(
        f"SELECT DIGEST FROM {TABLE} WHERE DIGEST_TEXT LIKE %s AND SCHEMA_NAME = %s", params=(f"{text}%", SCHEMA)
    )
    return str(digest)


def shown(sample: Sample) -> set[tuple[str, str]]:
    return {(labels["schema"], labels["digest"]) for labels, _ in sample.all(f"{PREFIX}total")}


def texts_asked(server: DatabaseServer) -> int:
    """How often somebody asked for texts by digest."""
    [(times,)] = server.execute(
        f"SELECT COALESCE(SUM(COUNT_STAR), 0) FROM {TABLE} WHERE DIGEST_TEXT LIKE %s",
        params=("SELECT `DIGEST` , LEFT ( `DIGEST_TEXT`%",),
    )
    return int(times)


def test_numbers_are_those_of_the_work_and_of_the_server(digesting: DatabaseServer) -> None:
    run(digesting, *(f"INSERT INTO numbers VALUES ({number}, 'word')" for number in range(40)))
    run(digesting, "SELECT word FROM numbers WHERE n < 30 ORDER BY word DESC LIMIT 10", times=7)
    run(digesting, "INSERT INTO numbers VALUES (1, 'again')", times=3)
    run(digesting, "SELECT word, COUNT(*) FROM numbers GROUP BY CONCAT(word, n), word", times=2)
    with watching(digesting) as watch:
        sample = watch.look(NAME)
    read, insert, group = (
        {"schema": SCHEMA, "digest": digest_of(digesting, text)}
        for text in ("SELECT `word` FROM%", "INSERT INTO `numbers`%", "SELECT `word` , COUNT%")
    )

    def of(name: str, labels: dict[str, str]) -> float:
        return sample(PREFIX + name, **labels)

    assert [of("total", labels) for labels in (read, insert, group)] == [7, 43, 2]
    assert (of("rows_sent_total", read), of("sort_rows_total", read)) == (70, 70)
    assert of("rows_examined_total", read) >= 7 * 30
    assert (of("rows_affected_total", insert), of("errors_total", insert)) == (40, 3)
    assert of("tmp_tables_total", group) >= 2
    assert of("no_index_used_total", group) == 2
    [(time, lock)] = digesting.execute(
        f"SELECT SUM_TIMER_WAIT, SUM_LOCK_TIME FROM {TABLE} WHERE DIGEST = %s AND SCHEMA_NAME = %s",
        params=(read["digest"], SCHEMA),
    )
    assert of("seconds_total", read) == pytest.approx(int(time) / 1e12, rel=1e-9)
    assert of("lock_time_seconds_total", read) == pytest.approx(int(lock) / 1e12, rel=1e-9)
    assert (of("latency_count", read), of("latency_sum", read)) == (7, of("seconds_total", read))


def test_how_rows_are_found_and_sorted_is_as_the_server_says(digesting: DatabaseServer) -> None:
    run(digesting, *(f"INSERT INTO numbers VALUES ({number}, 'word')" for number in range(40)))
    run(digesting, "SELECT word FROM numbers WHERE n BETWEEN 3 AND 9 ORDER BY word", times=3)
    run(digesting, "SELECT COUNT(*) FROM numbers AS a JOIN numbers AS b ON a.word < b.word", times=2)
    with watching(digesting) as watch:
        sample = watch.look("mysql_statement_details")
        texts = watch.look(NAME).all("mysql_statement_info")
    found, joined = (
        {"schema": SCHEMA, "digest": digest_of(digesting, text)}
        for text in ("SELECT `word` FROM%", "SELECT COUNT ( * )%")
    )
    assert {found["digest"], joined["digest"]} <= {labels["digest"] for labels, _ in texts}
    assert sample(f"{PREFIX}select_range_total", **found) == 3
    # MySQL takes any sort for one of a scan.
    assert sum(sample(f"{PREFIX}sort_{kind}_total", **found) for kind in ("range", "scan")) == 3
    assert sample(f"{PREFIX}select_scan_total", **joined) == sample(f"{PREFIX}select_full_join_total", **joined) == 2
    columns = [
        *("SELECT_SCAN", "SELECT_FULL_JOIN", "SELECT_FULL_RANGE_JOIN", "SELECT_RANGE", "SELECT_RANGE_CHECK"),
        *("SORT_RANGE", "SORT_SCAN", "NO_GOOD_INDEX_USED"),
    ]
    for labels in (found, joined):
        where = f"FROM {TABLE} WHERE DIGEST = %s AND SCHEMA_NAME = %s"
        params = (labels["digest"], SCHEMA)
        [row] = digesting.execute(f"SELECT {', '.join('SUM_' + name for name in columns)} {where}", params=params)
        for name, value in zip(columns, row, strict=True):
            assert sample(f"{PREFIX}{name.lower()}_total", **labels) == value, name
        [(longest,)] = digesting.execute(f"SELECT MAX_TIMER_WAIT {where}", params=params)
        assert sample(f"{PREFIX}max_latency_seconds", **labels) == pytest.approx(int(longest) / 1e12, rel=1e-9)
        if digesting.flavor == "mysql" and digesting.version >= (8, 0, 31):
            sql = f"SELECT MAX_CONTROLLED_MEMORY, MAX_TOTAL_MEMORY {where}"
            for name, value in zip(("controlled", "total"), digesting.execute(sql, params=params)[0], strict=True):
                assert sample(f"{PREFIX}max_{name}_memory_bytes", **labels) == value > 0, name
        else:
            assert not any("memory" in name for name in sample.names())


def test_what_the_server_does_not_know_is_absent(digesting: DatabaseServer) -> None:
    run(digesting, "SELECT 'known'", times=5)
    with watching(digesting) as watch:
        sample = watch.look(NAME)
        labels = {"schema": SCHEMA, "digest": digest_of(digesting, "SELECT ?")}
        quantiles = {label["quantile"]: value for label, value in sample.all(f"{PREFIX}latency")
                     if label["digest"] == labels["digest"] and label["schema"] == SCHEMA}  # fmt: skip
        if digesting.flavor == "mariadb":
            assert quantiles == {}
            assert f"{PREFIX}cpu_time_seconds_total" not in sample.names()
            return
        [row] = digesting.execute(
            f"SELECT QUANTILE_95, QUANTILE_99, QUANTILE_999 FROM {TABLE} WHERE DIGEST = %s AND SCHEMA_NAME = %s",
            params=(labels["digest"], SCHEMA),
        )
        assert quantiles == dict(zip(("0.95", "0.99", "0.999"), (int(one) / 1e12 for one in row), strict=True))
        assert min(quantiles.values()) > 0
        # MySQL counts it if it is told to.
        consumer = "UPDATE performance_schema.setup_consumers SET ENABLED = '{}' WHERE NAME = 'events_statements_cpu'"
        [(was,)] = digesting.execute(
            "SELECT ENABLED FROM performance_schema.setup_consumers WHERE NAME = 'events_statements_cpu'"
        )
        try:
            digesting.execute(consumer.format("NO"))
            assert f"{PREFIX}cpu_time_seconds_total" not in watch.look(NAME).names()
            digesting.execute(consumer.format("YES"))
            run(digesting, "SELECT 'known', BENCHMARK(300000, MD5('busy'))")
            busy = digest_of(digesting, "SELECT ? , `BENCHMARK`%")
            watch.look(NAME)
            assert watch.look(NAME)(f"{PREFIX}cpu_time_seconds_total", schema=SCHEMA, digest=busy) > 0
        finally:
            digesting.execute(consumer.format(was))


def test_statements_without_a_schema_are_there(digesting: DatabaseServer) -> None:
    with digesting.connect() as connection, connection.cursor() as cursor:
        for _ in range(6):
            cursor.execute("SELECT 'no schema', 1, 2, 3")
    with watching(digesting) as watch:
        sample = watch.look(NAME)
    [(digest,)] = digesting.execute(
        f"SELECT DIGEST FROM {TABLE} WHERE SCHEMA_NAME IS NULL AND DIGEST_TEXT IN ('SELECT ?, ...', 'SELECT ... ')"
        " OR (SCHEMA_NAME IS NULL AND DIGEST_TEXT LIKE 'SELECT ?, ...%')"
    )
    assert sample(f"{PREFIX}total", schema="", digest=str(digest)) == 6


def test_schemas_that_are_excluded_have_no_series_and_no_others_are(digesting: DatabaseServer) -> None:
    run(digesting, "SELECT 'left out', 1", times=5)
    with digesting.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 'no schema', 1")
        cursor.execute("USE mysql")
        cursor.execute("SELECT 'another schema', 1")
    with watching(digesting, statements={"exclude_databases": [SCHEMA, "MYSQL"]}) as watch:
        schemas = {schema for schema, _ in shown(watch.look(NAME))}
    assert SCHEMA not in schemas
    assert {"", "mysql"} <= schemas
    with watching(digesting) as watch:
        assert SCHEMA in {schema for schema, _ in shown(watch.look(NAME))}


def test_thousands_of_statements_make_no_more_series_than_configured(digesting: DatabaseServer) -> None:
    run(digesting, "SELECT 1 AS busiest", times=50)
    run(digesting, *(f"SELECT 1 AS a{number}" for number in range(5000)))
    assert digesting.execute(f"SELECT COUNT(*) FROM {TABLE}")[0][0] > 4900
    with watching(digesting, statements={"limit": 30}) as watch:
        for _ in range(3):
            before = watch.session.statements
            snapshot = watch.snapshot(NAME)
            assert snapshot.state is State.OK
            assert not snapshot.dropped
            families = {family.name: family.series for family in snapshot.families}
            assert families[f"{PREFIX}total"] == 30
            assert families["mysql_statement_info"] <= 30
            assert snapshot.series <= 30 * 20
            # Look, numbers and texts, and what the session sets.
            assert watch.session.statements - before <= 5
        assert (SCHEMA, digest_of(digesting, "SELECT ? AS `busiest`")) in shown(watch.look(NAME))
    with watching(digesting, collectors={NAME: {"limit": 30}}) as watch:
        # All that one of them has fits into the limit: quantiles and text too.
        sample = watch.look(NAME)
        assert len(sample.all(f"{PREFIX}total")) == 30
        assert len(sample.all("mysql_statement_info")) >= 28


def test_two_that_take_turns_do_not_replace_each_other(digesting: DatabaseServer) -> None:
    run(digesting, *(f"SELECT 1 AS a{number}" for number in range(30)), times=2)
    with watching(digesting, statements={"limit": 12}) as watch:
        seen = []
        for turn in range(8):
            run(digesting, f"SELECT 'turn' AS turn{turn % 2}", times=40)
            seen.append(shown(watch.look(NAME)))
        turns = {(SCHEMA, digest_of(digesting, f"SELECT ? AS `turn{number}`")) for number in range(2)}
    assert turns < seen[-1]
    # Once both have had their turn, nobody comes or goes.
    assert all(turns < each for each in seen[3:])
    assert len({frozenset(each) for each in seen[4:]}) <= 2


def test_after_a_truncate_numbers_are_the_server_s_again(digesting: DatabaseServer) -> None:
    run(digesting, "SELECT 'a' AS truncated", times=20)
    with watching(digesting) as watch:
        labels = {"schema": SCHEMA, "digest": digest_of(digesting, "SELECT ? AS `truncated`")}
        assert watch.look(NAME)(f"{PREFIX}total", **labels) == 20
        digesting.execute(f"TRUNCATE TABLE {TABLE}")
        assert f"{PREFIX}total" not in watch.look(NAME).names() or labels["digest"] not in {
            digest for _, digest in shown(watch.look(NAME))
        }
        run(digesting, "SELECT 'a' AS truncated", times=4)
        watch.look(NAME)
        assert watch.look(NAME)(f"{PREFIX}total", **labels) == 4


def test_a_text_is_asked_for_once(digesting: DatabaseServer) -> None:
    run(digesting, "SELECT 'a' AS first_one")
    with watching(digesting) as watch:

        def texts() -> dict[str, str]:
            shown = watch.look(NAME).all("mysql_statement_info")
            return {labels["digest"]: labels["digest_text"] for labels, _ in shown}

        first = digest_of(digesting, "SELECT ? AS `first_one`")
        assert texts()[first].rstrip() == "SELECT ? AS `first_one`"
        # What this test asks is a statement of the server too.
        texts_asked(digesting)
        for _ in range(3):
            texts()
        asked = texts_asked(digesting)
        assert asked >= 1
        for _ in range(3):
            texts()
        assert texts_asked(digesting) == asked
        run(digesting, "SELECT 'b' AS second_one")
        second = digest_of(digesting, "SELECT ? AS `second_one`")
        texts()
        assert texts()[second].rstrip() == "SELECT ? AS `second_one`"
        assert texts_asked(digesting) == asked + 1


def test_where_texts_are_and_how_long(digesting: DatabaseServer) -> None:
    run(digesting, "SELECT 'a' AS länger_als_zwanzig_bytes")
    digest = digest_of(digesting, "SELECT ? AS%")
    text = "SELECT ? AS `länger_als_zwanzig_bytes`"
    for size in (13, 14, 15, 200):
        with watching(digesting, statements={"text": "label", "text_bytes": size}) as watch:
            sample = watch.look(NAME)
        [mine] = [labels for labels, _ in sample.all(f"{PREFIX}total") if labels["digest"] == digest]
        # 13 bytes end before the letter that takes two, 14 in the middle of it.
        assert mine["digest_text"].rstrip() == text.encode()[:size].decode(errors="ignore").rstrip()
        assert "mysql_statement_info" not in sample.names()
    with watching(digesting, statements={"text": "none"}) as watch:
        sample = watch.look(NAME)
    assert not any("digest_text" in labels for _, labels in sample.values)
    assert (SCHEMA, digest) in shown(sample)


@pytest.mark.parametrize("text", ["info", "label"])
def test_no_password_is_in_a_text(digesting: DatabaseServer, text: str) -> None:
    statements = [
        f"CREATE USER 'secretive'@'%' IDENTIFIED BY '{CANARY}'",
        f"ALTER USER 'secretive'@'%' IDENTIFIED BY '{CANARY}'",
        f"SET PASSWORD FOR 'secretive'@'%' = '{CANARY}'",
        f"GRANT SELECT ON *.* TO 'secretive'@'%' IDENTIFIED BY '{CANARY}'",
        f"CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD = '{CANARY}'",
        f"CHANGE MASTER TO MASTER_PASSWORD = '{CANARY}'",
        # What is no literal the server shows as it is.
        f"CREATE USER {CANARY} IDENTIFIED BY '{CANARY}'",
        f"ALTER USER {CANARY} IDENTIFIED BY '{CANARY}'",
        f"DROP USER 'secretive'@'%', {CANARY}",
        f"SET GLOBAL no_such_variable = {CANARY}",
        f"CALL nothing({CANARY})",
        f"CREATE PROCEDURE nothing() BEGIN CREATE USER u IDENTIFIED BY '{CANARY}'; SET PASSWORD = {CANARY}; END",
        "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')",
        f'SET GLOBAL no_such_variable = "{CANARY}"',
    ]
    run(digesting, *statements)
    known = digesting.execute(f"SELECT COUNT(*) FROM {TABLE} WHERE DIGEST_TEXT LIKE %s", params=(f"%{CANARY}%",))
    assert known[0][0] >= 3, "the server itself shows none of them: this proves nothing"
    with watching(digesting, statements={"text": text}) as watch:
        snapshot = watch.snapshot(NAME)
    page = "".join(family.text for family in snapshot.families)
    assert 'digest_text="ALTER ' in page
    assert "IDENTIFIED" not in page
    assert CANARY not in page


def test_its_own_statements_are_left_out(digesting: DatabaseServer) -> None:
    with watching(digesting, statements={"text": "label", "text_bytes": 5000}) as watch:
        for _ in range(3):
            sample = watch.look(NAME)
            watch.look("mysql_statements")
    texts: list[Any] = [labels["digest_text"] for labels, _ in sample.all(f"{PREFIX}total")]
    assert texts
    assert not [text for text in texts if "events_statements_summary_by_digest" in text and "UNION" in text]


@pytest.mark.flavor("mariadb")
def test_without_performance_schema_it_says_why(server: DatabaseServer) -> None:
    with watching(server) as watch:
        snapshot = watch.snapshot(NAME)
    assert snapshot.state is State.UNSUPPORTED
    assert "performance_schema" in (snapshot.fix or "")
