"""What the config says about schemas: how large they may grow, and whose they are."""

from exporter.collectors.configured import configured
from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Query, block
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
            shared("db_size_limit_bytes", "size_limit"),
            labels={"database": "name"},
        ),
        block(
            shared("db_project_info", "known"),
            labels={"database": "name", "project": "project", "owner": "owner"},
        ),
    ),
    grants=("REFERENCES",),
)
