"""User tables and indexes: activity and sizes against the administrator's SQL, under locks, and in bounds."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from exporter.declare import Collector, Query, block, gauge
from exporter.engines.deadline import Deadline
from exporter.engines.known import ENGINES
from exporter.gates import ANY
from exporter.polling.flight import Flight
from exporter.polling.server import Watched
from exporter.polling.snapshot import Snapshot, State
from exporter.registry import collectors_by_name, collectors_of
from tests.providers.base import DatabaseServer, wait_for
from tests.servers.collecting import Watch, config_of, watching

pytestmark = pytest.mark.engine("postgres")
HERE, THERE = "tables_here", "tables_there"
SIZES = ("table_size_bytes", "index_size_bytes", "toast_size_bytes")


@pytest.fixture
def database(server: DatabaseServer) -> Iterator[str]:
    """Give a database of tables with indexes and TOAST."""
    for name in (HERE, THERE):
        server.execute(f"DROP DATABASE IF EXISTS {name}")
        server.execute(f"CREATE DATABASE {name}")
    with server.connect(HERE) as connection:
        connection.execute("CREATE SCHEMA alpha")
        connection.execute(
            "CREATE TABLE alpha.texts AS SELECT i AS id, (SELECT string_agg(md5(random()::text || j), '') "
            "FROM generate_series(1, 200) j) AS body FROM generate_series(1, 300) i"
        )
        connection.execute("ALTER TABLE alpha.texts ADD PRIMARY KEY (id)")
        connection.execute("CREATE TABLE numbers AS SELECT generate_series(1, 5000) AS id")
        connection.execute("CREATE TABLE empty (id int)")
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    yield HERE
    for name in (HERE, THERE):
        server.execute(f"DROP DATABASE {name}")


@pytest.fixture
def watch(server: DatabaseServer, database: str) -> Iterator[Watch]:
    with watching(server, database=database) as watch:
        yield watch


def of_tables(server: DatabaseServer, database: str, sql: str) -> dict[str, Any]:
    return {name: tuple(values) for name, *values in server.execute(sql, database)}


def sizes(server: DatabaseServer) -> dict[str, tuple[int, ...]]:
    return of_tables(
        server,
        HERE,
        "SELECT relname, pg_table_size(oid), pg_indexes_size(oid), "
        "CASE WHEN reltoastrelid = 0 THEN 0 ELSE pg_total_relation_size(reltoastrelid) END "
        "FROM pg_class WHERE relkind = 'r' AND relnamespace IN ('public'::regnamespace, 'alpha'::regnamespace)",
    )


def seen_sizes(watch: Watch) -> tuple[dict[str, tuple[float, ...]], float]:
    got = watch.run("pg_table_sizes")
    by = [got.by(f"pg_stat_user_tables_{size}", "datname", "relname") for size in SIZES]
    found = {name: tuple(values[HERE, name] for values in by) for _, name in by[0] if (HERE, name) in by[0]}
    return found, got.one("pg_tables_size_estimated", datname=HERE)


# -- activity --------------------------------------------------------------------------------------


def test_activity_as_the_client_made_it(server: DatabaseServer, watch: Watch) -> None:
    labels = {"datname": HERE, "schemaname": "alpha", "relname": "texts"}

    def value(name: str) -> float:
        return watch.run("pg_stat_user_tables").one(f"pg_stat_user_tables_{name}", **labels)

    names = ("n_tup_ins", "n_tup_upd", "n_tup_del", "seq_scan", "idx_scan", "idx_tup_fetch", "n_tup_hot_upd")
    assert wait_for(lambda: value("n_tup_ins") == 300, 15)
    before = {name: value(name) for name in names}
    with server.connect(HERE) as client:
        client.execute("SET enable_seqscan = off")
        client.execute("INSERT INTO alpha.texts SELECT i, 'x' FROM generate_series(1001, 1017) i")
        for number in range(5):
            client.execute(f"SELECT body FROM alpha.texts WHERE id = {number + 1}")
        client.execute("SET enable_seqscan = on")
        client.execute("UPDATE alpha.texts SET id = id + 5000 WHERE id + 0 > 1010")
        client.execute("DELETE FROM alpha.texts WHERE id + 0 > 6015")
    # A new id is a new entry in the index, so no update is HOT; each statement without the index is one scan.
    expected = {"n_tup_ins": 17, "n_tup_upd": 7, "n_tup_del": 2, "seq_scan": 2, "idx_scan": 5, "idx_tup_fetch": 5}
    expected |= {"n_tup_hot_upd": 0}
    assert wait_for(lambda: value("n_tup_del") - before["n_tup_del"] == 2, 15)
    assert {name: value(name) - before[name] for name in names} == expected
    if server.version[0] >= 16:
        assert value("n_tup_newpage_upd_total") <= 7
        scanned = watch.run("pg_stat_user_indexes").one(
            "pg_stat_user_indexes_last_idx_scan_timestamp_seconds", indexrelname="texts_pkey"
        )
        [(moment,)] = server.execute("SELECT extract(epoch FROM now())::float8")
        assert 0 <= moment - scanned < 600
    fetched = watch.run("pg_statio_user_indexes").one(
        "pg_stat_user_indexes_idx_tup_fetch_total", indexrelname="texts_pkey"
    )
    assert fetched == value("idx_tup_fetch")
    index = watch.run("pg_stat_user_indexes")
    assert index.one("pg_stat_user_indexes_idx_scan_total", indexrelname="texts_pkey") == value("idx_scan")


def test_blocks_are_those_of_the_view(server: DatabaseServer, watch: Watch) -> None:
    server.execute("CREATE MATERIALIZED VIEW alpha.seen AS SELECT body FROM alpha.texts", HERE)
    server.execute("CREATE INDEX ON alpha.texts (length(body))", HERE)
    server.execute("CREATE TABLE alpha.parts (id int, body text) PARTITION BY RANGE (id)", HERE)
    server.execute("CREATE TABLE alpha.part PARTITION OF alpha.parts FOR VALUES FROM (0) TO (9)", HERE)
    server.execute("SELECT sum(length(body)), count(*) FILTER (WHERE id = 7) FROM alpha.texts", HERE)
    parts = ("heap", "idx", "toast", "tidx")
    columns = ", ".join(f"{part}_blks_{kind}" for part in parts for kind in ("read", "hit"))
    names = [f"pg_statio_user_tables_{part}_blocks_{kind}" for part in parts for kind in ("read", "hit")]

    def in_the_view() -> list[tuple[Any, ...]]:
        sql = f"SELECT schemaname, relname, {columns} FROM pg_statio_user_tables ORDER BY 1, 2"
        return server.execute(sql, HERE)

    def on_the_page() -> list[tuple[Any, ...]]:
        got = watch.run("pg_statio_user_tables")
        by_name = [got.by(name, "schemaname", "relname") for name in names]
        return [(*table, *(values[table] for values in by_name)) for table in sorted(by_name[0])]

    def agree() -> bool:
        # The view says NULL for what a table does not have.
        view = [tuple(0 if value is None else value for value in row) for row in in_the_view()]
        return bool(view) and view == on_the_page() and view == on_the_page()

    wait_for(lambda: any(row[1] == "texts" and min(row[3], row[5], row[7], row[9]) for row in in_the_view()), 15)
    wait_for(agree, 15)
    assert {row[1] for row in in_the_view()} == {"texts", "numbers", "empty", "seen", "part"}


def test_temporary_tables_make_no_series(server: DatabaseServer, watch: Watch) -> None:
    with server.connect(HERE) as client:
        client.execute("CREATE TEMPORARY TABLE passing (id int PRIMARY KEY)")
        client.execute("INSERT INTO passing VALUES (1)")
        [(seen,)] = client.execute("SELECT count(*) FROM pg_stat_user_tables WHERE relname = 'passing'").fetchall()
        assert seen == 1
        for name in ("pg_stat_user_tables", "pg_statio_user_tables", "pg_stat_user_indexes", "pg_table_sizes"):
            got = watch.run(name)
            assert got.all
            assert not [labels for _, labels, _ in got.all if labels.get("relname") == "passing"]


# -- sizes -----------------------------------------------------------------------------------------


def test_sizes_are_exact(server: DatabaseServer, watch: Watch) -> None:
    expected = sizes(server)
    assert expected["texts"][2] > 1_000_000
    assert seen_sizes(watch) == (expected, 0)


def index_sizes(watch: Watch) -> dict[str, float]:
    found = watch.run("pg_index_sizes").by("pg_index_size_bytes", "datname", "indexrelname")
    return {name: value for (database, name), value in found.items() if database == HERE}


def test_sizes_of_indexes_are_exact_but_while_one_is_locked(server: DatabaseServer, watch: Watch) -> None:
    server.execute("INSERT INTO alpha.texts SELECT i, '' FROM generate_series(1000, 9000) i", HERE)
    sql = "SELECT pg_relation_size('alpha.texts_pkey'), relpages * 8192 FROM pg_class WHERE relname = 'texts_pkey'"
    [(exact, analyzed)] = server.execute(sql, HERE)
    assert exact > analyzed
    assert index_sizes(watch) == {"texts_pkey": exact}
    with locked(server, "index", waiting=False):
        assert index_sizes(watch) == {"texts_pkey": analyzed}
    few = collectors_by_name()["pg_index_sizes"].queries[0].sql.replace("{limit}", "1")
    server.execute("CREATE INDEX small ON alpha.texts (id) WHERE id < 0", HERE)
    assert [name for _, _, _, name, _ in server.execute(few, HERE)] == ["texts_pkey"]


@contextlib.contextmanager
def locked(server: DatabaseServer, target: str, *, waiting: bool) -> Iterator[None]:
    """Hold ACCESS EXCLUSIVE on a table, an index or a TOAST table, or have somebody wait for it."""
    statement = {
        "table": "LOCK TABLE alpha.texts",
        "index": "REINDEX INDEX alpha.texts_pkey",
        # The TOAST table and its index are locked, their table in a weaker mode.
        "toast": "REINDEX TABLE pg_toast.{toast}",
    }[target]
    [(toast,)] = server.execute("SELECT relname FROM pg_class WHERE oid = (SELECT reltoastrelid FROM pg_class "
                                "WHERE oid = 'alpha.texts'::regclass)", HERE)  # fmt: skip
    with contextlib.ExitStack() as stack:
        holder = stack.enter_context(server.connect(HERE))
        holder.execute("BEGIN")
        if not waiting:
            holder.execute(statement.format(toast=toast))
        else:
            # A reader of the table, of its TOAST and of the indexes of both.
            holder.execute("SET enable_seqscan = off")
            holder.execute("SELECT id FROM alpha.texts WHERE id = 1")
            holder.execute(f"SELECT chunk_seq FROM pg_toast.{toast} WHERE chunk_id = 1")
            waiter = stack.enter_context(server.connect(HERE))
            thread = threading.Thread(target=_wait_for_lock, args=(waiter, statement.format(toast=toast)))
            thread.start()
            stack.callback(thread.join, 30)
            stack.callback(waiter.cancel)
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
            assert wait_for(lambda: bool(server.execute(waits, HERE)[0][0]), 15)
        yield


def _wait_for_lock(connection: Any, statement: str) -> None:
    with contextlib.suppress(psycopg.Error):
        connection.execute(f"BEGIN; {statement}")


@pytest.mark.parametrize("target", ["table", "index", "toast"])
@pytest.mark.parametrize("waiting", [False, True], ids=["held", "waited for"])
def test_sizes_never_wait_for_a_lock(server: DatabaseServer, watch: Watch, target: str, waiting: bool) -> None:
    expected = sizes(server)
    with locked(server, target, waiting=waiting):
        blocked = (
            "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT granted AND usename = %s"
        )
        found, estimated = seen_sizes(watch)
        assert server.execute(blocked, params=("exporter",)) == [(0,)]
        for collector in collectors_of("postgres"):
            # Those of logs need one in the config.
            if "slow_log" not in collector.name:
                watch.run(collector.name)
    assert estimated == 1
    assert {name: found[name] for name in ("numbers", "empty")} == {
        name: expected[name] for name in ("numbers", "empty")
    }
    # It was vacuumed just before, so its pages are those it has, but for its maps of free space and visibility.
    for mine, exact in zip(found["texts"], expected["texts"], strict=True):
        assert exact - 150_000 < mine <= exact
    assert found["texts"][2] > 1_000_000


def test_the_size_of_a_locked_table_that_was_never_analyzed_is_not_known(
    server: DatabaseServer, database: str, watch: Watch
) -> None:
    server.execute("CREATE TABLE alpha.fresh (id int, body text) WITH (autovacuum_enabled = off)", HERE)
    server.execute("INSERT INTO alpha.fresh SELECT i, repeat('x', 500) FROM generate_series(1, 300) i", HERE)
    live = "SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = 'fresh'"
    wait_for(lambda: server.execute(live, HERE) == [(300,)], 15)
    assert seen_sizes(watch)[0]["fresh"] == sizes(server)["fresh"]
    with server.connect(HERE) as holder:
        holder.execute("BEGIN; LOCK TABLE alpha.fresh")
        found, estimated = seen_sizes(watch)
    assert "fresh" not in found
    assert estimated == 1


def test_nobodys_ddl_waits_for_sizes(server: DatabaseServer, watch: Watch) -> None:
    """What a statement has looked at it has let go of, though it has not ended."""
    sql = collectors_by_name()["pg_table_sizes"].queries[0].sql.replace("{limit}", "2500")
    with server.connect(HERE) as reader, server.connect(HERE) as owner:
        reader.execute("BEGIN")
        reader.execute(f"DECLARE c CURSOR FOR SELECT *, pg_sleep(0) FROM ({sql}) s")
        assert reader.execute("FETCH 1 FROM c").fetchall()
        owner.execute("SET lock_timeout = '3s'")
        owner.execute("ALTER TABLE alpha.texts ADD COLUMN more int")


def test_a_lock_that_comes_in_between_costs_exactness_alone(server: DatabaseServer, database: str) -> None:
    sql = """SELECT CASE WHEN {limit} > 0 THEN pg_table_size(oid) ELSE 7 END AS value, current_database() AS datname
             FROM pg_class WHERE relname = 'texts'"""
    careless = Collector(
        name="careless",
        about="Looks without asking.",
        engine="postgres",
        every=60,
        limit=5,
        each_database=True,
        queries=(Query(ANY, sql, lockless=True),),
        blocks=(block(gauge("pg_careless", "value", help="A number."), labels=("datname",)),),
    )
    config = config_of(server, databases={"include": [database]}, timeouts={"lock": 0.2})
    watched = Watched(config, ENGINES["postgres"], [careless])
    with locked(server, "table", waiting=False):
        watched.background(watched.slow_tasks())
    last = watched.latest["careless"]
    assert (last.state, last.reason) == (State.OK, None)
    assert last.families[0].text.endswith(" 7\n")


def test_beyond_the_limit_sizes_are_those_of_the_last_vacuum(server: DatabaseServer, database: str) -> None:
    small = replace(collectors_by_name()["pg_table_sizes"], limit=1)
    config = config_of(server, databases={"include": [database]})
    watched = Watched(config, ENGINES["postgres"], [small])
    before = sizes(server)
    server.execute("INSERT INTO numbers SELECT generate_series(1, 3000)", database)
    server.execute("INSERT INTO alpha.texts SELECT i, 'x' FROM generate_series(1001, 3000) i", database)
    watched.background(watched.slow_tasks())
    text = {family.name: family.text for family in watched.latest["pg_table_sizes"].families}
    found = {
        line.split('relname="')[1].split('"')[0]: int(line.split()[-1])
        for line in text["pg_stat_user_tables_table_size_bytes"].splitlines()
    }
    assert found["texts"] == sizes(server)["texts"][0] > before["texts"][0]
    assert before["numbers"][0] - 100_000 < found["numbers"] <= before["numbers"][0]
    assert text["pg_tables_size_estimated"].endswith(" 2\n")


# -- bounds ----------------------------------------------------------------------------------------


def everything(watched: Watched) -> dict[str, Snapshot]:
    watched.background(watched.slow_tasks())
    flight = Flight(Deadline.after(60))
    watched.scrape(flight)
    return {**watched.latest, **flight.results}


def relations(snapshot: Snapshot, metric: str) -> set[str]:
    return {
        line.split('relname="')[1].split('"')[0]
        for family in snapshot.families
        if family.name == metric
        for line in family.text.splitlines()
    }


def crowded(server: DatabaseServer, tables: int) -> None:
    """Many tables with an index each, in transactions that hold no more locks than the server has room for."""
    for first in range(0, tables, 1000):
        last = min(first + 1000, tables)
        server.execute(
            f"DO $$BEGIN FOR i IN {first}..{last - 1} LOOP "
            "EXECUTE format('CREATE TABLE crowd_%s (id int PRIMARY KEY)', i); END LOOP; END$$",
            HERE,
        )


def test_what_there_is_no_room_for_is_the_least_busy_and_counted(server: DatabaseServer, database: str) -> None:
    crowded(server, 400)
    config = config_of(server, database=database, max_series=15_000)
    watched = Watched(config, ENGINES["postgres"], collectors_of("postgres"))
    metric, scans = "pg_stat_user_tables", "pg_stat_user_tables_seq_scan"
    try:
        _in_bounds(everything(watched), 15_000)
        # Now each knows what the others have taken.
        _in_bounds(everything(watched), 15_000)
        first = relations(everything(watched)[metric], scans)
        assert "numbers" in first
        assert 250 < len(first) < 400
        assert watched.tasks[metric].dropped["budget"] > 0
        # Who gets busy is shown from the next reading on; all others stay.
        new = next(f"crowd_{number}" for number in range(400) if f"crowd_{number}" not in first)
        server.execute(f"INSERT INTO {new} SELECT generate_series(1, 10000)", database)
        counted = f"SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = '{new}'"
        assert wait_for(lambda: server.execute(counted, database) == [(10000,)], 15)
        shown = everything(watched)
        _in_bounds(shown, 15_000)
        second = relations(shown[metric], scans)
        assert new in second
        assert len(second) == len(first)
        assert len(first - second) == 1
        assert relations(everything(watched)[metric], scans) == second
    finally:
        watched.close()


def test_the_limit_of_the_config_bounds_objects(server: DatabaseServer, database: str) -> None:
    config = config_of(server, database=database, collectors={"pg_stat_user_tables": {"limit": 2}})
    watched = Watched(config, ENGINES["postgres"], collectors_of("postgres"))
    try:
        shown = everything(watched)["pg_stat_user_tables"]
        assert len(relations(shown, "pg_stat_user_tables_seq_scan")) == 2
        assert watched.tasks["pg_stat_user_tables"].dropped["budget"] > 0
    finally:
        watched.close()


@pytest.mark.full
def test_ten_thousand_tables_stay_in_the_budget(server: DatabaseServer, database: str) -> None:
    crowded(server, 10_000)
    watched = Watched(config_of(server, database=database), ENGINES["postgres"], collectors_of("postgres"))
    try:
        for _ in range(2):
            shown = everything(watched)
            _in_bounds(shown, 100_000)
        assert len(relations(shown["pg_stat_user_tables"], "pg_stat_user_tables_seq_scan")) > 2000
    finally:
        watched.close()


def _in_bounds(latest: dict[str, Snapshot], budget: int) -> None:
    assert {name: last.message for name, last in latest.items() if last.state is State.FAILED} == {}
    assert sum(last.series for last in latest.values()) <= budget
    # What is not about objects loses nothing to them.
    shared = {collector.name for collector in collectors_of("postgres") if collector.share is not None}
    assert {name: dict(last.dropped) for name, last in latest.items() if last.dropped and name not in shared} == {}
