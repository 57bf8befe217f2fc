"""Queries in the config file: what each mistake is called, where it is, and what a sound one means."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.commands.configuration import known
from exporter.config import Config, ConfigError, load_text
from exporter.config.queries import statement

PG = "servers:\n  - url: postgresql://mon@db\n"
MY = "servers:\n  - url: mysql://mon@db\n"


def query(text: str, servers: str = PG) -> str:
    """A file whose query `q` has these keys besides what it needs, from line 5 on."""
    needed = "sql: SELECT 1 AS x\n    measures: [{name: q_x, column: x, help: X}]"
    return f"queries:\n  q:\n    {needed}\n    {text}\n{servers}"


def measure(text: str) -> str:
    return f"queries:\n  q:\n    sql: SELECT 1 AS x\n    measures: [{{{text}}}]\n{PG}"


def load(text: str, directory: Path | None = None) -> Config:
    return load_text(text, source="c.yml", directory=directory, known=known(), env={})


def problems(text: str, directory: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, directory)
    return [str(problem) for problem in caught.value.problems]


LATER = "; did you mean 'measures'?"
WRONG = {
    f"queries:\n  q: {{sql: SELECT 1, measure: []}}\n{PG}": [
        "c.yml:2:6: queries.q.measures: is missing or empty",
        f"c.yml:2:22: queries.q.measure: unknown key{LATER}",
    ],
    f"queries:\n  q: {{sql: SELECT 1, measures: []}}\n{PG}": [
        "c.yml:2:32: queries.q.measures: is empty; add at least one"
    ],
    f"queries:\n  Q: {{sql: SELECT 1, measures: [{{name: a, help: b}}]}}\n{PG}": [
        "c.yml:2:3: queries.Q: must be lower case letters, digits and _, with a letter at the front"
    ],
    query("evry: 5m"): ["c.yml:5:5: queries.q.evry: unknown key; did you mean 'every'?"],
    query("every: 10ms"): ["c.yml:5:12: queries.q.every: must be at least 1s"],
    query("limit: 0"): ["c.yml:5:12: queries.q.limit: must be greater than 0"],
    query("engine: postgresql"): [
        "c.yml:5:13: queries.q.engine: must be one of postgres, mysql; did you mean 'postgres'?"
    ],
    query("role: standby"): ["c.yml:5:11: queries.q.role: must be one of primary, replica"],
    query("since: new"): ['c.yml:5:12: queries.q.since: must be a version such as 14 or "10.6.2"'],
    query("since: 10.10"): ['c.yml:5:12: queries.q.since: must be a version in quotes, such as "10.6"'],
    query("since: 14"): [
        "c.yml:5:12: queries.q.since: needs engine: postgres, or flavor: mysql or mariadb, whose version is meant"
    ],
    query("{engine: postgres, since: 15, below: 14}").replace("    {", "    <<: {"): [
        "c.yml:5:46: queries.q.below: must be a later version than since"
    ],
    query("labels: [server]"): [
        ("c.yml:5:5: queries.q.labels: server is a label that the exporter or Prometheus sets itself; "
        "write `other_name: column`")
    ],
    query("labels: {A: x}"): [
        "c.yml:5:14: queries.q.labels.A: must be lower case letters, digits and _, with a letter at the front"
    ],
    query("database: shop\n    each_database: true"): [
        "c.yml:5:15: queries.q.database: stands beside each_database; remove one of them"
    ],
    query("engine: mysql\n    each_database: true", MY): [
        "c.yml:6:20: queries.q.each_database: is for PostgreSQL; write schema.table on MySQL, or name a database"
    ],
    measure("name: q_x"): ["c.yml:4:16: queries.q.measures[0].help: is missing or empty"],
    measure("name: db_x, help: X"): [
        "c.yml:4:23: queries.q.measures[0].name: starts like a metric of the exporter's own; choose another name"
    ],
    measure("name: pg_up, help: X"): [
        "c.yml:4:23: queries.q.measures[0].name: is a metric of the exporter; choose another name"
    ],
    measure("name: pg_database_size_bytes, help: X"): [
        "c.yml:4:23: queries.q.measures[0].name: is a metric of the exporter; choose another name"
    ],
    measure("name: q_x, help: X, type: couter"): [
        "c.yml:4:43: queries.q.measures[0].type: must be one of gauge, counter; did you mean 'counter'?"
    ],
    measure("name: q_x, help: X, type: counter"): [
        "c.yml:4:23: queries.q.measures[0].name: is a counter and must end with _total: q_x_total"
    ],
    measure("name: q_x_total, help: X"): [
        ("c.yml:4:23: queries.q.measures[0].name: ends with _total, which is for counters; say type: counter, "
        "or choose another name")
    ],
    measure("name: q_x, help: X, unit: ms"): [
        "c.yml:4:23: queries.q.measures[0].name: must say its unit: q_x_seconds"
    ],
    measure("name: q_x_total, help: X, unit: KiB, type: counter"): [
        "c.yml:4:23: queries.q.measures[0].name: must say its unit: q_x_bytes_total"
    ],
    measure("name: q_x, help: X}, {name: q_x, help: X"): [
        "c.yml:4:45: queries.q.measures[1].name: is there twice in this query; remove one"
    ],
    f"queries:\n  pg_roles: {{sql: SELECT 1, measures: [{{name: a, help: b}}]}}\n{PG}": [
        "c.yml:2:13: queries.pg_roles: is the name of a collector of the exporter; choose another"
    ],
    # Between queries, and between the places where they can stand.
    f"queries:\n  a: {{sql: SELECT 1, measures: [{{name: x, help: b}}]}}\n"
    f"  b: {{sql: SELECT 1, measures: [{{name: x, help: b}}]}}\n{PG}": [
        ("c.yml:3:40: queries.b.measures[0].name: is fed by a too; choose another name, or tell them apart by since, "
        "below or role")
    ],
    f"queries:\n  a: {{sql: SELECT 1, measures: [{{name: x, help: b}}]}}\n{PG}"
    "    queries:\n      a: {sql: SELECT 2, measures: [{name: y, help: b}]}\n": [
        "c.yml:6:7: servers[0].queries.a: is there already on line 2; choose another name"
    ],
    f"{PG}    collectors: {{q: false}}\n    queries: {{qq: {{sql: SELECT 1, measures: [{{name: x, help: b}}]}}}}\n": [
        "c.yml:3:18: servers[0].collectors.q: unknown collector; did you mean 'qq'?"
    ],
    f"{PG}queries_files: [none.yaml]\n": [
        "c.yml:3:17: queries_files[0]: there is no file none.yaml; create it or correct the path"
    ],
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WRONG.items(), ids=range(len(WRONG)))
def test_every_mistake_has_its_place_and_its_fix(text: str, expected: list[str]) -> None:
    found = problems(text)
    if any("unknown collector" in problem for problem in found):
        assert [problem.partition("; ")[0] for problem in found] == [line.partition("; ")[0] for line in expected]
    else:
        assert found == expected


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM a",
        "SET search_path = x",
        "",
        "EXPLAIN SELECT 1",
        "DO $$ BEGIN END $$",
        "-- SELECT\nVACUUM",
        "BEGIN",
    ],
)
def test_only_statements_that_read(sql: str) -> None:
    text = f"queries:\n  q:\n    sql: |\n      {sql}\n    measures: [{{name: q_x, help: X}}]\n{PG}".replace(
        "\nVACUUM", "\n      VACUUM"
    )
    assert problems(text) == [
        "c.yml:3:10: queries.q.sql: must be one statement that reads: SELECT, WITH, SHOW, VALUES or TABLE"
    ]


@pytest.mark.parametrize(
    "sql", ["SELECT 1 AS x", "/* a */ -- b\n      WITH y AS (SELECT 1) SELECT 1 AS x;", "(SELECT 1)"]
)
def test_statements_that_read(sql: str) -> None:
    config = load(f"queries:\n  q:\n    sql: |\n      {sql}\n    measures: [{{name: q_x, help: X}}]\n{PG}")
    assert not config.servers[0].own[0].queries[0].sql.endswith(";")


@pytest.mark.parametrize(
    ("sql", "sent"),
    [
        ("SELECT 1 AS a; -- end", "SELECT 1 AS a"),
        ("SELECT 1 AS a ;\n-- one\n  -- two\n", "SELECT 1 AS a"),
        ("SELECT 1 AS a -- end", "SELECT 1 AS a -- end"),
        ("SELECT '; -- no comment' AS a", "SELECT '; -- no comment' AS a"),
        ("SELECT $$; -- no comment$$ AS a", "SELECT $$; -- no comment$$ AS a"),
        ("SELECT 1 /* ; -- */", "SELECT 1 /* ; -- */"),
        ("SELECT 1; SELECT 2 -- two", "SELECT 1; SELECT 2 -- two"),
    ],
)
def test_the_end_of_a_statement(sql: str, sent: str) -> None:
    assert statement(sql) == sent


def test_all_mistakes_are_told_at_once_and_hide_nothing_else() -> None:
    found = problems(
        "queries:\n  a: {sql: SELECT 1, measures: [{name: a_x, help: X}], below: 13, engine: postgres, since: 14}\n"
        "  b: {sql: DROP TABLE x, measures: [{name: b_x, help: X}]}\n"
        "  c: {sql: SELECT 1, measures: [{name: db_up, help: X}]}\n"
        "servers:\n  - url: postgresql://mon@db\n    paussed: true\n  - url: mysql://mon@db2\n"
    )
    assert [problem.split(":")[1] for problem in found] == ["2", "3", "4", "7"]


def test_each_server_has_what_is_for_it() -> None:
    one = "{{sql: SELECT 1, measures: [{{name: {0}_x, help: X}}]{1}}}"
    config = load(
        f"queries:\n  everywhere: {one.format('a', '')}\n  only_mysql: {one.format('b', ', engine: mysql')}\n"
        f"defaults:\n  queries:\n    default: {one.format('c', '')}\n"
        "servers:\n  - url: postgresql://mon@one\n  - url: mysql://mon@two\n  - url: postgresql://mon@three\n"
        f"    queries:\n      mine: {one.format('d', ', every: 5m')}\n"
    )
    assert [[own.name for own in server.own] for server in config.servers] == [
        ["everywhere", "default"],
        ["everywhere", "only_mysql", "default"],
        ["everywhere", "default", "mine"],
    ]
    assert [own.engine for own in config.servers[1].own] == ["mysql"] * 3
    assert config.servers[2].own[2].every == 300


def test_two_queries_may_feed_one_metric_where_no_server_runs_both() -> None:
    one = "{{sql: SELECT 1, engine: postgres, measures: [{{name: x, help: X}}], {0}}}"
    for first, second in (("below: 14", "since: 14"), ("role: primary", "role: replica")):
        config = load(f"queries:\n  a: {one.format(first)}\n  b: {one.format(second)}\n{PG}")
        assert len(config.servers[0].own) == 2


def test_a_label_may_be_called_like_a_secret() -> None:
    config = load(query("labels: {url: x}"))
    assert dict(config.servers[0].own[0].blocks[0].labels) == {"url": "x"}
