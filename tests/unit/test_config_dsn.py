"""Connection strings: what libpq reads out of one is what we read, and no mistake in one shows its password."""

import traceback
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo

from exporter.config import server_from_dsn
from exporter.config.dsn import DSNError, parse_dsn
from exporter.config.secrets import Secret

CANARY = "canary-7Q!x"
ODD = st.text(
    st.one_of(
        st.sampled_from("?&#;%@/:+ '\"\\=,[]{}$!*|<>~^`ä🐘"), st.characters(exclude_characters="\0", codec="utf-8")
    ),
    min_size=1,
    max_size=20,
)


def revealed(dsn: str) -> dict[str, object]:
    keys = parse_dsn(dsn).keys
    return {key: value.reveal() if isinstance(value, Secret) else value for key, value in keys.items()}


@settings(deadline=None)
@given(user=ODD, password=ODD, database=ODD, scheme=st.sampled_from(["postgresql", "mysql", "postgres", "mariadb"]))
def test_odd_characters_survive_a_url(user: str, password: str, database: str, scheme: str) -> None:
    user_info = f"{quote(user, safe='')}:{quote(password, safe='')}"
    got = revealed(f"{scheme}://{user_info}@db.example.com:7000/{quote(database, safe='')}")
    assert (got["user"], got["password"], got["database"]) == (user, password, database)
    assert (got["host"], got["port"]) == ("db.example.com", 7000)


@settings(deadline=None)
@given(user=ODD, password=ODD, database=ODD)
def test_urls_mean_what_libpq_reads(user: str, password: str, database: str) -> None:
    url = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@h:7000/{quote(database, safe='')}"
    libpq = conninfo_to_dict(url)
    got = revealed(url)
    assert [got["user"], got["password"], got["database"]] == [libpq["user"], libpq["password"], libpq["dbname"]]


@settings(deadline=None)
@given(user=ODD, password=ODD, database=ODD)
def test_keyword_strings_mean_what_libpq_reads(user: str, password: str, database: str) -> None:
    dsn = make_conninfo(host="h", port=7000, user=user, password=password, dbname=database)
    assert revealed(dsn) == {
        "engine": "postgres", "host": "h", "port": 7000, "user": user, "password": password, "database": database,
    }  # fmt: skip


@pytest.mark.parametrize(
    "dsn",
    [
        "host=h user=u password=p dbname=d",
        "  host = h  port='5433' user='a b' password='it\\'s' ",
        "host=h password=a\\ b\\\\c",
        "host=h user=u password=''",
        "host=h user='' password=x",
        "postgresql://u:p@h/d?application_name=a%20b",
        "postgresql://u:p@h?dbname=d&user=x",
        "postgresql://h:5433",
        "postgresql://u@[::1]:5433/d",
        "postgresql:///d?host=/run&port=5433",
        "postgresql://%2Frun/d",
        "postgresql://u:a:b@h",
    ],
)
def test_forms_that_libpq_knows(dsn: str) -> None:
    libpq = conninfo_to_dict(dsn)
    got = revealed(dsn)
    got["host"] = got.pop("socket", None) or got.get("host")
    pairs = {"host": "host", "user": "user", "password": "password", "database": "dbname"}
    assert {key: got.get(key) or None for key in pairs} == {ours: libpq.get(key) or None for ours, key in pairs.items()}
    assert got.get("port") == (int(libpq["port"]) if libpq.get("port") else None)  # type: ignore[arg-type]
    assert got.get("application_name") == libpq.get("application_name")


def test_parameters() -> None:
    got = parse_dsn(
        "postgresql://h/d?sslmode=verify-full&sslrootcert=a&sslcert=b&sslkey=c&connect_timeout=7&options=-c%20x&service=y"
    )
    assert got.keys["tls"] == {"mode": "verify-full", "ca": "a", "cert": "b", "key": "c"}
    assert got.keys["timeouts"] == {"connect": 7}
    assert got.ignored == ["options", "service"]
    assert "timeouts" not in parse_dsn("host=h connect_timeout=0").keys
    assert parse_dsn("host=h sslmode=allow").keys["tls"] == {"mode": "prefer"}
    assert parse_dsn("mysql://h?ssl-mode=VERIFY_CA&ssl-ca=x").keys["tls"] == {"mode": "verify-ca", "ca": "x"}


@pytest.mark.parametrize(
    "dsn",
    [
        "host=db hostaddr=10.0.0.1 sslmode=verify-full",
        "hostaddr=10.0.0.1 sslmode=verify-full host=db",
        "postgresql://db/?hostaddr=10.0.0.1&sslmode=verify-full",
        "postgresql:///?hostaddr=10.0.0.1&sslmode=verify-full&host=db",
    ],
)
def test_an_address_leaves_the_certificate_to_the_host(dsn: str) -> None:
    server = server_from_dsn(dsn)
    assert server.host == "10.0.0.1"
    assert server.tls.mode == "verify-full"
    assert server.tls.server_name == "db"


def test_an_address_alone_is_the_host() -> None:
    server = server_from_dsn("hostaddr=10.0.0.1")
    assert (server.host, server.tls.server_name) == ("10.0.0.1", None)
    assert server_from_dsn("host=/run hostaddr=10.0.0.1").socket is None


def test_parameters_of_other_drivers_are_passed_over() -> None:
    others = ["statement_timeout", "lock_timeout", "timeout", "search_path", "timezone", "binary_parameters", "charset"]
    assert parse_dsn("postgresql://h?" + "&".join(f"{key}=1" for key in others)).ignored == others


def test_every_key_of_libpq_is_known() -> None:
    for option in Conninfo.get_defaults():
        key = option.keyword.decode()
        given = {"host": "h", "port": "1", "sslmode": "require", "connect_timeout": "1"}.get(key, "x")
        assert parse_dsn(f"{key}={given}")


WRONG = {
    f"oracle://u:{CANARY}@h": "unknown scheme",
    f"postgresql://u:{CANARY}#@h": "a # or a blank that is not percent-encoded",
    f"postgresql://u:{CANARY} @h": "a # or a blank that is not percent-encoded",
    f"postgresql://u:{CANARY}%@h": "a % that is not followed by two hexadecimal digits",
    f"postgresql://u:{CANARY}/@h": "an @ behind its first",
    f"postgresql://u:{CANARY}?x=y@h": "an @ behind its first",
    f"postgresql://u?{CANARY}": "not key=value",
    f"postgresql://u:{CANARY}": "a port that is not a number from 1 to 65535",
    "postgresql://h:0": "a port that is not a number from 1 to 65535",
    f"postgresql://u:{CANARY}%FF@h": "not UTF-8 text",
    f"postgresql://u:{CANARY}%00@h": "not UTF-8 text",
    f"postgresql://u:{CANARY}@a,b": "names several hosts",
    f"postgresql://u:{CANARY}@[::1/d": "brackets closed",
    f"postgresql://u:{CANARY}@h?sslmode={CANARY}": "an unknown sslmode",
    f"postgresql://u:{CANARY}@h?connect_timeout={CANARY}": "connect_timeout that is not a number",
    f"host=h password='{CANARY}": "a quote that is not closed",
    f"host=h password='{CANARY}'x": "a quote that is not closed",
    f"host=h {CANARY}": "neither a URL nor key=value pairs",
    f"host=h password=a {CANARY[:6]}=b": "a key that libpq does not know; put",
    "postgresql://h?sslmod=require": "an unknown parameter; did you mean 'sslmode'?",
    "postgresql://h?SSLMODE=require": "an unknown parameter; did you mean 'sslmode'?",
    f"postgresql://h?ssl={CANARY}": "an unknown parameter; did you mean 'sslmode'?",
    "mysql://h?useSSL=true": "an unknown parameter; did you mean 'sslmode'?",
    "mysql://h?tls=true": "an unknown parameter; did you mean 'sslmode'?",
    "mysql://h?ssl-caa=x": "an unknown parameter; did you mean 'ssl-ca'?",
    "postgresql://h?aplication_name=x": "an unknown parameter; did you mean 'application_name'?",
    "host=h sslmod=require": "a key that libpq does not know; did you mean 'sslmode'?",
    f"{CANARY}": "neither a URL nor key=value pairs",
    "": "is empty",
}


@pytest.mark.parametrize(("dsn", "expected"), WRONG.items(), ids=range(len(WRONG)))
def test_a_mistake_is_explained_without_the_password(dsn: str, expected: str) -> None:
    with pytest.raises(DSNError) as caught:
        server_from_dsn(dsn)
    assert expected in str(caught.value)
    frames = caught.value.__traceback__
    assert not [line for line in traceback.format_exception(caught.value) if CANARY in line], frames


def test_server_from_dsn_completes_a_server() -> None:
    server = server_from_dsn("mysql://u:p%40@127.0.0.1:3307/shop", name="m", max_series=5, timeouts={"lock": "1s"})
    assert (server.name, server.engine, server.port, server.database, server.max_series) == (
        "m",
        "mysql",
        3307,
        "shop",
        5,
    )
    assert server.password is not None
    assert server.password.reveal() == "p@"
    assert (server.timeouts.lock, server.timeouts.statement, server.tls.mode) == (1.0, 5.0, "disable")
    with pytest.raises(DSNError, match="tls mode prefer would fall back"):
        server_from_dsn("mysql://h?ssl-mode=PREFERRED")
