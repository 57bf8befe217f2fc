"""A file of user-defined queries gives from us what it gives from a real postgres_exporter."""

from __future__ import annotations

import math
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.exporters import Exporter
from tests.providers.base import Account, DatabaseServer, wait_for
from tests.providers.processes import free_port
from tests.providers.tools import Program, tool

pytestmark = pytest.mark.engine("postgres")

FILE = Path(__file__).parent / "queries.yaml"
NAMES = ("shop_", "pg_shop_")
Key = tuple[str, frozenset[tuple[str, str]]]
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_TYPE = re.compile(r"^# TYPE (\w+) (\w+)$", re.MULTILINE)


def samples(text: str) -> dict[Key, float]:
    """The samples of the file's metrics, as they are written."""
    found = {}
    for name, labels, value in _SAMPLE.findall(text):
        if name.startswith(NAMES):
            pairs = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))
            if "le" in pairs:
                # Prometheus itself makes 1.0 of their 1.
                pairs["le"] = str(float(pairs["le"]))
            found[name, frozenset(pairs.items())] = float(value)
    return found


def types(text: str) -> dict[str, str]:
    return {name: kind for name, kind in _TYPE.findall(text) if name.startswith(NAMES)}


@pytest.fixture(scope="module")
def account(server: DatabaseServer) -> Iterator[Account]:
    # The existing exporter can't have a blank in a password.
    made = Account("yaml_reader", "secret")
    server.execute(f"CREATE ROLE {made.user} LOGIN PASSWORD '{made.password}' IN ROLE pg_monitor")
    server.execute("CREATE SCHEMA of_role")
    server.execute("CREATE TABLE of_role.things AS SELECT generate_series(1, 3)")
    server.execute(f"GRANT USAGE ON SCHEMA of_role TO {made.user}")
    server.execute(f"GRANT SELECT ON of_role.things TO {made.user}")
    server.execute(f"ALTER ROLE {made.user} SET search_path = of_role")
    yield made
    server.execute("DROP SCHEMA of_role CASCADE")
    server.execute(f"DROP ROLE {made.user}")


@pytest.fixture
def theirs(server: DatabaseServer, account: Account, program: Callable[..., Program]) -> Callable[..., str]:
    """Give the page of a real postgres_exporter with these flags."""

    def page(*flags: str) -> str:
        port = free_port()
        program(
            "peer",
            [tool("postgres_exporter"), f"--web.listen-address=127.0.0.1:{port}", *flags],
            env={"DATA_SOURCE_NAME": server.url(account) + "?sslmode=disable"},
        )
        text = ""

        def up() -> bool:
            nonlocal text
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
                    text = response.read().decode()
            except OSError:
                return False
            return "pg_up 1" in text

        assert wait_for(up, 20), text[-3000:]
        return text

    return page


def test_same_names_labels_types_and_values(
    server: DatabaseServer, account: Account, theirs: Callable[..., str], tmp_path: Path
) -> None:
    peer = theirs(f"--extend.query-path={FILE}")
    # As there, a server without a name of its own is called host:port.
    config = {"servers": [{"url": server.url(account)}], "queries_files": [str(FILE)]}
    with Exporter(tmp_path, config) as exporter:
        page = exporter.scrape_until(lambda found: found.has("shop_cached_answer")).text
    wanted, found = samples(peer), samples(page)
    # NaN is not itself: theirs has it where a value is NULL, ours has nothing.
    nothing = {key for key, value in wanted.items() if math.isnan(value)}
    assert {name for name, _ in nothing} == {f"shop_orders_{column}" for column in ("nothing", "last", "any_paid")}
    assert {key: value for key, value in wanted.items() if key not in nothing} == found
    kinds = types(peer)
    assert kinds.pop("shop_orders_nothing") == "gauge"
    assert types(page) == kinds
    assert kinds["shop_orders_unlisted"] == "untyped"


def test_a_broken_entry_is_reported_and_takes_no_other_along(
    server: DatabaseServer, account: Account, tmp_path: Path
) -> None:
    file = tmp_path / "queries.yaml"
    file.write_text(
        "fine:\n  query: SELECT 1 AS shop\n  metrics:\n    - shop: {usage: GAUGE, description: a}\n"
        "wrong:\n  query: SELECT nothing AS shop\n  metrics:\n    - shop: {usage: GAUGE, description: a}\n"
    )
    config = {"servers": [{"name": "s", "url": server.url(account)}], "queries_files": [str(file)]}
    with Exporter(tmp_path, config) as exporter:
        page = exporter.scrape()
        assert page.value("fine_shop", server="s") == 1
        assert page.value("database_exporter_collector_success", collector="user_wrong") == 0
        assert re.search(r"collector user_wrong: error: column .*nothing.* does not exist", exporter.log())
