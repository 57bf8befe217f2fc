"""Connections of users whose number of connections is limited, against their limit."""

from __future__ import annotations

from exporter.collectors.mysql.account_limits import ACCOUNTS
from exporter.collectors.mysql.clients import CONNECTED_PROCESSES, CONNECTED_THREADS, SEES_SESSIONS
from exporter.collectors.mysql.performance_schema import ALL_THREADS
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Query, block
from exporter.gates import mariadb, mysql
from exporter.own_sessions import OUR_USER

# A limit is one account's, and sessions tell their user, so the limits of a user with several accounts are added up;
# an account without one has that of max_user_connections, and if it has none either, its user has none. Names differ
# by case and accents, which lists of sessions take for the same. Connections of replicas take up the limit, too.
# Columns of mysql.user are written as in the grants: through a role MySQL compares them by case.
_SQL = """
    SELECT u.name AS role, u.most AS most, COALESCE(s.taken, 0) AS taken
    FROM (
        SELECT user AS name,
               SUM(IF(max_user_connections > 0, max_user_connections, @@GLOBAL.max_user_connections)) AS most
        FROM mysql.user WHERE user <> ''
        GROUP BY user
        HAVING MIN(IF(max_user_connections > 0, max_user_connections, @@GLOBAL.max_user_connections)) > 0
    ) u
    LEFT JOIN (
        SELECT CAST(t.{user} AS BINARY) AS name, COUNT(*) AS taken FROM {sessions} t WHERE {connected} GROUP BY 1
    ) s ON s.name = CAST(u.name AS BINARY)
    WHERE u.name <> {us}"""


def _filled(user: str, sessions: str, connected: str) -> str:
    return _SQL.format(user=user, sessions=sessions, connected=connected, us=OUR_USER)


accounts = Collector(
    name="mysql_accounts",
    about="Connections of users that may have only so many, and how many they may have.",
    engine="mysql",
    # Without the others' limits there would be no row, as where nobody has one.
    when=ACCOUNTS,
    queries=(
        Query(mysql(8) & ALL_THREADS, _filled("PROCESSLIST_USER", "performance_schema.threads", CONNECTED_THREADS)),
        Query(
            (mysql(8) | mariadb(10, 6)) & SEES_SESSIONS,
            _filled("USER", "information_schema.PROCESSLIST", CONNECTED_PROCESSES),
        ),
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
