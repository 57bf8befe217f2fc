"""Whole pages of the exporter at work, as others judge them: prometheus_client's parsers, promtool, the servers."""

from __future__ import annotations

import contextlib
import gzip
import math
import re
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from exporter import catalogue
from tests.exporters import Exporter, server_entry
from tests.live import Live
from tests.providers.base import DatabaseServer
from tests.providers.tools import tool

FORMATS = (
    "text/plain;version=0.0.4",
    "text/plain;version=1.0.0",
    "application/openmetrics-text;version=0.0.1",
    "application/openmetrics-text;version=1.0.0",
)
TEXT = FORMATS[0]
COMPLAINTS = Path(__file__).parent / "promtool_complaints.yml"
# Drop-in metrics show what the server says, and PostgreSQL says -1 where there is no limit.
MAY_BE_NEGATIVE = {"pg_database_connection_limit", "pg_roles_connection_limit"}
# What an engine counts for the whole server only stands there without a database; what has no schemas, without one.
OPTIONAL_LABELS = {"database": "mysql", "schema": "mysql"}


def _get(live: Live, path: str, headers: Mapping[str, str]) -> tuple[Mapping[str, str], bytes]:
    with urllib.request.urlopen(urllib.request.Request(live.exporter.url + path, headers=dict(headers))) as answer:
        assert answer.status == 200
        return {key.lower(): value for key, value in answer.headers.items()}, answer.read()


def _page(live: Live, path: str, wanted: str = TEXT) -> str:
    headers, body = _get(live, path, {"Accept": wanted})
    kind, _, version = wanted.partition(";")
    assert headers["content-type"].startswith(f"{kind}; {version}"), headers["content-type"]
    return body.decode()


def _paths(live: Live) -> list[str]:
    return [f"/probe?target={name}" for name in live.names()] + ["/metrics"]


def _series(page: str) -> list[tuple[str, str]]:
    """Each sample's name with labels, as written, and its value."""
    lines = [line for line in page.splitlines() if line and not line.startswith("#")]
    return [(series, value) for series, _, value in (line.rpartition(" ") for line in lines)]


def _standing(page: str) -> list[str]:
    """Its series, but for those about what a session does at this moment, and what processes there are."""
    passing = (
        "mysql_connections_by_database{",
        "mysql_info_schema_processlist_",
        "pg_backends{",
        "pg_stat_activity_",
        "pg_process_idle_",
        "pg_wait_event_",
    )
    return [series for series, _ in _series(page) if not series.startswith(passing)]


def _name(series: str) -> str:
    return series.partition("{")[0]


def _labels(series: str) -> dict[str, str]:
    return dict(re.findall(r'([a-z_]\w*)="((?:[^"\\]|\\.)*)"', series.partition("{")[2]))


@pytest.fixture(scope="module")
def pages(live: Live) -> dict[tuple[str, str], str]:
    """Give every page in every format."""
    return {(path, wanted): _page(live, path, wanted) for path in _paths(live) for wanted in FORMATS}


def _texts(pages: Mapping[tuple[str, str], str]) -> Iterator[tuple[str, str]]:
    return ((path, page) for (path, wanted), page in pages.items() if wanted == TEXT)


def test_prometheus_parsers_read_every_sample_of_every_page(pages: dict[tuple[str, str], str]) -> None:
    for (path, wanted), page in pages.items():
        parse = (
            openmetrics.text_string_to_metric_families if "openmetrics" in wanted else text_string_to_metric_families
        )
        read = [(sample.name, float(sample.value)) for family in parse(page) for sample in family.samples]
        written = [(_name(series), float(value)) for series, value in _series(page)]
        # The text parser calls every counter _total, also one that isn't.
        assert Counter((name.removesuffix("_total"), value) for name, value in read) == Counter(
            (name.removesuffix("_total"), value) for name, value in written
        ), (path, wanted)
        assert page.endswith("# EOF\n") == ("openmetrics" in wanted)


def test_every_format_shows_the_same_series(live: Live) -> None:
    for path in _paths(live):
        looks: dict[str, list[set[str]]] = {wanted: [] for wanted in FORMATS}
        for _ in range(6):
            for wanted, found in looks.items():
                found.append(set(_standing(_page(live, path, wanted))))
            if all(found[-1] == looks[TEXT][-1] for found in looks.values()):
                break
        # Sessions come and go between the scrapes, and with them series; what a format leaves out it always does.
        always, ever = ({of: how(*each) for of, each in looks.items()} for how in (set.intersection, set.union))
        different = {
            series for wanted in FORMATS for series in (always[TEXT] - ever[wanted]) | (always[wanted] - ever[TEXT])
        }
        assert different == set(), path


def test_gzip_carries_the_same_page(live: Live) -> None:
    for path in _paths(live):
        for attempt in range(12):
            _, plain = _get(live, path, {"Accept": TEXT, "Accept-Encoding": "identity"})
            headers, packed = _get(live, path, {"Accept": TEXT, "Accept-Encoding": "gzip"})
            assert headers["content-encoding"] == "gzip"
            assert len(packed) < len(plain) / 4
            before, after = (_standing(text.decode()) for text in (plain, gzip.decompress(packed)))
            if before == after:
                break
            assert attempt < 11, (path, set(before) ^ set(after))


def test_types_are_those_of_the_declarations(pages: dict[tuple[str, str], str]) -> None:
    # Of names that the server completes some are counters and others gauges.
    declared: dict[str, set[str]] = {}
    for entry in catalogue.entries():
        declared.setdefault(entry.name, set()).add(entry.kind)
    for (path, wanted), page in pages.items():
        for name, shown in re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE):
            if name.startswith(("process_", "python_")):
                continue
            if "openmetrics" not in wanted or shown in ("gauge", "histogram", "summary"):
                expected, full = shown, name
            else:
                # There a counter is called without _total, and one that has none is of unknown type.
                expected, full = "counter", f"{name}_total" if shown == "counter" else name
            assert expected in (catalogue.labels_of(full, declared) or ()), (path, wanted, name)


def test_help_and_type_stand_once_and_a_family_stands_together(pages: dict[tuple[str, str], str]) -> None:
    for key, page in pages.items():
        heads = Counter(re.findall(r"^# (HELP|TYPE) (\S+)", page, re.MULTILINE))
        assert set(heads.values()) == {1}, (key, heads.most_common(3))
        assert {name for kind, name in heads if kind == "HELP"} == {name for kind, name in heads if kind == "TYPE"}, key
        names = [name for name, _ in groupby(re.sub(r"_(bucket|sum|count)$", "", _name(s)) for s, _ in _series(page))]
        assert len(names) == len(set(names)), (key, [name for name, n in Counter(names).items() if n > 1])


def test_no_series_stands_twice(pages: dict[tuple[str, str], str]) -> None:
    for key, page in pages.items():
        # Labels in another order are the same series.
        found = Counter((_name(series), frozenset(_labels(series).items())) for series, _ in _series(page))
        assert [series for series, times in found.items() if times > 1] == [], key


def test_values_are_finite_and_negative_only_where_the_server_means_it(pages: dict[tuple[str, str], str]) -> None:
    for path, page in _texts(pages):
        for series, value in _series(page):
            assert math.isfinite(float(value)), (path, series, value)
            limit = float(value) == -1 and _name(series) in MAY_BE_NEGATIVE
            # A setting of -1 or -2 says "none" or "as many as", a number of a cluster that there is none.
            setting = _name(series).startswith(
                ("pg_settings_", "mysql_global_variables_", "mysql_global_status_wsrep_")
            )
            assert float(value) >= 0 or limit or setting, (path, series, value)


def test_the_shared_vocabulary_has_the_same_labels_on_every_engine(pages: dict[tuple[str, str], str]) -> None:
    shown: dict[str, dict[str, set[str]]] = {}
    for path, page in _texts(pages):
        for series, _ in _series(page):
            if _name(series).startswith("db_") and path != "/metrics":
                labels = _labels(series)
                kept = set(labels) - {label for label, engine in OPTIONAL_LABELS.items() if labels["engine"] == engine}
                shown.setdefault(_name(series), {}).setdefault(labels["engine"], set()).update(kept)
    assert shown
    for name, engines in shown.items():
        common = [labels - set(OPTIONAL_LABELS) for labels in engines.values()]
        assert all(labels == common[0] for labels in common), (name, engines)
        assert all({"server", "engine"} <= labels for labels in common), (name, engines)


def _clients(server: DatabaseServer) -> int:
    """How many sessions are neither the exporter's nor this one nor the server's own."""
    if server.engine == "postgres":
        sql = (
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename <> 'exporter' "
            "AND pid <> pg_backend_pid()"
        )
    else:
        sql = (
            "SELECT count(*) FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() "
            "AND USER NOT IN ('exporter', 'system user', 'event_scheduler') AND COMMAND NOT LIKE 'Binlog Dump%'"
        )
    return int(server.execute(sql)[0][0])


def test_the_exporters_own_sessions_are_not_counted(server: DatabaseServer, fresh_server: Any, tmp_path: Path) -> None:
    # One of its own, on which nobody else comes and goes.
    server = fresh_server(server.name)
    account = server.account()
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.callback(server.connect().close)
        running = stack.enter_context(Exporter(tmp_path, {"servers": [server_entry(server, account)]}))
        # A session that has just ended is gone a moment later, on the server too.
        for _ in range(20):
            time.sleep(1.1)
            before = _clients(server)
            page = running.scrape(server.name)
            counted = sum(value for _, value in page.all("db_connections", server=server.name))
            if _clients(server) == before == counted:
                break
        assert counted == before >= 3
        assert page.value("database_exporter_connections", server=server.name) >= 1


def _promtool(page: str) -> set[tuple[str, str]]:
    """Metric and complaint; promtool ends with 3 if it has complaints and 1 if it can't read the page."""
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=page, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (0, 3), done.stderr
    found = set()
    for line in (done.stdout + done.stderr).splitlines():
        name, _, complaint = line.partition(" ")
        found.add((name, complaint))
    return found


def _expected_complaints() -> set[tuple[str, str]]:
    listed = yaml.safe_load(COMPLAINTS.read_text())
    assert all(entry["reason"] for entry in listed)
    return {(metric, entry["complaint"]) for entry in listed for metric in entry["metrics"]}


def test_promtool_complains_about_drop_in_names_only(pages: dict[tuple[str, str], str]) -> None:
    # What completes these names is the server's, and the existing exporter names them so.
    starts = tuple(entry.name[:-1] for entry in catalogue.entries() if entry.name.endswith("*") and entry.drop_in)
    for path, page in _texts(pages):
        complaints = {(name, said) for name, said in _promtool(page) if not name.startswith(starts)}
        assert complaints - _expected_complaints() == set(), path


def test_what_promtool_is_known_to_complain_about_is_just_that() -> None:
    # Every metric that is declared, those too that no server here has.
    kinds = {
        entry.name: (entry.kind, entry.help, entry.drop_in)
        for entry in catalogue.entries()
        # What completes these names is the server's.
        if not entry.name.endswith("*")
    }
    page = ""
    for name, (kind, text, _) in kinds.items():
        page += f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
        page += (
            f'{name}_bucket{{le="+Inf"}} 1\n{name}_sum 1\n{name}_count 1\n' if kind == "histogram" else f"{name} 1\n"
        )
    found = _promtool(page)
    assert found == _expected_complaints()
    assert {name for name, _ in found if not kinds[name][2]} == set(), "a name of our own that promtool refuses"
