"""Whether performance_schema can be read: MariaDB has it off unless told otherwise, and accounts need a grant."""

from exporter.gates import Gate, granted, setting

ON: Gate = setting(
    "performance_schema", "ON", fix="set performance_schema=ON in the server's configuration and restart it"
)
GRANTED: Gate = granted("SELECT ON performance_schema.*", fix="GRANT SELECT ON performance_schema.* TO {account};")
READABLE: Gate = ON & GRANTED
