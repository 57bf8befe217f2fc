"""How much of what happens performance_schema sees: what it records, and how full its table of statements is."""

from exporter.collectors.mysql.performance_schema import READABLE
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import mariadb, mysql

_SQL = """
    SELECT NAME AS consumer, ENABLED = 'YES' AS enabled, NULL AS digests, NULL AS room
    FROM performance_schema.setup_consumers
    UNION ALL
    SELECT NULL, NULL, COUNT(*), @@GLOBAL.performance_schema_digests_size
    FROM performance_schema.events_statements_summary_by_digest"""

blindness = Collector(
    name="mysql_performance_schema",
    about="What performance_schema records, and how full its table of statement digests is.",
    engine="mysql",
    every=60,
    core_share=0.001,
    timeout=30,
    when=(mysql(8) | mariadb(10, 6)) & READABLE,
    queries=(Query(mysql(8) | mariadb(10, 6), _SQL),),
    blocks=(
        block(
            gauge(
                "mysql_performance_schema_consumer_enabled",
                "enabled",
                help="1 if performance_schema records for this consumer; what depends on one that is off stays empty.",
            ),
            labels=("consumer",),
            merge="max",
        ),
        block(
            gauge(
                "mysql_performance_schema_digests",
                "digests",
                help="Statement digests that are recorded; full, further ones have no row of their own.",
            ),
            gauge("mysql_performance_schema_digests_max", "room", help="Statement digests that there is room for."),
            merge="max",
        ),
    ),
    grants=("SELECT ON performance_schema.*",),
)
