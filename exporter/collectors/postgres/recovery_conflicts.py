"""Statements that a standby cancelled because they were in the way of replay, by what they were in the way of."""

from exporter.declare import Collector, Query, block, counter
from exporter.gates import pg

_CAUSES = {
    "tablespace": "a tablespace that was dropped",
    "lock": "a lock that replay needed",
    "snapshot": "rows that were vacuumed away on the primary",
    "bufferpin": "a page that replay had to change",
    "deadlock": "a deadlock with replay",
    "active_logicalslot": "a logical slot that had to be invalidated",
}

recovery_conflicts = Collector(
    name="pg_stat_database_conflicts",
    about="Statements that a standby cancelled because they were in the way of replay.",
    engine="postgres",
    queries=(Query(pg(13), "SELECT {columns} FROM pg_stat_database_conflicts"),),
    blocks=(
        block(
            *(
                counter(
                    f"pg_stat_database_conflicts_confl_{cause}",
                    f"confl_{cause}",
                    help=f"Statements cancelled because of {what}.",
                    when=pg(16) if cause == "active_logicalslot" else pg(),
                    drop_in=True,
                )
                for cause, what in _CAUSES.items()
            ),
            labels=("datid", "datname"),
        ),
    ),
)
