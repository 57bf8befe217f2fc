"""Writes the recording and alert rules for Prometheus from alerts/settings.yml."""
