"""What the config says about schemas: how large they may grow, and whose they are."""

from exporter.collectors.configured import configured
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import mariadb, mysql

INTERNAL = "'information_schema', 'performance_schema', 'mysql', 'sys'"

schemas = Collector(
    name="mysql_schemas",
    about="Size limits and projects of schemas, from the config.",
    engine="mysql",
    when=mysql(8) | mariadb(10, 6),
    queries=(
        Query(
            mysql(8) | mariadb(10, 6),
            f"SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN ({INTERNAL})",
        ),
    ),
    rows=configured("name"),
    blocks=(
        block(
            gauge("db_size_limit_bytes", "size_limit", help="Size that the config allows the schema."),
            labels={"database": "name"},
        ),
        block(
            gauge("db_project_info", "known", help="1; whose the schema is, from the config."),
            labels={"database": "name", "project": "project", "owner": "owner"},
        ),
    ),
    grants=("REFERENCES",),
)
