"""What went wrong on a PostgreSQL server, as a reason for metrics and a sentence with a fix for people."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from exporter.failure import ClosedDatabase, Failure, NoDatabase, Reason, Undefined
from exporter.own_sessions import CONNECTION_LIMIT

_LONGEST = 300
# Every message of a connection attempt starts with where it went; the name is in our own sentence already.
_WHERE = re.compile(r"connection to server (?:at|on socket) .*? failed: ")
_CODE = re.compile(r"(?:^|: |\n)[^\n:]{1,20}:\s+([0-9A-Z]{5}): ([^\n]*)")
# A table of an application, which pg_monitor does not open.
_DENIED = re.compile(r"permission denied for (schema|function|table|view|materialized view|foreign table) (?!pg_)(.+)")
_GRANTS = {"schema": "USAGE ON SCHEMA", "function": "EXECUTE ON FUNCTION"}
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_$]*\Z")

_REASONS = {
    "08": Reason.CONNECT,
    "28": Reason.AUTH,
    "42501": Reason.PERMISSION,
    "53300": Reason.TOO_MANY_CONNECTIONS,
    "55P03": Reason.LOCK,
    "57014": Reason.TIMEOUT,
    "57P01": Reason.CONNECT,
    "57P02": Reason.CONNECT,
    "57P03": Reason.STARTING,
    "57P05": Reason.CONNECT,
    "25P03": Reason.TIMEOUT,
    "25P04": Reason.TIMEOUT,
}
_UNDEFINED = frozenset({"42P01", "42883", "42704", "3F000"})
_UNDEFINED_COLUMN = "42703"

# libpq's own words, where no server spoke. Poolers answer most things with one code, so their words count too.
_WORDS = (
    (re.compile(r"no more connections allowed|query_wait_timeout", re.IGNORECASE), Reason.TOO_MANY_CONNECTIONS),
    (re.compile(r"\bSSL\b(?! SYSCALL)|\bTLS\b|certificate|sslmode|private key", re.IGNORECASE), Reason.TLS),
    (re.compile(r"password|authentication|SCRAM|SASL|pgpass", re.IGNORECASE), Reason.AUTH),
)

# By reason or error code, and by a word of the message where that narrows it; the first that fits.
_FIXES = (
    ("3D000", "", "create the database {database}, or name another one in the config"),
    ("55000", "pg_stat_statements", "add pg_stat_statements to shared_preload_libraries and restart the server"),
    (Reason.MISSING_EXTENSION, "database_exporter", "create the helper that check --grants prints"),
    (Reason.MISSING_EXTENSION, "", "in database {database}: CREATE EXTENSION pg_stat_statements;"),
    (Reason.PERMISSION, "", "GRANT pg_monitor TO {user};"),
    (Reason.AUTH, "cleartext password", "set tls.mode to require: the password would travel in the clear"),
    (Reason.AUTH, "pg_hba.conf", "add a line for user {user} and database {database} to pg_hba.conf, and reload"),
    (Reason.AUTH, "", "correct user and password in the config, or: ALTER ROLE {user} LOGIN PASSWORD '...';"),
    (
        Reason.TOO_MANY_CONNECTIONS,
        "connections for role",
        (
            f"ALTER ROLE {{user}} CONNECTION LIMIT {CONNECTION_LIMIT}; or, if it has that, give whatever else logs in "
            "as {user} a role of its own"
        ),
    ),
    (Reason.TOO_MANY_CONNECTIONS, "connections for database", "ALTER DATABASE {database} CONNECTION LIMIT -1;"),
    (
        Reason.TOO_MANY_CONNECTIONS,
        "",
        (
            "raise max_connections; on PostgreSQL 16+ also: set reserved_connections = 3 and "
            "GRANT pg_use_reserved_connections TO {user};"
        ),
    ),
    (Reason.TLS, "does not support SSL", "set ssl = on in postgresql.conf, or tls.mode to disable in the config"),
    (Reason.TLS, "root certificate", "set tls.ca to the file with the certificate of its authority"),
    (Reason.TLS, "does not match host name", "set tls.server_name to the name in the server's certificate"),
    (Reason.TLS, "SSL error", "set tls.ca to the file with the certificate of its authority"),
)


# When one connects; and for who is in it on a standby, where the primary's DROP DATABASE asks nobody.
_DROPPED = frozenset({"3D000", "57P04"})


@dataclass(frozen=True, slots=True)
class Login:
    """As whom and to which database: what a fix has to name."""

    user: str
    database: str
    # Not shown, so that no traceback or log of a login tells it.
    secret: str | None = field(default=None, repr=False)


def sqlstate_of(message: str) -> tuple[str | None, str]:
    """Error code and text of a connection attempt that libpq reported with codes; the first answer of a server counts.

    With TLS preferred libpq tries twice and reports both; the second attempt fails for want of the first.
    """
    found = _CODE.search(message)
    if found:
        return found[1], found[2]
    return None, _WHERE.sub("", message)


def failure(
    code: str | None, text: str, login: Login, *, connecting_to: str | None = None, broken: bool = False
) -> Failure:
    """Make the Failure of an error code (None where no server gave one) and its text.

    `connecting_to` says where to, if this is a connection that did not come about.
    """
    connecting = connecting_to is not None
    reason = _reason(code, text, connecting=connecting)
    message = one_line(text.strip().partition("\n")[0], login.secret)
    if code in _UNDEFINED | {"55000"} and "pg_stat_statements" in text:
        reason = Reason.MISSING_EXTENSION
    if reason is Reason.TOO_MANY_CONNECTIONS:
        message = f"{_full(text)} is full, not down: {message}"
    elif reason is Reason.CONNECT and connecting:
        message = f"{connecting_to}: {message}"
    elif code == "25006":
        message = f"{message} (sessions of the exporter are read-only)"
    lost = broken or connecting or code in {"25P03", "25P04", "57P04"}
    kind: type[Failure] = Failure
    if code in _DROPPED:
        kind = NoDatabase
    elif code in _UNDEFINED | {_UNDEFINED_COLUMN}:
        kind = Undefined
    elif connecting and _closed(code, reason, text):
        kind = ClosedDatabase
    return kind(reason, message, fix=_fix(code, reason, text, login, connecting=connecting), broken=lost)


def _closed(code: str | None, reason: Reason, text: str) -> bool:
    """Whether another database of the server might have let us in."""
    # pg_hba.conf may ask for another password or for TLS in front of one database alone.
    of_one = reason in {Reason.AUTH, Reason.PERMISSION, Reason.TLS} or code == "55000"
    return of_one or (reason is Reason.TOO_MANY_CONNECTIONS and "connections for database" in text)


def _full(text: str) -> str:
    if "connections for role" in text:
        return "what the account may have"
    return "what the database may have" if "connections for database" in text else "the server"


def one_line(text: str, secret: str | None = None) -> str:
    """The text as one printable line of bounded length, without the password."""
    if secret:
        text = text.replace(secret, "***")
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def identifier(name: str) -> str:
    """A name as SQL writes it."""
    return name if _IDENTIFIER.match(name) else '"' + name.replace('"', '""') + '"'


def _reason(code: str | None, text: str, *, connecting: bool) -> Reason:
    if code is None and not connecting:
        # The connection broke; with TLS the message says so in TLS's words.
        return Reason.CONNECT
    if code is None or code == "08P01":
        words = next((reason for pattern, reason in _WORDS if pattern.search(text)), None)
        return words or Reason.CONNECT
    return _REASONS.get(code) or _REASONS.get(code[:2]) or Reason.ERROR


def _fix(code: str | None, reason: Reason, text: str, login: Login, *, connecting: bool) -> str | None:
    names = {"user": identifier(login.user), "database": identifier(login.database)}
    if reason is Reason.PERMISSION and connecting:
        return "GRANT CONNECT ON DATABASE {database} TO {user};".format(**names)
    if denied := _DENIED.match(text):
        kind = _GRANTS.get(denied[1], "SELECT ON")
        return f"in database {login.database}: GRANT {kind} {identifier(denied[2])} TO {names['user']};"
    fix = next((fix for key, word, fix in _FIXES if key in {reason, code} and word in text), None)
    return fix.format(**names) if fix else None
