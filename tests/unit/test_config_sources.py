"""DATA_SOURCE_* variables: the same servers as postgres_exporter would find, in the same order of precedence."""

import traceback
from pathlib import Path

import pytest

from exporter.config import ConfigError, ServerConfig, from_environment

CANARY = "canary-7Q!x"


def servers(env: dict[str, str]) -> tuple[ServerConfig, ...]:
    config = from_environment(env)
    assert config is not None
    return config.servers


def password(server: ServerConfig) -> str | None:
    return server.password.reveal() if server.password else None


@pytest.mark.parametrize("env", [{}, {"DATA_SOURCE_NAME": ""}, {"DATA_SOURCE_NAME": " , "}, {"DATA_SOURCE_USER": "u"}])
def test_nothing_named(env: dict[str, str]) -> None:
    assert from_environment(env) is None


def test_several_servers_of_all_kinds() -> None:
    found = servers(
        {
            "DATA_SOURCE_NAME": "postgresql://u:a,b%2C@h/db?sslmode=disable,"
            "host=/run user=x password='a\\'b, c' port=5433,user=y host=k, mysql://m:p@h2:3307/shop,"
        }
    )
    assert [s.name for s in found] == ["h:5432", "/run:5433", "k:5432", "h2:3307"]
    assert [s.engine for s in found] == ["postgres", "postgres", "postgres", "mysql"]
    assert [password(s) for s in found] == ["a,b,", "a'b, c", None, "p"]
    assert [s.tls.mode for s in found] == ["disable", "prefer", "prefer", "require"]


def test_parts() -> None:
    (got,) = servers(
        {"DATA_SOURCE_URI": "h:5433/db?sslmode=disable", "DATA_SOURCE_USER": "u@x", "DATA_SOURCE_PASS": "p?&#;%@/"}
    )
    assert (got.host, got.port, got.database, got.user, got.tls.mode) == ("h", 5433, "db", "u@x", "disable")
    assert password(got) == "p?&#;%@/"


def test_precedence(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("USER", "PASS", "URI")}
    for name, file in files.items():
        file.write_text(f"file-{name.lower()}\n")
    env = {f"DATA_SOURCE_{name}": f"plain-{name.lower()}" for name in files}
    (plain,) = servers(env)
    assert (plain.host, plain.user, password(plain)) == ("plain-uri", "plain-user", "plain-pass")
    env |= {f"DATA_SOURCE_{name}_FILE": str(file) for name, file in files.items()}
    (from_files,) = servers(env)
    assert (from_files.host, from_files.user, password(from_files)) == ("file-uri", "file-user", "file-pass")
    files["PASS"].write_text("rotated\n")
    assert password(from_files) == "rotated"
    (whole,) = servers({**env, "DATA_SOURCE_NAME": "postgresql://n:m@whole"})
    assert (whole.host, whole.user, password(whole)) == ("whole", "n", "m")


def test_where_nothing_says_the_host() -> None:
    (got,) = servers({"DATA_SOURCE_NAME": "user=u password=p"})
    assert (got.host, got.port, got.database) == ("localhost", 5432, "postgres")


def test_warnings_name_the_parameter_alone() -> None:
    config = from_environment({"DATA_SOURCE_NAME": f"host=h password={CANARY} passfile={CANARY}"})
    assert config is not None
    assert config.warnings == ("DATA_SOURCE_NAME: the parameter passfile means nothing here",)


def test_a_server_named_once_for_each_of_its_databases_is_one_server() -> None:
    entries = [f"postgresql://u:{CANARY}@h/{database}?sslmode=require" for database in ("shop", "stock", "bank")]
    config = from_environment({"DATA_SOURCE_NAME": ",".join(entries)})
    assert config is not None
    assert [(server.name, server.database) for server in config.servers] == [("h:5432", "shop")]
    assert [warning.split(",")[:2] for warning in config.warnings] == [
        ["DATA_SOURCE_NAME", f" entry {number}: names h:5432 a second time"] for number in (2, 3)
    ]
    assert CANARY not in str(config.warnings)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"DATA_SOURCE_NAME": f"postgresql://u:{CANARY}#@h"}, "DATA_SOURCE_NAME: holds a # or a blank"),
        ({"DATA_SOURCE_NAME": f"mysql://h,postgresql://u:{CANARY}"}, "DATA_SOURCE_NAME, entry 2: has a port"),
        ({"DATA_SOURCE_NAME": f"{CANARY}"}, "DATA_SOURCE_NAME: is neither a URL nor key=value pairs"),
        (
            {"DATA_SOURCE_NAME": f"mysql://u:{CANARY}@h?sslmode=prefer"},
            "DATA_SOURCE_NAME: tls mode prefer would fall back",
        ),
        ({"DATA_SOURCE_URI": "h:x", "DATA_SOURCE_PASS": CANARY}, "DATA_SOURCE_URI: has a port that is not"),
        ({"DATA_SOURCE_URI": f"u:{CANARY}"}, "DATA_SOURCE_URI: has a port"),
        ({"DATA_SOURCE_URI": "h", "DATA_SOURCE_PASS_FILE": "/no/such"}, "DATA_SOURCE_PASS_FILE: there is no file"),
        ({"DATA_SOURCE_URI_FILE": "/no/such"}, "DATA_SOURCE_URI_FILE: there is no file /no/such"),
    ],
)
def test_mistakes_name_the_variable_and_never_its_value(env: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_environment(env)
    assert str(caught.value).startswith(expected)
    assert not [line for line in traceback.format_exception(caught.value) if CANARY in line]
    assert caught.value.__context__ is None
