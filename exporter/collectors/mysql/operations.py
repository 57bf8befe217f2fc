"""Blocks over rows that have a group of columns for each operation, which the peers' metrics have as a label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from exporter.declare import Block, Measure, block


def operation_columns(operations: Iterable[str]) -> str:
    """SQL of the columns that hold the operations' own names, op_NAME each."""
    return ", ".join(f"'{operation}' AS op_{operation}" for operation in operations)


def by_operation(operation: str, labels: Mapping[str, str], *measures: Measure, label: str = "operation") -> Block:
    """The block of one operation; the rows have its name in the column op_NAME."""
    return block(*measures, labels={**labels, label: f"op_{operation}"})
