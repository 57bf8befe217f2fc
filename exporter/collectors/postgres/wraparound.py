"""How many transactions and multixacts each database, and the tables behind most, have left unfrozen."""

from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

database_wraparound = Collector(
    name="pg_database_wraparound",
    about="Age of the oldest transaction and multixact of each database that is not frozen.",
    engine="postgres",
    queries=(
        Query(
            pg(13),
            # The server stops for any database but one whose DROP was interrupted, the existing exporter shows those
            # that allow connections.
            """
            SELECT datname, CASE WHEN counts THEN transactions END AS transactions,
                   CASE WHEN counts THEN multixacts END AS multixacts,
                   CASE WHEN datallowconn THEN transactions END AS open_transactions,
                   CASE WHEN datallowconn THEN multixacts END AS open_multixacts
            FROM (SELECT datname, datallowconn, datconnlimit <> -2 AS counts, age(datfrozenxid) AS transactions,
                         mxid_age(datminmxid) AS multixacts
                  FROM pg_database) d""",
        ),
    ),
    blocks=(
        block(
            gauge(
                "pg_database_unfrozen_transactions",
                "transactions",
                help="Transactions since the oldest that is not frozen; the server takes no more writes at about 2^31.",
            ),
            gauge(
                "pg_database_unfrozen_multixacts",
                "multixacts",
                help="Multixacts since the oldest that is not gone; the server makes no more at about 2^31.",
            ),
            gauge(
                "pg_database_wraparound_age_datfrozenxid_seconds",
                "open_transactions",
                help="pg_database_unfrozen_transactions of databases that allow connections; transactions, not "
                "seconds.",
                drop_in=True,
            ),
            gauge(
                "pg_database_wraparound_age_datminmxid_seconds",
                "open_multixacts",
                help="pg_database_unfrozen_multixacts of databases that allow connections; multixacts, not seconds.",
                drop_in=True,
            ),
            labels=("datname",),
        ),
    ),
)

# System tables and those of other sessions' temporary schemas keep a database from freezing as well.
_TABLES = """
    WITH ages AS (
        SELECT c.relnamespace, c.relname,
               greatest(age(c.relfrozenxid), age(nullif(t.relfrozenxid, '0'))) AS transactions,
               greatest(mxid_age(c.relminmxid), mxid_age(nullif(t.relminmxid, '0'))) AS multixacts
        FROM pg_class c LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
        WHERE c.relkind IN ('r', 'm') AND c.relfrozenxid <> '0'
    ), places AS (
        SELECT *, row_number() OVER (ORDER BY transactions DESC, multixacts DESC) AS by_transactions,
               row_number() OVER (ORDER BY multixacts DESC, transactions DESC) AS by_multixacts
        FROM ages
    )
    SELECT current_database() AS datname, nspname AS schemaname, relname, transactions, multixacts
    FROM places JOIN pg_namespace n ON n.oid = relnamespace
    WHERE by_transactions <= {limit} OR by_multixacts <= {limit}"""

table_wraparound = Collector(
    name="pg_table_wraparound",
    about="The tables of each database whose oldest unfrozen transaction or multixact is the oldest.",
    engine="postgres",
    every=300,
    limit=10,
    each_database=True,
    queries=(Query(pg(13), _TABLES),),
    blocks=(
        block(
            gauge(
                "pg_table_unfrozen_transactions",
                "transactions",
                help="Transactions since the oldest in the table or its TOAST that is not frozen; the oldest of each "
                "database.",
            ),
            gauge(
                "pg_table_unfrozen_multixacts",
                "multixacts",
                help="Multixacts since the oldest in the table or its TOAST that is not gone.",
            ),
            labels=("datname", "schemaname", "relname"),
        ),
    ),
)
