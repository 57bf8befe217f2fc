"""Accounts that let in more than they should, or that are about to let nobody in."""

from collections.abc import Mapping

from exporter.accounts import read_roles, read_users
from exporter.collectors.mysql.account_limits import ACCOUNTS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import Gate, granted, mariadb, mysql

# Columns of mysql.user are written as in the grants: through a role MySQL compares them by case.
# Roles and locked accounts let nobody in; those of the server itself are locked. On MariaDB roles have no host, and
# only who may read mysql.global_priv is told of locks.
_ACTIVE = {
    "mysql": "account_locked <> 'Y'",
    "mariadb": "host <> '' AND user <> 'mariadb.sys'",
}
# An account has, or may have by SET ROLE, its own privileges, and those of its roles and of theirs. What a role and
# those within it have is found once for each role, since accounts may be thousands. What is found is a sum of bits.
_SQL = """
    WITH RECURSIVE {before}granted AS ({granted}), everybodys AS ({everybodys}), privileges AS (
        SELECT u.user AS whose, u.host AS of_host, {privileges} AS found
        FROM mysql.user u
        {beside}
        GROUP BY u.user, u.host
    ), held AS (
        SELECT role, role_host, role AS inner_role, role_host AS inner_host FROM granted
        UNION
        SELECT role, role_host, role, role_host FROM everybodys
        UNION
        SELECT h.role, h.role_host, g.role, g.role_host
        FROM held h JOIN granted g ON g.whose = h.inner_role AND g.of_host = h.inner_host
    ), roles AS (
        SELECT h.role, h.role_host, BIT_OR(p.found) AS found
        FROM held h JOIN privileges p ON p.whose = h.inner_role AND p.of_host = h.inner_host
        GROUP BY h.role, h.role_host
    ), of_everybody AS (
        SELECT BIT_OR(r.found) AS found
        FROM roles r JOIN everybodys e ON e.role = r.role AND e.role_host = r.role_host
    ), accounts AS (
        SELECT u.user AS name, u.host AS host, BIT_OR({own} | p.found | COALESCE(r.found, 0) | e.found) AS found
        FROM of_everybody e
        JOIN mysql.user u
        JOIN privileges p ON p.whose = u.user AND p.of_host = u.host
        LEFT JOIN granted g ON g.whose = u.user AND g.of_host = u.host
        LEFT JOIN roles r ON r.role = g.role AND r.role_host = g.role_host
        WHERE {active}
        GROUP BY u.user, u.host
    ), kinds AS ({kinds}), numbered AS (
        SELECT k.kind, a.name, a.host, COUNT(a.name) OVER (PARTITION BY k.kind) AS findings,
               ROW_NUMBER() OVER (PARTITION BY k.kind ORDER BY a.name, a.host) AS place_in_kind,
               ROW_NUMBER() OVER (ORDER BY a.name IS NULL, k.kind, a.name, a.host) AS place
        FROM kinds k LEFT JOIN accounts a ON a.found & k.bit
    )
    SELECT kind, findings, name AS account_user, host AS account_host,
           CASE WHEN name IS NOT NULL AND place <= {{limit}} THEN 1 END AS one
    FROM numbered
    WHERE place <= {{limit}} OR place_in_kind = 1"""
# Roles that everybody has by mandatory_roles, `user@host` or `user`, and commas between them. Any of three quotes opens
# a piece that the same one ends, or the end, with no way to write that quote itself in it; blanks count in there only.
_QUOTED = r"""''([^'']*)''?|"([^"]*)"?|`([^`]*)`?"""
_ITEM, _USER = (rf"""'(?:{_QUOTED}|[^{end}''"`])+'""" for end in ",@")
_PLAIN = f"CONVERT(REGEXP_REPLACE({{}}, '{_QUOTED}| +', '$1$2$3') USING utf8mb4)"
_MANDATORY = f"""listed AS (
        SELECT 1 AS place, REGEXP_SUBSTR(@@GLOBAL.mandatory_roles, {_ITEM}) AS item
        UNION ALL
        SELECT place + 1, REGEXP_SUBSTR(@@GLOBAL.mandatory_roles, {_ITEM}, 1, place + 1)
        FROM listed WHERE item IS NOT NULL
    ), mandatory AS (
        SELECT {_PLAIN.format("name")} AS name,
               COALESCE(NULLIF({_PLAIN.format("SUBSTRING(item, CHAR_LENGTH(name) + 2)")}, ''), '%') AS host
        FROM (SELECT item, REGEXP_SUBSTR(item, {_USER}) AS name FROM listed WHERE item IS NOT NULL) written
    ), """
_GRANTED = {
    "mysql": """SELECT FROM_USER AS role, FROM_HOST AS role_host, TO_USER AS whose, TO_HOST AS of_host
        FROM mysql.role_edges""",
    "mariadb": "SELECT Role AS role, '' AS role_host, User AS whose, Host AS of_host FROM mysql.roles_mapping",
}
_EVERYBODYS = {
    "mysql": """SELECT m.user AS role, m.host AS role_host
        FROM mandatory r
        JOIN mysql.user m ON m.user = r.name COLLATE utf8mb4_bin AND m.host = r.host COLLATE utf8mb4_bin""",
    # Everybody has what PUBLIC has; before 10.11 there is nobody of that name.
    "mariadb": "SELECT 'PUBLIC' AS role, '' AS role_host",
}
# The parts of SUPER that lead to the rest: whoever has one sets what the server runs with, takes any role, lets a view
# act as anybody, or writes what no privilege on a table lets through (events of a binary log or of a source of its
# choice, a clone, past read_only). SYSTEM_USER only shields an account, and BACKUP_ADMIN is what a backup needs.
_PARTS = (
    *("SYSTEM_VARIABLES_ADMIN", "PERSIST_RO_VARIABLES_ADMIN", "ROLE_ADMIN", "SET_ANY_DEFINER", "SET_USER_ID"),
    *("REPLICATION_SLAVE_ADMIN", "BINLOG_ADMIN", "CLONE_ADMIN", "CONNECTION_ADMIN"),
)
# On MariaDB these are bits: SET USER, CONNECTION, READ_ONLY, REPLICATION SLAVE and BINLOG ADMIN, BINLOG REPLAY.
_BITS = sum(1 << bit for bit in (30, 32, 33, 34, 36, 37))
_DYNAMIC = f"""LEFT JOIN mysql.global_grants g
            ON g.USER = u.user AND g.HOST = u.host AND g.PRIV IN ({", ".join(f"'{name}'" for name in _PARTS)})"""
_GLOBAL = f"""LEFT JOIN mysql.global_priv g
            ON g.User = u.user AND g.Host = u.host AND JSON_VALUE(g.Priv, '$.access') & {_BITS}"""
_UNLOCKED = """(user, host) NOT IN (
            SELECT User, Host FROM mysql.global_priv WHERE JSON_VALUE(Priv, '$.account_locked') IN ('1', 'true')
        )"""
# Marked as expired, or older than it may get, which the server asks of those passwords alone that it keeps itself; how
# old a password is MariaDB tells to nobody but administrators.
_EXPIRED = {
    "mysql": """password_expired = 'Y'
                OR plugin IN ('mysql_native_password', 'sha256_password', 'caching_sha2_password')
                AND password_last_changed
                < NOW() - INTERVAL NULLIF(COALESCE(password_lifetime, @@GLOBAL.default_password_lifetime), 0) DAY""",
    "mariadb": "password_expired = 'Y'",
}
# An empty host of MySQL is any, and so is a pattern that all fit; a network of all addresses fits none.
_ANY_HOST = "u.host = '' OR u.host LIKE '%\\%%' AND REPLACE(REPLACE(u.host, '%', ''), '_', '') = ''"
_OWN = {"anonymous": "u.user = ''", "any_host": _ANY_HOST, "password_expired": "{expired}"}
_PRIVILEGES = {
    "superuser": "super_priv = 'Y'",
    "grants_everything": "grant_priv = 'Y'",
    "creates_accounts": "create_user_priv = 'Y'",
    "shuts_down": "shutdown_priv = 'Y'",
    "reads_files": "file_priv = 'Y'",
    "reads_everywhere": "select_priv = 'Y'",
    "writes_everywhere": "'Y' IN (insert_priv, update_priv, delete_priv, drop_priv, alter_priv)",
}
_BIT = {kind: 1 << place for place, kind in enumerate((*_OWN, *_PRIVILEGES))}
_KINDS = " UNION ALL ".join(f"SELECT '{kind}' AS kind, {bit} AS bit" for kind, bit in _BIT.items())


def _sql(flavor: str, beside: str = "", also: str = "TRUE") -> str:
    own = {kind: condition.format(expired=_EXPIRED[flavor]) for kind, condition in _OWN.items()}
    privileges = dict(_PRIVILEGES)
    if beside:
        privileges["superuser"] += " OR g.User IS NOT NULL"
    return _SQL.format(
        before=_MANDATORY if flavor == "mysql" else "",
        granted=_GRANTED[flavor],
        everybodys=_EVERYBODYS[flavor],
        privileges=f"BIT_OR({_bits(privileges)})",
        beside=beside,
        own=_bits(own),
        active=f"{_ACTIVE[flavor]} AND {also}",
        kinds=_KINDS,
    )


def _bits(conditions: Mapping[str, str]) -> str:
    return " | ".join(f"IF({condition}, {_BIT[kind]}, 0)" for kind, condition in conditions.items())


def _readable(flavor: str) -> Gate:
    # All that may be wanting is told at once.
    fix = " ".join(f"GRANT {what} TO {{account}};" for what in (read_users(flavor), *read_roles(flavor)))
    gate = granted("SELECT ON mysql.user", fix=fix)
    for what in read_roles(flavor):
        gate &= granted(what, fix=fix)
    return gate


account_findings = Collector(
    name="mysql_account_findings",
    about="Accounts without a name or a host, with an expired password, or with privileges on the whole server.",
    engine="mysql",
    every=300,
    core_share=0.001,
    timeout=30,
    limit=200,
    when=(mysql(8) & _readable("mysql")) | (mariadb(10, 6) & _readable("mariadb")),
    queries=(
        Query(mysql(8), _sql("mysql", _DYNAMIC)),
        Query(mariadb(10, 6) & granted("SELECT ON mysql.global_priv", fix=""), _sql("mariadb", _GLOBAL, _UNLOCKED)),
        Query(mariadb(10, 6), _sql("mariadb")),
    ),
    blocks=(
        block(
            gauge(
                "mysql_account_findings",
                "findings",
                help="Accounts that may log in (on MariaDB locked ones too unless the exporter may read "
                "mysql.global_priv), by finding: anonymous, no name; any_host, from everywhere; "
                "password_expired; and by privileges on the whole server, directly or through roles: superuser (SUPER, "
                "or on MySQL a part of it that leads to the rest), grants_everything (GRANT OPTION), creates_accounts "
                "(CREATE USER), shuts_down (SHUTDOWN), reads_files (FILE), reads_everywhere (SELECT) and "
                "writes_everywhere (any of INSERT, UPDATE, DELETE, DROP, ALTER).",
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
