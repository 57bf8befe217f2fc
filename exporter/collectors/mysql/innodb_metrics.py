"""Deadlocks and old versions of rows on MySQL, which has no status counters for them."""

from exporter.collectors.mysql.history import history_list
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Query, block, counter
from exporter.gates import mysql

deadlocks = Collector(
    name="mysql_deadlocks",
    about="Deadlocks, and old versions of rows that InnoDB keeps.",
    engine="mysql",
    when=mysql(8),
    queries=(
        Query(
            mysql(8),
            "SELECT NAME, COUNT FROM information_schema.INNODB_METRICS "
            "WHERE NAME IN ('lock_deadlocks', 'trx_rseg_history_len') AND STATUS = 'enabled'",
            pivot=True,
        ),
    ),
    blocks=(
        block(
            counter(
                "mysql_info_schema_innodb_metrics_lock_lock_deadlocks_total",
                "lock_deadlocks",
                help="Deadlocks.",
                drop_in=True,
            ),
            shared("db_deadlocks_total", "lock_deadlocks"),
            history_list("trx_rseg_history_len", mysql(8)),
        ),
    ),
    grants=("PROCESS",),
)
