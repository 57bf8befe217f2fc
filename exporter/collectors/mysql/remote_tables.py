"""Tables that lie on other servers: to open one is to ask another server, which may be silent or know no such table."""

# As MariaDB has the names of InnoDB's files.
FILE_NAME = """CONCAT(CAST(CONVERT(TABLE_SCHEMA USING filename) AS BINARY), '/',
                  CAST(CONVERT(TABLE_NAME USING filename) AS BINARY))"""
_ENGINES = "'FEDERATED', 'CONNECT', 'SPIDER', 'SPHINX'"

# Conditions that leave them out before they are opened, for views with TABLE_SCHEMA and TABLE_NAME. One that could not
# be opened would take the others' figures with it, and one whose server is silent holds the statement up for 30 s.
# MariaDB looks at names alone before it opens a table, and for the engine it reads the definition of each; what one
# list of names holds is enough for some 10,000. MySQL has the engine in its dictionary, and asks for what is to be left
# out from left to right.
LOCAL_MYSQL = "COALESCE(ENGINE, '') <> 'FEDERATED'"
LOCAL_MARIADB = f"""FIND_IN_SET({FILE_NAME}, (
        SELECT COALESCE(GROUP_CONCAT({FILE_NAME}), '') FROM information_schema.TABLES
        WHERE TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema') AND ENGINE IN ({_ENGINES}))) = 0"""
