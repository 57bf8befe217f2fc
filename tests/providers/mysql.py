"""A MySQL or MariaDB server as tests see it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pymysql

from tests.providers.base import ADMIN_PASSWORD, Account, DatabaseServer

SETTINGS = {
    "bind_address": "127.0.0.1",
    "max_connections": "40",
    "log_bin": "binlog",
    "sync_binlog": "0",
    # What is committed survives the end of the process, not that of the machine.
    "innodb_flush_log_at_trx_commit": "2",
    "innodb_doublewrite": "0",
    "innodb_buffer_pool_size": "32M",
    "innodb_use_native_aio": "0",
    "lc_time_names": "en_US",
    "default_time_zone": "+00:00",
}
FLAVOR_SETTINGS = {
    "mysql": {
        "gtid_mode": "ON",
        "enforce_gtid_consistency": "ON",
        "performance_schema": "ON",
        "secure_file_priv": "NULL",
        "mysqlx": "OFF",
        # Only from 8.0.30 on.
        "loose_innodb_redo_log_capacity": "32M",
    },
    # MariaDB's own default is to have performance_schema off.
    "mariadb": {"innodb_log_file_size": "32M"},
}
FIRST_STATEMENTS = f"""\
SET SESSION sql_log_bin = 0;
CREATE USER IF NOT EXISTS 'admin'@'%' IDENTIFIED BY '{ADMIN_PASSWORD}';
GRANT ALL ON *.* TO 'admin'@'%' WITH GRANT OPTION;
"""
_USER_COLUMNS = (
    "user, host, max_questions, max_updates, max_connections, max_user_connections, password_expired, super_priv, "
    "file_priv, grant_priv, select_priv, insert_priv, update_priv, delete_priv, drop_priv, alter_priv, "
    "create_user_priv, shutdown_priv"
)
USER_COLUMNS = {
    "mysql": f"{_USER_COLUMNS}, account_locked, password_last_changed, password_lifetime, plugin",
    "mariadb": _USER_COLUMNS,
}
ROLE_TABLES = {"mysql": ("role_edges", "global_grants"), "mariadb": ("roles_mapping",)}
GRANTS = {
    "mysql": "PROCESS, REPLICATION CLIENT, REFERENCES",
    "mariadb": "PROCESS, BINLOG MONITOR, SLAVE MONITOR, REFERENCES",
}


class MySQLServer(DatabaseServer):
    """MySQL 8.0 to 9.7, MariaDB 10.6 to 11.8."""

    @property
    def version(self) -> tuple[int, ...]:
        """``(9, 7, 1)`` or ``(11, 8, 3)``."""
        found = re.match(r"(\d+)\.(\d+)\.(\d+)", str(self.execute("SELECT VERSION()")[0][0]))
        assert found is not None
        return tuple(int(part) for part in found.groups())

    def connect(
        self, database: str | None = None, user: str | None = None, password: str | None = None, **options: Any
    ) -> pymysql.Connection[Any]:
        """Open a PyMySQL connection in autocommit over TCP; the caller closes it."""
        login = self.admin if user is None else Account(user, password or "")
        given: dict[str, Any] = {"connect_timeout": 10, "read_timeout": 60, "write_timeout": 60}
        return pymysql.connect(
            host=self.host,
            port=self.port,
            database=database,
            user=login.user,
            password=login.password,
            autocommit=True,
            **(given | options),
        )

    def execute(
        self, sql: str, database: str | None = None, params: Sequence[Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """Run one statement as the administrator; the rows, if there are any."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())

    def account(self, *grants: str, name: str = "exporter", limit: int = 3) -> Account:
        """Create the account anew that ``check --grants`` prints, and run each of `grants`."""
        made = Account(name, f"{name} secret")
        for statement in (
            f"DROP USER IF EXISTS '{name}'@'%'",
            f"CREATE USER '{name}'@'%' IDENTIFIED BY '{made.password}' WITH MAX_USER_CONNECTIONS {limit}",
            f"GRANT {GRANTS[self.flavor]} ON *.* TO '{name}'@'%'",
            f"GRANT SELECT ON performance_schema.* TO '{name}'@'%'",
            f"GRANT SELECT ({USER_COLUMNS[self.flavor]}) ON mysql.user TO '{name}'@'%'",
            *(f"GRANT SELECT ON mysql.{table} TO '{name}'@'%'" for table in ROLE_TABLES[self.flavor]),
            f"GRANT SELECT ON mysql.innodb_index_stats TO '{name}'@'%'",
            *grants,
        ):
            self.execute(statement)
        self.known_account = made
        return made

    def url(self, account: Account | None = None, database: str | None = None) -> str:
        """``mysql://user:password@127.0.0.1:port/database``."""
        login = account or self.admin
        return f"mysql://{quote(login.user)}:{quote(login.password)}@{self.host}:{self.port}/{quote(database or '')}"

    def caught_up(self) -> bool:
        """Whether the replica has applied all transactions that the primary has written."""
        assert self.primary is not None, "not a replica"
        if self.flavor == "mariadb":
            written = self.primary.execute("SELECT @@global.gtid_binlog_pos")[0][0]
            return bool(self.execute("SELECT MASTER_GTID_WAIT(%s, 0.01)", params=(written,))[0][0] == 0)
        written = self.primary.execute("SELECT @@global.gtid_executed")[0][0]
        return bool(self.execute("SELECT GTID_SUBSET(%s, @@global.gtid_executed)", params=(written,))[0][0])

    def follow(self, primary: DatabaseServer, host: str, port: int) -> None:
        """Make this server a replica of `primary`, which it reaches at host and port."""
        self.primary = primary
        login = {"HOST": f"'{host}'", "PORT": str(port), "USER": f"'{primary.admin.user}'"}
        login["PASSWORD"] = f"'{primary.admin.password}'"
        if self.flavor == "mariadb":
            followed = login | {"USE_GTID": "slave_pos", "SSL_VERIFY_SERVER_CERT": "0", "CONNECT_RETRY": "1"}
            self._change("CHANGE MASTER TO", "MASTER", followed)
            self.execute("START SLAVE")
        elif self.version >= (8, 0, 23):
            self._change("CHANGE REPLICATION SOURCE TO", "SOURCE", login | {"AUTO_POSITION": "1", "CONNECT_RETRY": "1"})
            self.execute("START REPLICA")

    def _change(self, verb: str, prefix: str, options: Mapping[str, str]) -> None:
        words = [f"{prefix}_{key} = {value}" for key, value in options.items()]
        if prefix == "SOURCE":
            words.append("GET_SOURCE_PUBLIC_KEY = 1")
        self.execute(f"{verb} {', '.join(words)}")
