"""Holds a running exporter's page against ours for the same server, and rules and dashboards against both."""
