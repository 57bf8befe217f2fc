"""A node of a Galera cluster: its state, whether it shares that of the cluster, and how quick the group is."""

from __future__ import annotations

from typing import Any

from exporter.declare import Collector, Context, Query, Rows, block, counter, gauge
from exporter.gates import Gate, condition, mariadb, mysql

# By the library, since wsrep_on is a setting of sessions alone on Percona's cluster. MySQL has neither.
_ON: Gate = condition(
    "a node of a Galera cluster", lambda facts: facts.settings.get("wsrep_provider", "").lower() not in ("", "none")
)
_SQL = r"SELECT VARIABLE_NAME, VARIABLE_VALUE FROM {}.global_status WHERE VARIABLE_NAME LIKE 'wsrep\_%'"

# By number, as the library has them; what comes with a name of its own is none of these.
_STATES = {"0": "undefined", "1": "joining", "2": "donor", "3": "joined", "4": "synced", "5": "error"}
_LATENCY = ("minimum", "average", "maximum", "deviation", "samples")


def told(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """One row for the node, one for each state; no row without a provider, which knows neither node nor cluster."""
    status = {str(name).lower(): str(value) for name, value in rows.rows}
    node, cluster = status.get("wsrep_local_state_uuid"), status.get("wsrep_cluster_state_uuid")
    columns = ("node", "cluster", "version", "known", "same", "paused", "state", "in_state", *_LATENCY)
    if not node:
        return Rows.of(columns, [])
    paused = status.get("wsrep_flow_control_paused_ns")
    first: dict[str, Any] = {
        "node": node,
        "cluster": cluster,
        "version": status.get("wsrep_provider_version"),
        "known": 1,
        "same": int(node == cluster),
        "paused": int(paused) / 1e9 if paused else None,
    }
    first |= _latency(status.get("wsrep_evs_repl_latency", ""))
    state = _STATES.get(status.get("wsrep_local_state", ""))
    states = [{"state": name, "in_state": int(name == state)} for name in _STATES.values()] if state else []
    return Rows.of(columns, [first, *states])


def _latency(text: str) -> dict[str, float]:
    """The five figures of `minimum/average/maximum/deviation/samples`; none if it is something else."""
    try:
        return dict(zip(_LATENCY, map(float, text.split("/")), strict=True))
    except ValueError:
        return {}


galera = Collector(
    name="mysql_galera",
    about="A node of a Galera cluster: its state, that of the cluster, flow control and the group's latency.",
    engine="mysql",
    when=(mysql(8) | mariadb(10, 6)) & _ON,
    queries=(
        Query(mysql(8), _SQL.format("performance_schema")),
        Query(mariadb(10, 6), _SQL.format("information_schema")),
    ),
    rows=told,
    blocks=(
        block(
            gauge("mysql_galera_status_info", "known", help="1; the states of node and cluster.", drop_in=True),
            labels={
                "wsrep_local_state_uuid": "node",
                "wsrep_cluster_state_uuid": "cluster",
                "wsrep_provider_version": "version",
            },
            merge="max",
        ),
        block(
            *(
                gauge(f"mysql_galera_evs_repl_latency_{name}", column, help=f"{about}.", drop_in=True)
                for column, name, about in (
                    ("minimum", "min_seconds", "Shortest time of a message through the group"),
                    ("average", "avg_seconds", "Time of a message through the group on average"),
                    ("maximum", "max_seconds", "Longest time of a message through the group"),
                    ("deviation", "stdev", "Standard deviation of that time in seconds"),
                    ("samples", "sample_size", "Messages that these figures are of"),
                )
            ),
            gauge(
                "mysql_galera_state_shared",
                "same",
                help="1 if the node's data is of the cluster's history; 0 is a node that goes its own way.",
            ),
            counter(
                "mysql_galera_flow_control_paused_seconds_total",
                "paused",
                help="Time that writes of the whole cluster were held up for a slow node, as this node counts it.",
            ),
            merge="max",
        ),
        block(
            gauge("mysql_galera_state", "in_state", help="1 for the state that the node is in."),
            labels=("state",),
            merge="max",
        ),
    ),
)
