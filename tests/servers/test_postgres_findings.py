"""What is found in databases: vacuum due, wraparound ahead, keys and sequences; as pg_monitor alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from exporter.engines.deadline import Deadline
from exporter.registry import collectors_by_name
from exporter.statement import statement
from tests.providers.base import DatabaseServer, wait_for
from tests.servers.collecting import Samples, Watch, watching

pytestmark = pytest.mark.engine("postgres")
HERE = "findings"


@pytest.fixture
def database(server: DatabaseServer) -> Iterator[str]:
    server.execute(f"DROP DATABASE IF EXISTS {HERE}")
    server.execute(f"CREATE DATABASE {HERE}")
    yield HERE
    server.execute(f"DROP DATABASE {HERE}")


@pytest.fixture
def watch(server: DatabaseServer, database: str) -> Iterator[Watch]:
    with watching(server, database=database) as watch:
        yield watch


def here(samples: Samples, name: str, *labels: str) -> dict[object, float]:
    """The values in our database."""
    found = samples.by(name, "datname", *labels)
    return {key[1] if len(labels) == 1 else key[1:]: value for key, value in found.items() if key[0] == HERE}


# -- vacuum ----------------------------------------------------------------------------------------


def test_dead_rows_against_the_tables_own_thresholds(server: DatabaseServer, database: str, watch: Watch) -> None:
    with server.connect(database) as connection:
        for name, options in {
            "plain": "",
            "own": "WITH (autovacuum_vacuum_threshold = 10, autovacuum_vacuum_scale_factor = 0.01, "
            "autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 5, "
            "autovacuum_analyze_scale_factor = 0, autovacuum_enabled = false)",
            # What is due is not to be done by autovacuum while we look.
            "off": "WITH (autovacuum_enabled = false)",
        }.items():
            connection.execute(f"CREATE TABLE {name} (id int) {options}")
            connection.execute(f"INSERT INTO {name} SELECT generate_series(1, 1000)")
    inserted = "SELECT min(n_mod_since_analyze), count(*) FROM pg_stat_user_tables"
    assert wait_for(lambda: server.execute(inserted, database) == [(1000, 3)], 15)
    with server.connect(database) as connection:
        for name in ("plain", "own", "off"):
            connection.execute(f"VACUUM ANALYZE {name}")
            connection.execute(f"DELETE FROM {name} WHERE id <= 25")
        connection.execute("INSERT INTO off SELECT generate_series(1001, 1007)")
    inserted = "SELECT n_ins_since_vacuum FROM pg_stat_user_tables WHERE relname = 'off'"
    assert wait_for(lambda: server.execute(inserted, database) == [(7,)], 15)
    dead = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = %s"
    assert wait_for(lambda: all(server.execute(dead, database, (n,)) == [(25,)] for n in ("plain", "own", "off")), 15)
    got = watch.run("pg_vacuum_debt")
    assert here(got, "pg_table_autovacuum_threshold_rows", "relname") == {"plain": 250, "own": 20, "off": 250}
    assert here(got, "pg_table_autovacuum_debt_ratio", "relname") == {"plain": 0.1, "own": 1.25, "off": 0.1}
    assert here(got, "pg_table_inserted_since_vacuum_rows", "relname") == {"plain": 0, "own": 0, "off": 7}
    inserts = here(got, "pg_table_autovacuum_insert_threshold_rows", "relname")
    assert set(inserts) == {"plain", "off"}
    # On 18 only the part that is not all frozen counts for inserts.
    assert all(1000 <= value <= 1200 for value in inserts.values())
    assert here(got, "pg_table_autoanalyze_threshold_rows", "relname") == {"plain": 150, "own": 5, "off": 150}
    assert here(got, "pg_table_autoanalyze_debt_ratio", "relname")["own"] == 5
    assert got.one("pg_tables_autovacuum_due", datname=HERE) == 1
    assert got.one("pg_tables_autoanalyze_due", datname=HERE) == 1
    assert got.one("pg_tables_autovacuum_insert_due", datname=HERE) == 0
    assert got.one("pg_tables_autovacuum_disabled", datname=HERE) == 2


def test_the_greatest_threshold_of_18_is_respected(server: DatabaseServer, database: str, watch: Watch) -> None:
    capped = server.version[0] >= 18
    with server.connect(database) as connection:
        options = "WITH (autovacuum_vacuum_max_threshold = 100)" if capped else ""
        connection.execute(f"CREATE TABLE large (id int) {options}")
        connection.execute("INSERT INTO large SELECT generate_series(1, 1000)")
        connection.execute("VACUUM ANALYZE large")
    got = watch.run("pg_vacuum_debt")
    assert here(got, "pg_table_autovacuum_threshold_rows", "relname") == {"large": 100 if capped else 250}


def test_upkeep_is_what_the_server_measured(server: DatabaseServer, database: str, watch: Watch) -> None:
    with server.connect(database) as connection:
        connection.execute("CREATE TABLE read AS SELECT generate_series(1, 50000) AS id")
        connection.execute("VACUUM ANALYZE read")
        connection.execute("SELECT count(*) FROM read")
    got = watch.run("pg_user_tables_upkeep")
    if server.version[0] < 16:
        assert not got.all
        return
    columns = "extract(epoch FROM last_seq_scan)::float8" + (
        ", total_vacuum_time / 1000, total_analyze_time / 1000" if server.version[0] >= 18 else ""
    )
    [expected] = server.execute(f"SELECT {columns} FROM pg_stat_user_tables WHERE relname = 'read'", database)
    names = ("last_seq_scan_timestamp_seconds", "vacuum_seconds_total", "analyze_seconds_total")[: len(expected)]
    assert [got.one(f"pg_stat_user_tables_{name}", datname=HERE) for name in names] == pytest.approx(expected)
    assert server.version[0] < 18 or expected[1] > 0


def test_what_is_not_frozen(server: DatabaseServer, database: str, watch: Watch) -> None:
    with server.connect(database) as connection:
        connection.execute("CREATE TABLE aged (id int)")
        for _ in range(20):
            connection.execute("SELECT pg_current_xact_id()")
    server.execute("DROP DATABASE IF EXISTS shut")
    # Those that nobody may enter stop the server as well; the others' tool leaves them out.
    server.execute("CREATE DATABASE shut ALLOW_CONNECTIONS false")
    ages = "SELECT datname, age(datfrozenxid) FROM pg_database"
    least = dict(server.execute(ages))
    got = watch.run("pg_database_wraparound")
    most = dict(server.execute(ages))
    seen = got.by("pg_database_unfrozen_transactions", "datname")
    assert seen.keys() == least.keys()
    assert all(least[name] <= value <= most[name] for name, value in seen.items())
    [(shut,)] = server.execute("SELECT array_agg(datname::text) FROM pg_database WHERE NOT datallowconn")
    assert "shut" in shut
    theirs = got.by("pg_database_wraparound_age_datfrozenxid_seconds", "datname")
    assert theirs == {name: value for name, value in seen.items() if name not in shut}
    server.execute("DROP DATABASE shut")
    tables = here(watch.run("pg_table_wraparound"), "pg_table_unfrozen_transactions", "relname")
    # Ten by transactions, and ten by multixacts.
    assert 0 < len(tables) <= 20
    # The oldest tables of a database are what makes the database that old.
    [(now,)] = server.execute("SELECT age(datfrozenxid) FROM pg_database WHERE datname = %s", params=(HERE,))
    assert least[HERE] <= max(tables.values()) <= now
    with server.connect(database) as connection:
        connection.execute("VACUUM FREEZE")
        # How far that gets is up to whoever else has a snapshot.
        oldest = "SELECT max(age(relfrozenxid)) FROM pg_class WHERE relkind IN ('r', 'm', 't')"
        [(low,)] = connection.execute(oldest).fetchall()
        tables = here(watch.run("pg_table_wraparound"), "pg_table_unfrozen_transactions", "relname")
        [(high,)] = connection.execute(oldest).fetchall()
    assert low <= max(tables.values()) <= high


def test_the_oldest_multixact_is_shown_wherever_it_is(server: DatabaseServer, database: str, watch: Watch) -> None:
    with server.connect(database) as connection, server.connect(database) as other:
        connection.execute("CREATE TABLE shared AS SELECT 1 AS id; CREATE TABLE aged AS SELECT 1 AS id")
        for _ in range(3):
            for each in (connection, other):
                each.execute("BEGIN; SELECT id FROM shared FOR SHARE")
            connection.execute("COMMIT")
            other.execute("COMMIT")
        connection.execute("VACUUM (FREEZE)")
        connection.execute("SELECT txid_current()")
        connection.execute("VACUUM (FREEZE) shared")
        # As if shared row locks had kept it from going on while its transactions did.
        connection.execute("UPDATE pg_class SET relminmxid = '1' WHERE relname = 'shared'")
        [(age,)] = connection.execute("SELECT mxid_age('1'::xid)").fetchall()
    got = watch.run("pg_table_wraparound", limit=1)
    multixacts = here(got, "pg_table_unfrozen_multixacts", "relname")
    assert age >= 3
    assert multixacts["shared"] == age == max(multixacts.values())


# -- tables and sequences --------------------------------------------------------------------------


def test_foreign_keys_without_an_index_and_tables_without_a_key(
    server: DatabaseServer, database: str, watch: Watch
) -> None:
    with server.connect(database) as connection:
        connection.execute("CREATE TABLE parent (a int, b int, PRIMARY KEY (a, b))")
        connection.execute(
            "CREATE TABLE child (id int PRIMARY KEY, a int, b int, x int, "
            "CONSTRAINT covered FOREIGN KEY (a, b) REFERENCES parent)"
        )
        connection.execute("CREATE INDEX ON child (b, a, x)")
        connection.execute("CREATE TABLE partly (a int, b int, x int, "
                           "CONSTRAINT not_covered FOREIGN KEY (a, b) REFERENCES parent)")  # fmt: skip
        connection.execute("CREATE INDEX ON partly (a, x, b)")
        connection.execute("CREATE INDEX ON partly (a, b) WHERE x > 5")
        connection.execute("CREATE TABLE split (id int, a int, b int, FOREIGN KEY (a, b) REFERENCES parent) "
                           "PARTITION BY RANGE (id)")  # fmt: skip
        connection.execute("CREATE TABLE split_1 PARTITION OF split FOR VALUES FROM (1) TO (100)")
        connection.execute("CREATE INDEX ON split (a, b)")
        connection.execute("INSERT INTO partly (x) SELECT generate_series(1, 5000)")
        connection.execute("ANALYZE partly")
    got = watch.run("pg_table_findings")
    assert here(got, "pg_table_findings", "kind") == {"foreign_key_without_index": 1, "no_primary_key": 2}
    [(size,)] = server.execute("SELECT pg_relation_size('partly')", database)
    assert here(got, "pg_table_finding_size_bytes", "kind", "relname", "conname") == {
        ("foreign_key_without_index", "partly", "not_covered"): size,
        ("no_primary_key", "partly", ""): size,
        ("no_primary_key", "split", ""): 0,
    }


def test_which_index_finds_the_rows_of_a_foreign_key(server: DatabaseServer, database: str, watch: Watch) -> None:
    with server.connect(database) as connection:
        connection.execute("CREATE TABLE one (id int PRIMARY KEY); CREATE TABLE two (a int, b int, PRIMARY KEY (a, b))")
        for name, index in {
            # Rows without a key are not looked for.
            "where_there_is_one": "(k) WHERE k IS NOT NULL",
            "by_hash": "USING hash (k)",
            # These don't find all rows, or not by the key.
            "where_larger": "(k) WHERE k > 5",
            "where_another": "(k) WHERE x IS NOT NULL",
            "where_there_is_none": "(k) WHERE k IS NULL",
            "by_ranges": "USING brin (k)",
        }.items():
            connection.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, k int REFERENCES one, x int)")
            connection.execute(f"CREATE INDEX ON {name} {index}")
        for name, index in {
            "pair_where_both_are": "(b, a) WHERE a IS NOT NULL AND b IS NOT NULL",
            "pair_included": "(a) INCLUDE (b)",
        }.items():
            columns = "(id int PRIMARY KEY, a int, b int, FOREIGN KEY (a, b) REFERENCES two)"
            connection.execute(f"CREATE TABLE {name} {columns}")
            connection.execute(f"CREATE INDEX ON {name} {index}")
        for name, key in {"by_parts": "REFERENCES one", "of_a_part": ""}.items():
            connection.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, k int {key}) PARTITION BY RANGE (id)")
            connection.execute(f"CREATE TABLE {name}_1 PARTITION OF {name} FOR VALUES FROM (1) TO (100)")
            connection.execute(f"CREATE TABLE {name}_2 PARTITION OF {name} FOR VALUES FROM (100) TO (200)")
        # Each part has an index, though the whole has none; a part has a key that the whole has not.
        connection.execute("CREATE INDEX ON by_parts_1 (k); CREATE INDEX ON by_parts_2 (k)")
        connection.execute("ALTER TABLE of_a_part_2 ADD FOREIGN KEY (k) REFERENCES one")
    found = here(watch.run("pg_table_findings"), "pg_table_finding_size_bytes", "kind", "relname")
    assert {table for kind, table in found if kind == "foreign_key_without_index"} == {
        "where_larger",
        "where_another",
        "where_there_is_none",
        "by_ranges",
        "pair_included",
        "of_a_part_2",
    }


def test_a_partitioned_table_is_as_large_as_its_parts(server: DatabaseServer, database: str, watch: Watch) -> None:
    with server.connect(database) as connection:
        connection.execute("CREATE TABLE split (id int) PARTITION BY RANGE (id)")
        connection.execute("CREATE TABLE split_1 PARTITION OF split FOR VALUES FROM (1) TO (5000)")
        connection.execute("CREATE TABLE split_2 PARTITION OF split FOR VALUES FROM (5000) TO (20000)")
        connection.execute("INSERT INTO split SELECT generate_series(1, 19999)")
        connection.execute("ANALYZE")
        sizes = "SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree('split')"
        [(size,)] = connection.execute(sizes).fetchall()
    got = here(watch.run("pg_table_findings"), "pg_table_finding_size_bytes", "kind", "relname")
    assert got == {("no_primary_key", "split"): size}


def test_sequences_end_where_their_column_does(server: DatabaseServer, database: str, watch: Watch) -> None:
    with server.connect(database) as connection:
        connection.execute("CREATE TABLE t (small smallserial, plain serial, big bigint GENERATED ALWAYS AS IDENTITY)")
        connection.execute("CREATE SEQUENCE narrow OWNED BY t.plain")
        connection.execute("SELECT setval('t_small_seq', 29490), setval('narrow', 1932735282)")
        connection.execute("CREATE SEQUENCE round MAXVALUE 10 CYCLE")
        connection.execute("SELECT setval('round', 10)")
        connection.execute("CREATE SEQUENCE down INCREMENT -1 MINVALUE -100")
        connection.execute("SELECT setval('down', -50)")
        connection.execute("CREATE SEQUENCE fresh")
        connection.execute("CREATE SEQUENCE hidden")
        connection.execute("SELECT nextval('hidden')")
        connection.execute("GRANT SELECT ON t_small_seq, narrow, round, down, fresh TO PUBLIC")
    got = watch.run("pg_sequences")
    used = here(got, "pg_sequence_used_ratio", "sequencename")
    assert used == {
        "t_small_seq": pytest.approx(0.9, abs=0.001),
        "narrow": pytest.approx(0.9, abs=0.001),
        "down": pytest.approx(0.495, abs=0.01),
    }
    assert got.one("pg_sequences_near_end", datname=HERE) == 2
    # pg_monitor reads no sequence.
    assert got.one("pg_sequences_unreadable", datname=HERE) == 3
    with server.connect(database) as holder:
        holder.execute("BEGIN")
        # Takes less than reading a table waits for.
        holder.execute("ALTER SEQUENCE t_small_seq CACHE 2")
        held = watch.run("pg_sequences")
        assert here(held, "pg_sequence_used_ratio", "sequencename") == {
            name: value for name, value in used.items() if name != "t_small_seq"
        }
        assert held.one("pg_sequences_near_end", datname=HERE) == 1
        # None that is known is no proof that there is none.
        holder.execute("ALTER SEQUENCE narrow CACHE 2")
        held = watch.run("pg_sequences")
        assert not held.values("pg_sequences_near_end", datname=HERE)
        assert held.one("pg_sequences_unreadable", datname=HERE) == 3
    assert watch.run("pg_sequences").one("pg_sequences_near_end", datname=HERE) == 2
    with server.connect(database) as holder:
        holder.execute("BEGIN")
        holder.execute("ALTER TABLE t ALTER COLUMN small TYPE int")
        holder.execute("DROP SEQUENCE down")
        held = here(watch.run("pg_sequences"), "pg_sequence_used_ratio", "sequencename")
    assert held.keys() >= {"narrow"}
    assert "down" not in held


def test_a_sequence_that_cannot_be_asked_is_not_far_from_its_end(server: DatabaseServer, database: str) -> None:
    with server.connect(database) as connection:
        connection.execute("CREATE SEQUENCE s MAXVALUE 100; GRANT SELECT ON s TO PUBLIC; SELECT setval('s', 99)")
    collector = collectors_by_name()["pg_sequences"]
    account = server.account()
    with watching(server, account, database=database) as watch:
        facts = watch.facts()
        query = collector.query(facts)
        assert query is not None

        def near_end(limit: int) -> list[object]:
            rows = watch.session.run(statement(collector, query, facts, limit), Deadline.after(5))
            return [row["near_end"] for row in rows.dicts()]

        assert near_end(50) == [1]
        # What is asked for after a lock was met.
        assert near_end(0) == [None]


def test_a_domain_ends_where_its_type_does(server: DatabaseServer, database: str, watch: Watch) -> None:
    with server.connect(database) as connection:
        connection.execute("CREATE DOMAIN number AS int; CREATE TABLE t (id number)")
        connection.execute("CREATE SEQUENCE s OWNED BY t.id; GRANT SELECT ON s TO PUBLIC")
        connection.execute("SELECT setval('s', 1932735283)")
    got = watch.run("pg_sequences")
    assert here(got, "pg_sequence_used_ratio", "sequencename") == {"s": pytest.approx(0.9, abs=0.001)}


def test_a_domain_of_a_domain_ends_there_too(server: DatabaseServer, database: str, watch: Watch) -> None:
    with server.connect(database) as connection:
        connection.execute("CREATE DOMAIN number AS smallint; CREATE DOMAIN kind AS number; CREATE TABLE t (id kind)")
        connection.execute("CREATE SEQUENCE s OWNED BY t.id; GRANT SELECT ON s TO PUBLIC; SELECT setval('s', 29490)")
    got = watch.run("pg_sequences")
    assert here(got, "pg_sequence_used_ratio", "sequencename") == {"s": pytest.approx(0.9, abs=0.001)}


def test_a_default_uses_a_sequence_up_without_owning_it(server: DatabaseServer, database: str, watch: Watch) -> None:
    with server.connect(database) as connection:
        for name in ("plain", "small", "wide", "rounded", "written", "split"):
            connection.execute(f"CREATE SEQUENCE {name}; GRANT SELECT ON {name} TO PUBLIC")
        connection.execute("CREATE DOMAIN number AS int")
        connection.execute("CREATE TABLE t (a int DEFAULT nextval('plain'), b number DEFAULT nextval('plain'),"
                           " c smallint DEFAULT nextval('small'), d bigint DEFAULT nextval('wide'),"
                           " e int DEFAULT nextval('rounded') % 100, f text DEFAULT nextval('written'))")  # fmt: skip
        connection.execute("CREATE TABLE p (a int DEFAULT nextval('split')) PARTITION BY RANGE (a)")
        connection.execute("CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1)")
        connection.execute("SELECT setval('plain', 1932735283), setval('small', 29490), setval('wide', 1932735283),"
                           " setval('rounded', 1932735283), setval('written', 1932735283),"
                           " setval('split', 1932735283)")  # fmt: skip
    got = watch.run("pg_sequences")
    assert here(got, "pg_sequence_used_ratio", "sequencename") == {
        name: pytest.approx(ratio, abs=0.001)
        for name, ratio in {"plain": 0.9, "small": 0.9, "split": 0.9, "wide": 0, "rounded": 0, "written": 0}.items()
    }
    assert got.one("pg_sequences_near_end", datname=HERE) == 3


def test_sequences_that_may_not_be_read_are_not_far_from_their_end(
    server: DatabaseServer, database: str, watch: Watch
) -> None:
    assert watch.run("pg_sequences").one("pg_sequences_near_end", datname=HERE) == 0
    server.execute("CREATE SEQUENCE hidden MAXVALUE 100", database)
    server.execute("SELECT setval('hidden', 99)", database)
    got = watch.run("pg_sequences")
    assert not got.values("pg_sequences_near_end", datname=HERE)
    assert got.one("pg_sequences_unreadable", datname=HERE) == 1


def test_functions_where_they_are_tracked(server: DatabaseServer, database: str) -> None:
    server.execute(f"ALTER DATABASE {database} SET track_functions = 'all'")
    with server.connect(database) as connection:
        connection.execute("CREATE FUNCTION twice(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN $1 * 2; END'")
        connection.execute("CREATE FUNCTION twice(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN $1 || $1; END'")
        connection.execute("SELECT twice(1), twice('x'), twice(2)")
    count = "SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions"
    assert wait_for(lambda: server.execute(count, database) == [(3,)], 15)
    with watching(server, database=database) as watch:
        got = watch.run("pg_stat_user_functions")
        assert got.by("pg_stat_user_functions_calls_total", "datname", "funcname") == {(HERE, "twice"): 3}
        [(total,)] = server.execute("SELECT sum(total_time) / 1000 FROM pg_stat_user_functions", database)
        assert got.one("pg_stat_user_functions_seconds_total", funcname="twice") == pytest.approx(total)
        [(own,)] = server.execute("SELECT sum(self_time) / 1000 FROM pg_stat_user_functions", database)
        assert got.one("pg_stat_user_functions_self_seconds_total", funcname="twice") == pytest.approx(own)


def test_a_function_that_is_dropped_leaves_its_calls(server: DatabaseServer, database: str) -> None:
    server.execute(f"ALTER DATABASE {database} SET track_functions = 'all'")
    create = "CREATE FUNCTION many({0}) RETURNS {0} LANGUAGE plpgsql AS 'BEGIN RETURN $1; END'"
    called = "SELECT coalesce(sum(calls), 0), coalesce(sum(total_time), 0) / 1000 FROM pg_stat_user_functions"

    def calls(*statements: str, until: int) -> float:
        with server.connect(database) as connection:
            for statement in statements:
                connection.execute(statement.encode())
        assert wait_for(lambda: server.execute(called, database)[0][0] == until, 15)
        return float(server.execute(called, database)[0][1])

    calls(create.format("int"), create.format("text"), "SELECT many(1), many(2), many('x')", until=3)
    with watching(server, database=database) as watch:

        def shown() -> tuple[float, float]:
            got = watch.run("pg_stat_user_functions")
            return got.one("pg_stat_user_functions_calls_total"), got.one("pg_stat_user_functions_seconds_total")

        _, seconds = shown()
        left = calls("DROP FUNCTION many(int)", until=1)
        assert left < seconds
        assert shown() == (3, pytest.approx(seconds))
        now = calls("SELECT many('x')", until=2)
        assert shown() == (4, pytest.approx(seconds + now - left))
        # What is there again under this name counts on top, and so does what was reset.
        calls(create.format("int"), "SELECT many(1)", until=3)
        assert shown()[0] == 5
        calls("SELECT pg_stat_reset()", "SELECT many('x')", until=1)
        assert shown()[0] == 6


# -- bloat -----------------------------------------------------------------------------------------


def test_bloat_is_estimated_where_there_are_statistics_that_we_may_see(
    server: DatabaseServer, database: str, watch: Watch
) -> None:
    with server.connect(database) as connection:
        for name in ("dense", "half", "secret", "unknown"):
            connection.execute(f"CREATE TABLE {name} (id bigint, name text) WITH (autovacuum_enabled = false)")
            connection.execute(f"INSERT INTO {name} SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i")
        if virtual := server.version[0] >= 18:
            connection.execute("CREATE TABLE virtual (id bigint, name text, v bigint GENERATED ALWAYS AS (id + 1))")
            connection.execute("INSERT INTO virtual SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i")
            connection.execute("VACUUM ANALYZE virtual")
            connection.execute("GRANT SELECT ON virtual TO PUBLIC")
        connection.execute("DELETE FROM half WHERE id % 2 = 0")
        connection.execute("VACUUM dense, half, secret, unknown")
        connection.execute("ANALYZE dense, half, secret")
        connection.execute("GRANT SELECT ON dense, half, unknown TO PUBLIC")
        [(size,)] = connection.execute("SELECT pg_relation_size('half')").fetchall()
    got = watch.run("pg_bloat_estimate")
    ratios = here(got, "pg_table_bloat_estimated_ratio", "relname")
    assert ratios == {"dense": pytest.approx(0, abs=0.05), "half": pytest.approx(0.5, abs=0.05)} | (
        {"virtual": pytest.approx(0, abs=0.05)} if virtual else {}
    )
    assert here(got, "pg_table_bloat_estimated_bytes", "relname")["half"] == pytest.approx(size / 2, rel=0.1)


def test_bloat_of_indexes_is_estimated_from_what_their_columns_hold(
    server: DatabaseServer, database: str, watch: Watch
) -> None:
    with server.connect(database) as connection:
        for name in ("whole", "halved"):
            connection.execute(f"CREATE TABLE {name} (id bigint, name text) WITH (autovacuum_enabled = false)")
            connection.execute(f"INSERT INTO {name} SELECT i, md5(i::text) FROM generate_series(1, 50000) i")
            connection.execute(f"CREATE INDEX {name}_id ON {name} (id)")
            connection.execute(f"CREATE INDEX {name}_expression ON {name} (upper(name))")
            connection.execute(f"CREATE INDEX {name}_hash ON {name} USING hash (id)")
        connection.execute("DELETE FROM halved WHERE id % 2 = 0")
        connection.execute("VACUUM (INDEX_CLEANUP ON) halved" if server.version[0] < 14 else "VACUUM halved")
        connection.execute("ANALYZE")
        connection.execute("GRANT SELECT ON whole, halved TO PUBLIC")
        [(size,)] = connection.execute("SELECT pg_relation_size('halved_id')").fetchall()
    got = watch.run("pg_index_bloat_estimate")
    ratios = here(got, "pg_index_bloat_estimated_ratio", "indexrelname")
    columns = {"whole_id": pytest.approx(0, abs=0.05), "halved_id": pytest.approx(0.5, abs=0.05)}
    assert ratios == columns
    if server.version[0] >= 14:
        reader = server.account("GRANT pg_read_all_data TO exporter")
        with watching(server, reader, database=database) as more:
            ratios = here(more.run("pg_index_bloat_estimate"), "pg_index_bloat_estimated_ratio", "indexrelname")
        server.execute("REVOKE pg_read_all_data FROM exporter")
        whole, halved = columns["whole_id"], columns["halved_id"]
        assert ratios == columns | {"whole_expression": whole, "halved_expression": halved}
    assert here(got, "pg_index_bloat_estimated_bytes", "indexrelname")["halved_id"] == pytest.approx(size / 2, rel=0.1)
