"""Our drop-in families against the pages of a real mysqld_exporter: same names, labels and values."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable

import pytest

from tests.providers.base import DatabaseServer, wait_for
from tests.providers.processes import free_port
from tests.providers.tools import Program, tool
from tests.servers.collecting import Samples, watching

pytestmark = pytest.mark.engine("mysql")
COLLECTORS = ("mysql_binlog", "mysql_deadlocks", "mysql_replica_status", "mysql_status", "mysql_variables")
PREFIXES = ("mysql_global_", "mysql_slave_status_", "mysql_binlog_", "mysql_version_info", "mysql_info_schema_innodb_")

Key = tuple[str, frozenset[tuple[str, str]]]


def keyed(samples: Samples) -> dict[Key, float]:
    return {
        (name, frozenset((k, v) for k, v in labels.items() if v)): value
        for name, labels, value in samples.all
        if name.startswith(PREFIXES)
    }


@pytest.mark.parametrize("role", ["primary", "replica"])
def test_same_names_labels_and_values(
    server: DatabaseServer, replica: DatabaseServer, role: str, program: Callable[..., Program]
) -> None:
    asked = {"primary": server, "replica": replica}[role]
    account, peer = server.account(), server.account(name="peer")
    replica.wait_until_caught_up()
    port = free_port()
    program(
        "peer",
        [tool("mysqld_exporter"), f"--web.listen-address=127.0.0.1:{port}", "--collect.binlog_size",
         "--collect.info_schema.innodb_metrics", f"--mysqld.address={asked.host}:{asked.port}",
         f"--mysqld.username={peer.user}"],
        env={"MYSQLD_EXPORTER_PASSWORD": peer.password},
    )  # fmt: skip

    def page() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
            return str(response.read().decode())

    assert wait_for(lambda: _opens(page), 15)
    with watching(asked, account) as watch:
        facts = watch.facts()

        def ours() -> dict[Key, float]:
            return {key: value for name in COLLECTORS for key, value in keyed(watch.run(name, facts)).items()}

        least = ours()
        theirs = keyed(Samples(page()))
        most = ours()
    both = set(least) & set(theirs)
    assert len(both) > 60
    # What goes up and down with each session of either exporter is not compared.
    gauges = ("threads_", "open_", "innodb_buffer_pool_bytes_dirty", "buffer_pool_", "select_")
    different = {
        key: (least[key], theirs[key], most[key])
        for key in both
        if not key[0].removeprefix("mysql_global_status_").startswith(gauges)
        and not min(least[key], most[key]) <= theirs[key] <= max(least[key], most[key])
    }
    assert not different
    # What they don't have: the old names of replication on a server that has new ones.
    more = {name for name, _ in set(least) - set(theirs)}
    assert all(name.startswith("mysql_slave_status_") for name in more), more
    assert bool(more) is (role == "replica" and server.flavor == "mysql")


def _opens(page: Callable[[], str]) -> bool:
    try:
        return "mysql_up 1" in page()
    except OSError:
        return False
