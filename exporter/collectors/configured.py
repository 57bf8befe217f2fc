"""What the config says of databases, or of the schemas that are MySQL's: their size limit and their project."""

from __future__ import annotations

from exporter.declare import Context, Hook, Rows


def configured(name: str) -> Hook:
    """Make the hook that adds what the config has for the database whose name is in the column `name`.

    It adds the columns size_limit (bytes), project, owner, and known (1), each NULL where the config says nothing.
    """

    def add(rows: Rows, context: Context) -> Rows:
        found = []
        for row in rows.dicts():
            project = context.server.project_of(row[name])
            found.append(
                row
                | {"size_limit": context.server.size_limit_for(row[name])}
                | ({"project": project.project, "owner": project.owner, "known": 1} if project else {})
            )
        return Rows.of((*rows.columns, "size_limit", "project", "owner", "known"), found)

    return add
