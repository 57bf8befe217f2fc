"""Semi-synchronous replication: whether commits wait for a replica, and how often none answered in time."""

from __future__ import annotations

from typing import Any

from exporter.collectors.mysql.values import number
from exporter.declare import Collector, Context, Query, Rows, block, counter, gauge
from exporter.gates import mariadb, mysql

_SIDES = {"source": ("rpl_semi_sync_source_", "rpl_semi_sync_master_")}
_SIDES["replica"] = ("rpl_semi_sync_replica_", "rpl_semi_sync_slave_")


def told(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """The figures of both sides, whichever names the plugins have; no row without a plugin."""
    status = {str(name).lower(): number(value) for name, value in rows.rows}

    def get(side: str, name: str) -> Any:
        return next((status[prefix + name] for prefix in _SIDES[side] if prefix + name in status), None)

    waited = get("source", "tx_wait_time")
    out: list[dict[str, Any]] = [
        *({"side": side, "active": get(side, "status")} for side in _SIDES),
        {"acknowledged": "yes", "transactions": get("source", "yes_tx")},
        {"acknowledged": "no", "transactions": get("source", "no_tx")},
        {
            "replicas": get("source", "clients"),
            "waiting": get("source", "wait_sessions"),
            "fallbacks": get("source", "no_times"),
            "waits": get("source", "tx_waits"),
            "waited": None if waited is None else waited / 1e6,
        },
    ]
    columns = ("side", "active", "acknowledged", "transactions", "replicas", "waiting", "fallbacks", "waits", "waited")
    return Rows.of(columns, out)


_SQL = "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM {}.global_status WHERE VARIABLE_NAME LIKE 'rpl\\_semi\\_sync\\_%'"

semi_sync = Collector(
    name="mysql_semi_sync",
    about="Whether commits wait for a replica, how many do, and how often none answered in time.",
    engine="mysql",
    when=mysql(8) | mariadb(10, 6),
    queries=(
        Query(mysql(8), _SQL.format("performance_schema")),
        Query(mariadb(10, 6), _SQL.format("information_schema")),
    ),
    rows=told,
    blocks=(
        block(
            gauge(
                "mysql_semi_sync_active",
                "active",
                help="1 if commits wait for a replica (source), or are acknowledged (replica), right now.",
            ),
            labels=("side",),
            merge="max",
        ),
        block(
            counter(
                "mysql_semi_sync_transactions_total",
                "transactions",
                help="Transactions by whether a replica acknowledged them.",
            ),
            labels=("acknowledged",),
            merge="max",
        ),
        block(
            gauge("mysql_semi_sync_replicas", "replicas", help="Replicas that acknowledge."),
            gauge("mysql_semi_sync_waiting_sessions", "waiting", help="Sessions whose commit waits for a replica."),
            counter(
                "mysql_semi_sync_fallbacks_total",
                "fallbacks",
                help="Times that the source went on without waiting, since nobody answered in time.",
            ),
            counter("mysql_semi_sync_waits_total", "waits", help="Commits that waited for a replica."),
            counter("mysql_semi_sync_wait_seconds_total", "waited", help="Time that commits waited for a replica."),
            merge="max",
        ),
    ),
)
