"""Compressed pages of InnoDB, by their size."""

from exporter.declare import Collector, Query, block, counter, gauge
from exporter.gates import mariadb, mysql

_SERVERS = mysql(8) | mariadb(10, 6)

compression = Collector(
    name="mysql_innodb_cmp",
    about="Pages that InnoDB compressed and uncompressed, and the time it took.",
    engine="mysql",
    every=60,
    when=_SERVERS,
    queries=(Query(_SERVERS, "SELECT * FROM information_schema.INNODB_CMP"),),
    blocks=(
        block(
            counter(
                "mysql_info_schema_innodb_cmp_compress_ops_total",
                "compress_ops",
                help="Times that a page was compressed.",
                drop_in=True,
            ),
            counter(
                "mysql_info_schema_innodb_cmp_compress_ops_ok_total",
                "compress_ops_ok",
                help="Times that a page was compressed and fit.",
                drop_in=True,
            ),
            counter(
                "mysql_info_schema_innodb_cmp_compress_time_seconds_total",
                "compress_time",
                help="Time spent compressing, in whole seconds.",
                drop_in=True,
            ),
            counter(
                "mysql_info_schema_innodb_cmp_uncompress_ops_total",
                "uncompress_ops",
                help="Times that a page was uncompressed.",
                drop_in=True,
            ),
            counter(
                "mysql_info_schema_innodb_cmp_uncompress_time_seconds_total",
                "uncompress_time",
                help="Time spent uncompressing, in whole seconds.",
                drop_in=True,
            ),
            labels=("page_size",),
        ),
    ),
    grants=("PROCESS",),
)

compressed_memory = Collector(
    name="mysql_innodb_cmpmem",
    about="Compressed pages in the buffer pool.",
    engine="mysql",
    every=60,
    when=_SERVERS,
    queries=(
        Query(
            _SERVERS,
            "SELECT PAGE_SIZE AS page_size, BUFFER_POOL_INSTANCE AS buffer_pool, PAGES_USED AS used, "
            "PAGES_FREE AS free, RELOCATION_OPS AS moves, RELOCATION_TIME / 1e6 AS time "
            "FROM information_schema.INNODB_CMPMEM",
        ),
    ),
    blocks=(
        block(
            # Names of counters for what goes up and down.
            gauge("mysql_info_schema_innodb_cmpmem_pages_used_total", "used", help="Blocks in use.", drop_in=True),
            gauge("mysql_info_schema_innodb_cmpmem_pages_free_total", "free", help="Blocks free.", drop_in=True),
            counter(
                "mysql_info_schema_innodb_cmpmem_relocation_ops_total",
                "moves",
                help="Times that a block was moved to another place in memory.",
                drop_in=True,
            ),
            counter(
                "mysql_info_schema_innodb_cmpmem_relocation_time_seconds_total",
                "time",
                help="Time spent moving blocks.",
                drop_in=True,
            ),
            labels=("page_size", "buffer_pool"),
        ),
    ),
    grants=("PROCESS",),
)
