"""A node of a Galera cluster, by the examples of the library's manual: no server of the tests has the library."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.collectors.mysql.galera import galera, told
from exporter.collectors.mysql.status import derived, status
from exporter.declare import Collector, Rows
from exporter.exposition.page import Dialect, page
from exporter.exposition.render import render
from tests.unit.test_mysql_rows import context

NODE = Path(__file__).parent / "galera_status.txt"


def shown(**changes: str | None) -> Rows:
    """What SHOW GLOBAL STATUS LIKE 'wsrep%' prints, with changes; None leaves a variable out."""
    lines = dict(re.findall(r"^(\w+)\t(.*)$", NODE.read_text(), re.MULTILINE))
    return Rows(("n", "v"), [(k, v) for k, v in (lines | changes).items() if v is not None])


def samples(collector: Collector, rows: Rows) -> dict[tuple[str, tuple[str, ...]], float]:
    text = page(render(collector, rows, context("mariadb")).families, Dialect.TEXT_0_0_4).decode()
    return {
        (sample.name, tuple(value for name, value in sorted(sample.labels.items()) if name != "server")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_node_that_is_synced() -> None:
    found = samples(galera, told(shown(), context("mariadb")))
    uuid = "e2c9a15e-5485-11e0-0800-6bbb637e7211"
    assert found[("mysql_galera_status_info", (uuid, uuid, "26.4.14(r3d9dcf1)"))] == 1
    assert found[("mysql_galera_evs_repl_latency_min_seconds", ())] == 0.000227664
    assert found[("mysql_galera_evs_repl_latency_avg_seconds", ())] == 0.00034135
    assert found[("mysql_galera_evs_repl_latency_max_seconds", ())] == 0.000544298
    assert found[("mysql_galera_evs_repl_latency_stdev", ())] == 6.03708e-05
    assert found[("mysql_galera_evs_repl_latency_sample_size", ())] == 212
    assert found[("mysql_galera_state_shared", ())] == 1
    assert found[("mysql_galera_flow_control_paused_seconds_total", ())] == 20.222491180
    states = {labels[0]: value for (name, labels), value in found.items() if name == "mysql_galera_state"}
    assert states == {"undefined": 0, "joining": 0, "donor": 0, "joined": 0, "synced": 1, "error": 0}


def test_a_node_that_gives_its_data_to_another() -> None:
    found = samples(galera, told(shown(wsrep_local_state="2", wsrep_local_state_comment="Donor/Desynced"), context()))
    assert {labels[0] for (name, labels), value in found.items() if name == "mysql_galera_state" and value} == {"donor"}


def test_a_node_that_goes_its_own_way() -> None:
    changes = {"wsrep_cluster_state_uuid": "00000000-0000-0000-0000-000000000000", "wsrep_evs_repl_latency": "0/0/0"}
    found = samples(galera, told(shown(**changes), context()))
    assert found[("mysql_galera_state_shared", ())] == 0
    assert not [name for name, _ in found if "latency" in name]


def test_a_library_that_does_not_count_what_it_paused() -> None:
    found = samples(galera, told(shown(wsrep_flow_control_paused_ns=None), context()))
    assert not [name for name, _ in found if "paused" in name]


def test_a_server_without_the_library_tells_nothing() -> None:
    rows = shown(wsrep_local_state_uuid=None, wsrep_cluster_state_uuid="", wsrep_cluster_status="Disconnected")
    assert samples(galera, told(rows, context())) == {}


@pytest.mark.parametrize(
    ("flavor", "version", "value", "runs"),
    [
        ("mariadb", (11, 8), "/usr/lib/galera/libgalera_smm.so", True),
        # Percona's cluster has wsrep_on for a session alone.
        ("percona", (8, 0, 42), "/usr/lib64/galera4/libgalera_smm.so", True),
        ("mariadb", (11, 8), "none", False),
        ("mariadb", (11, 8), "", False),
        ("percona", (8, 0, 42), None, False),
    ],
)
def test_it_runs_where_there_is_a_galera_library(
    flavor: str, version: tuple[int, ...], value: str | None, runs: bool
) -> None:
    settings = {} if value is None else {"wsrep_provider": value}
    facts = replace(context(flavor).facts, settings=settings, version=version, flavor=flavor)
    assert galera.when.passes(facts) == runs


def test_what_else_the_node_counts_stands_among_the_status_variables() -> None:
    """Under mysqld_exporter's names, with the types that the manual gives them."""
    rendered = render(status, derived(shown(), context("mariadb")), context("mariadb"))
    kinds = {family.name.removeprefix("mysql_global_status_"): family.kind for family in rendered.families}
    found = samples(status, derived(shown(), context("mariadb")))
    for name, kind, value in (
        ("wsrep_cluster_status", "gauge", 1),
        ("wsrep_cluster_size", "gauge", 3),
        ("wsrep_ready", "gauge", 1),
        ("wsrep_connected", "gauge", 1),
        ("wsrep_local_state", "gauge", 4),
        ("wsrep_local_recv_queue", "gauge", 0),
        ("wsrep_local_recv_queue_avg", "gauge", 3.348452),
        ("wsrep_local_send_queue", "gauge", 1),
        ("wsrep_flow_control_paused", "gauge", 0.184353),
        ("wsrep_flow_control_sent", "counter", 7),
        ("wsrep_flow_control_recv", "counter", 11),
        ("wsrep_local_cert_failures", "counter", 333),
        ("wsrep_local_bf_aborts", "counter", 960),
        ("wsrep_local_commits", "counter", 14981),
        ("wsrep_replicated_bytes", "counter", 6526788),
        ("wsrep_received_bytes", "counter", 6637093),
        ("wsrep_last_committed", "gauge", 409745),
    ):
        # The parser adds _total to the names of counters.
        suffix = "_total" if kind == "counter" else ""
        assert (kinds[name], found[(f"mysql_global_status_{name}{suffix}", ())]) == (kind, value), name


@pytest.mark.parametrize(
    ("said", "value"), [("Primary", 1), ("Non-Primary", 0), ("non-Primary", 0), ("Disconnected", 0)]
)
def test_whether_the_node_is_in_the_part_with_a_quorum(said: str, value: int) -> None:
    found = samples(status, derived(shown(wsrep_cluster_status=said), context("mariadb")))
    assert found[("mysql_global_status_wsrep_cluster_status", ())] == value
