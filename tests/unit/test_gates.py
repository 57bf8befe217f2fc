"""Gates are conditions, sentences and fixes at once."""

from dataclasses import replace

import pytest

from exporter.facts import Extension, Facts, Identity, Role
from exporter.failure import Reason
from exporter.gates import PRIMARY, RECOVERING, REPLICA, extension, granted, mariadb, mysql, pg, setting

PG = Facts("postgres", "postgres", (15, 4), "15.4", Identity("1", 0.0, Role.PRIMARY), database="shop")
MYSQL = Facts("mysql", "mysql", (8, 0, 36), "8.0.36", Identity("u", 0.0, Role.REPLICA))
MARIADB = Facts("mysql", "mariadb", (10, 11, 6), "10.11.6-MariaDB", Identity("m", 0.0, Role.PRIMARY))
PERCONA = replace(MYSQL, flavor="percona")


@pytest.mark.parametrize(
    ("gate", "facts", "passes"),
    [
        (pg(), PG, True),
        (pg(15), PG, True),
        (pg(16), PG, False),
        (pg(13, below=15), PG, False),
        (pg(13, below=16), PG, True),
        (pg(), MYSQL, False),
        (mysql(8, 0, 22), MYSQL, True),
        (mysql(8, 0, 22), PERCONA, True),
        (mysql(8, 4), MYSQL, False),
        (mysql(below=(8, 4)), MYSQL, True),
        # As floats 10.11 would be less than 10.5.
        (mariadb(10, 5, 1), MARIADB, True),
        (mysql(), MARIADB, False),
        (mysql(8, 0, 22) | mariadb(10, 5, 1), MARIADB, True),
        (mysql(8, 0, 22) & REPLICA, MYSQL, True),
        (mysql(8, 0, 22) & PRIMARY, MYSQL, False),
        (~RECOVERING, PG, True),
        (~REPLICA, MYSQL, False),
    ],
)
def test_a_gate_opens_where_it_says(gate, facts, passes):
    assert gate.passes(facts) is passes


def test_a_gate_reads_as_a_sentence():
    assert str(pg(14) & REPLICA) == "PostgreSQL ≥ 14, a replica"
    assert str(mysql(8, 0, 22) | mariadb(10, 5, 1)) == "MySQL or Percona Server ≥ 8.0.22 or MariaDB ≥ 10.5.1"
    assert str(pg(13, below=17)) == "PostgreSQL ≥ 13 and < 17"


def test_a_missing_extension_names_its_statement():
    miss = (pg(13) & extension("pg_stat_statements", 1, 8)).miss(PG)
    assert miss is not None
    assert miss.reason is Reason.MISSING_EXTENSION
    assert miss.fix == "in database shop: CREATE EXTENSION pg_stat_statements;"


def test_a_library_that_is_not_preloaded_comes_before_the_extension():
    facts = replace(PG, preloaded=frozenset({"auto_explain"}))
    miss = extension("pg_stat_statements", preload=True).miss(facts)
    assert miss is not None
    assert miss.fix is not None
    first, second = miss.fix.split("; then ")
    assert "shared_preload_libraries" in first
    assert second == "in database shop: CREATE EXTENSION pg_stat_statements;"


def test_an_old_extension_is_to_be_updated():
    facts = replace(PG, extensions={"pg_stat_statements": Extension((1, 7), "public", "shop")})
    miss = extension("pg_stat_statements", 1, 8).miss(facts)
    assert miss is not None
    assert miss.fix == "in database shop: ALTER EXTENSION pg_stat_statements UPDATE;"


def test_of_several_closed_gates_the_one_that_can_be_opened_speaks():
    gate = mysql(9) | setting("performance_schema", "ON", fix="performance_schema=ON in the server's file")
    miss = gate.miss(replace(MYSQL, settings={"performance_schema": "OFF"}))
    assert miss is not None
    assert miss.fix == "performance_schema=ON in the server's file"


def test_a_version_can_not_be_mended():
    miss = (pg(17) & extension("pg_stat_statements")).miss(PG)
    assert miss is not None
    assert miss.fix is None
    assert miss.text == "needs PostgreSQL ≥ 17"


def test_a_missing_privilege_is_one():
    miss = granted("PROCESS", fix="GRANT PROCESS ON *.* TO exporter;").miss(MYSQL)
    assert miss is not None
    assert miss.reason is Reason.PERMISSION
