"""A small world to watch: servers of its own, a lively workload, the exporter, and a table of what it sees."""
