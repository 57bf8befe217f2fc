"""The least-privilege account of the exporter, for each flavor and version."""

from __future__ import annotations

from exporter.facts import Facts
from exporter.own_sessions import CONNECTION_LIMIT
from exporter.subjects.logs.helper import HELPER

_USER_COLUMNS = (
    "user, host, max_questions, max_updates, max_connections, max_user_connections, password_expired, super_priv, "
    "file_priv, grant_priv, select_priv, insert_priv, update_priv, delete_priv, drop_priv, alter_priv, "
    "create_user_priv, shutdown_priv"
)


def read_users(flavor: str) -> str:
    """The privilege on mysql.user that our account has: never the whole table, which holds the hashes of passwords."""
    more = "" if flavor == "mariadb" else ", account_locked, password_last_changed, password_lifetime, plugin"
    return f"SELECT ({_USER_COLUMNS}{more}) ON mysql.user"


def read_roles(flavor: str) -> tuple[str, ...]:
    """The privileges on what lists roles and, on MySQL, privileges that have no column in mysql.user."""
    tables = ("roles_mapping",) if flavor == "mariadb" else ("role_edges", "global_grants")
    return tuple(f"SELECT ON mysql.{table}" for table in tables)


def statements(
    facts: Facts, user: str, password: str, databases: list[str], *, log_over_sql: bool = False
) -> list[str]:
    """The statements that make the account, to be run by an administrator; comments say where.

    Args:
        facts: Of the server it is for.
        user: The account's name.
        password: What stands as its password; a placeholder is fine.
        databases: PostgreSQL databases that our own account can't connect to.
        log_over_sql: It reads the server's log, too.
    """
    if facts.engine == "postgres":
        lines = _postgres(facts, user, password, databases)
        if log_over_sql:
            lines += [
                f"-- The log, and no other file. In database {facts.database or 'postgres'}:",
                HELPER.format(account=_identifier(user)),
            ]
        return lines
    lines = _mysql(facts, user, password)
    if log_over_sql:
        lines += ["-- The slow log.", f"GRANT SELECT ON mysql.slow_log TO {_string(user)}@'%';"]
    return lines


def _postgres(facts: Facts, user: str, password: str, databases: list[str]) -> list[str]:
    role = _identifier(user)
    lines = [
        (
            f"CREATE ROLE {role} LOGIN PASSWORD {_literal(password)} NOSUPERUSER NOCREATEDB NOCREATEROLE "
            f"NOREPLICATION CONNECTION LIMIT {CONNECTION_LIMIT};"
        ),
        f"GRANT pg_monitor TO {role};",
    ]
    if facts.version >= (16,):
        lines += [
            (
                f"-- With reserved_connections = {CONNECTION_LIMIT} in postgresql.conf the exporter gets in when the "
                "server is full:"
            ),
            f"GRANT pg_use_reserved_connections TO {role};",
        ]
    lines += [f"GRANT CONNECT ON DATABASE {_identifier(name)} TO {role};" for name in databases]
    if "pg_stat_statements" not in facts.extensions:
        if facts.preloaded is not None and "pg_stat_statements" not in facts.preloaded:
            lines.append("-- Add pg_stat_statements to shared_preload_libraries in postgresql.conf and restart.")
        lines += [f"-- In database {facts.database or 'postgres'}:", "CREATE EXTENSION pg_stat_statements;"]
    return lines


def _mysql(facts: Facts, user: str, password: str) -> list[str]:
    account = f"{_string(user)}@'%'"
    monitor = ["REPLICATION CLIENT"]
    if facts.flavor == "mariadb":
        # REPLICATION CLIENT became BINLOG MONITOR, and no longer shows replicas from 10.5.9 on.
        monitor = ["BINLOG MONITOR"] if facts.version >= (10, 5, 2) else ["REPLICATION CLIENT"]
        if facts.version >= (10, 5, 9):
            monitor.append("SLAVE MONITOR")
    lines = [
        f"CREATE USER {account} IDENTIFIED BY {_string(password)} WITH MAX_USER_CONNECTIONS {CONNECTION_LIMIT};",
        "-- REFERENCES shows tables and their sizes without giving access to a single row.",
        f"GRANT PROCESS, {', '.join(monitor)}, REFERENCES ON *.* TO {account};",
        f"GRANT SELECT ON performance_schema.* TO {account};",
        "-- The limits of other accounts, and what they may do; not their passwords.",
        *(f"GRANT {what} TO {account};" for what in (read_users(facts.flavor), *read_roles(facts.flavor))),
        "-- The sizes of indexes, and of tables in shared tablespaces.",
        f"GRANT SELECT ON mysql.innodb_index_stats TO {account};",
    ]
    if facts.flavor != "mariadb" and facts.settings.get("log_queries_not_using_indexes") == "ON":
        lines += [
            "-- Keeps the exporter out of the slow log, which has what uses no index.",
            f"GRANT SESSION_VARIABLES_ADMIN ON *.* TO {account};",
        ]
    if facts.settings.get("performance_schema") == "ON":
        lines += [
            "-- Keeps its statements out of the digests until the server restarts; put it into the init_file for good.",
            f"INSERT INTO performance_schema.setup_actors VALUES ('%', {_string(user)}, '%', 'NO', 'NO');",
        ]
    return lines


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _string(text: str) -> str:
    # Doubled quotes hold in every sql_mode; a backslash is an escape unless NO_BACKSLASH_ESCAPES is set.
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
