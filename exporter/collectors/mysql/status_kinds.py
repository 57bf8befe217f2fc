"""Which status variables count and which go up and down; the server doesn't say, and the manuals do."""

from __future__ import annotations

import re

from exporter.declare import Kind

_NAMES = """
    acl_cache_items_count acl_column_grants acl_database_grants acl_function_grants acl_package_body_grants
    acl_package_spec_grants acl_procedure_grants acl_proxy_users acl_role_grants acl_roles acl_table_grants acl_users
    aria_pagecache_blocks_not_flushed aria_pagecache_blocks_unused aria_pagecache_blocks_used binlog_disk_use
    binlog_snapshot_position compression delayed_insert_threads error_log_buffered_bytes
    error_log_buffered_events error_log_latest_write global_connection_memory gr_flow_control_throttle_active_count
    innodb_async_reads_pending innodb_async_reads_queue_size innodb_async_reads_tasks_running
    innodb_async_writes_pending
    innodb_async_writes_queue_size innodb_async_writes_tasks_running innodb_available_undo_logs
    innodb_buffer_pool_load_incomplete innodb_buffer_pool_resize_status_code innodb_buffer_pool_resize_status_progress
    innodb_checkpoint_age innodb_checkpoint_max_age innodb_data_pending_fsyncs innodb_data_pending_reads
    innodb_data_pending_writes innodb_encryption_rotation_estimated_iops innodb_history_list_length
    innodb_ibuf_free_list innodb_ibuf_segment_size innodb_ibuf_size innodb_mem_adaptive_hash innodb_mem_dictionary
    innodb_num_open_files innodb_onlineddl_pct_progress innodb_onlineddl_rowlog_pct_used innodb_onlineddl_rowlog_rows
    innodb_os_log_pending_fsyncs innodb_os_log_pending_writes innodb_page_size innodb_redo_log_capacity_resized
    innodb_redo_log_enabled innodb_redo_log_read_only innodb_redo_log_uuid innodb_row_lock_time_avg
    innodb_row_lock_time_max innodb_truncated_status_writes innodb_undo_tablespaces_active
    innodb_undo_tablespaces_explicit innodb_undo_tablespaces_implicit innodb_undo_tablespaces_total
    key_blocks_not_flushed key_blocks_unused key_blocks_used key_blocks_warm last_query_cost locked_connects
    max_tmp_space_used max_used_connections_time memory_used memory_used_initial not_flushed_delayed_rows
    ongoing_anonymous_transaction_count ongoing_anonymous_gtid_violating_transaction_count
    ongoing_automatic_gtid_violating_transaction_count open_streams open_table_definitions opened_plugin_libraries
    qcache_free_blocks qcache_free_memory qcache_queries_in_cache qcache_total_blocks replica_open_temp_tables
    resource_group_supported slave_heartbeat_period slave_open_temp_tables slave_running slaves_connected slaves_running
    ssl_ctx_verify_depth ssl_ctx_verify_mode ssl_default_timeout ssl_server_not_after ssl_server_not_before
    ssl_session_cache_size ssl_session_cache_timeout ssl_used_session_cache_entries ssl_verify_depth ssl_verify_mode
    rewriter_number_loaded_rules rewriter_reload_error server_audit_active
    stack_usage table_open_cache_active_instances tc_log_max_pages_used tc_log_page_size telemetry_live_sessions
    telemetry_logs_supported telemetry_metrics_supported telemetry_traces_supported
    threadpool_idle_threads threadpool_threads tmp_space_used
    wsrep wsrep_applier_thread_count wsrep_cluster_conf_id wsrep_cluster_size wsrep_cluster_status
    wsrep_cert_deps_distance wsrep_cert_index_size wsrep_cert_interval wsrep_connected wsrep_apply_oooe wsrep_apply_oool
    wsrep_apply_window wsrep_commit_oooe wsrep_commit_oool wsrep_commit_window wsrep_desync_count wsrep_evs_delayed
    wsrep_flow_control_active wsrep_flow_control_interval_high wsrep_flow_control_interval_low
    wsrep_flow_control_paused wsrep_flow_control_requested wsrep_flow_control_status
    wsrep_ist_receive_seqno_current wsrep_ist_receive_seqno_end wsrep_ist_receive_seqno_start wsrep_last_applied
    wsrep_last_committed wsrep_local_cached_downto wsrep_local_index wsrep_local_recv_queue wsrep_local_recv_queue_avg
    wsrep_local_recv_queue_max wsrep_local_recv_queue_min wsrep_local_send_queue wsrep_local_send_queue_avg
    wsrep_local_send_queue_max wsrep_local_send_queue_min wsrep_local_state wsrep_open_connections
    wsrep_open_transactions wsrep_ready wsrep_rollbacker_thread_count wsrep_thread_count
    mysqlx_port mysqlx_ssl_ctx_verify_depth mysqlx_ssl_ctx_verify_mode mysqlx_ssl_server_not_after
    mysqlx_ssl_server_not_before mysqlx_worker_threads mysqlx_worker_threads_active
"""
_GAUGES = frozenset(_NAMES.split())
# Whole groups first, then names.
_GAUGE = re.compile(
    r"(innodb_have_|deprecated_.*_last_timestamp\Z|option_tracker_usage[\W_]|caching_sha2_password_|validate_password"
    r"|rpl_semi_sync_\w+_(clients|status|wait_sessions|avg_wait_time)\Z)"
)
_COUNTER = re.compile(
    r"""(aborted_|access_denied_errors|aria_|binlog_|busy_time|bytes_|column_(de)?compressions|connections|count_hit_
        |(component_)?connection_control_|cpu_time|created_tmp_|delayed_|delete_scan|deprecated_use_\w+_count\Z|empty_queries|error_log_expired_events
        |executed_|feature_|flush_commands|gr_\w+_(count|sum)\Z
        |innodb_(adaptive_hash_|async_|background_log_sync|bp_|buffer_pool_|bulk_|data_|dblwr_|deadlocks|defragment_
        |encryption_|ibuf_|instant_alter|log_|lsn_|master_thread_|max_trx_id|num_|os_log_
        |page_compression_|pages_|redo_log_\w+_lsn\Z|row_lock_|s_lock_|sampled_pages_|secondary_index_|system_rows_
        |undo_truncations|x_lock_)
        |key_(read|write)|master_gtid_wait_|max_(execution|statement)_time_|mysqlx_(bytes|connection|errors|messages
        |notice|notified_by_|rows|sessions|stmt|crud|cursor|expect|init_error|prep|socket|ssl_accept|ssl_finished
        |aborted)|opened_|optimizer_join_prefixes|qcache_|queries|query_time|questions|resultset_metadata_skipped|rows_
        |rpl_semi_sync_
        |rewriter_number_re(loads|written_queries)\Z|rpl_transactions_|secondary_engine_|select_|server_audit_writes_failed|slave_|slow_|sort_|ssl_(accept|callback|client|connect|finished
        |session)|subquery_cache_|syncs\Z|table_(locks|open_cache)_|tc_log_page_waits|temptable_|transactions_
        |threads_created|update_scan|uptime|wsrep_(local_(commits|cert_failures|replays|bf_aborts)|received|replicated
        |repl_|flow_control_(recv|sent|paused_ns)|cert_bucket_count|causal_reads|stmt))""",
    re.VERBOSE,
)


def kind_of(name: str) -> Kind:
    """The kind of a status variable, by its name in lower case; of what is in no manual it is not known."""
    if name in _GAUGES or _GAUGE.match(name):
        return "gauge"
    return "counter" if _COUNTER.match(name) else "untyped"
