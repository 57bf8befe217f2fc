"""SQL that tells the sessions of clients from the server's own threads and from the exporter's sessions."""

from exporter.gates import Gate, granted
from exporter.own_sessions import OUR_USER

# Without it the server shows our own sessions alone, or no statistics of users, and refuses nothing: figures would be
# 0, not absent.
SEES_SESSIONS: Gate = granted("PROCESS", fix="GRANT PROCESS ON *.* TO {account};")

# What takes one of max_connections: clients, replicas that are sent the binary log, and we. The X plugin has threads of
# its own that serve nobody.
CONNECTED_THREADS = (
    "(t.NAME LIKE '%one\\_connection' OR t.NAME LIKE 'thread/mysqlx/%') AND t.PROCESSLIST_ID IS NOT NULL"
)
# An event has its definer's name, and unlike who is just logging in a statement.
CONNECTED_PROCESSES = """
    t.USER NOT IN ('system user', 'event_scheduler')
    AND t.COMMAND NOT IN ('Daemon', 'Slave_IO', 'Slave_SQL', 'Slave_worker')
    AND NOT (t.COMMAND = 'Connect' AND t.INFO IS NOT NULL)"""

# performance_schema takes no lock for this. Replication, events and group replication have threads of other names;
# who sends the binary log to a replica is a connection, told by its command. Ours are those of our account that call
# themselves what this session calls itself; where the server keeps no attributes of sessions, those from our host.
CLIENT_THREADS = f"""
    {CONNECTED_THREADS}
    AND t.PROCESSLIST_COMMAND NOT IN ('Binlog Dump', 'Binlog Dump GTID', 'Daemon')
    AND t.PROCESSLIST_ID <> CONNECTION_ID()
    AND NOT (
        t.PROCESSLIST_USER = {OUR_USER}
        AND (
            EXISTS (
                SELECT 1 FROM performance_schema.session_connect_attrs theirs
                JOIN performance_schema.session_connect_attrs mine ON mine.ATTR_VALUE = theirs.ATTR_VALUE
                WHERE theirs.PROCESSLIST_ID = t.PROCESSLIST_ID AND theirs.ATTR_NAME = 'program_name'
                  AND mine.PROCESSLIST_ID = CONNECTION_ID() AND mine.ATTR_NAME = 'program_name'
            )
            OR t.PROCESSLIST_HOST = SUBSTRING_INDEX(USER(), '@', -1) AND NOT EXISTS (
                SELECT 1 FROM performance_schema.session_connect_attrs mine
                WHERE mine.PROCESSLIST_ID = CONNECTION_ID() AND mine.ATTR_NAME = 'program_name'
            )
        )
    )"""

# Without performance_schema nobody knows programs, so ours are those of our account from our host. HOST ends with a
# port, and may be an IPv6 address.
CLIENT_PROCESSES = f"""
    {CONNECTED_PROCESSES}
    AND t.COMMAND NOT IN ('Binlog Dump', 'Binlog Dump GTID')
    AND t.ID <> CONNECTION_ID()
    AND NOT (
        t.USER = {OUR_USER}
        AND t.HOST IN (
            SUBSTRING_INDEX(USER(), '@', -1),
            CONCAT(SUBSTRING_INDEX(USER(), '@', -1), ':', SUBSTRING_INDEX(t.HOST, ':', -1))
        )
    )"""
