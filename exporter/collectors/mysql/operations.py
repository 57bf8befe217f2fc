"""Blocks over rows that have a group of columns for each operation, which the peers' metrics have as a label."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.declare import Block, Context, Hook, Measure, Rows, block


def named(*operations: str) -> Hook:
    """What `rows=` of a collector takes: puts the operations' own names to each row, op_NAME each.

    The server would send them with each row, and that costs more than all else about them.
    """
    columns = tuple(f"op_{operation}" for operation in operations)

    def with_names(rows: Rows, context: Context) -> Rows:  # noqa: ARG001
        return Rows((*rows.columns, *columns), [row + operations for row in rows.rows])

    return with_names


def by_operation(operation: str, labels: Mapping[str, str], *measures: Measure, label: str = "operation") -> Block:
    """The block of one operation; the rows have its name in the column op_NAME."""
    return block(*measures, labels={**labels, label: f"op_{operation}"})
