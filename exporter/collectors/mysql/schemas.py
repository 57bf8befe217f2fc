"""What the config says about schemas: how large they may grow, and whose they are."""

from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.gates import mariadb, mysql

INTERNAL = "'information_schema', 'performance_schema', 'mysql', 'sys'"


def configured(rows: Rows, context: Context) -> Rows:
    """Add the size limit and the project that the config has for each schema."""
    found = []
    for row in rows.dicts():
        project = context.server.project_of(row["name"])
        found.append(
            row
            | {"size_limit": context.server.size_limit_for(row["name"])}
            | ({"project": project.project, "owner": project.owner, "known": 1} if project else {})
        )
    return Rows.of((*rows.columns, "size_limit", "project", "owner", "known"), found)


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
    rows=configured,
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
