"""Starting this exporter as postgres_exporter or mysqld_exporter was: its flags, its variables and its config file."""
