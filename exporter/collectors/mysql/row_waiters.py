"""MariaDB: while so many sessions wait for rows that to list transactions would hold them all up."""

# The list is made under a latch that every lock needs, with a look through the queue for each waiter: for 200 of them
# it takes 30 ms, for 2,000 seconds. How many wait is told without that latch. See decision 19.
MOST_LISTED = 200

_COUNTED = """
    FROM information_schema.INNODB_METRICS
    WHERE NAME = 'lock_row_lock_current_waits' AND ENABLED AND COUNT > {}"""

# A condition that names no column is looked at before a view of information_schema is filled.
FEW = f"(SELECT COUNT(*) {_COUNTED.format(MOST_LISTED)}) = 0"


def many(columns: str) -> str:
    """A part of a UNION with a row of `columns`, where COUNT is how many wait, if the list may not have been read.

    Also somewhat below the bound: the number may have changed meanwhile. What tells is that the list is empty then: one
    that was read has those who wait.
    """
    return f"SELECT {columns} {_COUNTED.format(MOST_LISTED * 3 // 4)}"
