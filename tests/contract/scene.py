"""A PostgreSQL pair on which every collector of postgres_exporter has something to show, and little of it moves."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.providers.base import Account, DatabaseServer, wait_for
from tests.providers.fleet import Fleet

# What the exporters connect to; theirs reads tables of this database alone.
DATABASE, TENANT = "shop", "tenant"
SETTINGS = {
    "max_connections": "60",
    "max_prepared_transactions": "5",
    "max_slot_wal_keep_size": "1GB",
    # Whatever would run by itself would move numbers while they are compared.
    "autovacuum_naptime": "1s",
    "checkpoint_timeout": "1h",
    "max_wal_size": "2GB",
    "bgwriter_lru_maxpages": "0",
    # A segment is archived once, by hand, and a second one fails.
    "archive_mode": "on",
    "archive_command": "test ! -e refuse",
}
# As slow as the server allows: one page, then a tenth of a second; and pages with a row or two, so that there are
# enough of them for any test.
_SLOWLY = "autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1"
_STATEMENTS = """
    CREATE SCHEMA sales;
    CREATE TABLE sales.orders (id int PRIMARY KEY, note text) WITH (autovacuum_enabled = off);
    CREATE INDEX orders_note ON sales.orders (note);
    INSERT INTO sales.orders SELECT i, repeat('x', i % 3000) FROM generate_series(1, 3000) i;
    UPDATE sales.orders SET note = 'y' WHERE id <= 500;
    DELETE FROM sales.orders WHERE id > 2900;
    ANALYZE sales.orders;
    VACUUM sales.orders;
    CREATE TABLE plain (body text) WITH (autovacuum_enabled = off);
    INSERT INTO plain SELECT repeat(md5(i::text), 300) FROM generate_series(1, 50) i;
    CREATE TABLE empty (id int) WITH (autovacuum_enabled = off);
    CREATE TABLE swept (id int, body text) WITH (autovacuum_enabled = off, fillfactor = 10);
    INSERT INTO swept SELECT i, repeat('z', 500) FROM generate_series(1, 6000) i;
    CREATE TABLE swept_by_hand (LIKE swept) WITH (autovacuum_enabled = off, fillfactor = 10);
    CREATE INDEX ON swept_by_hand (id);
    INSERT INTO swept_by_hand SELECT * FROM swept;
    DELETE FROM swept WHERE id % 2 = 0;
    DELETE FROM swept_by_hand WHERE id % 2 = 0;
    CREATE PUBLICATION orders FOR TABLE sales.orders;
    SELECT pg_create_logical_replication_slot('to_tenant', 'pgoutput');
    SELECT pg_create_logical_replication_slot('unread', 'pgoutput');
    SELECT pg_create_physical_replication_slot('to_standby', true);
    SELECT pg_create_physical_replication_slot('unused', true);
    SELECT pg_create_physical_replication_slot('fresh');
"""


@dataclass
class Scene:
    """What was made.

    Attributes:
        primary: With two databases, a subscription from one to the other, and everything that locks and runs.
        standby: Streams through a slot.
        account: Of ours, on both.
        peer: Of the existing exporter, on both.
    """

    primary: DatabaseServer
    standby: DatabaseServer
    account: Account
    peer: Account

    def server(self, role: str) -> DatabaseServer:
        """Give the server of a role: primary or standby."""
        return self.primary if role == "primary" else self.standby


@contextlib.contextmanager
def scene(fleet: Fleet, name: str) -> Iterator[Scene]:
    """Make a pair of the PostgreSQL `name` for this alone, and remove it in the end."""
    primary = fleet.provider.create(name, SETTINGS)
    with contextlib.ExitStack() as stack:
        stack.callback(primary.remove)
        # Theirs can't connect with a password that a URL has to quote.
        peer = Account(primary.account("ALTER ROLE peer PASSWORD 'peer'", name="peer", limit=10).user, "peer")
        account = primary.account()
        _fill(primary)
        standby = primary.replica(primary_slot_name="to_standby", wal_receiver_status_interval="1")
        _subscribe(primary)
        _work(primary, stack)
        standby.wait_until_caught_up()
        for server in (primary, standby):
            server.execute("SELECT pg_stat_reset()", TENANT)
        reader = stack.enter_context(standby.connect(DATABASE, application_name="reader"))
        reader.execute("BEGIN; SELECT count(*) FROM sales.orders")
        yield Scene(primary, standby, account, peer)


def _fill(primary: DatabaseServer) -> None:
    primary.execute("CREATE ROLE shopkeeper LOGIN CONNECTION LIMIT 5")
    primary.execute(f"CREATE DATABASE {DATABASE} CONNECTION LIMIT 30")
    primary.execute(f"CREATE DATABASE {TENANT}")
    primary.execute("CREATE DATABASE closed ALLOW_CONNECTIONS false")
    with primary.connect(DATABASE) as shop:
        for statement in _STATEMENTS.split(";\n"):
            if statement.strip():
                shop.execute(statement.encode())
        shop.execute("CREATE EXTENSION pg_stat_statements")
        if primary.version >= (16,):
            shop.execute("CREATE EXTENSION pg_buffercache")
        # Counters of what goes wrong.
        for failing in ("SELECT 1/0", "SELECT * FROM nothing"):
            with contextlib.suppress(psycopg.Error):
                shop.execute(failing.encode())
        shop.execute("SET work_mem = '64kB'")
        shop.execute("SELECT count(*) FROM (SELECT * FROM swept ORDER BY body, id) s")
    primary.execute("CREATE TABLE sales_of_tenant (id int PRIMARY KEY)", TENANT)
    primary.execute("SELECT pg_switch_wal()")
    assert wait_for(lambda: primary.execute("SELECT archived_count FROM pg_stat_archiver")[0][0] > 0, 30)


def _subscribe(primary: DatabaseServer) -> None:
    """Let one database follow another of the same server, through a slot that was made before."""
    where = f"host={primary.socket} port={primary.port}" if primary.socket else "host=127.0.0.1 port=5432"
    with primary.connect(TENANT) as tenant:
        tenant.execute("CREATE SCHEMA sales; CREATE TABLE sales.orders (id int PRIMARY KEY, note text)")
        login = f"dbname={DATABASE} user={primary.admin.user} password={primary.admin.password}"
        tenant.execute(
            f"CREATE SUBSCRIPTION orders CONNECTION '{where} {login}' PUBLICATION orders "
            "WITH (create_slot = false, slot_name = 'to_tenant')".encode()
        )
    ready = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate = 'r'"
    assert wait_for(lambda: primary.execute(ready, TENANT)[0][0] == 1, 60)


def _work(primary: DatabaseServer, stack: contextlib.ExitStack) -> None:
    """Start what locks, waits, runs and is forgotten, and keep it until the end."""

    def session(name: str, database: str = DATABASE) -> Any:
        made = primary.connect(database, application_name=name)
        stack.callback(made.close)
        return made

    def in_background(name: str, *statements: str, database: str = DATABASE) -> None:
        connection = session(name, database)

        def run() -> None:
            # It ends when its session is cancelled.
            with contextlib.suppress(psycopg.Error):
                for statement in statements:
                    connection.execute(statement.encode())

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        stack.callback(thread.join, 10)
        stack.callback(connection.cancel)

    # Two-phase transactions, forgotten.
    with primary.connect(DATABASE) as client:
        client.execute("BEGIN; UPDATE sales.orders SET note = 'p' WHERE id = 600; PREPARE TRANSACTION 'forgotten'")
    # Row locks, one waiting for the other; a table lock in the other database, where no exporter looks at sizes.
    session("idler")
    session("holder").execute("BEGIN; UPDATE sales.orders SET note = 'h' WHERE id = 700")
    session("locker", TENANT).execute("BEGIN; LOCK TABLE sales_of_tenant")
    session("reader").execute("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM sales.orders")
    failed = session("failed")
    with contextlib.suppress(psycopg.Error):
        failed.execute("BEGIN; SELECT 1/0")
    in_background("waiter", "UPDATE sales.orders SET note = 'w' WHERE id = 700")
    in_background("waiter", "SELECT count(*) FROM sales_of_tenant", database=TENANT)
    in_background("sleeper", "SELECT pg_sleep(600)")
    # One vacuum by hand and one of the server's own, both as slow as can be.
    slow = "SET vacuum_cost_delay = 100; SET vacuum_cost_limit = 1"
    in_background("vacuum", slow, "VACUUM swept_by_hand")
    primary.execute(
        f"ALTER TABLE swept SET (autovacuum_enabled = on, {_SLOWLY}, autovacuum_vacuum_threshold = 1)", DATABASE
    )
    waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'waiter' AND wait_event_type = 'Lock'"
    assert wait_for(lambda: primary.execute(waits)[0][0] == 2, 15)
    # The server vacuums tables of its own, too.
    vacuums = "SELECT count(*) FROM pg_stat_progress_vacuum WHERE relid::regclass::text LIKE 'swept%'"
    assert wait_for(lambda: primary.execute(vacuums, DATABASE)[0][0] == 2, 60)
    primary.execute("ALTER SYSTEM SET autovacuum_naptime = '1h'")
    primary.execute("SELECT pg_reload_conf()")
