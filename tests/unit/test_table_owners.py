"""Whose a table is: the config is asked for each schema, not for each of its tables."""

from __future__ import annotations

from typing import Any, cast

from exporter.collectors.postgres.table_sizes import owned
from exporter.config.model import Project
from exporter.declare import Context, Rows


class Server:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def project_of(self, database: str, schema: str) -> Project | None:
        self.asked.append((database, schema))
        return Project(pattern=".*", project=schema, owner="dba") if schema == "sales" else None


def test_ten_thousand_tables_of_two_schemas_are_asked_for_twice() -> None:
    server = Server()
    columns = ("datname", "schemaname", "relname", "bytes")
    given = [("shop", "sales" if number % 2 else "other", f"t{number}", number) for number in range(10_000)]
    rows = owned(Rows(columns, given), Context(cast("Any", server), cast("Any", None), 0.0))
    assert sorted(server.asked) == [("shop", "other"), ("shop", "sales")]
    first, second = rows.dicts()[:2]
    assert (first["project"], first["known"], first["bytes"]) == (None, None, 0)
    assert (second["project"], second["owner"], second["known"]) == ("sales", "dba", 1)
