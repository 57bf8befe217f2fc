"""The alert rules, as Prometheus reads them and as people do."""
