"""Writes the Grafana dashboards from Python, so that a review sees what changed."""
