"""GTID sets as numbers: how many transactions a set has, and what a replica received, applied and wrote itself."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import Any, ClassVar

from exporter.collectors.mysql.performance_schema import GRANTED
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.gates import REPLICA, Gate, mariadb, mysql, setting

_INTERVAL = re.compile(r"(\d+)(?:-(\d+))?\Z")


def members(text: str) -> Iterator[tuple[str, int, int]]:
    """Who began them, the first and the last of each interval of a set of MySQL (`uuid:1-5:7,uuid:tag:1`).

    Who is a server's uuid, with the tag if there is one.
    """
    for member in text.replace("\n", "").split(","):
        server, *parts = member.strip().split(":")
        owner = server
        for part in parts:
            if found := _INTERVAL.match(part):
                yield owner, int(found[1]), int(found[2] or found[1])
            else:
                owner = f"{server}:{part}"


def size(text: str) -> int:
    """How many transactions a set of MySQL has."""
    return sum(last - first + 1 for _, first, last in members(text))


def missing(text: str, known: Iterable[str], only: str | None = None) -> int:
    """How many transactions of a set of MySQL none of the others has, optionally of one server alone."""
    theirs: dict[str, set[tuple[int, int]]] = {}
    for other in known:
        for owner, first, last in members(other):
            theirs.setdefault(owner, set()).add((first, last))
    count = 0
    for owner, first, last in members(text):
        if only not in {None, owner.partition(":")[0]}:
            continue
        # Theirs in order; what lies before `first` was looked at.
        for begin, end in sorted(theirs.get(owner, ())):
            count += max(min(begin, last + 1) - first, 0)
            first = max(first, end + 1)  # noqa: PLW2901
        count += max(last - first + 1, 0)
    return count


def positions(text: str) -> Iterator[tuple[str, str, int]]:
    """Domain, server and sequence number of each member of a position of MariaDB (`0-1-100,1-1-5`)."""
    for member in text.split(","):
        parts = member.strip().split("-")
        if len(parts) == 3 and parts[2].isdecimal():
            yield parts[0], parts[1], int(parts[2])


def behind(received: str, applied: str, me: str | None = None) -> int | None:
    """Sequence numbers by which a position of MariaDB is behind another, in all domains together.

    What a server wrote itself, by its server_id, takes the place of what it applied: how far that is nobody knows then.
    """
    done = {domain: number for domain, _, number in positions(applied)}
    hidden = {domain for domain, by, _ in positions(applied) if by == me}
    if any(domain in hidden for domain, _, _ in positions(received)):
        return None
    return sum(max(number - done.get(domain, 0), 0) for domain, _, number in positions(received))


_ON: Gate = setting("gtid_mode", "ON", fix="set gtid_mode=ON")

# What the server can subtract it subtracts; what is left is short. From a UNION a variable itself comes with no more
# than 65,535 characters, which a set in many pieces has; what is computed comes whole. No member of a group has alone
# what the group itself numbered, and may have received it long before its channel says so again. The channel of a
# group has the group's name for a source; who has everything first is the member that takes writes.
_SETS = """
    SELECT c.CHANNEL_NAME AS channel, c.RECEIVED_TRANSACTION_SET AS received,
           GTID_SUBTRACT(c.RECEIVED_TRANSACTION_SET, @@GLOBAL.gtid_executed) AS pending,
           '' AS executed, '' AS purged, '' AS alone,
           CASE WHEN c.CHANNEL_NAME = 'group_replication_applier' THEN (
                    SELECT MIN(MEMBER_ID) FROM performance_schema.replication_group_members
                    WHERE MEMBER_ROLE = 'PRIMARY' AND MEMBER_STATE = 'ONLINE' AND MEMBER_ID <> @@server_uuid)
                WHEN c.CHANNEL_NAME NOT LIKE 'group\\_replication\\_%' THEN c.SOURCE_UUID END AS source,
           c.CHANNEL_NAME LIKE 'group\\_replication\\_%' AS grouped
    FROM performance_schema.replication_connection_status c
    UNION ALL
    SELECT NULL, NULL, NULL, GTID_SUBTRACT(@@GLOBAL.gtid_executed, ''), GTID_SUBTRACT(@@GLOBAL.gtid_purged, ''),
           {alone}, NULL, NULL"""
_ALONE = """GTID_SUBTRACT(@@GLOBAL.gtid_executed, COALESCE((
               SELECT GROUP_CONCAT(NULLIF(CONCAT_WS(',', NULLIF(RECEIVED_TRANSACTION_SET, ''), IF(
                   CHANNEL_NAME = 'group_replication_applier' AND SOURCE_UUID <> '',
                   CONCAT(SOURCE_UUID, ':1-9223372036854775806'), NULL)), ''))
               FROM performance_schema.replication_connection_status), ''))"""
# Where a channel gives GTIDs to what comes without, nothing tells that from what this server wrote.
_UNLESS_ASSIGNED = f"""IF((SELECT COUNT(*) FROM performance_schema.replication_applier_configuration
               WHERE ASSIGN_GTIDS_TO_ANONYMOUS_TRANSACTIONS_TYPE <> 'OFF'), NULL, {_ALONE})"""


def counted(rows: Rows, context: Context) -> Rows:
    """The sets of each channel, and those of the server, as numbers; what is compared with others as it is."""
    found: list[dict[str, Any]] = []
    for row in rows.dicts():
        if row["channel"] is None:
            whole = {"executed": size(row["executed"]), "purged": size(row["purged"]), "set": row["executed"]}
            follows = context.facts.role.value == "replica"
            found.append(whole | {"alone": row["alone"] if follows else None})
        else:
            numbers = {key: size(row[key]) for key in ("received", "pending")}
            found.append(numbers | {key: row[key] for key in ("channel", "source", "grouped")})
    columns = ("channel", "received", "pending", "executed", "purged", "set", "alone", "source", "grouped")
    return Rows.of(columns, found)


# A source that was not read for so long is not watched any more.
_WATCHED_SECONDS = 600
# Of a replica that is read more often than its sources, the last readings are near enough.
_WAITING = 8


class Errant:
    """Tells what a replica has that its sources lack.

    Where a source is watched by this exporter too, its own set decides. Else the replica alone can't tell: what it did
    not receive it may have from its source all the same, from before, as from a backup. Only what it began itself is
    counted then. A member of a group may even have received that from it: all have what their first one began before
    there was a group, and nobody can join with more. So nothing is told of it unless its primary is watched.

    A source's set tells only of what the replica had before it was read: what came since, the source has too. So a
    reading of the replica waits for a later one of every source.
    """

    # When each server was last asked, in monotonic seconds, and what it had executed, by its uuid.
    _executed: ClassVar[dict[str, tuple[float, str]]] = {}

    def __init__(self) -> None:
        # When the answer was there, and what the sources may lack of it.
        self._waiting: deque[tuple[float, str]] = deque(maxlen=_WAITING)
        self._errant: int | None = None

    def feed(self, rows: Rows, context: Context) -> Rows:
        """Complete the rows of `counted`."""
        me, found = context.facts.identity.system, rows.dicts()
        sources = {row["source"] for row in found if row["source"]}
        # Other threads forget servers meanwhile.
        read = {source: self._executed.get(source) for source in sources}
        known = {source: has for source, has in read.items() if has and context.now - has[0] <= _WATCHED_SECONDS}
        for row in found:
            if row["source"]:
                row["compared"] = int(row["source"] in known)
            if row["set"] is not None:
                self._note(me, context.now, row["set"])
            if row["alone"] is not None:
                if sources and len(known) == len(sources):
                    row["errant"] = self._compared(known.values())
                elif not any(other["grouped"] for other in found):
                    row["errant"] = missing(row["alone"], [has for _, has in known.values()], me)
                self._waiting.append((time.monotonic(), row["alone"]))
        return Rows.of((*rows.columns, "errant", "compared"), found)

    def _compared(self, sources: Collection[tuple[float, str]]) -> int | None:
        """What all sources lack of the last reading that was over before they were asked; None if there was none."""
        oldest = min(at for at, _ in sources)
        while self._waiting and self._waiting[0][0] <= oldest:
            _, before = self._waiting.popleft()
            self._errant = missing(before, [has for _, has in sources])
        return self._errant

    def _note(self, server: str, now: float, executed: str) -> None:
        # Sets may be long, and servers come and go.
        for other, (at, _) in list(self._executed.items()):
            if now - at > _WATCHED_SECONDS:
                self._executed.pop(other, None)
        self._executed[server] = now, executed

    def rebase(self) -> None:
        """Forget what was found here; what the others have is as it was."""
        self._waiting.clear()
        self._errant = None


_ERRANT = (
    "Transactions that this replica has and its source has not: all of them where the exporter watches the source too "
    "(mysql_replica_source_compared), as of the scrape before, else those that began on this replica and that it did "
    "not receive; errant unless the source has them from when this server was the source. A member of a group has its "
    "primary for a source, and is absent unless that one is watched; so is a replica that gives GTIDs to transactions "
    "that come without. On MariaDB those beyond what was received, until "
    "the source overtakes."
)
PENDING = (
    "Transactions that were received and are not applied; on MariaDB by sequence numbers, over all domains, and absent "
    "while the replica's own writes hide what it has applied."
)

gtid_sets = Collector(
    name="mysql_gtid_sets",
    about="How many transactions were executed, received, are pending, and began where they should not.",
    engine="mysql",
    when=mysql(8) & _ON & GRANTED,
    queries=(
        Query(mysql(8, 0, 23), _SETS.replace("{alone}", _UNLESS_ASSIGNED)),
        Query(mysql(8), _SETS.replace("{alone}", _ALONE)),
    ),
    rows=counted,
    state=Errant,
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
            gauge(
                "mysql_replica_source_compared",
                "compared",
                help="1 if the exporter watches the channel's source too, of a group's channel the primary, so that "
                "errant transactions are told from what that one has.",
            ),
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
