"""`check` on real servers: what it says is true, its status fits, and the statements it prints mend what it found."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest

from exporter.registry import collectors_of
from tests.checks import Checked, check
from tests.exporters import server_entry
from tests.providers.base import Account, DatabaseServer
from tests.providers.mysql import ROLE_TABLES, USER_COLUMNS

CANARY = "canary-9c2e!&#;%@?"
FLAVORS = {"postgres": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB"}
# Without these a MariaDB is degraded with every account: it keeps performance_schema off.
COMPLETE: dict[str, dict[str, str]] = {"postgres": {}, "mysql": {}, "mariadb": {"performance_schema": "ON"}}


def bare(server: DatabaseServer, name: str = "bare") -> Account:
    """Make an account that may connect and nothing else."""
    account = Account(name, f"{name} secret")
    if server.engine == "postgres":
        server.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{account.password}'")
    else:
        server.execute(f"CREATE USER '{name}'@'%' IDENTIFIED BY '{account.password}'")
    return account


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def mend(server: DatabaseServer, checked: Checked) -> None:
    """Execute what `check` printed, as it printed it."""
    for database, statement in checked.statements():
        server.execute(statement, database if server.engine == "postgres" else None)


def test_a_sound_server_passes(server: DatabaseServer, fresh_server: Any, tmp_path: Path) -> None:
    settings = COMPLETE[server.flavor]
    sound = fresh_server(server.name, settings) if settings else server
    result = check(tmp_path, server_entry(sound, sound.account()))
    assert result.code == 0, result.out + result.err
    assert result.fixes == {}
    head = result.out.splitlines()[0]
    assert head.startswith(f"{sound.name}  {FLAVORS[sound.flavor]} {'.'.join(map(str, sound.version))}")
    assert ", primary, not encrypted" in head
    assert set(result.states) == {collector.name for collector in collectors_of(sound.engine)}
    off = {collector.name for collector in collectors_of(sound.engine) if not collector.default}
    assert {name for name, state in result.states.items() if state == "disabled"} == off
    assert set(result.states.values()) <= {"ok", "unsupported", "disabled"}
    for name, state in result.states.items():
        if state == "ok":
            assert re.search(r"\d+\.\d ms +\d+ series  every (scrape|\d+ s)$", result.said[name]), result.out
        elif state == "unsupported":
            assert result.said[name].startswith(("needs ", "not for "))
    total = sum(int(found) for found in re.findall(r"ms +(\d+) series", result.out))
    assert f"  {len(result.states)} collectors, {total} series\n" in result.out
    assert total > 100
    assert result.err == ""


def test_a_replica_is_called_one(replica: DatabaseServer, tmp_path: Path) -> None:
    assert replica.primary is not None
    account = replica.primary.account()
    replica.wait_until_caught_up()
    result = check(tmp_path, server_entry(replica, account))
    assert ", replica, " in result.out.splitlines()[0]
    status = "pg_stat_wal_receiver" if replica.engine == "postgres" else "mysql_replica_status"
    assert result.states[status] == "ok"
    assert "failed" not in result.states.values()


@pytest.mark.engine("postgres")
def test_printed_statements_mend_a_postgres(server: DatabaseServer, fresh_server: Any, tmp_path: Path) -> None:
    broken = fresh_server(server.name)
    account = bare(broken)
    broken.execute("DROP EXTENSION pg_stat_statements")
    broken.execute("CREATE DATABASE closed")
    broken.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id", "closed")
    broken.execute("REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
    first = check(tmp_path, server_entry(broken, account))
    assert first.code == 1
    assert first.statements() >= {
        ("postgres", "CREATE EXTENSION pg_stat_statements;"),
        (None, "GRANT pg_monitor TO bare;"),
        (None, "GRANT CONNECT ON DATABASE closed TO bare;"),
    }
    assert first.states["pg_statements"] == "unsupported"
    # The rest of them is not held up; what the account sees only in part is not shown as if it were all.
    assert first.states["pg_stat_database"] == "ok"
    assert first.states["pg_activity"] == "unsupported"
    mend(broken, first)
    second = check(tmp_path, server_entry(broken, account))
    assert second.code == 0, second.out
    assert second.fixes == {}
    for name in ("pg_statements", "pg_storage", "pg_table_sizes", "pg_activity"):
        assert second.states[name] == "ok"
    assert _series(second, "pg_table_sizes") > _series(first, "pg_table_sizes") > 0


@pytest.mark.engine("postgres")
def test_a_closed_database_is_told_unless_it_is_excluded(server: DatabaseServer, tmp_path: Path) -> None:
    server.execute('CREATE DATABASE "check Closed"')
    try:
        server.execute('REVOKE CONNECT ON DATABASE "check Closed" FROM PUBLIC')
        entry = server_entry(server, server.account())
        told = check(tmp_path, entry)
        assert told.code == 1
        assert told.statements() == {(None, 'GRANT CONNECT ON DATABASE "check Closed" TO exporter;')}
        excluded = check(tmp_path, {**entry, "databases": {"exclude": ["check *"]}})
        assert excluded.code == 0
        assert "check Closed" not in excluded.out
    finally:
        server.execute('DROP DATABASE "check Closed"')


def _series(checked: Checked, collector: str) -> int:
    found = re.search(r"(\d+) series", checked.said[collector])
    return int(found[1]) if found else 0


@pytest.mark.engine("postgres")
def test_a_library_that_is_not_preloaded_is_told(postgres: DatabaseServer, fresh_server: Any, tmp_path: Path) -> None:
    broken = fresh_server(postgres.name)
    broken.execute("DROP EXTENSION pg_stat_statements")
    broken.restart(shared_preload_libraries="")
    account = broken.account()
    first = check(tmp_path, server_entry(broken, account))
    assert first.code == 1
    assert "shared_preload_libraries" in first.fixes["pg_statements"]
    assert "CREATE EXTENSION pg_stat_statements;" in first.fixes["pg_statements"]
    broken.restart(shared_preload_libraries="pg_stat_statements")
    mend(broken, first)
    assert check(tmp_path, server_entry(broken, account)).code == 0


@pytest.mark.engine("mysql")
def test_printed_statements_mend_a_mysql(server: DatabaseServer, fresh_server: Any, tmp_path: Path) -> None:
    broken = fresh_server(server.name, COMPLETE[server.flavor])
    account = bare(broken)
    first = check(tmp_path, server_entry(broken, account))
    assert first.code == 1
    monitor = {"mysql": {"REPLICATION CLIENT"}, "mariadb": {"BINLOG MONITOR", "SLAVE MONITOR"}}[server.flavor]
    expected = {f"GRANT {name} ON *.* TO 'bare'@'%';" for name in {"PROCESS", "REFERENCES"} | monitor}
    expected.add("GRANT SELECT ON performance_schema.* TO 'bare'@'%';")
    expected.add(f"GRANT SELECT ({USER_COLUMNS[server.flavor]}) ON mysql.user TO 'bare'@'%';")
    expected |= {f"GRANT SELECT ON mysql.{table} TO 'bare'@'%';" for table in ROLE_TABLES[server.flavor]}
    assert {sql for _, sql in first.statements()} == expected
    assert first.states["mysql_status"] == "ok"
    mend(broken, first)
    second = check(tmp_path, server_entry(broken, account))
    assert second.code == 0, second.out
    assert second.fixes == {}
    for name in first.fixes:
        assert second.states[name] == "ok"


@pytest.mark.flavor("mariadb")
def test_a_mariadb_without_performance_schema_is_degraded(
    server: DatabaseServer, fresh_server: Any, tmp_path: Path
) -> None:
    plain = fresh_server(server.name, {"long_query_time": "10"})
    account = plain.account()
    first = check(tmp_path, server_entry(plain, account))
    assert first.code == 1
    assert "performance_schema=ON" in first.fixes["mysql_statements"]
    assert (None, "SET GLOBAL long_query_time = 1;") in first.statements()
    mend(plain, first)
    second = check(tmp_path, server_entry(plain, account))
    assert second.states["mysql_slow_statements_status"] == "ok"
    assert second.code == 1
    plain.restart(performance_schema="ON")
    third = check(tmp_path, server_entry(plain, account))
    assert third.code == 0, third.out
    assert third.states["mysql_statements"] == "ok"


@pytest.mark.flavor("mysql")
def test_an_instrument_that_is_off_is_told(server: DatabaseServer, fresh_server: Any, tmp_path: Path) -> None:
    off = fresh_server(server.name)
    account = off.account()
    off.execute("UPDATE performance_schema.setup_instruments SET ENABLED = 'NO' WHERE NAME = 'transaction'")
    first = check(tmp_path, server_entry(off, account))
    assert first.code == 1
    assert set(first.fixes) == {"mysql_transactions"}
    mend(off, first)
    assert check(tmp_path, server_entry(off, account)).code == 0


def test_what_was_asked_for_by_name_fails_where_it_cannot_run(server: DatabaseServer, tmp_path: Path) -> None:
    name = "pg_stat_wal_receiver" if server.engine == "postgres" else "mysql_replica_pool"
    account = server.account()
    result = check(tmp_path, server_entry(server, account, collectors={name: True}))
    assert result.states[name] == "failed"
    assert result.code == 1
    result = check(tmp_path, server_entry(server, account, collectors={name: False}))
    assert result.states[name] == "disabled"


def test_tls_is_told(server: DatabaseServer, fresh_server: Any, tmp_path: Path) -> None:
    secure = fresh_server(server.name, tls=True)
    assert secure.certificate is not None
    tls = {"mode": "verify-full", "ca": str(secure.certificate.authority)}
    result = check(tmp_path, server_entry(secure, secure.account(), tls=tls))
    assert re.search(r", primary, TLSv1\.[23]\b", result.out.splitlines()[0]), result.out
    assert result.code in (0, 1)
    elsewhere = fresh_server(server.name, tls=True)
    refused = check(tmp_path, server_entry(elsewhere, elsewhere.account(), tls=tls))
    assert refused.code == 2
    assert "unreachable" in refused.out
    assert ": tls: " in refused.out
    assert "to mend it: " in refused.out
    assert "tls.ca" in refused.out


def test_a_server_that_is_gone_is_worse_than_a_degraded_one(server: DatabaseServer, tmp_path: Path) -> None:
    port = unused_port()
    scheme = "postgresql" if server.engine == "postgres" else "mysql"
    name = "pg_stat_wal_receiver" if server.engine == "postgres" else "mysql_replica_pool"
    degraded = server_entry(server, server.account(), collectors={name: True})
    gone = {"name": "gone", "url": f"{scheme}://u:p@127.0.0.1:{port}/"}
    paused = {"name": "resting", "url": f"{scheme}://u:p@127.0.0.1:{port}/", "paused": True}
    for order in ((degraded, gone, paused), (gone, paused, degraded)):
        result = check(tmp_path, *order)
        assert result.code == 2
        assert f"gone  unreachable at 127.0.0.1:{port}: connect: " in result.out
        assert "resting: paused by the config" in result.out
        assert f"{server.name}  {FLAVORS[server.flavor]}" in result.out
        assert result.states[name] == "failed"
        # In the order of the config, whichever is done first.
        places = [result.out.index(f"\n{entry['name']}") for entry in order[1:]]
        assert places == sorted(places)
    assert check(tmp_path, degraded, paused).code == 1
    assert check(tmp_path, paused).code == 0


def test_a_config_that_is_wrong_is_refused(server: DatabaseServer, tmp_path: Path) -> None:
    entry = server_entry(server, server.account())
    misspelt = check(tmp_path, {**entry, "pasused": True})
    assert misspelt.code == 2
    assert "pasused" in misspelt.err
    assert "paused" in misspelt.err.replace("pasused", "")
    assert re.search(r"check\.yml:\d+:\d+", misspelt.err)
    twice = check(tmp_path, entry, entry)
    assert twice.code == 2
    assert server.name in twice.err
    for result in (misspelt, twice):
        assert "Traceback" not in result.err
        assert "secret" not in result.err + result.out


def test_piped_output_is_plain_and_not_wrapped(server: DatabaseServer, tmp_path: Path) -> None:
    account = bare(server, "bare_piped")
    try:
        result = check(tmp_path, server_entry(server, account))
    finally:
        drop = "DROP ROLE bare_piped" if server.engine == "postgres" else "DROP USER 'bare_piped'@'%'"
        server.execute(drop)
    assert "\x1b" not in result.out
    lines = result.out.splitlines()
    # A head, each collector on one line, each fix on one, the sum and an empty line.
    assert len([line for line in lines if line]) == 2 + len(result.states) + len(result.fixes)
    assert max(map(len, lines)) > 80


def test_the_password_shows_nowhere(server: DatabaseServer, tmp_path: Path) -> None:
    right = server.account()
    url = server.url(right).rsplit("@", 1)[1]
    scheme = "postgresql" if server.engine == "postgres" else "mysql"
    for args in ((), ("--grants",), ("--log.level=debug",)):
        entry = {"name": "shut", "url": f"{scheme}://{url}", "user": right.user, "password": CANARY}
        result = check(tmp_path, entry, args=args)
        assert result.code == 2
        assert "shut  unreachable" in result.out
        assert ": auth: " in result.out
        for text in (result.out, result.err):
            assert "canary" not in text
            assert "Traceback" not in text
    answered = check(tmp_path, server_entry(server, right), args=("--log.level=debug",))
    assert right.password not in answered.out + answered.err
