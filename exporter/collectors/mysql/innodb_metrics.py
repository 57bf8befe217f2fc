"""Deadlocks on MySQL, which has no status counter for them."""

from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Query, block, counter
from exporter.gates import mysql

deadlocks = Collector(
    name="mysql_deadlocks",
    about="Deadlocks, as InnoDB counts them.",
    engine="mysql",
    when=mysql(8),
    queries=(
        Query(
            mysql(8),
            "SELECT COUNT AS deadlocks FROM information_schema.INNODB_METRICS "
            "WHERE NAME = 'lock_deadlocks' AND STATUS = 'enabled'",
        ),
    ),
    blocks=(
        block(
            counter(
                "mysql_info_schema_innodb_metrics_lock_lock_deadlocks_total",
                "deadlocks",
                help="Deadlocks.",
                drop_in=True,
            ),
            shared("db_deadlocks_total", "deadlocks"),
        ),
    ),
    grants=("PROCESS",),
)
