"""Which metrics each collector of mysqld_exporter has: here their collectors may be others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from exporter.declare import Collector
from exporter.switching.families import matcher

# From its sources, 0.19.0: by collector, as --collect.NAME has it, the metrics that it gives, as a pattern of the name.
COLLECTORS: Mapping[str, str] = {
    "auto_increment.columns": "mysql_info_schema_auto_increment_column(_max)?",
    "binlog_size": "mysql_binlog_.*",
    "engine_innodb_status": "mysql_engine_innodb_.*",
    "engine_tokudb_status": "mysql_engine_tokudb_.*",
    "global_status": "mysql_(global_status_.*|galera_status_info|galera_evs_.*)",
    "global_variables": "mysql_(global_variables_.*|version_info|galera_variables_info|galera_gcache_.*"
    "|transaction_isolation)",
    "heartbeat": "mysql_heartbeat_(now|stored)_timestamp_seconds",
    "info_schema.clientstats": "mysql_info_schema_client_statistics_.*",
    "info_schema.innodb_cmp": "mysql_info_schema_innodb_cmp_.*",
    "info_schema.innodb_cmpmem": "mysql_info_schema_innodb_cmpmem_.*",
    "info_schema.innodb_metrics": "mysql_info_schema_innodb_metrics_.*",
    "info_schema.innodb_tablespaces": "mysql_info_schema_innodb_tablespace_.*",
    "info_schema.processlist": "mysql_info_schema_processlist_.*",
    "info_schema.query_response_time": "mysql_info_schema_(\\w+_)?query_response_time_.*",
    "info_schema.replica_host": "mysql_info_schema_replica_host_.*",
    "info_schema.rocksdb_perf_context": "mysql_info_schema_rocksdb_.*",
    "info_schema.schemastats": "mysql_info_schema_schema_statistics_.*",
    "info_schema.tables": "mysql_info_schema_table_(version|rows|size)",
    "info_schema.tablestats": "mysql_info_schema_table_statistics_.*",
    "info_schema.userstats": "mysql_info_schema_user_statistics_.*",
    "mysql.user": "mysql_mysql_.*",
    # By name, since there are more of ours by that prefix, from a collector that is off unless it is asked for.
    "perf_schema.eventsstatements": "mysql_perf_schema_events_statements_(total|(seconds|errors|warnings|rows_affected"
    "|rows_sent|rows_examined|lock_time_seconds|cpu_time_seconds|tmp_tables|tmp_disk_tables|sort_merge_passes"
    "|sort_rows|no_index_used)_total|latency(_sum|_count)?)",
    "perf_schema.eventsstatementssum": "mysql_perf_schema_events_statements_sum_.*",
    "perf_schema.eventswaits": "mysql_perf_schema_events_waits_.*",
    "perf_schema.file_events": "mysql_perf_schema_file_events_.*",
    "perf_schema.file_instances": "mysql_perf_schema_file_instances_.*",
    "perf_schema.indexiowaits": "mysql_perf_schema_index_io_waits_.*",
    "perf_schema.memory_events": "mysql_perf_schema_memory_events_.*",
    "perf_schema.replication_applier_status_by_worker": "mysql_perf_schema_(last_applied|applying)_transaction_.*",
    "perf_schema.replication_group_member_stats": "mysql_perf_schema_(conflicts_|transactions_).*",
    "perf_schema.replication_group_members": "mysql_perf_schema_replication_group_member_info",
    "perf_schema.tableiowaits": "mysql_perf_schema_table_io_waits_.*",
    "perf_schema.tablelocks": "mysql_perf_schema_(sql|external)_lock_waits_.*",
    "slave_hosts": "mysql_heartbeat_mysql_slave_hosts_info",
    "slave_status": "mysql_slave_status_.*",
    "sys.user_summary": "mysql_sys_.*",
}


def collected(names: Iterable[str], on: Iterable[Collector]) -> re.Pattern[str] | None:
    """What `collect[]=NAME` leaves on a page; None if no name is that of a collector: like there, everything.

    Like there, what is off has no name: no metric of it is one of the collectors that are `on`.
    """
    shown = [measure.name for collector in on for measure in collector.measures()]
    known = [COLLECTORS[name] for name in names if name in COLLECTORS]
    wanted = [pattern for pattern in known if any(re.fullmatch(pattern, name) for name in shown)]
    return matcher(wanted) if wanted else None
