"""Started as mysqld_exporter was: each of its flags is known, and does here what it did there, or says why not."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from exporter.commands.configuration import configuration, known
from exporter.config import Config, ConfigError, from_environment, load_text
from exporter.config.model import Statements
from exporter.registry import collectors_by_name
from exporter.switching.apply import Switched, apply
from exporter.switching.flags import take
from exporter.switching.my_cnf import from_my_cnf
from exporter.switching.mysqld_families import COLLECTORS
from exporter.switching.mysqld_flags import NOT_THERE, SWITCHES

CANARY = "canary-77x1"
DSN = {"DATA_SOURCE_NAME": f"mysql://u:{CANARY}@one,postgresql://u:{CANARY}@two"}


def switched(*arguments: str) -> Switched:
    config = from_environment(DSN)
    assert config is not None
    return apply(config, take(arguments, {})[1], collectors_by_name().values(), known())


def metrics(result: Switched) -> set[str]:
    return {measure.name for item in result.collectors for measure in item.measures()}


def read(text: str | None, directory: Path, *flags: str, **env: str) -> Config:
    path = directory / "my.cnf"
    if text is not None:
        path.write_text(text)
    return from_my_cnf(take([f"--config.my-cnf={path}", *flags], {})[1], env)


@pytest.mark.parametrize("name", sorted(COLLECTORS))
def test_a_collector_switched_off_leaves_its_metrics_out_and_no_others(name: str) -> None:
    every, left = metrics(switched()), metrics(switched(f"--no-collect.{name}"))
    assert all(re.fullmatch(COLLECTORS[name], metric) for metric in every - left)
    assert not any(re.fullmatch(COLLECTORS[name], metric) for metric in left)
    assert {metric for metric in every if metric.startswith(("db_", "pg_"))} <= left


def test_privileges_of_accounts_are_asked_for_besides() -> None:
    def told(*flags: str) -> set[str]:
        return {name for name in metrics(switched(*flags)) if name.startswith("mysql_mysql_")}

    limits = {name for name in told("--collect.mysql.user") if name.startswith("mysql_mysql_max_")}
    assert told("--collect.mysql.user") == limits != set()
    assert told("--collect.mysql.user", "--collect.mysql.user.privileges") > limits
    assert told() > limits, "which are the config's to say where no flag says anything"


@pytest.mark.parametrize(
    ("flag", "expected"),
    {
        "auto_increment.columns": (),
        "engine_innodb_status": ("mysql_innodb_status",),
        "global_status": (),
        "heartbeat": ("mysql_heartbeat",),
        "info_schema.innodb_metrics": ("mysql_innodb_metrics",),
        "info_schema.tables": ("mysql_tables",),
        "mysql.user": (),
        "mysql.user.privileges": ("mysql_account_privileges",),
        # Not mysql_statement_details, whose names begin alike: 11 series of each statement that theirs has not.
        "perf_schema.eventsstatements": (),
        "perf_schema.eventsstatementssum": ("mysql_statement_sums",),
        "perf_schema.eventswaits": ("mysql_event_waits",),
        "perf_schema.file_events": ("mysql_file_events",),
        "perf_schema.file_instances": ("mysql_file_instances",),
        "perf_schema.memory_events": ("mysql_memory_events",),
        "perf_schema.tablelocks": ("mysql_table_locks",),
        "slave_hosts": ("mysql_replicas",),
        "sys.user_summary": ("mysql_user_summary",),
    }.items(),
)
def test_what_a_flag_switches_on(flag: str, expected: tuple[str, ...]) -> None:
    settings = switched(f"--collect.{flag}").config.servers[0].collectors
    assert {name: setting.enabled for name, setting in settings.items()} == dict.fromkeys(expected, True)


def test_collectors_switched_on() -> None:
    result = switched(*(f"--{flag}" for flag in SWITCHES if flag.startswith("collect.")))
    on = {name for name, settings in result.config.servers[0].collectors.items() if settings.enabled}
    expected = {
        item.name
        for item in collectors_by_name().values()
        if item.engine == "mysql"
        and not item.default
        and any(re.fullmatch("|".join(COLLECTORS.values()), measure.name) for measure in item.measures())
    }
    assert on == expected
    assert result.config.servers[1].collectors == {}
    missing = {
        name for name, pattern in COLLECTORS.items() if not any(re.fullmatch(pattern, m) for m in metrics(result))
    }
    said = {line.partition(":")[0] for line in result.config.warnings if "no such metrics" in line}
    assert said >= {f"--collect.{name}" for name in missing}
    assert not said & {f"--collect.{name}" for name in COLLECTORS.keys() - missing}


def test_what_there_is_none_of_is_said() -> None:
    for flag in NOT_THERE:
        [warning] = switched(f"--{flag}" if flag in SWITCHES else f"--{flag}=7").config.warnings
        assert warning.startswith(f"--{flag}: ")
    for default in ("heartbeat.table=heartbeat", "info_schema.tables.databases=*", "heartbeat.database=other"):
        assert switched(f"--collect.{default}").config.warnings == ()


def test_times() -> None:
    one, two = switched("--timeout-offset=1.5", "--exporter.lock_wait_timeout=3").config.servers
    assert (one.timeouts.scrape_offset, one.timeouts.lock) == (1.5, 3.0)
    assert (two.timeouts.scrape_offset, two.timeouts.lock) == (0.5, 0.25)
    assert switched("--timeout-offset=100").config.servers[0].timeouts.scrape_offset == 5
    assert switched("--exporter.query_timeout=2").config.servers[0].timeouts.statement == 2
    off = switched("--exporter.query_timeout=0").config
    assert (off.servers[0].timeouts.statement, off.warnings) == (5, ())
    assert switched("--exporter.max_open_connections=2").config.warnings == ()
    for wrong in (
        "--timeout-offset=soon",
        "--exporter.query_timeout=-1",
        "--exporter.lock_wait_timeout=0",
        "--no-exporter.enable_lock_wait_timeout",
    ):
        result = switched(wrong).config
        assert result.servers[0].timeouts == one.timeouts.model_copy(update={"scrape_offset": 0.5, "lock": 0.25})
        assert [line.partition("=")[0].partition(":")[0] for line in result.warnings] == [wrong.partition("=")[0]]


def test_the_client_section_is_the_server(tmp_path: Path) -> None:
    text = f"""
        # a comment
        [mysqld]
        user = mysql
        port = 3307
        socket = /run/mysqld.sock
        [client]
        user=ann
        password = "{CANARY}#;'"
        host = db1
        port: 3307
        no-beep
    """
    config = read(text, tmp_path, "--mysqld.address=elsewhere:1", "--mysqld.username=bob", MYSQLD_EXPORTER_PASSWORD="x")
    [server] = config.servers
    assert (server.name, server.user, server.engine, server.tls.mode) == ("db1:3307", "ann", "mysql", "require")
    assert server.password is not None
    assert server.password.reveal() == f"{CANARY}#;'"
    assert CANARY not in repr(config)
    tls, other = config.warnings
    assert "tls=false" in tls
    assert "[mysqld]: an account" in other


def test_flags_and_the_variable_say_what_the_file_does_not(tmp_path: Path) -> None:
    env = {"MYSQLD_EXPORTER_PASSWORD": CANARY}
    [server] = read(None, tmp_path, "--mysqld.address=[::1]:3307", "--mysqld.username=bob", **env).servers
    assert (server.host, server.port, server.user, server.tls.mode) == ("::1", 3307, "bob", "disable")
    assert server.password is not None
    assert server.password.reveal() == CANARY
    [server] = read("", tmp_path, "--mysqld.address=unix:///run/my.sock", "--mysqld.username=bob").servers
    assert (server.socket, server.password) == ("/run/my.sock", None)
    [server] = read(
        "[client]\nuser=$WHO\npassword=a${SECRET}\nsocket=/run/a.sock\n", tmp_path, WHO="ann", SECRET="b"
    ).servers
    assert (server.user, server.socket) == ("ann", "/run/a.sock")
    assert server.password is not None
    assert server.password.reveal() == "ab"
    [server] = read("[client]\nuser=ann\n", tmp_path).servers
    assert (server.name, server.port) == ("localhost:3306", 3306)


@pytest.mark.parametrize("empty", ["password=", 'password=""', "password=$UNSET"])
def test_an_empty_password_is_none_whatever_the_variable_says(empty: str, tmp_path: Path) -> None:
    text = f"[client]\nuser=ann\n{empty}\n[client.two]\nuser=bob\nhost=127.0.0.2\n"
    config = read(text, tmp_path, MYSQLD_EXPORTER_PASSWORD=CANARY)
    assert [(server.user, server.password) for server in config.servers] == [("ann", None), ("bob", None)]


def test_sections_are_servers_where_they_say_where(tmp_path: Path) -> None:
    text = (
        "[client]\nuser=ann\npassword=one\n[client.second]\nhost=127.0.0.2\npassword=two\n"
        "[client.only_account]\nuser=bob\n[prod]\nuser=eve\nhost=127.0.0.3\nport=3307\n"
        "[prod.replica]\nhost=127.0.0.4\npassword=three\n[twice]\nuser=eve\nhost=127.0.0.2\n[other]\nhost=x\n"
        "[DEFAULT]\nuser=mallory\nhost=y\n"
    )
    config = read(text, tmp_path, MYSQLD_EXPORTER_PASSWORD="of [client] alone")
    assert [(server.name, server.user, server.password and server.password.reveal()) for server in config.servers] == [
        ("localhost:3306", "ann", "one"),
        ("127.0.0.2:3306", "ann", "two"),
        ("127.0.0.3:3307", "eve", None),
        ("127.0.0.4:3307", "eve", "three"),
    ]
    warnings = [line for line in config.warnings if "encrypted" not in line]
    for name, said in (("client.only_account", "servers:"), ("twice", "a second time"), ("other", "says no user")):
        [warning] = [line for line in warnings if f"[{name}]" in line]
        assert said in warning
    assert len(warnings) == 3


def test_without_a_user_client_is_left_aside(tmp_path: Path) -> None:
    module = f"[client.a]\nuser=ann\npassword={CANARY}\n"
    config = read(module, tmp_path)
    assert config.servers == ()
    [warning] = config.warnings
    assert "servers:" in warning
    for client, flags in (("", ["--mysqld.address=127.0.0.2:7"]), ("[client]\nhost=127.0.0.2\nport=7\n", [])):
        [server] = read(f"{client}{module}", tmp_path, *flags).servers
        assert (server.name, server.user) == ("127.0.0.2:7", "ann")
    with pytest.raises(ConfigError, match="says no user"):
        read("[client.a]\nuser=$NOBODY\nhost=127.0.0.2\n", tmp_path)


def test_a_key_with_an_underscore_is_none_of_theirs(tmp_path: Path) -> None:
    text = "[client]\nuser=ann\nhost=127.0.0.2\nssl_ca=/no/such/file\ntls=false\n"
    config = read(text, tmp_path)
    assert config.servers[0].tls.mode == "disable"
    [warning] = config.warnings
    assert "ssl_ca is ignored" in warning


@pytest.mark.parametrize(
    ("lines", "flags", "mode"),
    [
        ("tls=true", (), "verify-full"),
        ("tls=skip-verify", (), "require"),
        ("tls=false", (), "disable"),
        ("tls=TRUE", (), "verify-full"),
        ("tls", (), "verify-full"),
        # With these theirs does not look at the word.
        ("tls=custom\nssl-ca=CA", (), "verify-full"),
        ("tls=nosuch\nssl-skip-verfication", (), "require"),
        ("ssl-skip-verfication=true", (), "require"),
        ("ssl-skip-verfication", (), "require"),
        ("ssl-skip-verfication=yes\nssl-ca=CA", (), "require"),
        ("ssl-skip-verfication=false\nssl-ca=CA", ("--tls.insecure-skip-verify",), "verify-full"),
        ("ssl-ca=CA", (), "verify-full"),
        ("ssl-ca=CA", ("--tls.insecure-skip-verify",), "require"),
    ],
)
def test_tls(lines: str, flags: tuple[str, ...], mode: str, tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("")
    config = read(f"[client]\nuser=ann\nhost=db1\n{lines.replace('CA', str(authority))}\n", tmp_path, *flags)
    assert config.servers[0].tls.mode == mode
    assert config.warnings == ()


@pytest.mark.parametrize("host", ["localhost", "db1"])
@pytest.mark.parametrize("word", ["nosuch", "verify-full", "required", "no", "custom"])
def test_a_word_for_tls_that_theirs_does_not_know_is_a_fault(host: str, word: str, tmp_path: Path) -> None:
    """Else it would be plain text on this machine, and elsewhere a certificate that nobody checks."""
    with pytest.raises(ConfigError) as caught:
        read(f"[client]\nuser=ann\nhost={host}\ntls={word}\n", tmp_path)
    [problem] = map(str, caught.value.problems)
    assert str(tmp_path) in problem
    assert "tls in [client] must be true (" in problem
    assert ("custom needs ssl-ca" in problem) == (word == "custom")
    config = read(f"[client]\nuser=ann\ntls=false\n[two]\nuser=eve\nhost={host}\ntls={word}\n", tmp_path)
    assert [server.user for server in config.servers] == ["ann"]
    [warning] = config.warnings
    assert "tls in [two] must be" in warning


def test_tls_that_theirs_would_do_without_is_said(tmp_path: Path) -> None:
    config = read("[client]\nuser=ann\nhost=db1\ntls=preferred\n", tmp_path)
    assert config.servers[0].tls.mode == "require"
    [warning] = config.warnings
    assert "which it need not have been" in warning


def test_names_and_versions_of_tls(tmp_path: Path) -> None:
    config = read("[client]\nuser=ann\nhost=10.0.0.1\ntls-server-name=db1.example\n", tmp_path)
    [server] = config.servers
    assert (server.tls.mode, server.tls.server_name, server.tls.ca) == ("verify-full", "db1.example", None)
    assert config.warnings == ()
    config = read("[client]\nuser=ann\nhost=db1\ntls-min-version=TLSv1.3\n", tmp_path)
    assert config.servers[0].tls.mode == "verify-full"
    [warning] = config.warnings
    assert "tls-min-version" in warning


def test_passwords_in_quotation_marks(tmp_path: Path) -> None:
    for written, password in (
        ('"a\\"b"', 'a"b'),
        ("'a\\'", "a\\"),
        ("a#b;c", "a#b;c"),
        ('a"b', 'a"b'),
        ("`c#d`", "c#d"),
    ):
        [server] = read(f"[client]\nuser=ann\npassword={written}\n", tmp_path).servers
        assert server.password is not None
        assert server.password.reveal() == password


@pytest.mark.parametrize(
    ("text", "flag", "said"),
    [
        ("[client]\npassword=canary-77x1\n", "--mysqld.address=a:1", "says no user"),
        ("[client]\nuser=a\npassword=canary-77x1\n", "--mysqld.address=canary", "must be host:port"),
        ("[client]\nuser=a\nport=many\npassword=canary-77x1\n", "--mysqld.address=a:1", "port"),
        ('[client]\nuser=a\npassword="canary-77x1\n', "--mysqld.address=a:1", "line 3: a quote is opened"),
        ("[client]\nuser=a\nssl-ca=/no/such/file\n", "--mysqld.address=a:1", "/no/such/file"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(text: str, flag: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text, tmp_path, flag)
    message = "\n".join(map(str, caught.value.problems))
    assert said in message
    assert CANARY not in message


@pytest.mark.parametrize(
    ("fault", "said"), [("ssl-ca=/no/such/file", "/no/such/file"), ("port=70000", "port"), ("port=many", "port")]
)
def test_a_fault_in_one_of_several_sections_is_that_of_its_server(fault: str, said: str, tmp_path: Path) -> None:
    sections = f"[client]\nuser=ann\nhost=db1\n[client.two]\nhost=db2\npassword={CANARY}\n{fault}\n"
    config = read(f"{sections}[three]\nuser=eve\nhost=db3\n", tmp_path)
    assert [server.host for server in config.servers] == ["db1", "db3"]
    [warning] = [text for text in config.warnings if "[client.two]" in text]
    assert said in warning
    assert "left aside" in warning
    assert CANARY not in "".join(config.warnings)
    # Of one section nothing is left.
    with pytest.raises(ConfigError, match=said):
        read(f"[two]\nuser=ann\nhost=db2\n{fault}\n", tmp_path)


def test_which_words_name_the_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DATA_SOURCE_NAME", "DATA_SOURCE_URI", "MYSQLD_EXPORTER_PASSWORD"):
        monkeypatch.delenv(name, raising=False)

    def servers(*flags: str, file: str | None = None) -> tuple[list[str], tuple[str, ...]]:
        args = argparse.Namespace(config_file=file, given=take(flags, {})[1])
        found = configuration(args)
        return [server.name for server in found.servers], found.web.listen_addresses

    with pytest.raises(ConfigError, match="no server is named"):
        servers()
    (tmp_path / ".my.cnf").write_text("[client]\nuser=ann\n")
    assert servers() == (["localhost:3306"], (":9104",))
    monkeypatch.setenv("DATA_SOURCE_NAME", "postgresql://u@h:1/d")
    assert servers() == (["h:1"], (":9187",))
    assert servers("--mysqld.address=m:2") == (["h:1", "m:2"], (":9187",))
    with pytest.raises(ConfigError, match="remove one"):
        servers("--mysqld.address=h:1")
    (tmp_path / "ours.yml").write_text("servers: [{name: it, url: 'postgresql://u@h/d'}]\n")
    assert servers("--mysqld.address=m:2", file="ours.yml") == (["it"], (":9187",))


def test_single_statements_are_as_theirs_has_them_unless_the_config_says_otherwise() -> None:
    flag = "--collect.perf_schema.eventsstatements"
    assert switched().config.servers[0].statements == Statements()
    one, two = switched(flag).config.servers
    assert one.statements == Statements(text="label", text_bytes=120, limit=250)
    assert two.statements == Statements()
    told = switched(flag, f"{flag}.limit=7", f"{flag}.digest_text_limit=80", f"{flag}.timelimit=3600")
    assert told.config.servers[0].statements == Statements(text="label", text_bytes=80, limit=7, seen_within=3600)
    schemas = [f"{flag}.exclude_schemas=tmp", f"{flag}.exclude_schemas", "Archive"]
    one_less, two_less = switched(flag, *schemas).config.servers
    assert one_less.statements == one.statements.model_copy(update={"exclude_databases": ("tmp", "Archive")})
    assert (two_less.statements, switched(*schemas).config.warnings) == (Statements(), ())
    wrong = switched(flag, f"{flag}.limit=many", f"{flag}.timelimit=0")
    assert wrong.config.servers[0].statements == one.statements
    assert [line.partition(":")[0] for line in wrong.config.warnings] == [f"{flag}.limit", f"{flag}.timelimit"]


def test_what_the_config_says_of_statements_wins() -> None:
    config = load_text("servers: [{url: mysql://one, statements: {text: none, limit: 3}}]")
    given = take(["--collect.perf_schema.eventsstatements"], {})[1]
    [server] = apply(config, given, collectors_by_name().values(), known()).config.servers
    assert server.statements == Statements(text="none", text_bytes=120, limit=3)
