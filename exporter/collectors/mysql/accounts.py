"""Connections of users whose number of connections is limited, against their limit."""

from __future__ import annotations

from exporter.collectors.mysql.clients import CLIENT_PROCESSES, CLIENT_THREADS
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Query, block
from exporter.gates import Gate, granted, mariadb, mysql, setting

_FIX = "GRANT SELECT (user, host, max_user_connections) ON mysql.user TO {account};"
_ACCOUNTS: Gate = granted("SELECT ON mysql.user", fix=_FIX) | granted("SELECT", fix=_FIX)
_THREADS: Gate = mysql(8) & setting("performance_schema", "ON", fix="performance_schema = ON in my.cnf, and a restart")

# A limit is one account's, and sessions tell their user, so the limits of a user with several accounts are added up;
# an account without one has that of max_user_connections, and if it has none either, its user has none.
_SQL = """
    SELECT u.name AS role, u.most AS most, COALESCE(s.taken, 0) AS taken
    FROM ({users}) u
    LEFT JOIN (SELECT t.{user} AS name, COUNT(*) AS taken FROM {sessions} t WHERE {clients} GROUP BY t.{user}) s
        ON s.name = u.name
    WHERE u.name <> SUBSTRING_INDEX(USER(), '@', 1)"""
_LIMITED = """
    SELECT User AS name,
           SUM(IF(max_user_connections > 0, max_user_connections, @@GLOBAL.max_user_connections)) AS most
    FROM mysql.user WHERE User <> ''
    GROUP BY User
    HAVING MIN(IF(max_user_connections > 0, max_user_connections, @@GLOBAL.max_user_connections)) > 0"""
_GLOBAL = """
    SELECT DISTINCT t.{user} AS name, @@GLOBAL.max_user_connections AS most FROM {sessions} t
    WHERE @@GLOBAL.max_user_connections > 0 AND {clients}"""


def _threads(users: str) -> str:
    return _filled(users, "PROCESSLIST_USER", "performance_schema.threads", CLIENT_THREADS)


def _processes(users: str) -> str:
    return _filled(users, "USER", "information_schema.PROCESSLIST", CLIENT_PROCESSES)


def _filled(users: str, user: str, sessions: str, clients: str) -> str:
    text = _SQL.replace("{users}", users)
    return text.replace("{user}", user).replace("{sessions}", sessions).replace("{clients}", clients)


accounts = Collector(
    name="mysql_accounts",
    about="Connections of users that may have only so many, and how many they may have.",
    engine="mysql",
    when=mysql(8) | mariadb(10, 6),
    queries=(
        Query(_THREADS & _ACCOUNTS, _threads(_LIMITED)),
        Query((mysql(8) | mariadb(10, 6)) & _ACCOUNTS, _processes(_LIMITED)),
        # To an account that may not see the others' limits, the one for all is left.
        Query(_THREADS, _threads(_GLOBAL)),
        Query(mysql(8) | mariadb(10, 6), _processes(_GLOBAL)),
    ),
    blocks=(
        block(
            shared("db_role_connections", "taken"),
            shared("db_role_connections_max", "most"),
            labels=("role",),
        ),
    ),
    grants=("PROCESS",),
)
