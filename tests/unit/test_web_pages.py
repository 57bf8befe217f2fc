"""How long a page may take, which labels the config adds, and that one server's trouble stays its own."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from exporter.config import Config, Timeouts, load_text
from exporter.declare import Rows, block, gauge
from exporter.engines.known import ENGINES
from exporter.exposition.page import Dialect, page
from exporter.exposition.process import Process
from exporter.exposition.render import Family, render_blocks
from exporter.exposition.selfmetrics import about
from exporter.polling.scrape import Scrapes
from exporter.registry import collectors_by_name
from exporter.web import pages
from exporter.web.pages import Pages, Wishes, labelled, seconds_for
from exporter.web.sd import target_groups


def config(*servers: str) -> Config:
    return load_text("servers:\n" + "".join(f"  - {{{server}}}\n" for server in servers))


@pytest.mark.parametrize(
    ("announced", "seconds"),
    [
        ("15", 14.5),
        ("5.5", 5.0),
        (" 2 ", 1.5),
        # An offset longer than half of it would leave nothing.
        ("0.6", 0.3),
        # Anything that is no time: as if it had not been said.
        (None, 9.5),
        ("", 9.5),
        ("soon", 9.5),
        ("0", 9.5),
        ("-3", 9.5),
        ("nan", 9.5),
        ("inf", 9.5),
        ("1e400", 9.5),
        # Nobody waits for hours.
        ("86400", 119.5),
    ],
)
def test_the_page_is_due_before_prometheus_gives_up(announced: str | None, seconds: float) -> None:
    assert seconds_for(announced, Timeouts(scrape_offset=0.5, scrape_default=10)) == pytest.approx(seconds)


@given(
    name=st.sampled_from(["a", 'quote"d', "back\\slash", "}", 'x",y="z', "{server="]),
    value=st.text(st.sampled_from(list('{server="a",\\}\n')), max_size=20),
)
def test_config_labels_go_onto_every_series_and_nowhere_else(name: str, value: str) -> None:
    [server] = config("name: plain, engine: postgres, host: h, labels: {env: 'p\"r\\od', k: other}").servers
    server = server.model_copy(update={"name": name})
    blocks = (block(gauge("one", "v", help="H."), gauge("db_one", "v", help="H."), labels=("k",)),)
    made = render_blocks(blocks, Rows(("k", "v"), [(value, 1), ("fixed", 2)]), name, "postgres", None)
    for family in made.families:
        [read] = text_string_to_metric_families(page([labelled(family, server)], Dialect.TEXT_0_0_4).decode())
        assert len(read.samples) == family.series
        for sample in read.samples:
            assert sample.labels["env"] == 'p"r\\od'
            # The series' own label wins over the config's.
            assert sample.labels["k"] in {value, "fixed"}
            assert sample.labels["server"] == name


def test_config_labels_leave_an_empty_family_alone() -> None:
    [server] = config("name: a, engine: postgres, host: h, labels: {env: prod}").servers
    empty = Family("one", "gauge", "H.", "", 0)
    assert labelled(empty, server) == empty


def test_sd_without_servers_is_an_empty_list() -> None:
    assert target_groups([], "exporter:9187") == []


def _page(text: Config, announced: str | None = None) -> tuple[str, float]:
    scrapes = Scrapes(text.servers, ENGINES, collectors_by_name().values())
    made = Pages(text, scrapes, Process())
    started = time.monotonic()
    try:
        body = b"".join(asyncio.run(made.metrics(Wishes(timeout=announced))).body).decode()
    finally:
        made.close()
        scrapes.close(1)
    return body, time.monotonic() - started


def test_a_bug_in_one_servers_page_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(watched: object, *rest: object) -> object:
        if getattr(watched, "name", "") == "bad":
            raise ZeroDivisionError
        return about(watched, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(pages, "about", broken)
    caplog.set_level(logging.ERROR)
    both = config(
        "name: bad, engine: mysql, host: 127.0.0.1, port: 1, user: u",
        "name: good, engine: mysql, host: 127.0.0.1, port: 1, user: u",
    )
    body, _ = _page(both)
    families = {family.name: family for family in text_string_to_metric_families(body)}
    assert {s.labels["server"]: s.value for s in families["db_up"].samples} == {"bad": 0, "good": 0}
    assert {s.labels["server"] for s in families["database_exporter_collector_state"].samples} == {"good"}
    assert "the page of bad" in caplog.text
