"""What each account may have in an hour and at once, and what it may do to the whole server."""

from __future__ import annotations

from exporter.accounts import read_users
from exporter.declare import Collector, Measure, Query, block, gauge
from exporter.gates import Gate, granted, mariadb, mysql

_LIMITS = ("max_questions", "max_updates", "max_connections", "max_user_connections")
_READ = "SELECT ON mysql.user"
ACCOUNTS: Gate = (mysql(8) & granted(_READ, fix=f"GRANT {read_users('mysql')} TO {{account}};")) | (
    mariadb(10, 6) & granted(_READ, fix=f"GRANT {read_users('mariadb')} TO {{account}};")
)
_PRIVILEGES = (
    "select insert update delete create drop reload shutdown process file grant references index alter show_db super "
    "create_tmp_table lock_tables execute repl_slave repl_client create_view show_view create_routine alter_routine "
    "create_user event trigger create_tablespace"
)
_LABELS = {"mysql_user": "user", "hostmask": "host"}
_SERVERS = mysql(8) | mariadb(10, 6)


def _limit(column: str) -> Measure:
    return gauge(
        f"mysql_mysql_{column}", column, help=f"{column} of the account, 0 if it has no such limit.", drop_in=True
    )


def _privilege(name: str) -> Measure:
    return gauge(
        f"mysql_mysql_{name}_priv",
        f"{name}_priv",
        sql=f"{name}_priv = 'Y'",
        help=f"1 if the account has the privilege {name} on the whole server.",
        drop_in=True,
    )


account_limits = Collector(
    name="mysql_account_limits",
    about="What accounts may have: connections, statements and changes in an hour.",
    engine="mysql",
    every=300,
    share=0.02,
    when=ACCOUNTS,
    queries=(Query(_SERVERS, "SELECT {columns} FROM mysql.user"),),
    blocks=(block(*(_limit(column) for column in _LIMITS), labels=_LABELS),),
)

account_privileges = Collector(
    name="mysql_account_privileges",
    about="The privileges of accounts on the whole server; needs SELECT on all of mysql.user.",
    engine="mysql",
    every=300,
    share=0.05,
    default=False,
    when=ACCOUNTS,
    queries=(Query(_SERVERS, "SELECT {columns} FROM mysql.user"),),
    blocks=(block(*(_privilege(name) for name in _PRIVILEGES.split()), labels=_LABELS),),
)
