"""Prometheus exporter for PostgreSQL, MySQL and MariaDB."""

__version__ = "0.1.0"
