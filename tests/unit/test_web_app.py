"""The pages over HTTP, of an exporter whose servers are away: everything but the databases is real."""

from __future__ import annotations

import gzip
import json
import re
import socket
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics

from tests.exporters import Exporter, Samples

CANARY = "canary-9f3k2"
HOSTILE = '<script>alert("1")</script>&\\'
CONFIG = f"""
servers:
  - name: away
    url: postgresql://someone:{CANARY}@127.0.0.1:1/postgres
    cluster: shop
    labels: {{env: prod, tier: mine}}
  - name: held
    url: mysql://someone:{CANARY}@127.0.0.1:1
    paused: true
  - name: '{HOSTILE}'
    url: mysql://someone@[::1]:1
"""


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    with Exporter(tmp_path_factory.mktemp("web"), CONFIG) as running:
        yield running


def test_metrics_tells_who_is_away_and_who_is_paused(exporter: Exporter) -> None:
    page = exporter.scrape()
    assert page.value("db_up", server="away") == 0
    assert page.value("pg_up", server="away") == 0
    assert not page.has("db_up", server="held")
    assert page.value("database_exporter_server_failure", server="away", reason="connect") == 1
    states = page.families["database_exporter_collector_state"].samples
    assert {item.labels["state"] for item in states if item.labels["server"] == "held"} <= {"paused", "disabled"}


def test_labels_of_the_config_are_on_metrics_and_never_on_probe(exporter: Exporter) -> None:
    for family in exporter.scrape().families.values():
        for sample in family.samples:
            if sample.labels.get("server") == "away":
                assert sample.labels["env"] == "prod", sample
                assert sample.labels["tier"] == "mine", sample
            else:
                assert "env" not in sample.labels
    assert "prod" not in exporter.client.get("/probe?target=away").text


def test_probe_has_one_server_and_not_the_process(exporter: Exporter) -> None:
    probed = exporter.scrape("away").families
    assert {sample.labels["server"] for family in probed.values() for sample in family.samples} == {"away"}
    whole = exporter.scrape().families
    alone = {"database_exporter_build_info", "process_cpu_seconds", "python_gc_objects_collected"}
    assert alone <= whole.keys()
    assert not alone & probed.keys()
    assert whole["database_exporter_metrics_page_complete"].samples[0].value == 1
    assert whole["database_exporter_config_last_reload_successful"].samples[0].value == 1


@pytest.mark.parametrize("query", ["", "?target=", "?target=away&target=held", "?target=nobody", "?target=away%00"])
def test_a_probe_of_nobody_is_a_bad_request_that_lists_nothing(exporter: Exporter, query: str) -> None:
    answer = exporter.client.get(f"/probe{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "/sd" in answer.text
    assert "away" not in answer.text
    assert "held" not in answer.text


def test_a_probe_of_a_server_that_a_faulty_section_names_tells_the_fault(tmp_path: Path) -> None:
    file = tmp_path / "my.cnf"
    file.write_text(
        f"[client]\nuser=ann\nhost=127.0.0.1\nport=1\npassword={CANARY}\n"
        f"[client.two]\nhost=db2\nport=3307\npassword={CANARY}\nssl-ca={tmp_path}/none.pem\n"
        f"[three]\nuser=eve\nhost=db3\npassword={CANARY}\nport=70000\n"
    )
    with Exporter(tmp_path, None, {}, flags=[f"--config.my-cnf={file}"]) as exporter:

        def probe(query: str) -> tuple[int, str]:
            return exporter.get(f"/probe?target={query}")

        assert probe("127.0.0.1:1")[0] == 200
        two = (503, f"not watched: {file}, [client.two]: tls ca there is no file {tmp_path}/none.pem; create it or ")
        for query in ("db2:3307", "mysql://someone:else@db2:3307", "db2:3307&auth_module=client.two"):
            status, text = probe(query)
            assert (status, text[: len(two[1])]) == two, query
            assert "restart the exporter" in text
            assert CANARY not in text
        # A port that is none fits all.
        status, text = probe("db3:3306&auth_module=three")
        assert (status, "[three]: port" in text, CANARY in text) == (503, True, False)
        for query in ("db2:3306", "db4:3307", "localhost:1", "db2:3307%00"):
            assert probe(query) == (400, "unknown target; the config names the servers, see /sd\n"), query


def test_a_hostile_name_can_be_probed(exporter: Exporter) -> None:
    answer = exporter.scrape(HOSTILE).families
    assert [sample.labels["server"] for sample in answer["db_up"].samples] == [HOSTILE]


def test_openmetrics_where_it_is_asked_for(exporter: Exporter) -> None:
    accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3"
    answer = exporter.client.get("/metrics", headers={"accept": accept})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in _openmetrics(answer.text)}
    assert families["db_up"].type == "gauge"
    assert families["python_gc_objects_collected"].type == "counter"
    assert {"Accept", "Accept-Encoding"} == set(re.split(r",\s*", answer.headers["vary"]))


def test_gzip_where_it_is_accepted(exporter: Exporter) -> None:
    # The client would decode it by itself, so this one reads the bytes.
    with exporter.client.stream("GET", "/metrics", headers={"accept-encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == len(raw)
    assert b"\ndb_up{" in gzip.decompress(raw)
    plain = exporter.client.get("/metrics", headers={"accept-encoding": "gzip;q=0"})
    assert "content-encoding" not in plain.headers
    assert int(plain.headers["content-length"]) == len(plain.content)


@pytest.mark.parametrize("path", ["/", "/metrics", "/probe?target=away", "/sd", "/-/healthy", "/-/ready", "/nothing"])
def test_every_answer_is_safe_to_open(exporter: Exporter, path: str) -> None:
    answer = exporter.client.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers
    assert CANARY not in answer.text


@pytest.mark.parametrize("path", ["/", "/metrics", "/probe?target=away", "/sd", "/-/healthy", "/-/ready"])
def test_head_is_get_without_a_body(exporter: Exporter, path: str) -> None:
    answer = exporter.client.head(path)
    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers["content-type"] == exporter.client.get(path).headers["content-type"]


@pytest.mark.parametrize("path", ["/", "/metrics", "/probe?target=away", "/sd", "/-/healthy", "/-/ready"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"])
def test_other_methods_are_refused_with_those_that_work(exporter: Exporter, path: str, method: str) -> None:
    answer = exporter.client.request(method, path)
    assert answer.status_code == 405
    assert {item.strip() for item in answer.headers["allow"].split(",")} == {"GET", "HEAD"}


@pytest.mark.parametrize("path", ["/metrics/", "/nothing", "/probe/x", "/-/reload/x", "/..%2fetc"])
def test_what_is_not_there_is_404(exporter: Exporter, path: str) -> None:
    answer = exporter.client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_health_and_readiness(exporter: Exporter) -> None:
    assert exporter.client.get("/-/healthy").text == "healthy\n"
    assert exporter.client.get("/-/ready").text == "ready\n"


def test_sd_names_every_server_in_order(exporter: Exporter) -> None:
    first, second = exporter.client.get("/sd"), exporter.client.get("/sd")
    assert first.headers["content-type"] == "application/json"
    assert first.content == second.content
    groups = json.loads(first.text)
    assert [group["labels"]["__param_target"] for group in groups] == sorted(["away", "held", HOSTILE])
    away = next(group for group in groups if group["labels"]["instance"] == "away")
    assert away["targets"] == [exporter.url.removeprefix("http://")]
    assert away["labels"] == {
        "__metrics_path__": "/probe",
        "__param_target": "away",
        "instance": "away",
        "env": "prod",
        "tier": "mine",
        "__meta_database_exporter_server": "away",
        "__meta_database_exporter_engine": "postgres",
        "__meta_database_exporter_address": "127.0.0.1:1",
        "__meta_database_exporter_database": "postgres",
        "__meta_database_exporter_cluster": "shop",
        "__meta_database_exporter_paused": "false",
    }


def test_sd_calls_the_exporter_as_the_client_did(exporter: Exporter) -> None:
    def target(host: str) -> str:
        return str(json.loads(exporter.client.get("/sd", headers={"host": host}).text)[0]["targets"][0])

    assert target("exporter.example:9187") == "exporter.example:9187"
    assert target("[2001:db8::1]:9187") == "[2001:db8::1]:9187"
    assert target("x/../<b>") == exporter.url.removeprefix("http://")


def test_the_landing_page_shows_servers_and_escapes_them(exporter: Exporter) -> None:
    exporter.client.get("/metrics")
    answer = exporter.client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = _Page()
    page.feed(answer.text)
    assert "script" not in page.tags
    assert ["away", "down", "", "postgres", "connect"] in page.rows
    assert ["held", "paused", "", "mysql", ""] in page.rows
    assert HOSTILE in [row[0] for row in page.rows]
    assert {"/metrics", "/sd", "/-/healthy", "/-/ready", "/probe?target=away"} <= page.links
    # Nothing is loaded from anywhere.
    assert all(link.startswith("/") and not link.startswith("//") for link in page.links)


def test_a_head_too_large_is_refused_and_others_are_served(exporter: Exporter) -> None:
    with socket.create_connection(exporter.address, 5) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    assert exporter.client.get("/-/healthy").status_code == 200


def test_nonsense_is_refused_and_not_logged(exporter: Exporter) -> None:
    before = exporter.log()
    with socket.create_connection(exporter.address, 5) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    assert exporter.log() == before


def test_no_password_is_in_the_log(exporter: Exporter) -> None:
    exporter.client.get("/metrics")
    assert "away is down" in exporter.log()
    assert CANARY not in exporter.log()


def test_too_many_servers_for_one_page(tmp_path: Path) -> None:
    config = "web: {max_servers_on_metrics: 1}\n" + CONFIG
    with Exporter(tmp_path, config) as exporter:
        families = exporter.scrape().families
        assert families["database_exporter_metrics_page_complete"].samples[0].value == 0
        assert "/sd" in families["database_exporter_metrics_page_complete"].documentation
        # Nobody has asked the servers yet, so nothing is known of them.
        assert {name for name in families if name.startswith(("db_", "pg_", "mysql_"))} == set()
        exporter.client.get("/probe?target=away")
        families = exporter.scrape().families
        assert {name for name in families if name.startswith(("db_", "pg_", "mysql_"))} == {"db_up"}
        [up] = families["db_up"].samples
        assert (up.labels, up.value) == (
            {"server": "away", "engine": "postgres", "env": "prod", "tier": "mine"},
            0,
        )


def test_all_servers_on_one_page_if_told_so(tmp_path: Path) -> None:
    config = "web: {max_servers_on_metrics: 1, metrics_for_all: true, telemetry_path: /other}\n" + CONFIG
    with Exporter(tmp_path, config) as exporter:
        families = Samples.of(exporter.get("/other")[1]).families
        assert families["database_exporter_metrics_page_complete"].samples[0].value == 1
        assert "database_exporter_collector_state" in families
        assert exporter.client.get("/metrics").status_code == 404
        assert 'href="/other"' in exporter.client.get("/").text


class _Page(HTMLParser):
    """Tags, links and the table's rows of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: set[str] = set()
        self.rows: list[list[str]] = []
        self._cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links.update(value for name, value in attrs if name in ("href", "src") and value)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1][-1] += data


def _openmetrics(text: str) -> list[Metric]:
    # The library has no types there.
    return list(openmetrics.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]
