"""The flags of mysqld_exporter: which there are, and what is said of those that can't be done here."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.switching.mysqld_families import COLLECTORS

_LEAVE_OUT = "leave series out with metric_relabel_configs in Prometheus"
_RENAME = "rewrite labels with metric_relabel_configs in Prometheus"
SWITCHES: Mapping[str, str] = {
    **{f"collect.{name}": "" for name in COLLECTORS},
    "collect.heartbeat.utc": "",
    "collect.info_schema.processlist.processes_by_user": "",
    "collect.info_schema.processlist.processes_by_host": "",
    "collect.mysql.user.privileges": "",
    "tls.insecure-skip-verify": "",
    "exporter.enable_lock_wait_timeout": "",
    "exporter.log_slow_filter": "",
}
VALUES: Mapping[str, str] = {
    "config.my-cnf": "",
    "mysqld.address": "",
    "mysqld.username": "",
    "timeout-offset": "",
    "exporter.lock_wait_timeout": "",
    "exporter.query_timeout": "",
    "exporter.max_open_connections": "",
    "collect.heartbeat.database": "",
    "collect.heartbeat.table": "",
    "collect.info_schema.processlist.min_time": "",
    "collect.info_schema.tables.databases": "",
    "collect.perf_schema.eventsstatements.limit": "",
    "collect.perf_schema.eventsstatements.timelimit": "",
    "collect.perf_schema.eventsstatements.digest_text_limit": "",
    "collect.perf_schema.eventsstatements.exclude_schemas": "",
    "collect.perf_schema.file_instances.filter": "",
    "collect.perf_schema.file_instances.remove_prefix": "",
    "collect.perf_schema.memory_events.remove_prefix": "",
}
REPEATED = frozenset({"collect.perf_schema.eventsstatements.exclude_schemas"})
"""Flags that add to what they said before, where others replace it."""
NOT_THERE: Mapping[str, str] = {
    "exporter.max_open_connections": "there are three connections to a server at most, however many ask",
    "collect.info_schema.processlist.min_time": "threads count from the first moment here",
    "collect.perf_schema.file_instances.filter": _LEAVE_OUT,
    "collect.perf_schema.file_instances.remove_prefix": _RENAME,
    "collect.perf_schema.memory_events.remove_prefix": _RENAME,
}
"""What is said of a flag that has no counterpart, if it is not at its default."""
DEFAULTS: Mapping[str, str] = {
    "exporter.max_open_connections": "2",
    "collect.info_schema.processlist.min_time": "0",
    "collect.perf_schema.file_instances.filter": ".*",
    "collect.perf_schema.file_instances.remove_prefix": "/var/lib/mysql/",
    "collect.perf_schema.memory_events.remove_prefix": "memory/",
}
