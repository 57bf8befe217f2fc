"""What went wrong on MySQL or MariaDB, as a reason for metrics and a statement that mends it for people."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass

import pymysql

from exporter.accounts import read_users
from exporter.failure import Failure, Reason
from exporter.own_sessions import CONNECTION_LIMIT

REASONS: dict[int, Reason] = {
    1040: Reason.TOO_MANY_CONNECTIONS,
    1203: Reason.TOO_MANY_CONNECTIONS,  # max_user_connections, for everyone
    1226: Reason.TOO_MANY_CONNECTIONS,  # a limit of the account
    1041: Reason.TOO_MANY_CONNECTIONS,  # no memory for another
    1135: Reason.TOO_MANY_CONNECTIONS,  # no thread for another
    1045: Reason.AUTH,
    1129: Reason.AUTH,  # host blocked after many errors
    1130: Reason.AUTH,  # no account for this host
    1251: Reason.AUTH,
    1524: Reason.AUTH,  # authentication plugin not loaded
    1698: Reason.AUTH,
    1820: Reason.AUTH,  # password expired
    1862: Reason.AUTH,
    2059: Reason.AUTH,
    3118: Reason.AUTH,  # account locked
    4151: Reason.AUTH,  # the same on MariaDB
    1044: Reason.PERMISSION,
    1142: Reason.PERMISSION,
    1143: Reason.PERMISSION,
    1227: Reason.PERMISSION,
    1370: Reason.PERMISSION,
    1205: Reason.LOCK,
    1213: Reason.LOCK,
    1317: Reason.TIMEOUT,
    1969: Reason.TIMEOUT,  # max_statement_time
    3024: Reason.TIMEOUT,  # max_execution_time
    1053: Reason.STARTING,  # or going down
    3032: Reason.STARTING,  # offline_mode
    2026: Reason.TLS,
    3159: Reason.TLS,  # require_secure_transport
    1152: Reason.CONNECT,
    1158: Reason.CONNECT,
    1159: Reason.CONNECT,
    1160: Reason.CONNECT,
    1161: Reason.CONNECT,
    1927: Reason.CONNECT,  # killed
    2002: Reason.CONNECT,
    2003: Reason.CONNECT,
    2006: Reason.CONNECT,
    2013: Reason.CONNECT,
    4031: Reason.CONNECT,  # wait_timeout
}

# What a full server lacks; else it is the account that may have no more.
_SERVER_FULL = {1040: "", 1041: ", since it gets no more memory", 1135: ", since it gets no more threads"}
_PRIVILEGES = re.compile(r"\bthe (.+?) privilege")
_TABLE = re.compile(r"table [`'](?:(?P<schema>[^`']+)`\.`)?(?P<table>[^`']+)[`']")
_USERS = re.compile(r"table ['`](?:mysql`\.`)?user['`]")
_SCHEMA = re.compile(r"to database '([^']+)'")
# Limits by the hour that MySQL calls otherwise in messages than ALTER USER does; MariaDB calls them the same.
_HOURLY = {"max_questions": "MAX_QUERIES_PER_HOUR", "max_updates": "MAX_UPDATES_PER_HOUR"}
_EXCEEDED = re.compile(r"the '(?P<limit>\w+)' resource \(current value: (?P<value>\d+)\)")
_ROUTINE = re.compile(r"routine '([^']+)'")


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose statement failed: the account as GRANT takes it, and the flavor and version of the server."""

    account: str = "the account"
    flavor: str = "mysql"
    version: tuple[int, ...] = ()


def failure(error: BaseException, asker: Asker, sql: str = "") -> Failure:
    """The failure behind an exception of the driver or the system, of the statement `sql` if there was one."""
    original = getattr(error, "original_exception", None)
    if isinstance(error, ssl.SSLError) or isinstance(original, ssl.SSLError):
        return _tls(original if isinstance(original, ssl.SSLError) else error)
    if isinstance(error, pymysql.MySQLError):
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        text = one_line(str(error.args[-1] if error.args else error))
        # The code alone is "unknown command", which is how proxies refuse one.
        if code == 1047 and "WSREP" in text:
            return _not_ready(text)
        reason = REASONS.get(code, Reason.CONNECT if isinstance(error, pymysql.InterfaceError) else Reason.ERROR)
        if sql and code in _SERVER_FULL:
            # Whoever has a session has found room.
            reason = Reason.ERROR
        said = text or "the connection is closed"
        if reason is Reason.TOO_MANY_CONNECTIONS:
            # People must not take a full server for one that is gone.
            full = (
                f"the server is full{_SERVER_FULL[code]}"
                if code in _SERVER_FULL
                else "what the account may have is full"
            )
            said = f"{full}, not down: {said}"
        return Failure(reason, f"{said} (error {code})" if code else said, fix=_fix(code, text, asker, sql))
    # The protocol went wrong: whatever comes next on this connection would be misread.
    return Failure(Reason.ERROR, one_line(f"{type(error).__name__}: {error}"), broken=True)


def one_line(text: str) -> str:
    """A message without line ends and of bounded length."""
    return " ".join(text.split())[:500]


def _not_ready(text: str) -> Failure:
    """A node of a Galera cluster that refuses a statement, and answers others, as to SHOW STATUS, all the same."""
    found = Failure(
        Reason.STARTING,
        f"the node is up, but joins its cluster or is cut off from it: {text} (error 1047)",
        fix="SHOW GLOBAL STATUS LIKE 'wsrep%'; tells which: wsrep_cluster_status is Primary unless it is cut off, and "
        "wsrep_local_state_comment is how far it has joined",
    )
    found.broken = False
    return found


def _tls(error: BaseException) -> Failure:
    if isinstance(error, ssl.SSLCertVerificationError):
        fix = "give tls.ca the certificate of the authority that signed the server's, or fix tls.server_name"
        return Failure(Reason.TLS, one_line(f"the server's certificate was refused: {error.verify_message}"), fix=fix)
    said = getattr(error, "reason", None) or error
    return Failure(Reason.TLS, one_line(f"no TLS with the server: {said}"))


def _fix(code: int, text: str, asker: Asker, sql: str) -> str | None:
    fixes = {
        1045: "give the config the account's password, or set it: ALTER USER ... IDENTIFIED BY '...';",
        1040: "raise max_connections, or find who holds the connections",
        1041: "give the host more memory, or the server less to fill: a smaller innodb_buffer_pool_size",
        1135: "raise the server's limit of threads (TasksMax, ulimit -u), or find who holds the connections",
        1129: "TRUNCATE TABLE performance_schema.host_cache; (MariaDB: FLUSH HOSTS;)",
        3159: "set tls.mode to require or stricter",
    }
    if code in fixes:
        return fixes[code]
    if code == 1226:
        return _room(text, asker)
    grant = _grant(code, text, asker, sql)
    return f"GRANT {grant} TO {asker.account};" if grant else None


def _room(text: str, asker: Asker) -> str:
    found = _EXCEEDED.search(text)
    if found and found["limit"] != "max_user_connections":
        return f"ALTER USER {asker.account} WITH {_HOURLY.get(found['limit'], found['limit'].upper())} 0;"
    if found and int(found["value"]) >= CONNECTION_LIMIT:
        # That suffices an exporter, so something else has taken them.
        return f"give whatever else logs in as {asker.account}, a second exporter for example, an account of its own"
    return f"ALTER USER {asker.account} WITH MAX_USER_CONNECTIONS {CONNECTION_LIMIT};"


def _grant(code: int, text: str, asker: Asker, sql: str) -> str | None:
    if code == 1227 and (found := _PRIVILEGES.search(text)):
        return f"{_least(found[1].split(','), asker)} ON *.*"
    if code in {1142, 1143} and _USERS.search(text):
        return read_users(asker.flavor)
    if code in {1142, 1143} and (found := _TABLE.search(text)):
        # MySQL names no schema, the statement does.
        said = re.search(rf"(?:(\w+)|`([^`]+)`)\.`?{re.escape(found['table'])}\b", sql, re.IGNORECASE)
        schema = found["schema"] or (said and (said[1] or said[2])) or "performance_schema"
        return f"SELECT ON {schema if re.fullmatch(r'[A-Za-z_]+', schema) else f'`{schema}`'}.*"
    if code == 1044 and (found := _SCHEMA.search(text)):
        return f"SELECT ON {found[1]}.*"
    if code == 1370 and (found := _ROUTINE.search(text)):
        return f"EXECUTE ON FUNCTION {found[1]}"
    return None


def _least(privileges: list[str], asker: Asker) -> str:
    """Of the privileges that a server accepts for something the smallest, under its name in that version."""
    names = [name.strip() for name in privileges]
    name = next((name for name in names if name != "SUPER"), names[0])
    return privilege_name(name, asker.flavor, asker.version)


def privilege_name(name: str, flavor: str, version: tuple[int, ...]) -> str:
    """What a flavor and version calls a privilege that MySQL and older MariaDB call REPLICATION CLIENT."""
    name = name.replace("REPLICA MONITOR", "SLAVE MONITOR")
    if name == "REPLICATION CLIENT" and flavor == "mariadb" and version >= (10, 5, 2):
        return "BINLOG MONITOR"
    return name
