"""User-defined queries, from the config and from files of postgres_exporter, as collectors like any other."""
