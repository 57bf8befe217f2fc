"""The history list of InnoDB, which MySQL and MariaDB tell in different places."""

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
