"""mysqld_exporter beside ours: the same names, labels and values, but for what is listed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.compare.deviations.mysql import DEVIATIONS
from exporter.compare.pages import fetch
from exporter.compare.series import compare
from tests.contract.peers import readings, unexplained
from tests.exporters import Exporter
from tests.providers.base import DatabaseServer, wait_for
from tests.providers.processes import free_port
from tests.providers.tools import Program, tool
from tests.servers.collecting import watching

pytestmark = pytest.mark.engine("mysql")


@pytest.mark.parametrize("role", ["primary", "replica"])
def test_everything_of_theirs_is_here_with_the_same_value(
    server: DatabaseServer, replica: DatabaseServer, role: str, program: Callable[..., Program], tmp_path: Path
) -> None:
    asked = {"primary": server, "replica": replica}[role]
    account, peer = server.account(), server.account(name="peer")
    replica.wait_until_caught_up()
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    program(
        "peer",
        [tool("mysqld_exporter"), f"--web.listen-address=127.0.0.1:{port}", "--collect.binlog_size",
         "--collect.info_schema.innodb_metrics", f"--mysqld.address={asked.host}:{asked.port}",
         f"--mysqld.username={peer.user}"],
        env={"MYSQLD_EXPORTER_PASSWORD": peer.password},
        url=url,
    )  # fmt: skip
    assert wait_for(lambda: fetch(url).value("mysql_up") == 1, 15)
    with watching(asked, account) as watch:
        facts = watch.facts()
    applying = [item for item in DEVIATIONS if item.when.passes(facts)]
    with Exporter(tmp_path, {"servers": [{"name": "it", "url": asked.url(account)}]}) as exporter:
        read = readings(exporter, "it", url)
    result = compare(read, applying)
    assert unexplained(result) == []
    # What is listed as left out is not all of it.
    theirs, ours = read[-1].theirs.metrics, read[-1].after.metrics
    assert len([name for name in theirs if name in ours and name.startswith("mysql_global_")]) > 50
    # What they don't have: the old names of replication on a server that has new ones.
    prefixes = (
        "mysql_global_",
        "mysql_slave_status_",
        "mysql_binlog_",
        "mysql_version_info",
        "mysql_info_schema_innodb_",
    )
    more = {name for name in ours if name.startswith(prefixes)} - set(theirs)
    assert all(name.startswith("mysql_slave_status_") for name in more), more
    assert bool(more) is (role == "replica" and server.flavor == "mysql")
