"""Indexes that cost more than they give: unused, duplicate, invalid; as pg_monitor alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest

from exporter.collectors.postgres.index_findings import SINCE
from exporter.engines.known import ENGINES
from exporter.polling.server import Watched
from exporter.polling.snapshot import State
from exporter.registry import collectors_by_name
from tests.providers.base import DatabaseServer, wait_for
from tests.servers.collecting import config_of

pytestmark = pytest.mark.engine("postgres")
HERE = "index_findings"


@pytest.fixture
def database(server: DatabaseServer) -> Iterator[str]:
    server.execute(f"DROP DATABASE IF EXISTS {HERE}")
    server.execute(f"CREATE DATABASE {HERE}")
    yield HERE
    server.execute(f"DROP DATABASE {HERE}")


@pytest.fixture
def indexed(server: DatabaseServer, database: str) -> str:
    """Give a table with an index of every kind."""
    with server.connect(database) as connection:
        connection.execute("CREATE TABLE items (id int PRIMARY KEY, code int UNIQUE, name text, note text, day date)")
        connection.execute("INSERT INTO items SELECT i, i, i::text, i::text, now() FROM generate_series(1, 3000) i")
        connection.execute("CREATE INDEX used ON items (name)")
        connection.execute("CREATE INDEX unused ON items (day)")
        connection.execute("CREATE INDEX same_a ON items (lower(note)) WHERE id > 5")
        connection.execute("CREATE   INDEX   same_b   ON   items (lower(note))   WHERE   id > 5")
        connection.execute("CREATE INDEX other_condition ON items (lower(note)) WHERE id > 6")
        connection.execute("CREATE INDEX other_order ON items (note DESC)")
        connection.execute("CREATE INDEX same_as_unique ON items (code)")
        connection.execute("INSERT INTO items (id, code, name) VALUES (-1, -1, 'x'), (-2, -2, 'x')")
        with contextlib.suppress(psycopg.Error):
            connection.execute("CREATE UNIQUE INDEX CONCURRENTLY broken ON items (name)")
        connection.execute("ANALYZE items")
        connection.execute("SET enable_seqscan = off")
        for condition in ("name = 'x'", "lower(note) = 'x' AND id > 6", "note = 'x'"):
            connection.execute(f"SELECT * FROM items WHERE {condition}")
    scans = "SELECT count(*) FROM pg_stat_user_indexes WHERE idx_scan > 0"
    assert wait_for(lambda: server.execute(scans, database)[0][0] >= 3, 15)
    return database


def index_findings(server: DatabaseServer, *, days: int) -> dict[str, str]:
    """What is found in our database, as if statistics counted after so many days."""
    declared = collectors_by_name()["pg_index_findings"]
    assert all("interval '7 days'" in query.sql for query in declared.queries)
    patient = replace(
        declared,
        queries=tuple(
            replace(query, sql=query.sql.replace("interval '7 days'", f"interval '{days} days'"))
            for query in declared.queries
        ),
    )
    config = config_of(server.primary or server, port=server.port, host=server.host, databases={"include": [HERE]})
    if server.primary is not None:
        # The account was made there a moment ago.
        server.wait_until_caught_up()
    watched = Watched(config, ENGINES["postgres"], [patient])
    watched.background(watched.slow_tasks())
    last = watched.latest[patient.name]
    assert last.state is State.OK, last.message
    return {family.name: family.text for family in last.families}


def by_label(text: str, label: str) -> dict[str, int]:
    return {line.split(f'{label}="')[1].split('"')[0]: int(line.split()[-1]) for line in text.splitlines()}


def test_indexes_that_cost_more_than_they_give(server: DatabaseServer, indexed: str) -> None:
    families = index_findings(server, days=0)
    found = by_label(families["pg_index_finding_size_bytes"], "indexrelname")
    scanned = {
        name
        for (name,) in server.execute(
            "SELECT indexrelname FROM pg_stat_user_indexes WHERE idx_scan > 0 AND schemaname = 'public'", indexed
        )
    }
    assert "used" in scanned
    # No unique index, whether it is ever scanned or not, and nothing that was.
    unused = {"unused", "same_a", "same_b", "other_condition", "other_order", "same_as_unique"} - scanned
    assert "unused" in unused
    counts = by_label(families["pg_index_findings"], "kind")
    assert counts == {"unused": len(unused), "duplicate": 2, "invalid": 1}
    assert set(found) == unused | {"broken", "same_b", "same_as_unique"}
    [(size,)] = server.execute("SELECT pg_relation_size('unused')", indexed)
    assert found["unused"] == size > 0
    lines = [line for line in families["pg_index_finding_size_bytes"].splitlines() if 'indexrelname="same_as' in line]
    assert {line.split('kind="')[1].split('"')[0] for line in lines} >= {"duplicate"}


def test_young_statistics_call_nothing_unused(server: DatabaseServer, indexed: str) -> None:
    families = index_findings(server, days=7)
    assert by_label(families["pg_index_findings"], "kind") == {"unused": 0, "duplicate": 2, "invalid": 1}


def test_a_crash_takes_the_statistics_and_what_is_unused_with_them(
    server: DatabaseServer, fresh_server: Callable[..., DatabaseServer]
) -> None:
    crashing = fresh_server(server.name)
    [(before,)] = crashing.execute("SELECT clock_timestamp()")
    [(since,)] = crashing.execute(SINCE)
    assert since < before
    started = crashing.execute("SELECT pg_postmaster_start_time()")
    with crashing.connect() as victim:
        [(pid,)] = victim.execute("SELECT pg_backend_pid()").fetchall()
        with contextlib.suppress(psycopg.Error):
            crashing.execute(f"COPY (SELECT 1) TO PROGRAM 'kill -9 {pid}'")
        crashing.wait_until_up()
    # Nobody would know from the start of the server.
    assert crashing.execute("SELECT pg_postmaster_start_time()") == started
    [(since,)] = crashing.execute(SINCE)
    assert since > before


def test_what_an_index_is_there_for_besides_reading(server: DatabaseServer, database: str) -> None:
    with server.connect(database) as connection:
        connection.execute("CREATE TABLE late (a int)")
        connection.execute("CREATE UNIQUE INDEX late_own ON late (a)")
        connection.execute("ALTER TABLE late ADD CONSTRAINT late_promised UNIQUE (a)")
        connection.execute("CREATE TABLE published (a int PRIMARY KEY)")
        connection.execute("CREATE UNIQUE INDEX published_identity ON published (a)")
        connection.execute("ALTER TABLE published REPLICA IDENTITY USING INDEX published_identity")
        # What is checked at the end of the transaction does not stand for what is checked at once.
        connection.execute("CREATE TABLE lax (a int UNIQUE DEFERRABLE)")
        connection.execute("CREATE UNIQUE INDEX lax_own ON lax (a)")
        connection.execute("CREATE UNIQUE INDEX lax_own_too ON lax (a)")
        # One answers from the index alone what the other has to look up: they are not the same.
        connection.execute("CREATE TABLE covered (a int, b int)")
        connection.execute("CREATE UNIQUE INDEX covered_with ON covered (a) INCLUDE (b)")
        connection.execute("CREATE UNIQUE INDEX covered_without ON covered (a)")
    families = index_findings(server, days=0)
    found = {"late_own", "lax_own_too"}
    assert set(by_label(families["pg_index_finding_size_bytes"], "indexrelname")) == found
    assert by_label(families["pg_index_findings"], "kind") == {"unused": 0, "duplicate": len(found), "invalid": 0}


def test_how_many_nulls_a_unique_index_lets_in(server: DatabaseServer, database: str) -> None:
    """From 15 on there are two kinds, of which neither does for the other; a plain one has no need of either."""
    one_null = " NULLS NOT DISTINCT" if server.version[0] >= 15 else ""
    with server.connect(database) as connection:
        for table in ("nulls", "strict"):
            connection.execute(f"CREATE TABLE {table} (a int)".encode())
        connection.execute("CREATE UNIQUE INDEX nulls_many ON nulls (a)")
        connection.execute(f"CREATE UNIQUE INDEX nulls_one ON nulls (a){one_null}".encode())
        connection.execute(f"CREATE UNIQUE INDEX nulls_one_again ON nulls (a){one_null}".encode())
        connection.execute(f"ALTER TABLE strict ADD CONSTRAINT strict_promised UNIQUE{one_null} (a)".encode())
        connection.execute("CREATE INDEX strict_plain ON strict (a)")
    found = by_label(index_findings(server, days=0)["pg_index_finding_size_bytes"], "indexrelname").keys()
    # Nobody has read anything yet, so the plain one is both.
    assert found == {"strict_plain", "nulls_one_again"} | (set() if one_null else {"nulls_one"})
    lines = index_findings(server, days=7)["pg_index_finding_size_bytes"].splitlines()
    assert {by for line in lines for by in by_label(line, "indexrelname")} == found


def test_a_partitioned_index_is_judged_as_a_whole(server: DatabaseServer, database: str) -> None:
    with server.connect(database) as connection:
        connection.execute("CREATE TABLE split (id int, day date, note int) PARTITION BY RANGE (id)")
        for part in (1, 2):
            bounds = f"({part}000) TO ({part + 1}000)"
            connection.execute(f"CREATE TABLE split_{part} PARTITION OF split FOR VALUES FROM {bounds}")
        connection.execute("INSERT INTO split SELECT i FROM generate_series(1000, 2999) i")
        for name, column in {"read": "id", "idle": "day", "idle_too": "day"}.items():
            connection.execute(f"CREATE INDEX {name} ON split ({column})")
        connection.execute("ANALYZE")
        connection.execute("SET enable_seqscan = off")
        connection.execute("SELECT * FROM split_1 WHERE id = 1500")
        pages = "SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree('idle')"
        [(size,)] = connection.execute(pages).fetchall()
    scans = "SELECT count(*) FROM pg_stat_user_indexes WHERE idx_scan > 0"
    assert wait_for(lambda: server.execute(scans, database)[0][0] == 1, 15)
    families = index_findings(server, days=0)
    assert by_label(families["pg_index_findings"], "kind") == {"unused": 2, "duplicate": 1, "invalid": 0}
    assert by_label(families["pg_index_finding_size_bytes"], "indexrelname") == {"idle": size, "idle_too": size}


def test_a_standby_tells_its_own_apart(server: DatabaseServer, replica: DatabaseServer, indexed: str) -> None:
    counts = by_label(index_findings(replica, days=0)["pg_index_findings"], "kind")
    assert counts.keys() == {"unused_on_standby", "duplicate", "invalid"}
    # Nobody has read anything there.
    assert counts == {"unused_on_standby": 7, "duplicate": 2, "invalid": 1}
