"""Versions that no test can run: collectors name nothing that these have not, by tests/expected/mysql_versions.yml.

A newer server runs what an older one would be asked. What came later is taken away first: views that lack columns are
stood in for by tables without them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
import yaml

from exporter.registry import collectors_of
from exporter.statement import statement
from tests.providers.base import DatabaseServer
from tests.unit.test_declarations import VERSIONS, servers_of

pytestmark = pytest.mark.engine("mysql")
RECORDED = yaml.safe_load((Path(__file__).parents[1] / "expected/mysql_versions.yml").read_text())
# Its table is the user's own.
NOT_HERE = {"mysql_heartbeat", "mysql_slow_log", "mysql_slow_log_table"}
COLLECTORS = [collector for collector in collectors_of("mysql") if collector.name not in NOT_HERE]
_VIEW = re.compile(r"\b((?:performance_schema|information_schema|mysql)\.\w+)")
_VARIABLE = re.compile(r"@@(?:global\.|session\.)?(\w+)", re.IGNORECASE)
Version = tuple[int, ...]


def lacking(flavor: str, version: Version, newer: Version) -> dict[str, list[str] | str]:
    """By view what a version has not and a newer one has: `all`, or columns."""
    found: dict[str, Any] = {}
    for entry in RECORDED[flavor]["views"]:
        if version < tuple(entry["since"]) <= newer:
            for view, what in entry.items():
                if view != "since":
                    found[view] = "all" if "all" in (what, found.get(view)) else [*found.get(view, []), *what]
    return found


def has(entry: dict[str, list[int]], version: Version) -> bool:
    return tuple(entry.get("since", ())) <= version and ("until" not in entry or version < tuple(entry["until"]))


class Older:
    """An older version, as far as a newer server can play it."""

    def __init__(self, cursor: Any, flavor: str, version: Version, newer: Version) -> None:
        self.cursor, self.version = cursor, version
        self.variables, self.statements = RECORDED[flavor]["variables"], RECORDED[flavor]["statements"]
        self.newer = newer
        self.lacking = lacking(flavor, version, newer)
        self.made: set[str] = set()

    def complaint(self, sql: str) -> str | None:
        """What the version would not understand; None if it would all."""
        show = next((text for text in self.statements if sql.startswith(text)), None)
        if show is not None:
            return None if has(self.statements[show], self.version) else f"there is no {show}"
        for name in _VARIABLE.findall(sql):
            if not has(self.variables.get(name.lower(), {}), self.version):
                return f"there is no variable {name}"
        gone = {name for name, entry in self.variables.items() if not has(entry, self.newer)}
        sql = _VARIABLE.sub(lambda found: "1" if found[1].lower() in gone else found[0], sql)
        absent = [view for view in _VIEW.findall(sql) if self.lacking.get(view.lower()) == "all"]
        if absent:
            return f"there is no view {absent[0]}"
        try:
            self.cursor.execute(_VIEW.sub(lambda found: self._view(found[1]), sql))
        except pymysql.MySQLError as error:
            return str(error)
        return None

    def _view(self, name: str) -> str:
        view = name.lower()
        if view not in self.lacking:
            return name
        table = "older." + view.rpartition(".")[2]
        if view not in self.made:
            self.cursor.execute(f"SELECT * FROM {name} LIMIT 0")
            there = [column[0].lower() for column in self.cursor.description]
            # A name that the view has not would take nothing away.
            assert set(self.lacking[view]) <= set(there), (view, set(self.lacking[view]) - set(there))
            columns = ", ".join(f"`{column}`" for column in there if column not in self.lacking[view])
            self.cursor.execute(f"DROP TABLE IF EXISTS {table}")
            self.cursor.execute(f"CREATE TABLE {table} AS SELECT {columns} FROM {name} LIMIT 0")
            self.made.add(view)
        return table


@pytest.fixture
def cursor(server: DatabaseServer) -> Iterator[Any]:
    with server.connect() as connection, connection.cursor() as made:
        # On this server alone.
        made.execute("SET SESSION sql_log_bin = 0, sql_mode = ''")
        made.execute("CREATE DATABASE IF NOT EXISTS older")
        yield made
        made.execute("DROP DATABASE older")


def asked(flavor: str, version: Version) -> Iterator[tuple[str, str]]:
    """Each collector with each statement that it has for some server of a version."""
    for collector in COLLECTORS:
        seen = set()
        for facts in servers_of(collector):
            if (facts.flavor, facts.version) == (flavor, version):
                query = collector.query(facts)
                assert query is not None
                seen.add(statement(collector, query, facts, limit=7))
        yield from ((collector.name, sql) for sql in sorted(seen))


def test_nothing_is_asked_for_that_a_version_has_not(server: DatabaseServer, cursor: Any) -> None:
    flavor = server.flavor
    complaints = []
    for version in VERSIONS[flavor]:
        if version > server.version:
            continue
        older = Older(cursor, flavor, version, server.version)
        for name, sql in asked(flavor, version):
            if any(view in sql.lower() for view in RECORDED[flavor].get("plugins", ())):
                continue
            found = older.complaint(sql)
            if found is not None:
                complaints.append((name, version, found))
    assert not complaints


def test_what_came_later_would_be_noticed(server: DatabaseServer, cursor: Any) -> None:
    if server.flavor == "mysql":
        old = Older(cursor, "mysql", (8, 0, 11), server.version)
        assert "EXPRESSION" in (old.complaint("SELECT EXPRESSION FROM information_schema.STATISTICS") or "")
        assert old.complaint("SELECT 1 FROM performance_schema.processlist") is not None
        assert old.complaint("SELECT @@GLOBAL.innodb_redo_log_capacity") is not None
        assert old.complaint("SHOW REPLICA STATUS") is not None
        assert (
            old.complaint("SELECT @@GLOBAL.innodb_log_file_size, PROCESSLIST_ID FROM performance_schema.threads")
            is None
        )
    elif server.version >= (11, 8):
        old = Older(cursor, "mariadb", (10, 6, 0), server.version)
        assert "QUERIES" in (old.complaint("SELECT QUERIES FROM information_schema.INDEX_STATISTICS") or "").upper()
        assert old.complaint("SELECT ROWS_READ FROM information_schema.INDEX_STATISTICS") is None
