"""Group replication: its members and their states, and the queues of this one."""

from __future__ import annotations

from typing import Any

from exporter.collectors.mysql.performance_schema import GRANTED
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Context, Query, Rows, block, counter, gauge
from exporter.gates import mysql

_STATES = ("ONLINE", "RECOVERING", "OFFLINE", "ERROR", "UNREACHABLE")
_LABELS = ("channel_name", "member_id", "member_host", "member_port", "member_state", "member_role", "member_version")
_STACK = "member_communication_stack"


def counted(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """The members with what is told of the group; none where the server is in no group."""
    members = [row | {"known": 1} for row in rows.dicts() if row["member_id"]]
    out: list[dict[str, Any]] = list(members)
    if members:
        states = [member["member_state"] for member in members]
        out += [{"state": state.lower(), "members": states.count(state)} for state in _STATES]
        mine = next((member for member in members if member["mine"]), None)
        if mine is not None:
            # Where all take writes one that still joins is called a primary, too.
            state = mine["member_state"]
            online = state == "ONLINE"
            primary = online and mine["member_role"] == "PRIMARY"
            # Who stopped it knows that it is OFFLINE, and one in ERROR has stopped replicating.
            joining = int(state == "RECOVERING") if online or state == "RECOVERING" else None
            unreachable = None if joining is None else states.count("UNREACHABLE")
            out.append({"primary": int(primary), "online": int(online), "joining": joining, "unreachable": unreachable})
    more = ("known", "state", "members", "primary", "online", "joining", "unreachable")
    return Rows.of((*rows.columns, *more), out)


_INFO = gauge(
    "mysql_perf_schema_replication_group_member_info", "known", help="1; a member of the group.", drop_in=True
)

group_members = Collector(
    name="mysql_replication_group_members",
    about="The members of the replication group and their states, as this one sees them.",
    engine="mysql",
    when=mysql(8) & GRANTED,
    queries=(
        Query(
            mysql(8),
            "SELECT *, MEMBER_ID = @@server_uuid AS mine FROM performance_schema.replication_group_members",
        ),
    ),
    rows=counted,
    blocks=(
        block(_INFO, labels=_LABELS, merge="max", when=mysql(8, below=(8, 0, 27))),
        block(_INFO, labels=(*_LABELS, _STACK), merge="max", when=mysql(8, 0, 27)),
        block(
            gauge("mysql_replication_group_members", "members", help="Members of the group by their state."),
            labels=("state",),
            merge="max",
        ),
        block(
            gauge("mysql_replication_group_primary", "primary", help="1 if this member takes writes."),
            gauge("mysql_replication_group_online", "online", help="1 if this member serves as a part of the group."),
            shared("db_replication_joining", "joining"),
            shared("db_replication_unreachable_members", "unreachable"),
            merge="max",
        ),
    ),
    grants=("SELECT ON performance_schema.*",),
)

group_stats = Collector(
    name="mysql_replication_group_stats",
    about="Transactions that this member of the replication group certified, queued and applied.",
    engine="mysql",
    when=mysql(8) & GRANTED,
    queries=(
        Query(
            mysql(8),
            "SELECT {columns} FROM performance_schema.replication_group_member_stats WHERE MEMBER_ID = @@server_uuid",
        ),
    ),
    blocks=(
        block(
            gauge(
                "mysql_perf_schema_transactions_in_queue",
                "count_transactions_in_queue",
                help="Transactions that wait to be certified.",
                drop_in=True,
            ),
            counter(
                "mysql_perf_schema_transactions_checked_total",
                "count_transactions_checked",
                help="Transactions that were certified.",
                drop_in=True,
            ),
            counter(
                "mysql_perf_schema_conflicts_detected_total",
                "count_conflicts_detected",
                help="Transactions that did not pass.",
                drop_in=True,
            ),
            # It falls when the rows are collected; the name is theirs.
            gauge(
                "mysql_perf_schema_transactions_rows_validating_total",
                "count_transactions_rows_validating",
                help="Rows kept to certify others against.",
                drop_in=True,
            ),
            gauge(
                "mysql_perf_schema_transactions_remote_in_applier_queue",
                "count_transactions_remote_in_applier_queue",
                help="Transactions from other members that wait to be applied.",
                drop_in=True,
            ),
            counter(
                "mysql_perf_schema_transactions_remote_applied_total",
                "count_transactions_remote_applied",
                help="Transactions from other members that were applied.",
                drop_in=True,
            ),
            counter(
                "mysql_perf_schema_transactions_local_proposed_total",
                "count_transactions_local_proposed",
                help="Transactions of this member that were sent to the group.",
                drop_in=True,
            ),
            counter(
                "mysql_perf_schema_transactions_local_rollback_total",
                "count_transactions_local_rollback",
                help="Transactions of this member that the group refused.",
                drop_in=True,
            ),
        ),
    ),
    grants=("SELECT ON performance_schema.*",),
)
