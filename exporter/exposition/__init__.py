"""Rows to text, and pages from texts."""
