"""The servers' slow query logs: read where they are, and counted."""
