"""Started as postgres_exporter was: each of its flags is known, and does here what it did there, or says why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exporter.commands.configuration import known
from exporter.config import Config, from_environment
from exporter.config.model import Statements
from exporter.config.secrets import Secret
from exporter.registry import collectors_by_name
from exporter.switching.accounts_file import read_accounts
from exporter.switching.apply import Switched, apply
from exporter.switching.families import COLLECTORS
from exporter.switching.flags import FlagError, take
from exporter.web.targets import server_at

CANARY = "canary-77x1"
DSN = {"DATA_SOURCE_NAME": f"postgresql://u:{CANARY}@one:5433/shop,mysql://u:{CANARY}@two"}


def switched(*arguments: str, config: Config | None = None, **env: str) -> Switched:
    _, given = take(arguments, env)
    found = config or from_environment(DSN)
    assert found is not None
    return apply(found, given, collectors_by_name().values(), known())


def metrics(result: Switched) -> set[str]:
    return {measure.name for item in result.collectors for measure in item.measures()}


def test_every_variable_of_theirs_is_taken() -> None:
    names = "COLLECTION_TIMEOUT CONSTANT_LABELS EXCLUDE_DATABASES INCLUDE_DATABASES METRIC_PREFIX EXTEND_QUERY_PATH"
    for name in names.split():
        _, given = take([], {f"PG_EXPORTER_{name}": "x"})
        assert list(given.values.values()) == ["x"]
        assert list(given.flags.values()) == [f"PG_EXPORTER_{name}"]
    for name in ("DISABLE_DEFAULT_METRICS", "DISABLE_SETTINGS_METRICS", "AUTO_DISCOVER_DATABASES"):
        for text, on in {"true": True, "1": True, "false": False, "": None}.items():
            _, given = take([], {f"PG_EXPORTER_{name}": text})
            assert list(given.switches.values()) == ([] if on is None else [on])


def test_a_flag_wins_over_its_variable_and_stands_anywhere() -> None:
    rest, given = take(
        ["--log.level=info", "--metric-prefix", "flag", "--no-collector.wal", "--config.check"],
        {"PG_EXPORTER_METRIC_PREFIX": "variable"},
    )
    assert rest == ["--log.level=info", "--config.check"]
    assert given.values == {"metric-prefix": "flag"}
    assert given.switches == {"collector.wal": False}
    for arguments in (["--metric-prefix"], ["--metric-prefix", "--config.check"]):
        with pytest.raises(FlagError, match="--metric-prefix needs a value"):
            take(arguments, {})


def test_nothing_said_changes_nothing() -> None:
    plain = from_environment(DSN)
    result = switched()
    assert result.config == plain
    assert list(result.collectors) == list(collectors_by_name().values())


@pytest.mark.parametrize("name", sorted(COLLECTORS))
def test_a_collector_switched_off_leaves_its_metrics_out_and_no_others(name: str) -> None:
    every, left = metrics(switched()), metrics(switched(f"--no-collector.{name}"))
    gone = every - left
    assert all(re.fullmatch(COLLECTORS[name], metric) for metric in gone)
    assert not any(re.fullmatch(COLLECTORS[name], metric) for metric in left)
    assert {metric for metric in every if metric.startswith(("db_", "mysql_"))} <= left


def test_a_collector_switched_on() -> None:
    off = {item.name for item in collectors_by_name().values() if not item.default and item.engine == "postgres"}
    flags = [f"--collector.{name}" for name in COLLECTORS]
    result = switched(*flags)
    on = {name for name, settings in result.config.servers[0].collectors.items() if settings.enabled}
    assert on <= off
    assert result.config.servers[1].collectors == {}
    missing = {
        name for name, pattern in COLLECTORS.items() if not any(re.fullmatch(pattern, m) for m in metrics(result))
    }
    assert {line for line in result.config.warnings if "no such metrics" in line} == {
        f"--collector.{name}: there are no such metrics here yet" for name in missing
    }


def test_default_metrics_and_settings_are_left_out() -> None:
    gone = metrics(switched()) - metrics(switched("--disable-default-metrics", "--disable-settings-metrics"))
    assert {"pg_stat_activity_count", "pg_stat_replication_pg_wal_lsn_diff", "pg_static"} <= gone
    assert not any(name.startswith(("pg_stat_database_x", "pg_database_", "db_")) for name in gone)
    assert any(name.startswith("pg_settings") for name in gone)


def test_a_prefix_renames_what_it_renames_there() -> None:
    before, after = metrics(switched()), metrics(switched("--metric-prefix=my"))
    assert {"my_stat_activity_count", "my_replication_slots_active"} <= after - before
    assert all(name.startswith("my") for name in after - before)
    assert "pg_database_size_bytes" in after
    assert "pg_stat_activity_count" not in after
    [warning] = switched("--metric-prefix=1-x").config.warnings
    assert warning.startswith("--metric-prefix: ")


def test_databases_labels_and_timeout() -> None:
    result = switched(
        "--include-databases=shop, crm", "--exclude-databases=old*", "--constantLabels=team=shop,job=x,odd,b=c=d",
        "--collection-timeout=30s", "--auto-discover-databases",
    ).config  # fmt: skip
    one, two = result.servers
    assert one.databases.include == ("shop", "crm")
    assert (one.databases.matches("shop"), one.databases.matches("other")) == (True, False)
    assert one.databases.exclude == ("old[*]",)
    assert dict(one.labels) == {"team": "shop"}
    assert (one.timeouts.scrape_default, one.timeouts.scrape_offset) == (30.0, 0.5)
    assert (two.databases.include, dict(two.labels), two.timeouts.scrape_default) == ((), {}, 10.0)
    assert [line.partition(":")[0] for line in result.warnings].count("--constantLabels") == 3
    for wrong in ("0", "soon", "0.1ms"):
        [warning] = switched(f"--collection-timeout={wrong}").config.warnings
        assert "timeouts stay as they are" in warning


def statements(*flags: str) -> tuple[Statements, tuple[str, ...]]:
    """What the flags make of the first server's statements, and what they warn of."""
    config = switched(*(f"--collector.stat_statements.{flag}" for flag in flags)).config
    assert all(server.statements == Statements() for server in config.servers if server.engine != "postgres")
    return config.servers[0].statements, config.warnings


def test_flags_of_statements_say_which_and_with_what_texts() -> None:
    told, warnings = statements("limit=20", "query_length=300", "exclude_users=a, b", "exclude_databases=c",
                                "include_query")  # fmt: skip
    assert told == Statements(limit=20, text_bytes=300, exclude_users=("a", "b"), exclude_databases=("c",), text="info")
    assert warnings == ()
    assert statements() == (Statements(), ())


def test_a_flag_of_statements_that_is_no_number_is_a_warning() -> None:
    told, warnings = statements("limit=many", "query_length=0", "exclude_users=a")
    assert told == Statements(exclude_users=("a",))
    assert [line.partition(":")[0] for line in warnings] == [
        "--collector.stat_statements.limit",
        "--collector.stat_statements.query_length",
    ]


def test_queries_of_a_file_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    file = tmp_path / "queries.yaml"
    file.write_text(
        "fine:\n  query: SELECT 1 AS a\n  metrics:\n    - a: {usage: GAUGE, description: x}\n"
        "wrong:\n  query: SELECT 1 AS a\n  metrics:\n    - a: {usage: GAGUE, description: x}\n"
        "also_fine:\n  query: SELECT 1 AS a\n  master: true\n  cache_seconds: 30\n"
    )
    result = switched(f"--extend.query-path={file}").config
    assert [own.name for own in result.servers[0].own] == ["user_fine", "user_also_fine"]
    assert [own.every for own in result.servers[0].own] == [None, 30]
    assert result.servers[1].own == ()
    assert result.warnings == (
        (
            f"{file}:8:18: wrong.metrics[0].a.usage: must be one of LABEL, COUNTER, GAUGE, DISCARD, HISTOGRAM, "
            "MAPPEDMETRIC, DURATION; did you mean GAUGE?"
        ),
    )
    [(path, digest, wrong)] = result.servers[0].files_loaded
    assert (path, len(digest), wrong) == (str(file), 64, True)
    everywhere = switched(PG_EXPORTER_EXTEND_QUERY_PATH=str(file), PG_EXPORTER_AUTO_DISCOVER_DATABASES="true").config
    assert [(own.name, own.each_database) for own in everywhere.servers[0].own] == [
        ("user_fine", False),
        ("user_fine_elsewhere", True),
        ("user_also_fine", False),
    ]
    gone = switched("--extend.query-path=/no/such/file").config
    assert gone.warnings == ("--extend.query-path: there is no file /no/such/file; create it or correct the path",)
    assert gone.servers[0].files_loaded == (("/no/such/file", "", True),)


def test_accounts_of_their_config_file(tmp_path: Path) -> None:
    file = tmp_path / "any.yml"
    file.write_text(
        f"auth_modules:\n  a:\n    type: userpass\n    userpass: {{username: ann, password: {CANARY}}}\n"
        "    options: {sslmode: require}\n  b: {typ: x}\n"
    )
    accounts = read_accounts(str(file), {})
    assert accounts is not None
    found = from_environment({"DATA_SOURCE_NAME": "postgresql://h"}, defaults=accounts.modules["a"])
    assert found is not None
    assert (found.servers[0].user, found.servers[0].tls.mode) == ("ann", "require")
    assert found.servers[0].password is not None
    assert found.servers[0].password.reveal() == CANARY
    assert [line.removeprefix(f"{file}:") for line in accounts.warnings] == [
        "6:7: auth_modules.b.typ: unknown key; did you mean 'type'?",
        "6:6: auth_modules.b.type: must be userpass, the only type there is",
    ] or len(accounts.warnings) == 2
    assert CANARY not in str(accounts)
    assert read_accounts(str(tmp_path / "postgres_exporter.yml"), {}) is not None
    file.write_text("servers: []\n")
    assert read_accounts(str(file), {}) is None


@pytest.mark.parametrize("written", ["7", "0123", "yes", "1.50", "2026-01-02", '"quoted"', "plain"])
def test_names_in_their_config_file_are_text(written: str, tmp_path: Path) -> None:
    file = tmp_path / "any.yml"
    file.write_text(
        f"auth_modules:\n  a:\n    type: userpass\n    userpass: {{username: {written}, password: {written}}}\n"
    )
    accounts = read_accounts(str(file), {})
    assert accounts is not None
    keys, text = accounts.modules["a"], written.strip('"')
    assert (keys["user"], keys["password"], accounts.warnings) == (text, Secret.text(text), ())


def test_what_of_an_account_of_their_config_file_can_not_be_used_is_said(tmp_path: Path) -> None:
    file = tmp_path / "any.yml"
    file.write_text(
        "auth_modules:\n  a:\n    type: userpass\n    userpass:\n      username: null\n      password:\n"
        "  b:\n    type: userpass\n    userpass: {username: [ann]}\n    options: [sslmode]\n"
        "  c:\n    type: userpass\n    userpass: {username: ann, password: of-userpass}\n    options:\n"
        f"      sslmode: {CANARY}\n      connect_timeout: 10\n      nonsense: {CANARY}\n      sslmod: require\n"
        f"      keepalives: 1\n      application_name: watch & see\n      port: {{}}\n      password: {CANARY}\n"
        f"  d:\n    type: userpass\n    userpass: {{username: ann}}\n    options: {{password: {CANARY}, sslmode: }}\n"
    )
    accounts = read_accounts(str(file), {})
    assert accounts is not None
    assert dict(accounts.modules) == {
        "a": {},
        "b": {},
        "c": {
            "user": "ann",
            "password": Secret.text("of-userpass"),
            "timeouts": {"connect": 10},
            "application_name": "watch & see",
        },
        "d": {"user": "ann", "password": Secret.text(CANARY)},
    }
    said = [line.partition(": auth_modules.")[2] for line in accounts.warnings]
    for place, words in (
        ("a.userpass.username", "is empty"),
        ("a.userpass.password", "is empty"),
        ("b.userpass.username", "must be a single value"),
        ("b.options", "must be a mapping"),
        ("c.options.sslmode", "unknown sslmode"),
        ("c.options.nonsense", "means nothing here"),
        ("c.options.sslmod", "did you mean 'sslmode'"),
        ("c.options.keepalives", "means nothing here"),
        ("c.options.port", "must be a single value"),
        ("c.options.password", "of userpass counts"),
        ("d.options.sslmode", "unknown sslmode"),
    ):
        [line] = [line for line in said if line.startswith(f"{place}: ")]
        assert words in line
    assert len(said) == 11
    assert CANARY not in str(accounts)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("one:5433", "one:5433"),
        ("one:5433/other?sslmode=disable", "one:5433"),
        (f"postgresql://x:{CANARY}@one:5433/shop", "one:5433"),
        ("host=one port=5433 user=x", "one:5433"),
        ("two", "two:3306"),
        ("two:3306", "two:3306"),
        ("one", None),
        ("one:5432", None),
        ("three:5433", None),
        ("one:5433,two", None),
        ("mysql://[", None),
        ("=", None),
        ("/etc/passwd", None),
    ],
)
def test_a_target_is_a_server_of_the_config_or_nothing(target: str, name: str | None) -> None:
    config = from_environment(DSN)
    assert config is not None
    assert server_at(target, config.servers) == name
