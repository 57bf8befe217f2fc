"""User-defined queries, from the config and from files of postgres_exporter, as collectors like any other."""

# The config makes collectors of its queries, which are part of the config: whoever is asked for first, it comes first.
import exporter.config  # noqa: F401
