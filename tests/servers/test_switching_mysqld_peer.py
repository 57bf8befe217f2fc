"""The real mysqld_exporter and ours, started with the same words."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from exporter.catalogue import metric_names
from exporter.commands.configuration import known
from exporter.compare.pages import Page, fetch, parse
from exporter.config import ConfigError, from_environment
from exporter.registry import collectors_of
from exporter.switching import ini
from exporter.switching.apply import apply
from exporter.switching.flags import take
from exporter.switching.my_cnf import from_my_cnf
from exporter.switching.mysqld_families import COLLECTORS
from exporter.switching.mysqld_flags import NOT_THERE
from tests.exporters import Exporter
from tests.providers.base import Account, DatabaseServer, wait_for
from tests.providers.processes import free_port
from tests.providers.tools import Program, tool
from tests.unit.test_switching_ini import AFTER, BEFORE, ENV, PASSWORDS

pytestmark = pytest.mark.engine("mysql")

# The flags that both have under one name.
SAME = {"--help", "--version", "--web.listen-address", "--web.telemetry-path", "--log.level", "--log.format"}
STORED, NOW = (f"mysql_heartbeat_{name}_timestamp_seconds" for name in ("stored", "now"))
_OWN = ("mysql_up", "mysql_exporter_")


def listed_flags() -> dict[str, bool]:
    """Every flag that the real one lists, and whether it takes a value."""
    done = subprocess.run([tool("mysqld_exporter"), "--help"], capture_output=True, text=True, check=False)
    found = re.findall(r"^ +(?:-\w, )?(--[\w.-]+)(=\S*)?", done.stdout + done.stderr, re.MULTILINE)
    return {flag: bool(value) for flag, value in found}


def collectors() -> list[str]:
    """The flags that switch a whole collector."""
    return sorted(flag for flag in listed_flags() if flag.removeprefix("--collect.") in COLLECTORS)


def test_a_default_said_aloud_is_no_matter() -> None:
    """What a flag says is its default, by the real one's own list, is as here."""
    done = subprocess.run([tool("mysqld_exporter"), "--help"], capture_output=True, text=True, check=False)
    listed = dict(re.findall(r"^ +--([\w.-]+)=(\S+)", done.stdout + done.stderr, re.MULTILINE))
    said = {flag: listed[flag].strip('"') for flag in NOT_THERE if flag in listed}
    # The one is of 0.20.
    assert NOT_THERE.keys() - said.keys() <= {"exporter.max_open_connections"}
    config = from_environment({"DATA_SOURCE_NAME": "mysql://u:secret@one"})
    assert config is not None
    given = take([f"--{flag}={value}" for flag, value in said.items()], {})[1]
    assert apply(config, given, collectors_of("mysql"), known()).config.warnings == ()


def file_for(server: DatabaseServer, account: Account, directory: Path) -> Path:
    path = directory / "my.cnf"
    path.write_text(
        f'[client]\nuser = {account.user}\npassword = "{account.password}"\n'
        f"[client.targets]\nhost = {server.host}\nport = {server.port}\n"
    )
    return path


def peer(program: Callable[..., Program], path: str, *flags: str, **env: str) -> Page:
    """The page of a real mysqld_exporter."""
    url = f"http://127.0.0.1:{(port := free_port())}{path}"
    argv = [tool("mysqld_exporter"), f"--web.listen-address=127.0.0.1:{port}", *flags]
    program("peer", argv, env=env, url=url)
    assert wait_for(lambda: fetch(url).value("mysql_up") == 1, 20)
    return fetch(url)


def names(page: Page) -> set[str]:
    return {name for name in page.metrics if name.startswith("mysql_") and not name.startswith(_OWN)}


def test_every_flag_of_theirs_is_taken() -> None:
    flags = listed_flags()
    assert len(flags) > 60
    left = set()
    for flag, value in flags.items():
        rest, _ = take([flag, *(["value"] if value else [])], {})
        if rest:
            left.add(flag)
        elif not value:
            assert take([flag.replace("--", "--no-", 1)], {})[0] == []
    assert left - {"--help-long", "--help-man"} == SAME
    assert {f"--collect.{name}" for name in COLLECTORS} == set(collectors())


def test_every_metric_of_theirs_belongs_to_one_collector(
    server: DatabaseServer, program: Callable[..., Program]
) -> None:
    server.account("GRANT SELECT, PROCESS ON *.* TO 'peer'@'%'", name="peer", limit=10)
    account = Account("peer", "peer secret")
    page = peer(
        program, "/metrics", *collectors(), f"--mysqld.address={server.host}:{server.port}",
        f"--mysqld.username={account.user}", MYSQLD_EXPORTER_PASSWORD=account.password,
    )  # fmt: skip
    unclear = {
        name: found
        for name in names(page)
        if len(found := [key for key, pattern in COLLECTORS.items() if re.fullmatch(pattern, name)]) != 1
    }
    assert unclear == {}
    assert len(names(page)) > 500


def test_all_of_their_flags_at_once(server: DatabaseServer, tmp_path: Path) -> None:
    """What only another flavor or version has is no failure."""
    account = server.account()
    named = (f"--mysqld.address={server.host}:{server.port}", f"--mysqld.username={account.user}")
    flags = (*collectors(), "--collect.mysql.user.privileges", *named)
    with Exporter(tmp_path, None, {"MYSQLD_EXPORTER_PASSWORD": account.password}, flags=flags) as exporter:
        everything = {item.name for item in collectors_of("mysql")}
        page = exporter.scrape_until(
            lambda page: {got["collector"] for got, _ in page.all("database_exporter_collector_state")} == everything
        )
    assert "error" not in page.failures(f"{server.host}:{server.port}").values()


def test_started_with_the_same_words(server: DatabaseServer, program: Callable[..., Program], tmp_path: Path) -> None:
    account = server.account()
    flags = (
        f"--mysqld.address={server.host}:{server.port}", f"--mysqld.username={account.user}",
        f"--config.my-cnf={tmp_path / 'none'}", "--collect.binlog_size", "--no-collect.global_variables",
        "--web.telemetry-path=/their-path", "--exporter.lock_wait_timeout=2", "--log.format=logfmt",
    )  # fmt: skip
    env = {"MYSQLD_EXPORTER_PASSWORD": account.password}
    theirs = peer(program, "/their-path", *flags, **env)
    with Exporter(tmp_path, None, env, flags=flags) as exporter:

        def page() -> Page:
            status, text = exporter.get("/their-path")
            assert status == 200, text
            return parse(text)

        # Some of it is read in the background, after a while.
        wanted = {name for name in names(theirs) if name in metric_names()}
        wait_for(lambda: wanted <= names(page()), 60, pause=0.5)
        ours, log = page(), exporter.log()
    assert ours.value("mysql_up") == 1
    assert wanted - names(ours) == set()
    assert "mysql_binlog_files" in wanted
    assert theirs.value("mysql_binlog_files") == ours.value("mysql_binlog_files")
    for page in (theirs, ours):
        assert not [name for name in names(page) if name.startswith(("mysql_global_variables_", "mysql_version_info"))]
    assert "level=warn" not in log, log
    assert account.password not in log


def test_sections_of_the_file_and_probes(
    server: DatabaseServer, program: Callable[..., Program], tmp_path: Path
) -> None:
    account = server.account()
    file = file_for(server, account, tmp_path)
    flags = (f"--config.my-cnf={file}", f"--mysqld.address={server.host}:{free_port()}")
    probe = f"/probe?target={server.host}:{server.port}&auth_module=client.targets"
    assert peer(program, probe, *flags).value("mysql_up") == 1
    with Exporter(tmp_path, None, {}, flags=flags) as exporter:
        status, text = exporter.get(probe)
        assert (status, parse(text).value("mysql_up")) == (200, 1)
        assert exporter.get("/probe?target=127.0.0.1:1&auth_module=client.targets")[0] == 400
        assert account.password not in exporter.log()


def test_a_page_of_some_collectors(server: DatabaseServer, program: Callable[..., Program], tmp_path: Path) -> None:
    address = f"--mysqld.address={server.host}:{server.port}"

    def told(account: Account) -> tuple[tuple[str, str], dict[str, str]]:
        return (address, f"--mysqld.username={account.user}"), {"MYSQLD_EXPORTER_PASSWORD": account.password}

    # Theirs has as many connections as it likes, more than are left to an account that ours uses, too.
    flags, env = told(server.account(name="theirs", limit=50))
    url = f"http://127.0.0.1:{(port := free_port())}"
    argv = [tool("mysqld_exporter"), f"--web.listen-address=127.0.0.1:{port}", *flags]
    program("peer", argv, env=env, url=f"{url}/metrics")
    flags, env = told(server.account())
    with Exporter(tmp_path, None, env, flags=flags) as exporter:

        def both(*collectors: str) -> tuple[set[str], set[str]]:
            query = "&".join(f"collect[]={name}" for name in collectors)
            return names(fetch(f"{url}/metrics?{query}")), names(parse(exporter.get(f"/metrics?{query}")[1]))

        def as_theirs() -> bool:
            theirs, ours = both("global_variables", "no_such_collector")
            assert "mysql_global_variables_max_connections" in theirs
            return not (theirs & set(metric_names())) - ours

        # All of them are read in the background, after a while.
        assert wait_for(as_theirs, 60, pause=0.5)
        _, ours = both("global_variables", "no_such_collector")
        assert "mysql_global_variables_max_connections" in ours
        assert {name for name in ours if not re.fullmatch(COLLECTORS["global_variables"], name)} == set()
        # Of names that are all unknown, or of what is off, each shows everything.
        for name in ("no_such_collector", "perf_schema.tablelocks"):
            for page in both(name):
                assert page >= {"mysql_global_variables_max_connections", "mysql_global_status_uptime"}
        status, text = exporter.get(f"/probe?target={server.host}:{server.port}&collect%5B%5D=global_status")
    page = parse(text)
    assert (status, page.value("mysql_up"), page.value("db_up")) == (200, 1, 1)
    assert "mysql_global_status_uptime" in names(page)
    assert "mysql_global_variables_max_connections" not in names(page)
    assert "db_statements_total" not in page.metrics


def test_passwords_are_what_the_real_one_reads(
    server: DatabaseServer, program: Callable[..., Program], tmp_path: Path
) -> None:
    text, passwords = BEFORE, {}
    for number, (said, password) in enumerate(PASSWORDS.items()):
        user = f"read{number}"
        passwords[user] = password.replace("{user}", user)
        quoted = passwords[user].replace("\\", "\\\\").replace("'", "''")
        server.execute(f"CREATE USER {user} IDENTIFIED BY '{quoted}'")
        text += f"[client.{user}]\nuser = {user}\npassword = {said}{AFTER}"
    try:
        (tmp_path / "my.cnf").write_text(text)
        url = f"http://127.0.0.1:{(port := free_port())}"
        argv = [tool("mysqld_exporter"), f"--web.listen-address=127.0.0.1:{port}", f"--config.my-cnf={tmp_path}/my.cnf"]
        program("peer", argv, env=ENV, url=f"{url}/")
        probe = f"{url}/probe?target={server.host}:{server.port}&collect[]=no_such_collector&auth_module=client."
        up = {user: fetch(probe + user).value("mysql_up") for user in passwords}
    finally:
        for user in passwords:
            server.execute(f"DROP USER {user}")
    assert up == dict.fromkeys(passwords, 1)
    found = ini.sections(text, ENV)
    assert {user: found[f"client.{user}"]["password"] for user in passwords} == passwords


def test_an_empty_password_in_the_file_is_none(
    server: DatabaseServer, program: Callable[..., Program], tmp_path: Path
) -> None:
    """The variable counts where the file says nothing of a password, and only there."""
    file = tmp_path / "my.cnf"
    file.write_text(f"[client]\nuser = open\npassword =\nhost = {server.host}\nport = {server.port}\n")
    flags, env = (f"--config.my-cnf={file}",), {"MYSQLD_EXPORTER_PASSWORD": "of somebody else"}
    server.execute("CREATE USER open")
    try:
        assert peer(program, "/metrics", *flags, **env).value("mysql_up") == 1
        with Exporter(tmp_path, None, env, flags=flags) as exporter:
            assert parse(exporter.get("/metrics")[1]).value("mysql_up") == 1
    finally:
        server.execute("DROP USER open")


def test_words_for_tls_are_those_that_the_real_one_knows(program: Callable[..., Program], tmp_path: Path) -> None:
    words = ("true", "TRUE", "1", "0", "false", "skip-verify", "preferred", "nosuch", "verify-full", "no", "custom")
    file = tmp_path / "my.cnf"
    section = "[client.{0}]\nuser = ann\npassword = x\nhost = 127.0.0.1\nport = 1\ntls = {0}\n"
    file.write_text("[client]\nuser = ann\n" + "".join(section.format(word) for word in words))
    url = f"http://127.0.0.1:{(port := free_port())}"
    argv = [tool("mysqld_exporter"), f"--web.listen-address=127.0.0.1:{port}", f"--config.my-cnf={file}"]
    theirs = program("peer", argv, url=f"{url}/")
    for word in words:
        assert fetch(f"{url}/probe?target=127.0.0.1:1&auth_module=client.{word}").value("mysql_up") == 0
    refused = set(re.findall(r"unknown config name: ([\w-]+)", (theirs.directory / "log").read_text()))
    assert {"nosuch", "custom"} <= refused < set(words)
    for word in words:
        file.write_text(section.format(word))
        given = take([f"--config.my-cnf={file}"], {})[1]
        if word in refused:
            with pytest.raises(ConfigError, match="tls in"):
                from_my_cnf(given, {})
        else:
            assert from_my_cnf(given, {}).servers


@pytest.mark.parametrize(
    ("section", "lines", "address"),
    [
        ("client.a", "user = {user}\npassword = {password}\n", "{host}:{port}"),
        ("prod", "user = {user}\npassword = {password}\nhost = {host}\nport = {port}\nssl_ca = /none\n", "127.0.0.1:1"),
    ],
    ids=["below client", "of its own"],
)
def test_an_account_that_is_not_that_of_client(
    server: DatabaseServer, program: Callable[..., Program], tmp_path: Path, section: str, lines: str, address: str
) -> None:
    account = server.account()
    said = {"user": account.user, "password": f'"{account.password}"', "host": server.host, "port": server.port}
    (tmp_path / "my.cnf").write_text(f"[{section}]\n{lines.format(**said)}")
    flags = (f"--config.my-cnf={tmp_path / 'my.cnf'}", f"--mysqld.address={address.format(**said)}")
    probe = f"/probe?target={server.host}:{server.port}&auth_module={section}"
    assert peer(program, probe, *flags).value("mysql_up") == 1
    with Exporter(tmp_path, None, {}, flags=flags) as exporter:
        status, text = exporter.get(probe)
    assert (status, parse(text).value("mysql_up")) == (200, 1)


def test_times_and_the_slow_log_as_sessions_have_them(server: DatabaseServer, tmp_path: Path) -> None:
    account = server.account()
    limit = "max_execution_time / 1000" if server.flavor == "mysql" else "max_statement_time"
    own = {
        "sql": "SELECT @@SESSION.lock_wait_timeout AS own_lock_seconds, "
        f"@@SESSION.innodb_lock_wait_timeout AS own_row_lock_seconds, @@SESSION.{limit} AS own_limit_seconds",
        "measures": [{"name": f"own_{name}_seconds", "help": "Ours"} for name in ("lock", "row_lock", "limit")],
    }
    entry = {"name": "one", "url": server.url(account), "queries": {"own": own}}
    flags = ("--exporter.lock_wait_timeout=7", "--exporter.query_timeout=4", "--exporter.log_slow_filter")
    server.execute("SET GLOBAL slow_query_log = 1, GLOBAL long_query_time = 0, GLOBAL log_output = 'TABLE'")
    try:
        with Exporter(tmp_path, {"servers": [entry]}, flags=flags) as exporter:
            page = exporter.scrape_until(lambda page: page.has("own_limit_seconds"), "one")
            log = exporter.log()
            if server.flavor == "mysql":
                found = server.execute(
                    "SELECT DISTINCT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.variables_by_thread "
                    "JOIN performance_schema.threads USING (THREAD_ID) WHERE PROCESSLIST_USER = %s "
                    "AND VARIABLE_NAME IN ('lock_wait_timeout', 'max_execution_time')",
                    params=(account.user,),
                )
                assert {value for name, value in found if name == "lock_wait_timeout"} == {"7"}
                assert all(int(value) < 4000 for name, value in found if name == "max_execution_time")
        with server.connect(user=account.user, password=account.password) as other, other.cursor() as cursor:
            cursor.execute("SELECT 'somebody of that account'")
    finally:
        server.execute("SET GLOBAL slow_query_log = 0, GLOBAL long_query_time = 10, GLOBAL log_output = 'FILE'")
    assert (page.value("own_lock_seconds"), page.value("own_row_lock_seconds")) == (7, 7)
    # Somewhat below what the client waits; 5 s without the flag.
    assert 3.2 < page.value("own_limit_seconds") < 4
    logged = server.execute(
        "SELECT CONVERT(sql_text USING utf8mb4) FROM mysql.slow_log WHERE user_host LIKE %s AND start_time >= "
        "(SELECT MAX(start_time) FROM mysql.slow_log WHERE sql_text LIKE '%%somebody of%%') - INTERVAL 1 HOUR",
        params=(f"{account.user}[%",),
    )
    assert "SELECT 'somebody of that account'" in [text for (text,) in logged]
    assert [text for (text,) in logged if "own_limit_seconds" in text or "performance_schema" in text] == []
    assert "level=warn" not in log, log


@pytest.mark.parametrize(
    ("column", "written", "utc"),
    [
        ("varchar(26)", "2026-01-02T06:04:05.678900", False),
        ("timestamp(6)", "2026-01-02 06:04:05.678900", False),
        ("varchar(26)", "2026-01-02T03:04:05.678900", True),
    ],
)
def test_a_heartbeat_table_of_another_name_in_another_time_zone(
    server: DatabaseServer, program: Callable[..., Program], tmp_path: Path, column: str, written: str, utc: bool
) -> None:
    before = server.execute("SELECT @@GLOBAL.time_zone")[0][0]
    server.execute("SET GLOBAL time_zone = '+03:00'")
    try:
        server.execute("CREATE DATABASE IF NOT EXISTS `odd ``beats`")
        server.execute("DROP TABLE IF EXISTS `odd ``beats`.beat")
        server.execute(f"CREATE TABLE `odd ``beats`.beat (ts {column} NOT NULL, server_id int unsigned PRIMARY KEY)")
        server.execute(f"INSERT INTO `odd ``beats`.beat VALUES ('{written}', 7)")
        account = server.account("GRANT SELECT ON `odd ``beats`.* TO exporter")
        flags = [
            f"--mysqld.address={server.host}:{server.port}", f"--mysqld.username={account.user}",
            f"--config.my-cnf={tmp_path / 'none'}", "--collect.heartbeat",
            "--collect.heartbeat.table=beat", *(["--collect.heartbeat.utc"] if utc else []),
        ]  # fmt: skip
        env = {"MYSQLD_EXPORTER_PASSWORD": account.password}
        # Theirs puts the name between backticks as it is.
        theirs = peer(program, "/metrics", *flags, "--collect.heartbeat.database=odd ``beats", **env)
        with Exporter(tmp_path, None, env, flags=[*flags, "--collect.heartbeat.database=odd `beats"]) as exporter:
            ours, log = parse(exporter.get("/metrics")[1]), exporter.log()
    finally:
        server.execute(f"SET GLOBAL time_zone = '{before}'")
    told = [{dict(labels)["server_id"] for labels in page.metrics[STORED]} for page in (ours, theirs)]
    assert told == [{"7"}, {"7"}]
    moment = datetime(2026, 1, 2, 3, 4, 5, 678900, UTC).timestamp()
    assert ours.value(STORED) == pytest.approx(moment, abs=1e-5)
    assert ours.value(NOW) == pytest.approx(time.time(), abs=300)
    # Theirs takes both for times of the server's zone: their difference is right.
    wrong = 3 * 3600 if utc else 0
    assert theirs.value(STORED) == pytest.approx(moment - wrong, abs=1e-5)
    assert theirs.value(NOW) == pytest.approx(time.time() - wrong, abs=300)
    assert "level=warn" not in log, log
