"""Whether performance_schema can be read: MariaDB has it off unless told otherwise, and accounts need a grant."""

from exporter.gates import Gate, condition, granted, setting

ON: Gate = setting(
    "performance_schema", "ON", fix="set performance_schema=ON in the server's configuration and restart it"
)
GRANTED: Gate = granted("SELECT ON performance_schema.*", fix="GRANT SELECT ON performance_schema.* TO {account};")
READABLE: Gate = ON & GRANTED
# Sessions for which there was no room are in none of its tables, and counting the others would tell too few.
ALL_THREADS: Gate = READABLE & condition(
    "room for all threads in performance_schema",
    lambda facts: facts.settings.get("performance_schema_thread_instances_lost", "0") == "0",
    fix="leave performance_schema_max_thread_instances out of the server's configuration and restart it",
)
