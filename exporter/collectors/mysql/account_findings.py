"""Accounts that let in more than they should, or that are about to let nobody in."""

from exporter.collectors.mysql.account_limits import ACCOUNTS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import mariadb, mysql

# Roles and locked accounts let nobody in; those of the server itself are locked, on MariaDB without
# telling, where roles have no host.
_ACTIVE = {
    "mysql": "account_locked <> 'Y'",
    "mariadb": "Host <> '' AND User <> 'mariadb.sys'",
}
_SQL = """
    SELECT k.kind, COUNT(a.name) AS findings, NULL AS account_user, NULL AS account_host, NULL AS one
    FROM ({kinds}) k LEFT JOIN ({accounts}) a ON FIND_IN_SET(k.kind, a.found)
    GROUP BY k.kind
    UNION ALL
    (SELECT k.kind, NULL, a.name, a.host, 1 FROM ({kinds}) k JOIN ({accounts}) a ON FIND_IN_SET(k.kind, a.found)
     ORDER BY 1, 3, 4 LIMIT {{limit}})"""
# Marked as expired, or older than it may get; how old a password is MariaDB tells to nobody but administrators.
_EXPIRED = {
    "mysql": """password_expired = 'Y' OR password_last_changed
                < NOW() - INTERVAL NULLIF(COALESCE(password_lifetime, @@GLOBAL.default_password_lifetime), 0) DAY""",
    "mariadb": "password_expired = 'Y'",
}
# An empty host of MySQL is any, and so is a pattern that all fit; a network of all addresses fits none.
_ANY_HOST = "Host = '' OR Host LIKE '%\\%%' AND REPLACE(REPLACE(Host, '%', ''), '_', '') = ''"
_FOUND = {
    "anonymous": "User = ''",
    "any_host": _ANY_HOST,
    "password_expired": "{expired}",
    "superuser": "Super_priv = 'Y'",
    "grants_everything": "Grant_priv = 'Y'",
    "reads_files": "File_priv = 'Y'",
    "reads_everywhere": "Select_priv = 'Y'",
    "writes_everywhere": "Insert_priv = 'Y'",
}
_KINDS = " UNION ALL ".join(f"SELECT '{kind}' AS kind" for kind in _FOUND)


def _sql(flavor: str) -> str:
    conditions = {kind: condition.format(expired=_EXPIRED[flavor]) for kind, condition in _FOUND.items()}
    found = ", ".join(f"IF({condition}, '{kind}', NULL)" for kind, condition in conditions.items())
    accounts = (
        f"SELECT User AS name, Host AS host, CONCAT_WS(',', {found}) AS found FROM mysql.user WHERE {_ACTIVE[flavor]}"
    )
    return _SQL.format(kinds=_KINDS, accounts=accounts)


account_findings = Collector(
    name="mysql_account_findings",
    about="Accounts without a name or a host, with an expired password, or with privileges on the whole server.",
    engine="mysql",
    every=300,
    limit=200,
    when=ACCOUNTS,
    queries=(Query(mysql(8), _sql("mysql")), Query(mariadb(10, 6), _sql("mariadb"))),
    blocks=(
        block(
            gauge(
                "mysql_account_findings",
                "findings",
                help="Accounts that may log in, by finding: anonymous, no name; any_host, from everywhere; "
                "password_expired; superuser, grants_everything (GRANT OPTION), reads_files (FILE), reads_everywhere "
                "(SELECT) and writes_everywhere (INSERT), privileges on the whole server.",
            ),
            labels=("kind",),
            merge="max",
        ),
        block(
            gauge("mysql_account_finding_info", "one", help="1; the account of a finding."),
            labels={"kind": "kind", "mysql_user": "account_user", "hostmask": "account_host"},
            merge="max",
        ),
    ),
)

# An empty password is told by the column that has the others' hashes, so this is for those who grant that.
_EMPTY = """
    SELECT COUNT(*) AS accounts FROM mysql.user
    WHERE {active} AND COALESCE(authentication_string, '') = '' AND plugin IN (
        '', 'mysql_native_password', 'caching_sha2_password', 'sha256_password', 'ed25519', 'parsec'
    )"""

account_passwords = Collector(
    name="mysql_accounts_without_password",
    about="How many accounts have no password; needs SELECT on all of mysql.user, with the hashes of passwords.",
    engine="mysql",
    every=300,
    default=False,
    when=ACCOUNTS,
    queries=(
        Query(mysql(8), _EMPTY.format(active=_ACTIVE["mysql"])),
        Query(mariadb(10, 6), _EMPTY.format(active=_ACTIVE["mariadb"])),
    ),
    blocks=(
        block(
            gauge(
                "mysql_accounts_without_password",
                "accounts",
                help="Accounts that may log in with an empty password.",
            )
        ),
    ),
)
