"""Relations that somebody has locked, so that statements of ours leave them alone instead of waiting."""


def busy(*modes: str) -> str:
    """A CTE `busy` of the relations of the connected database that are locked, or about to be, in one of the modes."""
    listed = ", ".join(f"'{mode}'" for mode in modes)
    return f"""busy AS MATERIALIZED (
        SELECT relation FROM pg_locks
        WHERE locktype = 'relation' AND mode IN ({listed})
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )"""


# What reading a size waits for.
BUSY = busy("AccessExclusiveLock")
# What reading a sequence's last value waits for; the server locks it as a writer does.
BUSY_FOR_WRITERS = busy("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
