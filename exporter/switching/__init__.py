"""Starting this exporter as postgres_exporter was started: its flags, its variables and its config file."""
