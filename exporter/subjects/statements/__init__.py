"""Totals of executed and slow statements that never fall."""
