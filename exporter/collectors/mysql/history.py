"""The history list of InnoDB, which MySQL and MariaDB tell in different places."""

from exporter.declare import Measure, gauge


def history_list(column: str) -> Measure:
    """The measure of its length, from this column."""
    return gauge(
        "mysql_innodb_history_list_length",
        column,
        help="Transactions whose old versions of rows are not purged yet; an old open transaction makes it grow.",
    )
