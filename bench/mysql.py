"""A large MySQL: many tables in ten schemas, and many statement digests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from bench.postgres import SHAPES
from bench.subject import Size, Subject
from tests.providers.base import Account, DatabaseServer
from tests.providers.fleet import Fleet

SCHEMAS = 10
SETTINGS = {
    "innodb_buffer_pool_size": "512M",
    "table_open_cache": "12000",
    "table_definition_cache": "12000",
    "performance_schema_digests_size": "10000",
    # Its work would be counted as the exporters'.
    "innodb_stats_auto_recalc": "OFF",
    "event_scheduler": "OFF",
    # Threads that look for work all the time would be most of what an idle server does.
    "innodb_log_writer_threads": "OFF",
}
MORE = (
    "info_schema.tables", "perf_schema.tableiowaits", "perf_schema.indexiowaits", "perf_schema.tablelocks",
    "perf_schema.eventsstatements", "perf_schema.eventsstatements.limit=500", "auto_increment.columns",
    "info_schema.innodb_metrics",
)  # fmt: skip
_COLUMNS = "id int AUTO_INCREMENT PRIMARY KEY, a int, b varchar(40), c timestamp DEFAULT now()"
_VALUES = ", ".join(f"({n}, 'row {n}')" for n in range(1, 51))
_TABLE = (
    f"CREATE TABLE {{name}} ({_COLUMNS}, INDEX (a), INDEX (b))",
    f"INSERT INTO {{name}} (a, b) VALUES {_VALUES}",
    "SELECT count(*) FROM {name} WHERE id < 10",
    "ANALYZE TABLE {name}",
)
_DIGESTS = "performance_schema.events_statements_summary_by_digest"


class MySQL(Subject):
    """MySQL or MariaDB beside mysqld_exporter."""

    engine = "mysql"
    peer = "mysqld_exporter"
    settings: ClassVar[Mapping[str, tuple[str, Sequence[str]]]] = {
        "defaults": (peer, ()),
        "more": (
            f"{peer}, + tables, indexes, digests (500), auto-increment, InnoDB metrics",
            [f"--collect.{name}" for name in MORE],
        ),
    }
    # Very many tables take it longer to make than all the rest does.
    grows = None
    busy_idle = True
    # Theirs has all tables, and of digests so many with their texts in a label.
    alike: ClassVar[Mapping[str, Any]] = {
        "max_series": 1_000_000,
        "statements": {"limit": 500, "text": "label", "text_bytes": 120},
    }

    def start(self, fleet: Fleet, name: str, size: Size) -> DatabaseServer:  # noqa: ARG002 - schemas are ten
        """A server with its schemas; MariaDB has performance_schema on."""
        on = {"performance_schema": "ON"} if name.startswith("mariadb") else {}
        settings = SETTINGS | on
        if on:
            del settings["innodb_log_writer_threads"]
        server = fleet.provider.create(name, settings)
        for number in range(SCHEMAS):
            server.execute(f"CREATE DATABASE s{number}")
        return server

    def account(self, server: DatabaseServer) -> Account:
        """An account with room for theirs, which opens sessions anew while old ones still count."""
        return server.account(limit=20)

    def add_tables(self, server: DatabaseServer, first: int, last: int) -> None:
        """Tables with three indexes each, the schemas in turn."""
        with server.connect() as session, session.cursor() as cursor:
            cursor.execute("SET SESSION sql_log_bin = 0")
            for number in range(first, last):
                for statement in _TABLE:
                    cursor.execute(statement.format(name=_name(number)))

    def run_statements(self, server: DatabaseServer, size: Size) -> int:
        """Run distinct statements, and tell how many digests there are then."""
        with server.connect() as session, session.cursor() as cursor:
            cursor.execute(f"TRUNCATE TABLE {_DIGESTS}")
            count = min(size.statements, size.tables * len(SHAPES))
            # One schema after the other, which is what digests are told apart by.
            for number in sorted(range(count), key=lambda number: number % size.tables % SCHEMAS):
                table = number % size.tables
                session.select_db(f"s{table % SCHEMAS}")
                cursor.execute(SHAPES[number // size.tables].format(_name(table)))
            cursor.execute(f"SELECT count(*) FROM {_DIGESTS}")
            found: Any = cursor.fetchone()
        return int(found[0])

    def says(self, size: Size, statements: int) -> str:
        """Tables, schemas and digests."""
        return f"{size.tables} tables in {SCHEMAS} schemas, {statements} digests"

    def connection(self, server: DatabaseServer, account: Account) -> tuple[list[str], dict[str, str]]:
        """The flags with the address, and the password's variable."""
        flags = [f"--mysqld.address={server.host}:{server.port}", f"--mysqld.username={account.user}"]
        return flags, {"MYSQLD_EXPORTER_PASSWORD": account.password}

    def pid(self, server: DatabaseServer) -> int:
        """The server's one process."""
        assert server.data is not None
        return int((server.data.parent / "pid").read_text())


def _name(number: int) -> str:
    return f"s{number % SCHEMAS}.t{number}"
