"""Messages as PostgreSQL 13 to 18, libpq 18 and PgBouncer 1.26 wrote them, and what we make of them."""

from __future__ import annotations

import pytest

from exporter.engines.postgres.errors import Login, failure, identifier, one_line, sqlstate_of
from exporter.engines.postgres.session import server_limit
from exporter.engines.postgres.values import codec
from exporter.failure import Reason
from exporter.own_sessions import CONNECTION_LIMIT

LOGIN = Login("exporter", "shop", "s3cret")
AT = 'connection to server at "127.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (
            f'{AT}FATAL:  28P01: password authentication failed for user "x"\nLOCATION:  auth_failed, auth.c:326\n',
            "28P01",
            'password authentication failed for user "x"',
        ),
        # Another language of the server.
        (f'{AT}ФАТАЛЬНО:  3D000: база данных "y" не существует\n', "3D000", 'база данных "y" не существует'),
        # With TLS preferred the second attempt fails for want of the first; the first answer counts.
        (
            f'{AT}FATAL:  28P01: password authentication failed for user "x"\n{AT}FATAL:  28000: no entry\n',
            "28P01",
            'password authentication failed for user "x"',
        ),
        (f"{AT}Connection refused\n\tIs the server running?\n", None, "Connection refused\n\tIs the server running?\n"),
        (
            'connection to server on socket "/tmp/.s.PGSQL.5432" failed: No such file or directory',
            None,
            "No such file or directory",
        ),
    ],
)
def test_the_code_of_a_refused_connection(message: str, code: str | None, text: str) -> None:
    assert sqlstate_of(message) == (code, text)


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        (None, "Connection refused", Reason.CONNECT),
        (None, "server closed the connection unexpectedly", Reason.CONNECT),
        (None, "SSL error: certificate verify failed", Reason.TLS),
        (None, "server does not support SSL, but SSL was required", Reason.TLS),
        (None, 'root certificate file "/x" does not exist', Reason.TLS),
        (None, "fe_sendauth: no password supplied", Reason.AUTH),
        ("08P01", "no more connections allowed (max_client_conn)", Reason.TOO_MANY_CONNECTIONS),
        ("08P01", "query_wait_timeout", Reason.TOO_MANY_CONNECTIONS),
        ("08P01", "SASL authentication failed", Reason.AUTH),
        ("08P01", "server conn crashed?", Reason.CONNECT),
        ("28P01", "falsches Passwort", Reason.AUTH),
        ("28000", "no pg_hba.conf entry for host", Reason.AUTH),
        ("53300", "trop de connexions", Reason.TOO_MANY_CONNECTIONS),
        ("57P03", "the database system is starting up", Reason.STARTING),
        ("57P01", "terminating connection due to administrator command", Reason.CONNECT),
        ("57014", "canceling statement due to statement timeout", Reason.TIMEOUT),
        ("55P03", "canceling statement due to lock timeout", Reason.LOCK),
        ("42501", "permission denied for function pg_ls_waldir", Reason.PERMISSION),
        ("42P01", 'relation "pg_stat_statements" does not exist', Reason.MISSING_EXTENSION),
        ("42883", "function pg_stat_statements(boolean) does not exist", Reason.MISSING_EXTENSION),
        ("55000", 'pg_stat_statements must be loaded via "shared_preload_libraries"', Reason.MISSING_EXTENSION),
        ("55000", "recovery is in progress", Reason.ERROR),
        ("42P01", 'relation "t" does not exist', Reason.ERROR),
        ("22012", "division by zero", Reason.ERROR),
        ("3D000", 'database "shop" does not exist', Reason.ERROR),
    ],
)
def test_reasons(code: str | None, text: str, reason: Reason) -> None:
    # Without a code no server spoke, which is a matter of connecting.
    assert failure(code, text, LOGIN, connecting_to=None if code else "db:5432").reason is reason


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("the server", "sorry, too many clients already"),
        ("what the account may have", 'too many connections for role "Exporter"'),
        ("what the database may have", 'too many connections for database "shop"'),
    ],
)
def test_what_is_full_is_not_down(what: str, text: str) -> None:
    full = failure("53300", text, LOGIN, connecting_to="db:5432")
    assert full.message == f"{what} is full, not down: {text}"
    assert full.broken


@pytest.mark.parametrize(
    ("code", "text", "connecting", "fix"),
    [
        ("42501", "permission denied", False, 'GRANT pg_monitor TO "Exporter";'),
        ("42501", "permission denied", True, 'GRANT CONNECT ON DATABASE "my ""shop" TO "Exporter";'),
        (
            "53300",
            'too many connections for role "Exporter"',
            True,
            (
                f'ALTER ROLE "Exporter" CONNECTION LIMIT {CONNECTION_LIMIT}; or, if it has that, give whatever else '
                'logs in as "Exporter" a role of its own'
            ),
        ),
        (
            "42P01",
            'relation "pg_stat_statements" does not exist',
            False,
            'in database "my ""shop": CREATE EXTENSION pg_stat_statements;',
        ),
        ("22012", "division by zero", False, None),
    ],
)
def test_fixes_are_statements_that_work(code: str, text: str, connecting: bool, fix: str | None) -> None:
    assert (
        failure(code, text, Login("Exporter", 'my "shop'), connecting_to="db:5432" if connecting else None).fix == fix
    )


def test_a_connection_that_breaks_is_no_matter_of_tls() -> None:
    for text in ("SSL connection has been closed unexpectedly", "SSL SYSCALL error: EOF detected"):
        assert failure(None, text, LOGIN, broken=True).reason is Reason.CONNECT


def test_the_name_of_a_host_says_nothing_about_the_reason() -> None:
    refused = failure(
        None, "Connection refused\n\tIs the server running?", LOGIN, connecting_to="ssl.password.test:5432"
    )
    assert refused.reason is Reason.CONNECT
    assert refused.message == "ssl.password.test:5432: Connection refused"


def test_messages_are_one_clean_line() -> None:
    assert one_line("a\n\tb\x00c  s3cret\r\n", "s3cret") == "a b c ***"
    assert len(one_line("x" * 10_000)) == 300


def test_names_in_sql() -> None:
    assert [identifier(name) for name in ("plain_1", "Upper", 'a"b', "")] == ["plain_1", '"Upper"', '"a""b"', '""']


def test_the_server_gives_up_before_the_client_whatever_the_time() -> None:
    for seconds in (0.06, 0.1, 0.25, 0.5, 1.0, 3.0, 5.0, 9.5, 30.0, 60.0, 600.0, 10_000.0):
        limit = server_limit(seconds)
        assert limit is not None
        assert 0 < limit / 1000 < seconds
    assert server_limit(0.01) is None
    assert server_limit(0.0) is None


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("UTF8", "utf-8"),
        ("SQL_ASCII", "utf-8"),
        ("LATIN1", "iso8859-1"),
        ("LATIN9", "iso8859-15"),
        ("WIN1252", "cp1252"),
        ("KOI8R", "koi8-r"),
        ("EUC_JP", "euc_jp"),
        ("ISO_8859_5", "iso8859-5"),
        ("MULE_INTERNAL", "utf-8"),
        (None, "utf-8"),
    ],
)
def test_codecs_of_encodings(encoding: str | None, name: str) -> None:
    assert codec(encoding) == name
