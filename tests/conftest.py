"""Options, markers and fixtures of the tests; tests/providers/__init__.py says how to use them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.live import Live, live, live_prometheus  # noqa: F401 - fixtures for every folder
from tests.providers.base import Account, DatabaseServer, ProviderError
from tests.providers.engine import Engine
from tests.providers.fleet import Fleet
from tests.providers.tools import PgBouncer, Program, Prometheus

FLAVORS = ("postgres", "mysql", "mariadb")
# Fixtures that stand for one flavor; a test that asks for one is left out where no server of it is chosen.
FIXTURE_FLAVORS = {flavor: flavor for flavor in FLAVORS} | {
    "postgres_standby": "postgres",
    "mysql_replica": "mysql",
    "mariadb_replica": "mariadb",
}
FLEET = pytest.StashKey[Fleet]()
# How long an example takes is up to the machine and its other work. And all machines try the same ones, so that what
# passes on one does so on the next: --hypothesis-profile=default looks for others.
settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("servers")
    group.addoption(
        "--servers",
        default="edges",
        help="all, edges (oldest and newest of each flavor, the default), or names: postgres-18,mysql-9.7",
    )
    group.addoption("--provider", choices=["auto", "local", "containers"], default="auto")
    group.addoption("--full", action="store_true", help="also run the tests marked full")
    group.addoption("--beyond", help="leave out what a run on these servers without --full has run: edges, or names")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "engine(*names): run only on servers of these engines")
    config.addinivalue_line("markers", "flavor(*names): run only on servers of these flavors")
    config.addinivalue_line("markers", "full: slow or needs the full matrix; runs with --full only")
    try:
        config.stash[FLEET] = Fleet(config.getoption("provider"), config.getoption("servers"))
    except ProviderError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_unconfigure(config: pytest.Config) -> None:
    # Also reached after Ctrl-C in the middle of a fixture.
    if fleet := config.stash.get(FLEET, None):
        fleet.close()


def pytest_report_header(config: pytest.Config) -> str:
    fleet = config.stash[FLEET]
    return f"servers ({fleet.provider.name}): {', '.join(fleet.names)}"


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if started := config.stash[FLEET].started():
        terminalreporter.write_line(f"servers that ran: {', '.join(started)}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" not in metafunc.fixturenames:
        return
    names = metafunc.config.stash[FLEET].chosen(
        engines=_arguments(metafunc.definition, "engine"), flavors=_arguments(metafunc.definition, "flavor")
    )
    metafunc.parametrize("server", names or [None], indirect=True, scope="session")


# First, so that pytest-xdist finds the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    fleet, full, beyond = config.stash[FLEET], config.getoption("full"), config.getoption("beyond")
    done = fleet.select(beyond) if beyond else None

    def wanted(item: pytest.Item) -> bool:
        marked = item.get_closest_marker("full")
        if marked and not full:
            return False
        called = getattr(item, "callspec", None)
        server = called.params.get("server", "") if called is not None else ""
        if server is None:
            return False
        if done is not None and not marked and (not server or server in done):
            return False
        needed = {FIXTURE_FLAVORS[name] for name in getattr(item, "fixturenames", ()) if name in FIXTURE_FLAVORS}
        return all(fleet.chosen(flavors=[flavor]) for flavor in needed)

    config.hook.pytest_deselected(items=[item for item in items if not wanted(item)])
    items[:] = [item for item in items if wanted(item)]
    for item in items:
        if group := _group(item):
            item.add_marker(pytest.mark.xdist_group(group))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to run in processes that would each start every server: pytest-xdist reads groups from these names."""
    if getattr(session.config.option, "loadgroup", False):
        alone = [
            item.nodeid for item in session.items if item.get_closest_marker("xdist_group") and "@" not in item.nodeid
        ]
        if alone:
            raise pytest.UsageError(f"this pytest-xdist does not group tests with this pytest, such as {alone[0]}")


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End what is live with the last test of its group, which one process runs in one go: it keeps a machine busy."""
    grouped = "PYTEST_XDIST_WORKER" in os.environ and _group(item) == "live"
    if grouped and (nextitem is None or _group(nextitem) != "live") and isinstance(item, pytest.Function):
        running = item.funcargs.get("live")
        if isinstance(running, Live):
            running.stop()


def _group(item: pytest.Item) -> str | None:
    """Name what runs in one process when tests run in several: tests that share a server, or a file's own things."""
    fixtures = getattr(item, "fixturenames", ())
    folder, file = item.path.parent.name, item.path.stem
    for name in ("live", "docker_engine"):
        if name in fixtures:
            return name
    called = getattr(item, "callspec", None)
    if called is not None and "server" in called.params:
        return f"{called.params['server']} {file}"
    for name, flavor in FIXTURE_FLAVORS.items():
        if name in fixtures:
            return f"{flavor} {file}"
    return None if folder == "unit" else file


def _arguments(definition: pytest.Item, marker: str) -> list[str]:
    return [str(name) for mark in definition.iter_markers(marker) for name in mark.args]


@pytest.fixture(scope="session")
def fleet(pytestconfig: pytest.Config) -> Fleet:
    """Give the servers of this test run by name, each started when first asked for."""
    return pytestconfig.stash[FLEET]


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, fleet: Fleet) -> DatabaseServer:
    """Give every chosen server, one after the other; the markers engine and flavor narrow the choice."""
    return fleet.server(request.param)


@pytest.fixture(scope="session")
def replica(server: DatabaseServer, fleet: Fleet) -> DatabaseServer:
    """Give a replica of `server`; its attribute `primary` is the server."""
    return fleet.replica(server.name)


@pytest.fixture(scope="session")
def postgres(fleet: Fleet) -> DatabaseServer:
    """Give the newest chosen PostgreSQL."""
    return fleet.newest("postgres")


@pytest.fixture(scope="session")
def postgres_standby(postgres: DatabaseServer, fleet: Fleet) -> DatabaseServer:
    """Give a streaming standby of `postgres`."""
    return fleet.replica(postgres.name)


@pytest.fixture(scope="session")
def mysql(fleet: Fleet) -> DatabaseServer:
    """Give the newest chosen MySQL."""
    return fleet.newest("mysql")


@pytest.fixture(scope="session")
def mysql_replica(mysql: DatabaseServer, fleet: Fleet) -> DatabaseServer:
    """Give a replica of `mysql`."""
    return fleet.replica(mysql.name)


@pytest.fixture(scope="session")
def mariadb(fleet: Fleet) -> DatabaseServer:
    """Give the newest chosen MariaDB."""
    return fleet.newest("mariadb")


@pytest.fixture(scope="session")
def mariadb_replica(mariadb: DatabaseServer, fleet: Fleet) -> DatabaseServer:
    """Give a replica of `mariadb`."""
    return fleet.replica(mariadb.name)


@pytest.fixture
def program(fleet: Fleet) -> Iterator[Callable[..., Program]]:
    """Run a program in the background: ``program("peer", argv, env={...}, url="http://...")`` waits for 200."""
    made: list[Program] = []

    def run(
        name: str, argv: Sequence[str | Path], *, env: dict[str, str] | None = None, url: str | None = None
    ) -> Program:
        made.append(Program(fleet.workspace, name, argv, env))
        made[-1].start(url)
        return made[-1]

    yield run
    for each in made:
        each.stop()


@pytest.fixture
def prometheus(fleet: Fleet) -> Iterator[Callable[[dict[str, Any]], Prometheus]]:
    """Run a Prometheus with a configuration: ``prometheus({"scrape_configs": [...]})``."""
    made: list[Prometheus] = []

    def run(config: dict[str, Any]) -> Prometheus:
        made.append(Prometheus(fleet.workspace, config))
        made[-1].start()
        return made[-1]

    yield run
    for each in made:
        each.stop()


@pytest.fixture
def pgbouncer(fleet: Fleet) -> Iterator[Callable[..., PgBouncer]]:
    """Run a PgBouncer in transaction mode: ``pgbouncer(postgres, [account], {"default_pool_size": "1"})``."""
    made: list[PgBouncer] = []

    def run(
        server: DatabaseServer, accounts: Sequence[Account] = (), settings: dict[str, str] | None = None
    ) -> PgBouncer:
        made.append(PgBouncer(fleet.workspace, server, accounts, settings))
        made[-1].start()
        return made[-1]

    yield run
    for each in made:
        each.stop()


@pytest.fixture(scope="session")
def docker_engine(fleet: Fleet) -> Iterator[Engine]:
    """Give a Docker engine: the machine's, or one of our own (``host`` is its DOCKER_HOST)."""
    engine = Engine(fleet.workspace)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def base_image(docker_engine: Engine) -> str:
    """Give the name of an image that the Dockerfile can build on: ``--build-arg BASE=...``."""
    found = re.search(r"^ARG BASE=(\S+)$", (Path(__file__).parent.parent / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None, "the Dockerfile names no ARG BASE"
    return docker_engine.base_image(found[1])


@pytest.fixture(scope="session")
def instrumented(server: DatabaseServer, fleet: Fleet) -> Iterator[DatabaseServer]:
    """Give the server with performance_schema, which MariaDB has off by default."""
    if server.flavor != "mariadb":
        yield server
        return
    made = fleet.provider.create(server.name, {"performance_schema": "ON"})
    yield made
    made.remove()


@pytest.fixture
def fresh_server(fleet: Fleet) -> Iterator[Callable[..., DatabaseServer]]:
    """Make servers for one test alone: ``fresh_server("postgres-18", {"max_connections": "5"}, tls=True)``."""
    made: list[DatabaseServer] = []

    def make(
        name: str, settings: dict[str, str] | None = None, *, tls: bool = False, env: dict[str, str] | None = None
    ) -> DatabaseServer:
        made.append(fleet.provider.create(name, settings, tls=tls, env=env))
        return made[-1]

    yield make
    for server in made:
        server.remove()
