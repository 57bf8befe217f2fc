"""Semi-synchronous replication at work, and with a replica that does not answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.providers.base import DatabaseServer, wait_for
from tests.servers.collecting import watching

pytestmark = pytest.mark.engine("mysql")


def said(server: DatabaseServer, side: str) -> dict[str, Any]:
    """What the server says of a side, by the end of the name."""
    old = {"source": "master", "replica": "slave"}[side]
    shown = server.execute(f"SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_{side if server.flavor == 'mysql' else old}%'")
    return {str(name).lower().split("_", 4)[-1]: value for name, value in shown}


def reconnect(replica: DatabaseServer) -> None:
    """Have the receiver begin anew, which makes it tell the source whether it acknowledges."""
    word = "REPLICA" if replica.flavor == "mysql" else "SLAVE"
    replica.execute(f"STOP {word} IO_THREAD")
    replica.execute(f"START {word} IO_THREAD")


@pytest.fixture
def pair(server: DatabaseServer, replica: DatabaseServer) -> Iterator[tuple[DatabaseServer, DatabaseServer]]:
    """A source whose commits wait for a replica, for three seconds at most."""
    server.execute("CREATE DATABASE IF NOT EXISTS semi")
    server.execute("CREATE TABLE IF NOT EXISTS semi.t (a int PRIMARY KEY AUTO_INCREMENT)")
    replica.wait_until_caught_up()
    sides = {"source": server, "replica": replica}
    switch = {"source": "rpl_semi_sync_master", "replica": "rpl_semi_sync_slave"}
    if server.flavor == "mysql":
        switch = {side: f"rpl_semi_sync_{side}" for side in sides}
        for side, each in sides.items():
            each.execute(f"INSTALL PLUGIN rpl_semi_sync_{side} SONAME 'semisync_{side}.so'")
    server.execute(f"SET GLOBAL {switch['source']}_timeout = 3000")
    for side, each in sides.items():
        each.execute(f"SET GLOBAL {switch[side]}_enabled = ON")
    reconnect(replica)
    yield server, replica
    for side, each in sides.items():
        each.execute(f"SET GLOBAL {switch[side]}_enabled = OFF")
    reconnect(replica)
    if server.flavor == "mysql":
        # The source's plugin stays for as long as an acknowledging replica is connected.
        assert wait_for(lambda: said(server, "source")["clients"] == "0", 10)
        for side, each in sides.items():
            each.execute(f"UNINSTALL PLUGIN rpl_semi_sync_{side}")
    replica.wait_until_caught_up()


def test_commits_that_wait_and_commits_that_wait_in_vain(pair: tuple[DatabaseServer, DatabaseServer]) -> None:
    source, replica = pair
    insert = "INSERT INTO semi.t VALUES ()"
    with watching(replica) as there, watching(source) as watch:

        def told(name: str, **labels: str) -> float:
            return watch.run("mysql_semi_sync").one(f"mysql_semi_sync_{name}", **labels)

        assert wait_for(lambda: told("replicas") == 1, 15)
        source.execute(insert)
        assert wait_for(lambda: told("active", side="source") == 1, 15)
        assert there.run("mysql_semi_sync").one("mysql_semi_sync_active", side="replica") == 1
        acknowledged = told("transactions_total", acknowledged="yes")
        waits = told("waits_total")
        for _ in range(3):
            source.execute(insert)
        assert told("transactions_total", acknowledged="yes") == acknowledged + 3
        # Where the replica is quicker than the commit, that does not wait.
        assert waits <= told("waits_total") == int(said(source, "source")["tx_waits"]) <= waits + 3
        lost = told("transactions_total", acknowledged="no")
        fallbacks, waited = told("fallbacks_total"), told("wait_seconds_total")
        assert waited == pytest.approx(int(said(source, "source")["tx_wait_time"]) / 1e6)
        # The replica takes nothing: the commit waits for its three seconds, and then goes on alone.
        replica.pause()
        try:
            writer = threading.Thread(target=source.execute, args=(insert,))
            writer.start()
            assert wait_for(lambda: told("waiting_sessions") == 1, 5, 0.05)
            writer.join(30)
            assert told("waiting_sessions") == 0
            assert told("active", side="source") == 0
            assert told("fallbacks_total") == fallbacks + 1
            assert told("transactions_total", acknowledged="no") == lost + 1
        finally:
            replica.resume()
        replica.wait_until_caught_up()
        assert wait_for(lambda: told("active", side="source") == 1, 15)
