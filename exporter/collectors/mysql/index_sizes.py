"""The largest indexes and their size, from the statistics that InnoDB keeps of them."""

from exporter.collectors.mysql.index_findings import SIZES_MARIADB, SIZES_MYSQL
from exporter.collectors.mysql.needless_indexes import LARGEST, largest
from exporter.collectors.mysql.schema_sizes import SEES_TABLES
from exporter.collectors.mysql.schemas import INTERNAL
from exporter.collectors.mysql.shared_tables import STATISTICS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import INNODB, granted, mariadb, mysql

# Here they are all there is, so what is wanting is told.
_SEES_SIZES = granted(STATISTICS, fix=f"GRANT {STATISTICS} TO {{account}};") & granted(
    "PROCESS", fix="GRANT PROCESS ON *.* TO {account};"
)
_OTHERS = f"SELECT * FROM ({{sizes}}) AS sizes WHERE `schema` NOT IN ({INTERNAL})"

index_sizes = Collector(
    name="mysql_index_sizes",
    about=f"Sizes of the {LARGEST} largest indexes of InnoDB, from mysql.innodb_index_stats.",
    engine="mysql",
    every=900,
    timeout=60,
    # To know which are compressed the server reads the definition of each table.
    tables=10_000,
    default=False,
    when=(mysql(8) | mariadb(10, 6)) & INNODB & SEES_TABLES & _SEES_SIZES,
    queries=(
        Query(mysql(8), _OTHERS.format(sizes=SIZES_MYSQL)),
        Query(mariadb(10, 6), _OTHERS.format(sizes=SIZES_MARIADB)),
    ),
    rows=largest,
    blocks=(
        block(
            gauge(
                "mysql_index_size_bytes",
                "bytes",
                help="Size of the index in all partitions, as of the last time that the server took statistics of its "
                "table; PRIMARY and GEN_CLUST_INDEX have the rows themselves.",
            ),
            labels=("schema", "table", "index"),
        ),
    ),
    grants=("PROCESS", "REFERENCES", STATISTICS),
)
