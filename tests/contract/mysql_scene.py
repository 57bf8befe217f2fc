"""MySQL and MariaDB servers on which mysqld_exporter's collectors have something to show, and little of it moves."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pymysql

from tests.providers.base import Account, DatabaseServer, wait_for
from tests.providers.fleet import Fleet

DATABASE = "shop"
SETTINGS = {
    "max_connections": "60",
    # Nothing is to run by itself while numbers are compared.
    "innodb_stats_auto_recalc": "OFF",
    "event_scheduler": "OFF",
    "innodb_lock_wait_timeout": "3600",
    "lock_wait_timeout": "3600",
}
FLAVOR_SETTINGS = {
    "mysql": {
        "innodb_monitor_enable": "all",
        "performance_schema_instrument": "memory/%=ON",
        "innodb_idle_flush_pct": "0",
        # Theirs would show sizes as they were when somebody looked first.
        "information_schema_stats_expiry": "0",
    },
    "mariadb": {"performance_schema": "ON", "userstat": "1"},
}
_STATEMENTS = """
    CREATE TABLE shop.orders (id int PRIMARY KEY AUTO_INCREMENT, note varchar(100), KEY (note));
    INSERT INTO shop.orders (note) VALUES ('a'), ('b'), ('c'), ('d');
    UPDATE shop.orders SET note = 'e' WHERE id = 1;
    CREATE TABLE shop.small (id tinyint unsigned PRIMARY KEY AUTO_INCREMENT, body text) ROW_FORMAT=COMPRESSED;
    INSERT INTO shop.small (body) VALUES ('x'), ('y');
    CREATE TABLE shop.`odd "name"` (id int PRIMARY KEY);
    CREATE VIEW shop.seen AS SELECT id FROM shop.orders;
    CREATE TABLE heartbeat.heartbeat (ts varchar(26) NOT NULL, server_id int unsigned NOT NULL PRIMARY KEY);
    INSERT INTO heartbeat.heartbeat VALUES ('2026-01-02T03:04:05.678900', 1);
"""


@dataclass
class Scene:
    """What was made.

    Attributes:
        servers: By role. MySQL: source, second, stopped (a replica of the source whose applier is stopped), both (a
            replica with a channel to each source). MariaDB: source, named (a replica with a named connection, and
            another one that does not run, without performance_schema, as it is by default).
        account: Of ours, on all.
        peer: Of the existing exporter, on all.
    """

    servers: Mapping[str, DatabaseServer]
    account: Account
    peer: Account


@contextlib.contextmanager
def scene(fleet: Fleet, name: str) -> Iterator[Scene]:
    """Make servers of `name` for this alone, and remove them in the end."""
    with contextlib.ExitStack() as stack:
        made: dict[str, DatabaseServer] = {}

        def create(role: str, **settings: str) -> DatabaseServer:
            flavor = FLAVOR_SETTINGS[name.partition("-")[0]]
            made[role] = fleet.provider.create(name, SETTINGS | flavor | settings)
            stack.callback(made[role].remove)
            return made[role]

        source = create("source")
        account, peer = _fill(source)
        if source.flavor == "mysql":
            _accounts(create("second"))
            made["second"].execute("CREATE DATABASE second_shop")
            stopped = create("stopped", read_only="ON")
            both = create("both", read_only="ON")
            _follow(stopped, source, "")
            _follow(both, source, "one")
            _follow(both, made["second"], "two")
        else:
            named = create("named", read_only="ON", performance_schema="OFF", userstat="0")
            _follow(named, source, "from_source")
            # As before GTIDs, and as in a ring. It never runs.
            places = "MASTER_HOST = '127.0.0.9', MASTER_USE_GTID = no, IGNORE_SERVER_IDS = (77)"
            named.execute(f"CHANGE MASTER 'by_position' TO {places}")
        _work(source, stack)
        for role, server in made.items():
            if role not in ("source", "second"):
                server.primary = source
                server.wait_until_caught_up()
                server.primary = None
        if source.flavor == "mysql":
            made["stopped"].execute("STOP REPLICA SQL_THREAD")
            source.execute("INSERT INTO shop.orders (note) VALUES ('never applied')")
        yield Scene(made, account, peer)


def _accounts(server: DatabaseServer) -> tuple[Account, Account]:
    everything = ["GRANT SELECT, PROCESS, REPLICATION CLIENT, REPLICATION SLAVE, EXECUTE ON *.* TO 'peer'@'%'"]
    if server.flavor == "mariadb":
        everything.append("GRANT SLAVE MONITOR, BINLOG MONITOR ON *.* TO 'peer'@'%'")
    # What theirs documents for all of its collectors, some of ours need too.
    replicas = "REPLICATION MASTER ADMIN" if server.flavor == "mariadb" else "REPLICATION SLAVE"
    ours = server.account(f"GRANT SELECT, {replicas} ON *.* TO 'exporter'@'%'")
    return ours, server.account(*everything, name="peer", limit=10)


def _fill(source: DatabaseServer) -> tuple[Account, Account]:
    accounts = _accounts(source)
    source.execute("CREATE USER 'shopkeeper'@'%' IDENTIFIED BY 'shop' WITH MAX_USER_CONNECTIONS 5")
    source.execute("GRANT ALL ON shop.* TO 'shopkeeper'@'%'")
    for database in (DATABASE, "heartbeat", "bare"):
        source.execute(f"CREATE DATABASE {database}")
    for statement in _STATEMENTS.split(";\n"):
        if statement.strip():
            source.execute(statement, DATABASE)
    # One user from two hosts.
    for host in ("127.0.0.1", "127.0.0.2"):
        with source.connect(DATABASE, "shopkeeper", "shop", bind_address=host) as connection:
            connection.query("SELECT COUNT(*) FROM orders WHERE note LIKE '%a'")
    source.execute("SELECT COUNT(*) FROM shop.orders")
    with contextlib.suppress(pymysql.Error):
        source.execute("SELECT * FROM nothing", DATABASE)
    source.execute("FLUSH BINARY LOGS")
    return accounts


def _follow(replica: DatabaseServer, source: DatabaseServer, channel: str) -> None:
    """Let a server follow another in a channel or connection of this name."""
    login = {"HOST": f"'{source.host}'", "PORT": source.port, "USER": f"'{source.admin.user}'",
             "PASSWORD": f"'{source.admin.password}'", "CONNECT_RETRY": 1}  # fmt: skip
    if replica.flavor == "mariadb":
        options = login | {"USE_GTID": "slave_pos", "SSL_VERIFY_SERVER_CERT": 0}
        words = ", ".join(f"MASTER_{key} = {value}" for key, value in options.items())
        replica.execute(f"CHANGE MASTER '{channel}' TO {words}")
        replica.execute(f"START SLAVE '{channel}'")
    else:
        words = ", ".join(f"SOURCE_{key} = {value}" for key, value in (login | {"AUTO_POSITION": 1}).items())
        replica.execute(f"CHANGE REPLICATION SOURCE TO {words}, GET_SOURCE_PUBLIC_KEY = 1 FOR CHANNEL '{channel}'")
        replica.execute(f"START REPLICA FOR CHANNEL '{channel}'")


def _work(source: DatabaseServer, stack: contextlib.ExitStack) -> None:
    """Start what locks, waits and is forgotten, and keep it until the end."""

    def session() -> Any:
        # What waits and sleeps does so as long as the scene.
        made = source.connect(DATABASE, read_timeout=None)
        stack.callback(made.close)
        return made

    def in_background(statement: str) -> None:
        connection = session()

        def run() -> None:
            # It ends when its session is killed.
            with contextlib.suppress(pymysql.Error):
                connection.query(statement)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        stack.callback(thread.join, 10)
        stack.callback(_kill, source, connection.thread_id())

    session()
    holder = session()
    holder.query("BEGIN")
    holder.query("UPDATE orders SET note = 'h' WHERE id = 2")
    locker = session()
    locker.query("LOCK TABLES small WRITE")
    in_background("UPDATE orders SET note = 'w' WHERE id = 2")
    in_background("SELECT COUNT(*) FROM small")
    in_background("SELECT SLEEP(3600)")
    waits = (
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'UPDATE orders%'"
        " OR state = 'Waiting for table metadata lock'"
    )
    assert wait_for(lambda: source.execute(waits)[0][0] == 2, 15)


def _kill(server: DatabaseServer, number: int) -> None:
    with contextlib.suppress(pymysql.Error):
        server.execute(f"KILL {number}")
