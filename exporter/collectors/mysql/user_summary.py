"""What each user did, read from below the view user_summary of the schema sys.

All but connections and hosts is in the view times the number of hosts that the user came from; here it is counted once.
"""

from exporter.collectors.busiest import busiest
from exporter.collectors.mysql.performance_schema import READABLE
from exporter.declare import Collector, Measure, Query, block, counter, gauge
from exporter.gates import mariadb, mysql

# The view joins three views that each group a table to a row for each host of a user, and adds them up over the hosts;
# here each table is added up once. Threads of the server have no user and are background, as in the view.
_SQL = """
    SELECT user, SUM(statements) AS statements, SUM(latency) AS latency, SUM(scans) AS scans, SUM(ios) AS ios,
           SUM(io_time) AS io_time, SUM(current) AS current, SUM(total) AS total, SUM(hosts) AS hosts,
           SUM(memory) AS memory, SUM(allocated) AS allocated
    FROM (
        SELECT COALESCE(USER, 'background') AS user, SUM(COUNT_STAR) AS statements,
               SUM(SUM_TIMER_WAIT) / 1e12 AS latency,
               SUM(SUM_NO_INDEX_USED + SUM_NO_GOOD_INDEX_USED) AS scans, NULL AS ios, NULL AS io_time, NULL AS current,
               NULL AS total, NULL AS hosts, NULL AS memory, NULL AS allocated
        FROM performance_schema.events_statements_summary_by_user_by_event_name GROUP BY 1
        UNION ALL
        SELECT COALESCE(USER, 'background'), NULL, NULL, NULL, SUM(COUNT_STAR), SUM(SUM_TIMER_WAIT) / 1e12, NULL, NULL,
               NULL, NULL, NULL
        FROM performance_schema.events_waits_summary_by_user_by_event_name
        WHERE EVENT_NAME LIKE 'wait/io/file/%' GROUP BY 1
        UNION ALL
        SELECT COALESCE(USER, 'background'), NULL, NULL, NULL, NULL, NULL, SUM(CURRENT_CONNECTIONS),
               SUM(TOTAL_CONNECTIONS), COUNT(DISTINCT HOST), NULL, NULL
        FROM performance_schema.accounts GROUP BY 1
        UNION ALL
        SELECT COALESCE(USER, 'background'), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
               SUM(CURRENT_NUMBER_OF_BYTES_USED), SUM(SUM_NUMBER_OF_BYTES_ALLOC)
        FROM performance_schema.memory_summary_by_user_by_event_name GROUP BY 1
    ) AS parts
    GROUP BY user HAVING SUM(total) IS NOT NULL"""


def _counter(name: str, column: str, about: str) -> Measure:
    return counter(f"mysql_sys_{name}", column, help=about, drop_in=True)


user_summary = Collector(
    name="mysql_user_summary",
    about="Statements, file I/O, connections and memory of each user; the busiest of very many users.",
    engine="mysql",
    every=60,
    timeout=15,
    share=0.05,
    default=False,
    when=(mysql(8) | mariadb(10, 6)) & READABLE,
    queries=(Query(mysql(8) | mariadb(10, 6), _SQL),),
    state=busiest("user", by=("statements",)),
    blocks=(
        block(
            _counter("statements_total", "statements", "Statements."),
            _counter("statement_latency", "latency", "Seconds in statements."),
            _counter("table_scans_total", "scans", "Statements that read a table without a good index."),
            _counter("file_ios_total", "ios", "Operations on files."),
            _counter("file_io_seconds_total", "io_time", "Time in operations on files."),
            gauge("mysql_sys_current_connections", "current", help="Connections open now.", drop_in=True),
            _counter("connections_total", "total", "Connections opened."),
            gauge("mysql_sys_unique_hosts_total", "hosts", help="Hosts the user came from.", drop_in=True),
            gauge("mysql_sys_current_memory_bytes", "memory", help="Memory in use.", drop_in=True),
            _counter("memory_allocated_bytes_total", "allocated", "Memory that was allocated."),
            labels=("user",),
        ),
    ),
    grants=("SELECT ON performance_schema.*",),
)
