"""Two exporters alone on a server, each in a database of its own: whatever differs is about themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from exporter.compare.deviations import applying, of
from exporter.compare.series import Reading, compare
from tests.contract.mutations import unnoticed
from tests.contract.peers import compared, ours, postgres_exporter, readings, unexplained
from tests.contract.scene import SETTINGS
from tests.providers.base import Account, DatabaseServer
from tests.providers.fleet import Fleet

pytestmark = pytest.mark.engine("postgres")


@pytest.fixture(scope="module")
def read(server: DatabaseServer, fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Reading]]:
    """Both pages; theirs is connected to `shop`, ours to `postgres`."""
    with ExitStack() as stack:
        quiet = fleet.provider.create(server.name, SETTINGS | {"autovacuum": "off"})
        stack.callback(quiet.remove)
        quiet.execute("CREATE DATABASE shop")
        quiet.execute("CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders VALUES (1)", "shop")
        # Theirs can't connect with a password that a URL has to quote.
        peer = Account(quiet.account("ALTER ROLE peer PASSWORD 'peer'", name="peer", limit=10).user, "peer")
        page = stack.enter_context(postgres_exporter(fleet, quiet, peer, database="shop"))
        servers = {"quiet": (quiet, quiet.account())}
        exporter = stack.enter_context(ours(tmp_path_factory.mktemp("quiet"), servers, database="postgres"))
        found = readings(exporter, "quiet", page)
        compared(exporter, "quiet", page, applying(of("postgres"), found[-1].after), found)
        yield found


def test_nothing_differs_but_on_purpose(read: list[Reading]) -> None:
    result = compare(read, applying(of("postgres"), read[-1].after))
    assert result.series > 500
    assert "\n".join(unexplained(result)) == ""


def test_what_would_be_wrong_is_noticed(read: list[Reading]) -> None:
    found = unnoticed(read, applying(of("postgres"), read[-1].after))
    own = ("pg_exporter_", "pg_stat_activity_", "pg_process_idle_")
    # Theirs again, which tests of their own hold to what is right.
    typed = [item for item in of("postgres") if item.kinds]
    left = [
        item for item in found if item.what != "type changed" or not any(one.is_about(item.metric) for one in typed)
    ]
    assert [item for item in left if not item.metric.startswith(own)] == []
    assert [item for item in found if item.what == "metric gone"] == []
