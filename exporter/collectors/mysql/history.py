"""Its history list and the age of its checkpoint, which InnoDB tells in different places by flavor and version."""

from exporter.declare import Measure, gauge
from exporter.gates import Gate


def history_list(column: str, when: Gate) -> Measure:
    """The measure of its length, from this column, where it is told there and not elsewhere."""
    return gauge(
        "mysql_innodb_history_list_length",
        column,
        help="Transactions whose old versions of rows are not purged yet; an old open transaction makes it grow.",
        when=when,
    )


def checkpoint_age(column: str, when: Gate) -> Measure:
    """The measure of it, from this column, where it is told there and not elsewhere."""
    return gauge(
        "mysql_innodb_checkpoint_age_bytes",
        column,
        help="Bytes of redo log since the last checkpoint; writers are held up when it nears the log's size.",
        when=when,
    )
