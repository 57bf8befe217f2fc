"""How long a source of MariaDB may be silent until nothing is received from it."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.collectors.mysql.replica_status import SignsOfLife
from exporter.config.model import ServerConfig
from exporter.declare import Context, Rows
from exporter.facts import Facts, Identity, Role
from exporter.failure import Failure, Reason

SERVER = ServerConfig(name="tested", engine="mysql", host="127.0.0.1", port=3306)
FACTS = Facts("mysql", "mariadb", (11, 8), "11.8", Identity("", 0, Role.REPLICA))


def row(channel: str = "", **changed: Any) -> dict[str, Any]:
    return {
        "channel": channel,
        "running": 1,
        "behind": 0,
        "unapplied": 0,
        "slave_io_running": "Yes",
        "slave_heartbeat_period": 30.0,
        "slave_received_heartbeats": 7,
        "master_log_file": "binlog.000003",
        "read_master_log_pos": 400,
    } | changed


def seen(signs: SignsOfLife, now: float, *rows: dict[str, Any]) -> list[tuple[Any, Any, Any]]:
    found = signs.feed(Rows.of(tuple(rows[0]), rows), Context(SERVER, FACTS, now)).dicts()
    return [(each["running"], each["behind"], each["unapplied"]) for each in found]


def test_mariadb_is_not_asked_for_what_a_full_disk_holds_up():
    signs, context = SignsOfLife(), Context(SERVER, FACTS, 1000)
    first = signs.ask("SHOW IT", [], context)
    assert first is not None
    assert "PROCESSLIST" in first
    nobody, status, stuck = Rows(("1",), []), Rows(("channel",), []), Rows(("1",), [(1,)])
    assert signs.ask("SHOW IT", [nobody], context) == "SHOW IT"
    assert signs.ask("SHOW IT", [nobody, status], context) is None
    with pytest.raises(Failure, match="full disk") as failed:
        signs.ask("SHOW IT", [stuck], context)
    assert (failed.value.reason, failed.value.broken) == (Reason.LOCK, False)


def test_a_silence_of_one_and_a_half_heartbeats():
    signs = SignsOfLife()
    for now in (1000, 1045):
        assert seen(signs, now, row()) == [(1, 0, 0)]
    assert seen(signs, 1046, row()) == [(0, None, None)]
    assert seen(signs, 1047, row(behind=90)) == [(0, 90, None)], "what is known to be behind is still"


def test_every_sign_of_life_ends_it():
    for sign in ({"slave_received_heartbeats": 8}, {"read_master_log_pos": 900}, {"master_log_file": "binlog.000004"}):
        signs = SignsOfLife()
        seen(signs, 1000, row())
        assert seen(signs, 1100, row(**sign)) == [(1, 0, 0)]
        assert seen(signs, 1140, row(**sign)) == [(1, 0, 0)]
        assert seen(signs, 1200, row(**sign)) == [(0, None, None)]


def test_a_receiver_that_comes_back_is_given_its_time():
    signs = SignsOfLife()
    seen(signs, 1000, row())
    assert seen(signs, 1100, row(running=0, slave_io_running="Connecting")) == [(0, 0, 0)]
    assert seen(signs, 1200, row()) == [(1, 0, 0)]


def test_without_heartbeats_nobody_can_tell_after_a_minute():
    signs = SignsOfLife()
    seen(signs, 1000, row(slave_heartbeat_period=0.0))
    assert seen(signs, 1060, row(slave_heartbeat_period=0.0)) == [(1, 0, 0)]
    assert seen(signs, 1061, row(slave_heartbeat_period=0.0)) == [(None, None, None)]


def test_channels_are_told_apart_and_another_server_begins_anew():
    signs = SignsOfLife()
    seen(signs, 1000, row("one"), row("two"))
    later = row("two", slave_received_heartbeats=8)
    assert seen(signs, 1050, row("one"), later) == [(0, None, None), (1, 0, 0)]
    signs.rebase()
    assert seen(signs, 1051, row("one"), later) == [(1, 0, 0), (1, 0, 0)]


def test_mysql_s_rows_pass():
    plain = {key: value for key, value in row().items() if key != "slave_heartbeat_period"}
    signs = SignsOfLife()
    for now in (0, 100_000):
        assert seen(signs, now, plain) == [(1, 0, 0)]
