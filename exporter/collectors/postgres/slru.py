"""The small caches of transaction states."""

from exporter.declare import Collector, Query, block, counter
from exporter.gates import pg

_SENTENCES = {
    "blks_zeroed": "Blocks zeroed.",
    "blks_hit": "Blocks found in the cache.",
    "blks_read": "Blocks read.",
    "blks_written": "Blocks written.",
    "blks_exists": "Blocks asked for whether they exist.",
    "flushes": "Flushes of dirty blocks.",
    "truncates": "Truncations.",
}

# Under the names that these caches have from 17 on.
_SQL = """
    SELECT {columns} FROM (
        SELECT *, coalesce(new, name) AS cache FROM pg_stat_slru
        LEFT JOIN (VALUES ('CommitTs', 'commit_timestamp'), ('MultiXactMember', 'multixact_member'),
                          ('MultiXactOffset', 'multixact_offset'), ('Notify', 'notify'), ('Serial', 'serializable'),
                          ('Subtrans', 'subtransaction'), ('Xact', 'transaction')) renamed(old, new) ON old = name
    ) caches"""

slru = Collector(
    name="pg_stat_slru",
    about="The small caches of transaction states, under the same names on all versions.",
    engine="postgres",
    every=60,
    queries=(Query(pg(13), _SQL),),
    blocks=(
        block(
            *(counter(f"pg_stat_slru_{name}_total", name, help=text) for name, text in _SENTENCES.items()),
            labels={"name": "cache"},
        ),
    ),
)
