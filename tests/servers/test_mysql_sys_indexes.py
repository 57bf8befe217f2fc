"""Needless indexes beside those that the server's own schema `sys` finds, and where the two differ on purpose."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from exporter.collectors.mysql import needless_indexes
from tests.providers.base import DatabaseServer
from tests.servers.collecting import watching

pytestmark = pytest.mark.engine("mysql")

_COLUMNS = "id int PRIMARY KEY, a int, b int, s varchar(200)"
# By table: its indexes, those that ours finds to be the same as others or a part of them, and those that `sys` does.
NEEDLESS: dict[str, tuple[str, set[str], set[str]]] = {
    "beginning": ("KEY k (a), KEY k_more (a, b)", {"k"}, {"k"}),
    "end": ("KEY k (b), KEY k_more (a, b)", set(), set()),
    "same": ("KEY k (a), KEY k_again (a)", {"k_again"}, {"k_again"}),
    "same_as_unique": ("UNIQUE KEY u (a), KEY k (a)", {"k"}, {"k"}),
    "same_as_primary": ("KEY k (id)", {"k"}, {"k"}),
    "beginning_of_unique": ("KEY k (a), UNIQUE KEY u (a, b)", {"k"}, {"k"}),
    "backwards": ("KEY k (a DESC, b DESC), KEY k_up (a, b)", {"k_up"}, {"k_up"}),
    "beginning_backwards": ("KEY k (a), KEY k_down (a DESC, b)", {"k"}, {"k"}),
    "whole_and_text": ("KEY k (s), FULLTEXT KEY words (s)", set(), set()),
    # What is unique is a rule, not only a way to find rows.
    "two_unique": ("UNIQUE KEY u (a), UNIQUE KEY u_again (a)", set(), {"u_again"}),
    "unique_beginning": ("UNIQUE KEY u (a), UNIQUE KEY u_more (a, b)", set(), {"u_more"}),
    # Statements may need no more than an index has.
    "more_than_unique": ("UNIQUE KEY u (a), KEY k (a, b)", set(), {"k"}),
    "more_than_primary": ("KEY k (id, a)", set(), {"k"}),
    # To `sys` a prefix is a column as any other, and so is the other direction.
    "prefix": ("KEY k (s(5)), KEY k_whole (s)", {"k"}, {"k_whole"}),
    "prefix_first": ("KEY k (s), KEY k_more (s(5), a)", set(), {"k"}),
    "prefix_of_unique": ("UNIQUE KEY u (s(5)), KEY k (s)", set(), {"k"}),
    "one_backwards": ("KEY k (a, b), KEY k_down (a, b DESC)", set(), {"k_down"}),
    # Statements do not see one that is hidden; to take away the one that they see is what somebody is trying.
    "hidden": ("KEY k (a), KEY k_more (a, b) {hidden}", set(), {"k"}),
    "hidden_same": ("KEY k (a) {hidden}, KEY k_seen (a)", {"k"}, {"k_seen"}),
    # `sys` looks at trees alone.
    "texts": ("FULLTEXT KEY words (s), FULLTEXT KEY words_again (s)", {"words_again"}, set()),
}
_EXPRESSIONS: dict[str, tuple[str, set[str], set[str]]] = {
    # To `sys` an expression is not there.
    "expression": ("KEY k ((a + 1)), KEY k_again ((a + 1))", {"k_again"}, set()),
    "expression_beginning": ("KEY k ((a + 1)), KEY k_more ((a + 1), b)", {"k"}, set()),
    "expression_first": ("KEY k (b), KEY k_more ((a + 1), b)", set(), {"k_more"}),
    "two_expressions": ("KEY k ((a + 1)), KEY k_other ((a + 2))", set(), set()),
}


@pytest.fixture
def sys_server(server: DatabaseServer, fresh_server: Callable[..., DatabaseServer]) -> DatabaseServer:
    return fresh_server(server.name, {"performance_schema": "ON"})


def test_needless_indexes_are_those_of_sys_but_where_it_errs(
    sys_server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = sys_server
    cases = NEEDLESS | (_EXPRESSIONS if server.flavor == "mysql" else {})
    hidden = "INVISIBLE" if server.flavor == "mysql" else "IGNORED"
    server.execute("CREATE DATABASE odd")
    for table, (indexes, _, _) in cases.items():
        server.execute(f"CREATE TABLE odd.{table} ({_COLUMNS}, {indexes.format(hidden=hidden)})")
        server.execute(f"INSERT INTO odd.{table} VALUES (1, 1, 1, 'one')")
    # A foreign key needs an index, whoever reads it.
    server.execute(f"CREATE TABLE odd.parent ({_COLUMNS}, KEY never (a))")
    server.execute(
        f"CREATE TABLE odd.child ({_COLUMNS}, KEY points (a), KEY b (b), FOREIGN KEY (a) REFERENCES parent (id))"
    )
    server.execute("INSERT INTO odd.parent VALUES (1, 1, 1, 'one')")
    server.execute("INSERT INTO odd.child VALUES (1, 1, 1, 'one')")
    server.execute("SELECT * FROM odd.beginning FORCE INDEX (k) WHERE a = 1")
    server.execute("SELECT * FROM odd.child FORCE INDEX (b) WHERE b = 1")
    # As if the server had run for long enough.
    monkeypatch.setattr(needless_indexes, "WEEK", 0)
    monkeypatch.setattr(needless_indexes, "_SHOWN", 1000)
    with watching(server) as watch:
        found = watch.run("mysql_index_findings").by("mysql_index_finding_info", "schema", "table", "index", "kind")
    ours = {(table, index, kind) for schema, table, index, kind in found if schema == "odd"}
    needless = {(table, index) for table, index, kind in ours if kind != "unused"}
    theirs = set(
        server.execute(
            "SELECT DISTINCT table_name, redundant_index_name FROM sys.schema_redundant_indexes"
            " WHERE table_schema = 'odd'"
        )
    )
    assert theirs == {(table, index) for table, (_, _, names) in cases.items() for index in names}
    assert needless == {(table, index) for table, (_, names, _) in cases.items() for index in names}

    unused = {(table, index) for table, index, kind in ours if kind == "unused"}
    theirs = set(
        server.execute("SELECT object_name, index_name FROM sys.schema_unused_indexes WHERE object_schema = 'odd'")
    )
    assert not {("beginning", "k"), ("child", "b")} & theirs
    # The index of the foreign key, those of texts, in which searches are not counted, and on MariaDB unique ones.
    unique = {(table, index) for table, index in theirs if index.startswith("u")}
    assert bool(unique) == (server.flavor == "mariadb")
    texts = {(table, index) for table, index in theirs if index.startswith("words")}
    assert len(texts) == 3
    assert unused == theirs - unique - texts - {("child", "points")}
