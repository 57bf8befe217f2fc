"""GTID sets as numbers: how many transactions a set has, and what a replica received, applied and wrote itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from exporter.collectors.mysql.performance_schema import GRANTED
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.gates import REPLICA, Gate, mariadb, mysql, setting

_INTERVAL = re.compile(r"(\d+)(?:-(\d+))?\Z")


def size(text: str, only: str | None = None) -> int:
    """How many transactions a set of MySQL has (`uuid:1-5:7,uuid:tag:1`), optionally of one server alone."""
    count = 0
    for member in text.replace("\n", "").split(","):
        server, *parts = member.strip().split(":")
        if only is not None and server != only:
            continue
        for part in parts:
            # What is no interval is a tag.
            if found := _INTERVAL.match(part):
                count += int(found[2] or found[1]) - int(found[1]) + 1
    return count


def positions(text: str) -> Iterator[tuple[str, str, int]]:
    """Domain, server and sequence number of each member of a position of MariaDB (`0-1-100,1-1-5`)."""
    for member in text.split(","):
        parts = member.strip().split("-")
        if len(parts) == 3 and parts[2].isdecimal():
            yield parts[0], parts[1], int(parts[2])


def behind(received: str, applied: str) -> int:
    """Sequence numbers by which a position of MariaDB is behind another, in all domains together."""
    done = {domain: number for domain, _, number in positions(applied)}
    return sum(max(number - done.get(domain, 0), 0) for domain, _, number in positions(received))


_ON: Gate = setting("gtid_mode", "ON", fix="set gtid_mode=ON")

# What the server can subtract it subtracts; what is left is short.
_SETS = """
    SELECT c.CHANNEL_NAME AS channel, c.RECEIVED_TRANSACTION_SET AS received,
           GTID_SUBTRACT(c.RECEIVED_TRANSACTION_SET, @@GLOBAL.gtid_executed) AS pending,
           '' AS executed, '' AS purged, '' AS alone, @@server_uuid AS me
    FROM performance_schema.replication_connection_status c
    UNION ALL
    SELECT NULL, NULL, NULL, @@GLOBAL.gtid_executed, @@GLOBAL.gtid_purged,
           GTID_SUBTRACT(@@GLOBAL.gtid_executed, COALESCE((
               SELECT GROUP_CONCAT(NULLIF(RECEIVED_TRANSACTION_SET, ''))
               FROM performance_schema.replication_connection_status), '')),
           @@server_uuid"""


def counted(rows: Rows, context: Context) -> Rows:
    """The sets of each channel, and those of the server, as numbers."""
    found: list[dict[str, Any]] = []
    for row in rows.dicts():
        if row["channel"] is None:
            whole = {"executed": size(row["executed"]), "purged": size(row["purged"])}
            follows = context.facts.role.value == "replica"
            found.append(whole | {"errant": size(row["alone"], row["me"]) if follows else None})
        else:
            found.append({key: size(row[key]) for key in ("received", "pending")} | {"channel": row["channel"]})
    return Rows.of(("channel", "received", "pending", "executed", "purged", "errant"), found)


_ERRANT = (
    "Transactions that began on this replica and that it did not receive from any source: errant unless the source has "
    "them from when this server was the source. On MariaDB those beyond what was received, until the source overtakes."
)
PENDING = "Transactions that were received and are not applied; on MariaDB by sequence numbers, over all domains."

gtid_sets = Collector(
    name="mysql_gtid_sets",
    about="How many transactions were executed, received, are pending, and began where they should not.",
    engine="mysql",
    when=mysql(8) & _ON & GRANTED,
    queries=(Query(mysql(8), _SETS),),
    rows=counted,
    blocks=(
        block(
            gauge("mysql_gtid_executed_transactions", "executed", help="Transactions in gtid_executed."),
            gauge("mysql_gtid_purged_transactions", "purged", help="Those of them that the binary log has no more."),
            gauge("mysql_replica_errant_transactions", "errant", help=_ERRANT),
            merge="max",
        ),
        block(
            gauge(
                "mysql_replica_received_transactions",
                "received",
                help="Transactions in the set that the channel has received.",
            ),
            gauge("mysql_replica_pending_transactions", "pending", help=PENDING),
            labels=("channel",),
            merge="max",
        ),
    ),
    grants=("SELECT ON performance_schema.*",),
)


def beyond(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
    """What a replica of MariaDB wrote beyond the position it has applied."""
    out = []
    for row in rows.dicts():
        applied = {domain: number for domain, _, number in positions(row["applied"])}
        own = [(domain, number) for domain, by, number in positions(row["written"]) if by == str(row["me"])]
        out.append({"errant": sum(max(number - applied.get(domain, 0), 0) for domain, number in own)})
    return Rows.of(("errant",), out)


gtid_domains = Collector(
    name="mysql_gtid_domains",
    about="Transactions that began on a replica of MariaDB, beyond those of its source.",
    engine="mysql",
    when=mariadb(10, 6) & REPLICA & setting("log_bin", "ON", fix="log_bin in my.cnf, and a restart"),
    queries=(
        Query(
            mariadb(10, 6),
            "SELECT @@GLOBAL.gtid_binlog_state AS written, @@GLOBAL.gtid_slave_pos AS applied, "
            "@@GLOBAL.server_id AS me",
        ),
    ),
    rows=beyond,
    blocks=(block(gauge("mysql_replica_errant_transactions", "errant", help=_ERRANT)),),
)
