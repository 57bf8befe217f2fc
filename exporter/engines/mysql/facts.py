"""Who answers at the address of a MySQL or MariaDB server, and what is true of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import MappingProxyType
from typing import TYPE_CHECKING

from exporter.facts import Facts, Identity, Role
from exporter.failure import Failure, Reason

if TYPE_CHECKING:
    from exporter.engines.deadline import Deadline
    from exporter.engines.mysql.session import MySQLSession

SETTINGS = (
    "performance_schema",
    "log_queries_not_using_indexes",
    "log_bin",
    "gtid_mode",
    "relay_log_purge",
    "userstat",
    "wsrep_provider",
    "query_response_time_stats",
    "innodb_page_size",
)

# Not a setting, but asked for like one: whether performance_schema counts transactions.
_INSTRUMENT = "SELECT ENABLED FROM performance_schema.setup_instruments WHERE NAME = 'transaction'"
# Threads for which performance_schema had no room: it lists none of them.
_LOST = "SHOW GLOBAL STATUS LIKE 'Performance_schema_thread_instances_lost'"
# The same of MariaDB 11.5's plugin: whether it tells reads and writes apart. An upgraded server has the parts of it
# that were installed before.
_SPLIT = """
SELECT COUNT(*) FROM information_schema.PLUGINS
WHERE PLUGIN_NAME IN ('QUERY_RESPONSE_TIME_READ', 'QUERY_RESPONSE_TIME_WRITE') AND PLUGIN_STATUS = 'ACTIVE'
"""

# Beyond this it makes no difference.
_COUNTED = 20_000
# Tables of every engine and in every file, and partitions, since looking at each costs the server the same; views are
# among them. MySQL has it all in its dictionary. MariaDB reads directories for names, and would open each table for
# more; of partitions InnoDB alone knows without that.
_DICTIONARY = "SELECT 1 FROM information_schema.PARTITIONS"
_NAMES = """
SELECT TABLE_NAME FROM information_schema.TABLES
UNION ALL
SELECT NAME FROM information_schema.INNODB_SYS_TABLES WHERE NAME LIKE '%#p#%'
"""
# Without either the server leaves out tables instead of refusing.
_SEES_TABLES = frozenset(("REFERENCES", "SELECT"))

# A server's uptime is its clock less the time it started at, so it moves when that clock is set, and the difference of
# the two does not. A clock from before the start makes the uptime negative, which is shown unsigned.
_START = "UNIX_TIMESTAMP() - CAST(VARIABLE_VALUE AS SIGNED)"
# Configured channels, not those of group replication, which every member has; there the member's own role counts. One
# that failed has none, and one that joins a group where all take writes is called a primary: neither takes writes.
_MYSQL = f"""
SELECT @@server_uuid, {_START}, {{role}}, NULL
FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Uptime'
"""
_MYSQL_ROLE = """
EXISTS (SELECT 1 FROM performance_schema.replication_connection_configuration
        WHERE CHANNEL_NAME NOT LIKE 'group\\_replication\\_%')
OR EXISTS (SELECT 1 FROM performance_schema.replication_group_members
           WHERE MEMBER_ID = @@server_uuid AND (MEMBER_ROLE = 'SECONDARY' OR MEMBER_STATE IN ('ERROR', 'RECOVERING')))
"""
_MARIADB = f"""
SELECT CONCAT_WS(' ', @@hostname, @@port, @@datadir), {_START}, {{role}}, @@global.server_id
FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'UPTIME'
"""
# Where a thread of replication runs, MariaDB is a replica, and nobody has to wait for what the thread holds: on a full
# disk SHOW ALL SLAVES STATUS does, and with it whoever asks the server for its status.
_FOLLOWS = "SELECT 1 FROM information_schema.PROCESSLIST WHERE USER = 'system user' AND COMMAND LIKE 'Slave%' LIMIT 1"


def identify(session: MySQLSession, deadline: Deadline) -> Identity:
    """Ask who answers.

    A server is a replica if a channel (MariaDB: connection) is configured on it, running or not, or if it is a
    secondary of a replication group, or a member that still joins one or has failed. To an account that may not see
    channels, a read-only server is a replica. MariaDB has no identifier of its data, so its host name, port and data
    directory stand in: they tell the machines behind one name apart, and survive a restart. So does its server id for
    containers that are alike in all of that, down to the second they were started in; it is set while a server runs,
    so it counts over new sessions only.
    """
    session.identity = _identity(session, deadline)
    return session.identity


def leads_to(session: MySQLSession, known: Identity, deadline: Deadline) -> bool:
    """Whether a session leads to the server process that is known, whatever its role is now."""
    return _ask(session, "0", deadline).same_process(known)


def _identity(session: MySQLSession, deadline: Deadline) -> Identity:
    if not session.role_denied:
        try:
            return _with_channels(session, deadline)
        except Failure as refused:
            if refused.reason is not Reason.PERMISSION:
                raise
            session.role_denied = True
    return _ask(session, "@@global.read_only", deadline)


def _with_channels(session: MySQLSession, deadline: Deadline) -> Identity:
    if session.flavor != "mariadb":
        return _ask(session, _MYSQL_ROLE, deadline)
    follows = session.run(_FOLLOWS, deadline).rows or session.run("SHOW ALL SLAVES STATUS", deadline).rows
    return _ask(session, "1" if follows else "0", deadline)


def _ask(session: MySQLSession, role: str, deadline: Deadline) -> Identity:
    text = _MARIADB if session.flavor == "mariadb" else _MYSQL
    [(system, start, follows, number)] = session.run(text.replace("{role}", role), deadline).rows
    return Identity(str(system), float(start), Role.REPLICA if follows else Role.PRIMARY, number)


def learn(session: MySQLSession, identity: Identity, deadline: Deadline) -> Facts:
    """Learn the privileges of our account and the settings that gates ask about."""
    wanted = ", ".join(f"'{name}'" for name in SETTINGS)
    shown = session.run(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({wanted})", deadline)
    settings = {str(name): str(value) for name, value in shown.rows}
    [(limit,)] = session.run("SELECT @@SESSION.max_user_connections", deadline).rows
    settings["connections_of_account"] = str(limit)
    if "innodb_page_size" not in settings:
        settings["innodb"] = "OFF"
    grants = privileges(row[0] for row in session.run("SHOW GRANTS", deadline).rows)
    if settings.get("performance_schema") == "ON" and "SELECT ON performance_schema.*" in grants:
        try:
            for (enabled,) in session.run(_INSTRUMENT, deadline).rows:
                settings["transaction_instrument"] = str(enabled)
            for _, lost in session.run(_LOST, deadline).rows:
                settings["performance_schema_thread_instances_lost"] = str(lost)
        except Failure as refused:
            if refused.reason is not Reason.PERMISSION:
                raise
    if "query_response_time_stats" in settings:
        [(parts,)] = session.run(_SPLIT, deadline).rows
        settings["query_response_time_split"] = "ON" if parts == 2 else "OFF"
    return Facts(
        engine="mysql",
        flavor=session.flavor,
        version=session.version,
        version_text=session.version_text,
        identity=identity,
        grants=grants,
        settings=MappingProxyType(settings),
        tables=_tables(session, deadline) if "PROCESS" in grants and grants & _SEES_TABLES else None,
        account=session.account,
    )


def _tables(session: MySQLSession, deadline: Deadline) -> int | None:
    source = _NAMES if session.flavor == "mariadb" else _DICTIONARY
    try:
        [(count,)] = session.run(f"SELECT COUNT(*) FROM ({source} LIMIT {_COUNTED}) AS found", deadline).rows
    except Failure as failure:
        # A session goes on with the privileges that it began with, whatever was granted meanwhile; a cold server may
        # take too long. The rest of what is known is not to go with it.
        if not failure.broken:
            return None
        raise
    return int(count)


_GRANT = re.compile(r"(?P<verb>GRANT|REVOKE) (?P<what>.+?) ON (?P<where>.+?) (?:TO|FROM) ", re.DOTALL)
_COLUMNS = re.compile(r"\s*\([^)]*\)")
# What ALL PRIVILEGES on everything includes, as far as collectors ask for it.
_ALL = (
    "PROCESS",
    "REPLICATION CLIENT",
    "BINLOG MONITOR",
    "SLAVE MONITOR",
    "REFERENCES",
    "REPLICATION MASTER ADMIN",
    "REPLICATION SLAVE",
    "SELECT",
    "RELOAD",
    "SUPER",
)


# What collectors ask for by name though it may have been granted on a larger whole.
_PARTS = (
    "SELECT ON performance_schema.*",
    *(
        f"SELECT ON mysql.{table}"
        for table in ("user", "role_edges", "global_grants", "roles_mapping", "global_priv", "innodb_index_stats")
    ),
)


def privileges(grants: Iterable[str]) -> frozenset[str]:
    """Privileges from the rows of SHOW GRANTS, those of active roles among them.

    Global ones stand alone (`PROCESS`), others with their place, without quotes (`SELECT ON performance_schema.*`).
    What is granted on a whole is also granted on those of its parts that collectors ask for by name, unless it was
    revoked there (`partial_revokes` of MySQL).
    """
    found: set[str] = set()
    revoked: set[str] = set()
    for line in grants:
        match = _GRANT.match(line)
        if match is None:
            continue  # GRANT role TO user, SET DEFAULT ROLE: a role's own lines follow
        # A name in a grant is a pattern, in which careful people escape the underscore.
        where = match["where"].replace("`", "").replace("\\_", "_").removeprefix("TABLE ")
        names = [name.strip() for name in _COLUMNS.sub("", match["what"]).split(",")]
        if "ALL PRIVILEGES" in names:
            names = [*names, *(_ALL if where == "*.*" else ("SELECT", "REFERENCES"))]
        for name in names:
            canonical = {"REPLICA MONITOR": "SLAVE MONITOR"}.get(name, name)
            said = canonical if where == "*.*" else f"{canonical} ON {where}"
            (found if match["verb"] == "GRANT" else revoked).add(said)
    for part in _PARTS:
        schema = part.rpartition(".")[0] + ".*"
        if schema in found or ("SELECT" in found and schema not in revoked):
            found.add(part)
    return frozenset(found)
