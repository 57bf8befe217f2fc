"""Collectors with `elsewhere`: the connected database at the scrape, the others in the background, none twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from exporter.config.model import ServerConfig
from exporter.declare import Collector, Query, block, gauge
from exporter.engines.deadline import Deadline
from exporter.engines.known import ENGINES
from exporter.exposition.page import Dialect, page
from exporter.facts import Facts
from exporter.gates import ANY
from exporter.polling.flight import Flight
from exporter.polling.server import Watched
from exporter.polling.snapshot import State
from exporter.polling.tasks import Task
from tests.providers.base import DatabaseServer, wait_for
from tests.servers.collecting import Samples, config_of

pytestmark = pytest.mark.engine("postgres")
HERE, THERE, BEYOND = "here", "there", "beyond"


def declared(name: str, sql: str) -> list[Collector]:
    """A collector that goes elsewhere too, and the one that follows from it."""
    first = Collector(
        name=name,
        about="A number.",
        engine="postgres",
        queries=(Query(ANY, f"SELECT current_database() AS datname, {sql} AS value"),),
        blocks=(block(gauge(f"pg_{name}", "value", help="A number."), labels=("datname",)),),
        elsewhere=60,
    )
    second = first.derived()
    assert second is not None
    return [first, second]


@pytest.fixture
def databases(server: DatabaseServer) -> Iterator[DatabaseServer]:
    """Give a server with three databases that have a table of one row each."""
    for name in (HERE, THERE, BEYOND):
        server.execute(f"DROP DATABASE IF EXISTS {name}")
        create(server, name)
    yield server
    for name in (HERE, THERE, BEYOND):
        server.execute(f"DROP DATABASE IF EXISTS {name}")


def create(server: DatabaseServer, name: str) -> None:
    server.execute(f"CREATE DATABASE {name}")
    server.execute("CREATE TABLE numbers AS SELECT 1 AS id", name)
    server.execute("GRANT SELECT ON numbers TO PUBLIC", name)


def add(server: DatabaseServer, name: str) -> None:
    server.execute("INSERT INTO numbers VALUES (1)", name)


def configured(server: DatabaseServer, exclude: Sequence[str] = (), **collectors: object) -> ServerConfig:
    only = {"include": [HERE, THERE, BEYOND], "exclude": list(exclude)}
    return config_of(server, database=HERE, databases=only, collectors=collectors)


class Page:
    """What a page shows of one server's collectors."""

    def __init__(self, server: DatabaseServer, collectors: list[Collector], exclude: Sequence[str] = ()) -> None:
        self.watched = Watched(configured(server, exclude), ENGINES["postgres"], collectors)

    def background(self) -> None:
        self.watched.background(self.watched.slow_tasks())

    def scrape(self) -> dict[str, float]:
        flight = Flight(Deadline.after(20))
        self.watched.scrape(flight)
        shown = [*flight.results.values(), *self.watched.good.values()]
        text = page((family for snapshot in shown for family in snapshot.families), Dialect.TEXT_0_0_4).decode()
        assert text.count("# HELP") <= 1
        series = [line.split(" ")[0] for line in text.splitlines() if not line.startswith("#")]
        assert len(series) == len(set(series)), "a series is on the page twice"
        return Samples(text).by("pg_numbers", "datname")


@pytest.fixture
def numbers(databases: DatabaseServer) -> Iterator[Page]:
    made = Page(databases, declared("numbers", "(SELECT count(*) FROM public.numbers)"))
    yield made
    made.watched.close()


def test_the_connected_database_is_fresh_and_the_others_are_of_their_last_round(
    databases: DatabaseServer, numbers: Page
) -> None:
    assert numbers.scrape() == {HERE: 1}
    numbers.background()
    assert numbers.scrape() == {HERE: 1, THERE: 1, BEYOND: 1}
    add(databases, HERE)
    add(databases, THERE)
    assert numbers.scrape() == {HERE: 2, THERE: 1, BEYOND: 1}
    numbers.background()
    assert numbers.scrape() == {HERE: 2, THERE: 2, BEYOND: 1}


def test_databases_come_and_go_by_themselves(databases: DatabaseServer, numbers: Page) -> None:
    databases.execute(f"DROP DATABASE {BEYOND}")
    numbers.background()
    assert numbers.scrape() == {HERE: 1, THERE: 1}
    create(databases, BEYOND)
    databases.execute(f"DROP DATABASE {THERE}")
    numbers.background()
    assert numbers.scrape() == {HERE: 1, BEYOND: 1}


def test_a_database_that_the_config_leaves_out_is_shown_nowhere(databases: DatabaseServer) -> None:
    left_out = Page(databases, declared("numbers", "(SELECT count(*) FROM public.numbers)"), exclude=[HERE])
    left_out.background()
    assert left_out.scrape() == {THERE: 1, BEYOND: 1}
    left_out.watched.close()


def test_a_round_enters_each_database_once_for_all_collectors(databases: DatabaseServer) -> None:
    names = ("numbers", "more", "most")
    collectors = [item for name in names for item in declared(name, "(SELECT count(*) FROM public.numbers)")]
    watched = Watched(configured(databases), ENGINES["postgres"], collectors)
    entered: list[str] = []
    connect = watched.sessions.opener.connect

    def noted(deadline: Deadline, facts: Facts | None, database: str | None = None) -> object:
        entered.append(database or "")
        return connect(deadline, facts, database)

    watched.sessions.opener.connect = noted  # type: ignore[method-assign,assignment]
    watched.background(watched.slow_tasks())
    assert entered == ["", BEYOND, THERE]
    assert {watched.latest[f"{name}_elsewhere"].series for name in names} == {2}


def test_nobody_who_drops_a_database_is_kept_from_it(databases: DatabaseServer) -> None:
    """DROP DATABASE gives up after 5 s; each statement here takes 2 s, all of them in one session would take 8."""
    names = ("a", "b", "c", "d")
    collectors = [item for name in names for item in declared(name, "(SELECT 1 FROM pg_sleep(2))")]
    watched = Watched(configured(databases), ENGINES["postgres"], collectors)
    inside = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{BEYOND}' AND query ~ 'pg_sleep'"
    thread = threading.Thread(target=watched.background, args=(watched.slow_tasks(),))
    thread.start()
    try:
        assert wait_for(lambda: bool(databases.execute(inside)[0][0]), 15)
        databases.execute(f"DROP DATABASE {BEYOND}")
    finally:
        thread.join(60)
    last = [watched.latest[f"{name}_elsewhere"] for name in names]
    assert {(snapshot.state, snapshot.reason) for snapshot in last} == {(State.OK, None)}
    # The first had read it, the others found it gone; they go on with the next database.
    assert sorted(snapshot.series for snapshot in last) == [1, 1, 1, 2]


def test_the_settings_of_a_collector_hold_elsewhere_too(databases: DatabaseServer) -> None:
    _, second = declared("numbers", "1")
    off = Task.of(second, configured(databases, numbers={"enabled": False, "every": 7, "limit": 3}))
    assert (off.enabled, off.every, off.settings.limit) == (False, 60, 3)
    own = Task.of(second, configured(databases, numbers=False, numbers_elsewhere={"enabled": True, "every": 5}))
    assert (own.enabled, own.every) == (True, 5)
