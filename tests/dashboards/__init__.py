"""The dashboards, as Grafana reads them and against real data."""
