"""Sessions and threads by user, by host, by database, and by what they are doing."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from exporter.collectors.mysql.clients import SEES_SESSIONS
from exporter.collectors.mysql.performance_schema import ALL_THREADS
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.gates import mariadb, mysql

# The port ends a host's text, and IPv6 addresses have colons of their own. Names of users and of
# databases may differ by case alone, which this list takes for the same.
SQL = """
    SELECT user, COALESCE(IF(host LIKE '%:%', LEFT(host, CHAR_LENGTH(host) - LOCATE(':', REVERSE(host))), host), '')
               AS client, COALESCE(command, '') AS command, COALESCE(state, '') AS state, COALESCE(db, '') AS db,
           COUNT(*) AS processes, SUM(time) AS seconds
    FROM {}
    -- performance_schema lists threads of the server among them that nobody started.
    WHERE ID <> CONNECTION_ID() AND NOT (user = 'system user' AND command = 'Daemon')
    GROUP BY 1, 2, 3, 4, 5, CAST(user AS BINARY), CAST(db AS BINARY)"""
# Appliers work in the database of what they apply, and are nobody's sessions.
_THREADS = frozenset({"system user", "event_scheduler"})
_DROPPED = re.compile(r"[;,:.()]")


def word(text: str) -> str:
    """A command or state as a label, as mysqld_exporter writes them: `Sending data` is `sending_data`."""
    return _DROPPED.sub("", (text or "unknown").lower()).replace(" ", "_").replace("-", "_")


def summed(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """A row for each user, host, database, and command and state; those with most sessions first."""
    users: Counter[str] = Counter()
    hosts: Counter[str] = Counter()
    databases: Counter[str] = Counter()
    doing: Counter[tuple[str, str]] = Counter()
    seconds: Counter[tuple[str, str]] = Counter()
    for row in rows.dicts():
        what = (word(row["command"]), word(row["state"]))
        users[row["user"] or ""] += row["processes"]
        hosts[row["client"] or "unknown"] += row["processes"]
        if row["user"] not in _THREADS:
            databases[row["db"]] += row["processes"]
        doing[what] += row["processes"]
        seconds[what] += max(row["seconds"] or 0, 0)
    found: list[dict[str, Any]] = [{"user": user, "by_user": count} for user, count in users.most_common()]
    found += [{"client": client, "by_host": count} for client, count in hosts.most_common()]
    found += [{"database": name, "by_database": count} for name, count in databases.most_common()]
    found += [
        {"command": what[0], "state": what[1], "threads": count, "seconds": seconds[what]}
        for what, count in doing.most_common()
    ]
    columns = "user by_user client by_host database by_database command state threads seconds"
    return Rows.of(tuple(columns.split()), found)


processes = Collector(
    name="mysql_processes",
    about="Sessions and threads by user, by host, by database, and by command and state.",
    engine="mysql",
    share=0.05,
    when=(mysql(8) | mariadb(10, 6)) & SEES_SESSIONS,
    queries=(
        # Unlike the list in information_schema this one takes no lock that new connections wait for.
        Query(mysql(8, 0, 22) & ALL_THREADS, SQL.format("performance_schema.processlist")),
        Query(mysql(8) | mariadb(10, 6), SQL.format("information_schema.PROCESSLIST")),
    ),
    rows=summed,
    blocks=(
        block(
            gauge("mysql_info_schema_processlist_processes_by_user", "by_user", help="Sessions by user.", drop_in=True),
            labels={"mysql_user": "user"},
            merge="max",
        ),
        block(
            gauge("mysql_info_schema_processlist_processes_by_host", "by_host", help="Sessions by host.", drop_in=True),
            labels={"client_host": "client"},
            merge="max",
        ),
        block(
            gauge(
                "mysql_connections_by_database",
                "by_database",
                help="Sessions by the database that they work in, idle ones too; empty where they have chosen none. "
                "Appliers and the event scheduler are none.",
            ),
            labels=("database",),
            merge="max",
        ),
        block(
            gauge(
                "mysql_info_schema_processlist_threads",
                "threads",
                help="Sessions and threads by command and state.",
                drop_in=True,
            ),
            gauge(
                "mysql_info_schema_processlist_seconds",
                "seconds",
                help="How long the sessions and threads of a command and state have been in it, together.",
                drop_in=True,
            ),
            labels=("command", "state"),
            merge="max",
        ),
    ),
    grants=("PROCESS", "SELECT ON performance_schema.*"),
)
