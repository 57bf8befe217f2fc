"""Histograms of single statements on MySQL: the server's own buckets, of those chosen alone, by its index."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pymysql
import pytest

from exporter.polling.snapshot import State
from tests.providers.base import DatabaseServer
from tests.servers.statement_runs import Sample, watching

NAME = "mysql_statement_durations"
DIGESTS = "performance_schema.events_statements_summary_by_digest"
BUCKETS = "performance_schema.events_statements_histogram_by_digest"
METRIC = "mysql_statement_duration_seconds"
SCHEMA = "it's `a` \\ schéma"
# The same name to the index of a table in performance_schema, another one to everybody else.
OTHER = SCHEMA.replace("schéma", "Schéma")
pytestmark = pytest.mark.engine("mysql")


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


@pytest.fixture
def digesting(server: DatabaseServer) -> Iterator[DatabaseServer]:
    """Give a server with no digests yet, and two schemas of this test's own."""
    for schema in (SCHEMA, OTHER):
        server.execute(f"DROP DATABASE IF EXISTS {quoted(schema)}")
        server.execute(f"CREATE DATABASE {quoted(schema)}")
    server.execute(f"TRUNCATE TABLE {DIGESTS}")
    yield server
    for schema in (SCHEMA, OTHER):
        server.execute(f"DROP DATABASE {quoted(schema)}")


def run(server: DatabaseServer, *statements: str, schema: str | None = SCHEMA) -> None:
    with server.connect(*([schema] if schema else [])) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def digest_of(server: DatabaseServer, text: str) -> str:
    [(digest,)] = server.execute(f"SELECT DISTINCT DIGEST FROM {DIGESTS} WHERE DIGEST_TEXT LIKE %s", params=(text,))
    return str(digest)


def of(sample: Sample, schema: str, digest: str) -> dict[float, float]:
    """Cumulative counts by bound."""
    return {
        float(labels["le"]): value
        for labels, value in sample.all(f"{METRIC}_bucket")
        if (labels["schema"], labels["digest"]) == (schema, digest)
    }


def by_hand(server: DatabaseServer, schema: str | None, digest: str) -> dict[int, int]:
    """Calls by upper bound in picoseconds, out of the table that has all of them."""
    rows = server.execute(
        f"SELECT BUCKET_TIMER_HIGH, COUNT_BUCKET FROM {BUCKETS} "
        "WHERE DIGEST = %s AND SCHEMA_NAME COLLATE utf8mb4_bin <=> %s",
        params=(digest, schema),
    )
    return {int(bound): int(count) for bound, count in rows}


@pytest.mark.flavor("mysql")
def test_buckets_count_and_sum_are_those_of_the_statement(digesting: DatabaseServer) -> None:
    times = [0.0001] * 5 + [0.002] * 9 + [0.03] * 4 + [0.2, 1.05]
    run(digesting, *(f"SELECT SLEEP({time})" for time in times))
    run(digesting, "SELECT SLEEP(0.01)", schema=None)
    with watching(digesting) as watch:
        sample = watch.look(NAME)
        everything = watch.look("mysql_statement_histogram")
    digest = digest_of(digesting, "SELECT `SLEEP`%")
    own = of(sample, SCHEMA, digest)
    theirs = by_hand(digesting, SCHEMA, digest)
    for bound, below in own.items():
        assert below == sum(count for high, count in theirs.items() if high / 1e12 <= bound * (1 + 1e-9)), bound
    labels = {"schema": SCHEMA, "digest": digest}
    [(calls, time, quantile)] = digesting.execute(
        f"SELECT COUNT_STAR, SUM_TIMER_WAIT, QUANTILE_95 FROM {DIGESTS} WHERE DIGEST = %s AND SCHEMA_NAME = %s",
        params=(digest, SCHEMA),
    )
    assert sample(f"{METRIC}_count", **labels) == own[float("inf")] == calls == len(times)
    assert sample(f"{METRIC}_sum", **labels) == pytest.approx(int(time) / 1e12, rel=1e-9)
    # No sleep is shorter than it was to be.
    for bound, below in own.items():
        assert below <= sum(time < bound for time in times), bound
    # What histogram_quantile takes for the bucket of a quantile is where the server's own one is.
    bounds = sorted(own)
    place = next(index for index, bound in enumerate(bounds) if own[bound] >= 0.95 * calls)
    assert ([0.0, *bounds][place]) < int(quantile) / 1e12 <= bounds[place]
    # A session without a schema has a row of its own.
    assert sample(f"{METRIC}_count", schema="", digest=digest) == 1
    # All have the same bounds, which are the server's, and among those of all statements.
    every = {label["digest"] + label["schema"] for label, _ in sample.all(f"{METRIC}_count")}
    known = {float(label["le"]) for label, _ in everything.all("db_statement_duration_seconds_bucket")}
    assert set(own) < known
    assert 1.0 in own
    assert {round(bound * 1e12) for bound in own if bound != float("inf")} < set(theirs)
    assert len(every) * len(own) == len(sample.all(f"{METRIC}_bucket"))


@pytest.mark.flavor("mysql")
def test_schemas_whose_names_differ_by_case_are_not_the_same(digesting: DatabaseServer) -> None:
    run(digesting, *["SELECT 'case', 1"] * 3)
    run(digesting, *["SELECT 'case', 1"] * 5, schema=OTHER)
    digest = digest_of(digesting, "SELECT ?, ...%")
    with watching(digesting) as watch:
        sample = watch.look(NAME)
    counts = {schema: sample(f"{METRIC}_count", schema=schema, digest=digest) for schema in (SCHEMA, OTHER)}
    assert counts == {SCHEMA: 3, OTHER: 5}


@contextlib.contextmanager
def another_optimizer(server: DatabaseServer) -> Iterator[None]:
    """For new sessions, where the server has one."""
    with contextlib.suppress(pymysql.MySQLError):
        server.execute("SET GLOBAL optimizer_switch = 'hypergraph_optimizer=on'")
    try:
        yield
    finally:
        server.execute("SET GLOBAL optimizer_switch = DEFAULT")


def cost(server: DatabaseServer) -> int:
    """Rows that the server looked at for histograms of the sessions that are there, at most."""
    [(rows,)] = server.execute(
        "SELECT MAX(ROWS_EXAMINED) FROM performance_schema.events_statements_history JOIN performance_schema.threads "
        "USING (THREAD_ID) WHERE SQL_TEXT LIKE %s AND PROCESSLIST_USER = %s",
        params=("%COUNT_BUCKET%below_%", server.account().user),
    )
    return int(rows)


@pytest.mark.flavor("mysql")
def test_of_thousands_of_statements_few_are_looked_up(digesting: DatabaseServer) -> None:
    run(digesting, *["SELECT 1 AS busiest"] * 50, *(f"SELECT 1 AS a{number}" for number in range(2000)))
    busiest = digest_of(digesting, "SELECT ? AS `busiest`%")
    with watching(digesting) as watch:
        for _ in range(2):
            snapshot = watch.snapshot(NAME)
            assert (snapshot.state, snapshot.series, dict(snapshot.dropped)) == (State.OK, 20 * 11, {})
        # All of the digests, perhaps twice, and 450 rows for each that is chosen, of nearly a million.
        assert 20 * 450 <= cost(digesting) < 20 * 450 + 10_000
        assert watch.look(NAME)(f"{METRIC}_count", schema=SCHEMA, digest=busiest) == 50
    with watching(digesting, collectors={NAME: {"limit": 30}}) as watch:
        assert watch.snapshot(NAME).series == 30 * 11
    with another_optimizer(digesting), watching(digesting, statements={"limit": 5}) as watch:
        assert watch.snapshot(NAME).series == 5 * 11
        assert 5 * 450 <= cost(digesting) < 5 * 450 + 10_000


@pytest.mark.flavor("mysql")
def test_they_are_of_statements_that_have_series(digesting: DatabaseServer) -> None:
    """Also where others are foremost when it runs: it runs more seldom, and at other moments."""
    run(digesting, "CREATE TABLE t (id INT PRIMARY KEY)")
    first = [f"SELECT 1 AS a{number}" for number in range(8)]
    later = [f"SELECT id AS b{number} FROM t" for number in range(8)]
    with watching(digesting, statements={"limit": 8}) as watch:

        def digests(collector: str) -> set[str]:
            labels = [dict(key[1]) for key in watch.look(collector).values]
            return {own["digest"] for own in labels if "digest" in own}

        for _ in range(3):
            run(digesting, *first * 5)
            digests("mysql_statement_digests")
        run(digesting, *later * 100)
        shown = {name: digests(name) for name in (NAME, "mysql_statement_details") for _ in range(2)}
        # Chosen when it ran last, before them.
        chosen = digests("mysql_statement_digests")
        assert chosen != digests("mysql_statement_digests")
        for name, found in shown.items():
            assert len(found) > 4, name
            assert found <= chosen, name


@pytest.mark.flavor("mysql")
def test_after_a_truncate_they_are_the_server_s_again(digesting: DatabaseServer) -> None:
    run(digesting, *["SELECT 'a' AS truncated"] * 20)
    labels = {"schema": SCHEMA, "digest": digest_of(digesting, "SELECT ? AS `truncated`%")}
    with watching(digesting) as watch:
        assert watch.look(NAME)(f"{METRIC}_count", **labels) == 20
        digesting.execute(f"TRUNCATE TABLE {DIGESTS}")
        assert of(watch.look(NAME), **labels) == {}
        run(digesting, *["SELECT 'a' AS truncated"] * 4)
        watch.look(NAME)
        assert watch.look(NAME)(f"{METRIC}_count", **labels) == 4


@pytest.mark.flavor("mariadb")
def test_mariadb_has_none(server: DatabaseServer) -> None:
    with watching(server) as watch:
        snapshot = watch.snapshot(NAME)
    assert snapshot.state is State.UNSUPPORTED
    assert "MySQL" in snapshot.message
