"""Queries of the config on real servers: what they give, where and as whom they run, and what happens to wrong ones."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from exporter.commands.configuration import known
from exporter.config import load_text
from exporter.engines.deadline import Deadline
from exporter.engines.known import ENGINES
from exporter.exposition.page import Dialect, page
from exporter.failure import Reason
from exporter.polling.flight import Flight
from exporter.polling.server import Watched
from exporter.polling.snapshot import Snapshot, State
from exporter.registry import collectors_of
from tests.exporters import Exporter, wait_for
from tests.providers.base import Account, DatabaseServer
from tests.providers.fleet import Fleet
from tests.servers.collecting import Samples

HELP = {"help": "A number"}


@pytest.fixture(scope="module")
def account(server: DatabaseServer) -> Iterator[Account]:
    """Give an account that may read the tables of a shop, made here."""
    made = server.account(limit=6)
    if server.engine == "postgres":
        for database in ("shop", "crm"):
            server.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
            server.execute(f"CREATE DATABASE {database}")
            server.execute("CREATE SCHEMA app", database)
            server.execute(f"GRANT USAGE ON SCHEMA app TO {made.user}", database)
        server.execute(f"ALTER ROLE {made.user} SET search_path = app, public")
    else:
        server.execute("DROP DATABASE IF EXISTS shop")
        server.execute("CREATE DATABASE shop")
    schema = "app." if server.engine == "postgres" else "shop."
    for database in ("shop", "crm") if server.engine == "postgres" else ("shop",):
        server.execute(f"CREATE TABLE {schema}orders (id int, state varchar(20), paid boolean, took_ms int)", database)
        server.execute(f"CREATE TABLE {schema}hidden (id int)", database)
        rows = "(1, 'open', false, 1500), (2, 'open', false, 500), (3, 'sent', true, NULL)"
        server.execute(f"INSERT INTO {schema}orders VALUES {rows}", database)
        who = made.user if server.engine == "postgres" else f"'{made.user}'@'%'"
        server.execute(f"GRANT SELECT ON {schema}orders TO {who}", database)
    yield made
    for database in ("shop", "crm") if server.engine == "postgres" else ("shop",):
        # The exporter's sessions of the tests before end by themselves.
        server.execute(f"DROP DATABASE {database}" + (" WITH (FORCE)" if server.engine == "postgres" else ""))
    if server.engine == "postgres":
        server.execute(f"ALTER ROLE {made.user} RESET search_path")


@contextlib.contextmanager
def watched(server: DatabaseServer, account: Account, queries: Mapping[str, Any], **more: Any) -> Iterator[Watched]:
    """Watch a server with these queries, and with its own collectors beside them."""
    url = server.url(account, more.pop("connect_to", None))
    entry = {"name": server.name, "url": url, "queries": queries, **more}
    config = load_text(json.dumps({"servers": [entry]}), known=known())
    made = Watched(config.servers[0], ENGINES[server.engine], collectors_of(server.engine))
    try:
        yield made
    finally:
        made.close()


def run(watching: Watched, *names: str) -> dict[str, Snapshot]:
    """Scrape, and run what is named in the background; what came out of both."""
    flight = Flight(Deadline.after(20))
    watching.scrape(flight)
    watching.background([watching.tasks[name] for name in names])
    return {**watching.latest, **flight.results, **{name: watching.latest[name] for name in names}}


def samples(*outcomes: Snapshot) -> Samples:
    families = [family for outcome in outcomes for family in outcome.families]
    return Samples(page(families, Dialect.TEXT_0_0_4).decode())


def query(sql: str, *names: str, **more: Any) -> dict[str, Any]:
    return {"sql": sql, "measures": [{"name": name, **HELP} for name in names or ("shop_number",)], **more}


def at(server: DatabaseServer) -> str:
    """Where the tables of the shop are, in SQL."""
    return "" if server.engine == "postgres" else "shop."


def test_labels_types_units_and_null(server: DatabaseServer, account: Account) -> None:
    orders = {
        "sql": f"SELECT state, paid AS done, count(*) AS n, max(took_ms) AS slowest, sum(id) AS shop_ids_total,"
        f" '7.5' AS shop_text FROM {at(server)}orders GROUP BY state, paid ORDER BY state -- by state\n ; ",
        "labels": {"state": "state", "finished": "done"},
        "measures": [
            {"name": "shop_orders", "column": "n", "help": "Orders by state"},
            {"name": "shop_slowest_seconds", "column": "slowest", "unit": "ms", **HELP},
            {"name": "shop_ids_total", "type": "counter", **HELP},
            {"name": "shop_text", **HELP},
        ],
        "database": "shop",
    }
    with watched(server, account, {"orders": orders}) as watching:
        assert watching.tasks["orders"].every == 60
        outcome = run(watching, "orders")["orders"]
    assert (outcome.state, outcome.message) == (State.OK, "")
    found = samples(outcome)
    # MySQL has no truth values, only numbers.
    no, yes = ("false", "true") if server.engine == "postgres" else ("0", "1")
    assert found.by("shop_orders", "state", "finished") == {("open", no): 2, ("sent", yes): 1}
    assert found.by("shop_slowest_seconds", "state") == {"open": 1.5}
    assert found.by("shop_ids_total", "state") == {"open": 3, "sent": 3}
    assert found.values("shop_text") == [7.5, 7.5]
    assert {family.name: (family.kind, family.help) for family in outcome.families}["shop_orders"] == (
        "gauge",
        "Orders by state. Read in the background, every 60 s unless the config says otherwise.",
    )


def test_at_the_scrape_or_in_the_background(server: DatabaseServer, account: Account) -> None:
    queries = {"fast": query("SELECT 1 AS shop_fast", "shop_fast"), "slow": query("SELECT 2 AS shop_slow", "shop_slow")}
    with watched(server, account, queries, collectors={"slow": {"every": "5m"}}) as watching:
        latest = run(watching)
        assert latest["fast"].state is State.OK
        assert "slow" not in latest
        assert samples(run(watching, "slow")["slow"]).one("shop_slow") == 2
        assert watching.tasks["slow"].every == 300
    with watched(server, account, queries, collectors={"fast": False}) as watching:
        assert run(watching)["fast"].state is State.DISABLED


def test_a_wrong_query_fails_alone_and_says_why(server: DatabaseServer, account: Account) -> None:
    queries = {
        "fine": query("SELECT 1 AS shop_fine", "shop_fine"),
        "typo": query("SELECT 1 AS shop_a FORM nothing", "shop_a"),
        "gone": query(f"SELECT 1 AS shop_b FROM {at(server)}nothing_like_it", "shop_b"),
        "renamed": query("SELECT 1 AS other", "shop_c"),
        "unlabelled": query("SELECT 1 AS shop_d", "shop_d", labels=["state"]),
        "lost": query("SELECT 1 AS shop_f", "shop_f", database="no_such_database"),
    }
    with watched(server, account, queries) as watching:
        latest = run(watching, "lost")
    failed = {name: (latest[name].reason, latest[name].message) for name in queries if name != "fine"}
    assert latest["fine"].state is State.OK
    assert {latest[name].state for name in failed} == {State.FAILED}
    # MySQL does not tell an account without rights whether there is such a table.
    assert failed["gone"][0] is (Reason.ERROR if server.engine == "postgres" else Reason.PERMISSION)
    assert {reason for name, (reason, _) in failed.items() if name != "gone"} == {Reason.ERROR}
    for name, word in {
        "typo": "syntax",
        "gone": "nothing_like_it",
        "renamed": "no column shop_c, which a measure needs",
        "unlabelled": "no column state, which a label needs",
        "lost": "no_such_database",
    }.items():
        assert word in failed[name][1], failed[name]
    # Ours are none the worse for it.
    ours = [outcome for name, outcome in latest.items() if name not in queries]
    assert [outcome.collector for outcome in ours if outcome.state is State.FAILED] == []


def test_what_it_may_not_read_is_a_failure(server: DatabaseServer, account: Account) -> None:
    hidden = "app.hidden" if server.engine == "postgres" else "shop.hidden"
    with watched(server, account, {"spy": query(f"SELECT count(*) AS n FROM {hidden}", database="shop")}) as watching:
        outcome = run(watching, "spy")["spy"]
    assert outcome.state is State.FAILED
    # MySQL lets an account that may not read a schema's table say so as well.
    assert outcome.reason is Reason.PERMISSION, outcome.message
    if server.engine == "postgres":
        assert outcome.fix == f"in database shop: GRANT SELECT ON hidden TO {account.user};"
    else:
        assert outcome.fix == "let the exporter's account read what the query reads"


def test_rows_beyond_the_limit_are_left_out_and_say_so(server: DatabaseServer, account: Account) -> None:
    many = query(f"SELECT id, id AS shop_number FROM {at(server)}orders", labels=["id"], limit=2, database="shop")
    with watched(server, account, {"many": many}) as watching:
        outcome = run(watching, "many")["many"]
        assert len(samples(outcome).values("shop_number")) == 2
        assert outcome.state is State.FAILED
        assert "more than 2 rows" in outcome.message
    with watched(server, account, {"many": many}, collectors={"many": {"limit": 3}}) as watching:
        outcome = run(watching, "many")["many"]
        assert (outcome.state, outcome.series) == (State.OK, 3)


def test_a_slow_one_is_ended_at_its_timeout(server: DatabaseServer, account: Account) -> None:
    nap = "pg_sleep(20)::text" if server.engine == "postgres" else "sleep(20)"
    queries = {
        "slow": query(f"SELECT {nap} AS shop_number", timeout="300ms"),
        "fine": query("SELECT 1 AS shop_a", "shop_a"),
    }
    with watched(server, account, queries) as watching:
        latest = run(watching)
    assert latest["fine"].state is State.OK
    # MySQL's sleep() ends early and gives 1, as its manual has it, where the statement is a plain SELECT of it.
    assert latest["slow"].reason is Reason.TIMEOUT or latest["slow"].duration < 5


def test_gates(server: DatabaseServer, account: Account) -> None:
    flavor = {} if server.engine == "postgres" else {"flavor": server.flavor}
    here, next_one = server.version[0], str(server.version[0] + 1)
    where = {"engine": server.engine, **flavor}
    queries = {
        "now": query("SELECT 1 AS a", "shop_a", since=here, below=next_one, **where),
        "later": query("SELECT 1 AS b", "shop_b", since=next_one, **where),
        "earlier": query("SELECT 1 AS b", "shop_b", below=str(here), **where),
        "first": query("SELECT 1 AS shop_c", "shop_c", role="primary"),
        "second": query("SELECT 1 AS shop_c", "shop_c", role="replica"),
        "other": query("SELECT 1 AS shop_d", "shop_d", engine="mysql" if server.engine == "postgres" else "postgres"),
    }
    queries["now"]["measures"][0]["column"] = "a"
    with watched(server, account, queries) as watching:
        latest = run(watching)
    assert {name: latest[name].state for name in queries if name in latest} == {
        "now": State.OK,
        "later": State.UNSUPPORTED,
        "earlier": State.UNSUPPORTED,
        "first": State.OK,
        "second": State.UNSUPPORTED,
    }
    assert latest["later"].reason is None
    assert next_one in latest["later"].message


@pytest.mark.engine("postgres")
def test_it_runs_with_the_accounts_search_path_and_ours_do_not(server: DatabaseServer, account: Account) -> None:
    queries = {
        "unqualified": query("SELECT count(*) AS shop_a FROM orders", "shop_a"),
        "path": query("SELECT current_setting('search_path') AS path, 1 AS shop_b", "shop_b", labels=["path"]),
        "sets": query("SELECT set_config('search_path', 'crm', false) AS new, 1 AS shop_c", "shop_c", labels=["new"]),
        "writes": query("SELECT current_setting('transaction_read_only') AS so, 1 AS shop_d", "shop_d", labels=["so"]),
    }
    with watched(server, account, queries, connect_to="shop") as watching:
        for _ in range(2):
            latest = run(watching)
            assert {name: latest[name].message for name in queries} == dict.fromkeys(queries, "")
            assert samples(latest["unqualified"]).one("shop_a") == 3
            assert samples(latest["path"]).by("shop_b", "path") == {"app, public": 1}
            assert samples(latest["writes"]).by("shop_d", "so") == {"on": 1}
            session, _ = watching.sessions.main(Deadline.after(10))
            assert session.run("SHOW search_path", Deadline.after(10)).rows == [("pg_catalog",)]
        failed = [outcome for outcome in latest.values() if outcome.state is State.FAILED]
        assert failed == []


@pytest.mark.engine("postgres")
@pytest.mark.parametrize("after", ["", " / 0"])
def test_advisory_locks_are_given_back(server: DatabaseServer, account: Account, after: str) -> None:
    locks = f"SELECT count(pg_advisory_lock(4711 + n)){after} AS shop_locks FROM generate_series(1, 2) AS n"
    with watched(server, account, {"locks": query(locks, "shop_locks")}, connect_to="shop") as watching:
        outcome = run(watching)["locks"]
        assert outcome.state is (State.FAILED if after else State.OK)
        assert watching.sessions.connections == 1
        assert server.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'") == []


@pytest.mark.engine("mysql")
@pytest.mark.parametrize("after", ["", " FROM shop.nothing"])
def test_nothing_that_a_statement_leaves_stays(server: DatabaseServer, account: Account, after: str) -> None:
    """Locks, variables and settings end with it; the session, what we set in it and its database do not."""
    ours = (
        "SELECT @@time_zone, @@sql_mode, @@autocommit, @@lock_wait_timeout, @@wait_timeout, @@long_query_time, "
        "@@character_set_client, @@character_set_results, @@collation_connection, "
        f"@@{'transaction_read_only' if server.flavor == 'mysql' else 'tx_read_only'}, "
        # By which others of ours know it.
        "(SELECT count(*) FROM performance_schema.session_connect_attrs WHERE PROCESSLIST_ID = CONNECTION_ID())"
    )
    queries = {
        "locks": query(f"SELECT GET_LOCK('shop.one', 0) + GET_LOCK('shop.two', 0) AS shop_locks{after}", "shop_locks"),
        "variable": query("SELECT @shop IS NULL AS shop_forgotten, @shop := 7 AS seven", "shop_forgotten", "seven"),
    }
    with watched(server, account, queries) as watching:
        session, _ = watching.sessions.main(Deadline.after(10))
        before = session.run(ours, Deadline.after(10)).rows
        for _ in range(2):
            latest = run(watching)
            assert latest["locks"].state is (State.FAILED if after else State.OK)
            if not after:
                assert samples(latest["locks"]).one("shop_locks") == 2
            assert samples(latest["variable"]).one("shop_forgotten") == 1
            assert server.execute("SELECT IS_FREE_LOCK('shop.one'), IS_FREE_LOCK('shop.two')") == [(1, 1)]
        settings = (
            "time_zone='+05:00', sql_mode='ANSI', autocommit=0, character_set_results=latin1, lock_wait_timeout=9"
        )
        session.run_user_defined(f"SET {settings}", Deadline.after(10), frozenset())
        assert session.run(ours, Deadline.after(10)).rows == before
        assert watching.sessions.main(Deadline.after(10))[0] is session
        assert [outcome.message for outcome in latest.values() if outcome.state is State.FAILED] == (
            [latest["locks"].message] if after else []
        )


@pytest.mark.engine("mysql")
def test_the_named_database_stays_the_one(server: DatabaseServer, account: Account) -> None:
    counted = {name: query("SELECT count(*) AS n FROM orders", f"shop_{name}", database="shop") for name in ("a", "b")}
    counted = {
        name: {**one, "measures": [{"name": f"shop_{name}", "column": "n", **HELP}]} for name, one in counted.items()
    }
    with watched(server, account, counted) as watching:
        latest = run(watching, "a", "b")
        assert {name: samples(latest[name]).one(f"shop_{name}") for name in ("a", "b")} == {"a": 3, "b": 3}


@pytest.mark.flavor("mysql")
def test_in_its_database_there_is_its_own_digest_alone(server: DatabaseServer, account: Account) -> None:
    counted = query("SELECT count(*) AS shop_number FROM orders", database="shop")
    with watched(server, account, {"counted": counted}) as watching:
        server.execute("TRUNCATE TABLE performance_schema.events_statements_summary_by_digest")
        for _ in range(2):
            assert samples(run(watching, "counted")["counted"]).one("shop_number") == 3
        digests = server.execute(
            "SELECT DIGEST_TEXT, COUNT_STAR FROM performance_schema.events_statements_summary_by_digest "
            "WHERE SCHEMA_NAME = 'shop'"
        )
        assert [("orders" in text, calls) for text, calls in digests] == [(True, 2)]


@pytest.mark.engine("postgres")
def test_one_that_ends_the_session_takes_none_of_ours_along(server: DatabaseServer, account: Account) -> None:
    """Twice in one scrape, since the first time a new session takes its place; and before, as it is quick."""
    ends = "SELECT pg_terminate_backend(pg_backend_pid())::int AS shop_{}"
    queries = {name: query(ends.format(name), f"shop_{name}") for name in ("one", "two")}
    with watched(server, account, queries) as watching:
        for _ in range(3):
            latest = run(watching)
            assert {latest[name].state for name in queries} == {State.FAILED}
            ours = [name for name, found in latest.items() if name not in queries and found.state is State.FAILED]
            assert ours == []


@pytest.mark.engine("postgres")
@pytest.mark.parametrize("where", [{}, {"database": "shop"}], ids=["scrape", "background"])
def test_one_that_will_not_end_is_ended(server: DatabaseServer, account: Account, where: dict[str, str]) -> None:
    """It catches what the server ends a statement with, and does not see that its client has gone."""
    server.execute(
        "CREATE OR REPLACE FUNCTION app.stubborn() RETURNS int LANGUAGE plpgsql AS $$ BEGIN LOOP BEGIN"
        " PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$",
        "shop",
    )
    stubborn = {"stubborn": query("SELECT app.stubborn() AS shop_number", timeout="500ms", **where)}
    running = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT * FROM (%app.stubborn%'"
    with watched(server, account, stubborn, connect_to="shop") as watching:
        outcome = run(watching, "stubborn")["stubborn"]
        assert (outcome.state, outcome.reason) == (State.FAILED, Reason.TIMEOUT)
        wait_for(lambda: server.execute(running) == [], 15)
        assert watching.sessions.connections <= 1


@pytest.mark.engine("postgres")
def test_a_long_label_is_cut(server: DatabaseServer, account: Account) -> None:
    long = query(
        "SELECT repeat('é', 100000) || n AS body, n AS shop_number FROM generate_series(1, 2) n", labels=["body"]
    )
    with watched(server, account, {"long": long}) as watching:
        outcome = run(watching)["long"]
    # Rows that are the same now are one.
    assert samples(outcome).by("shop_number", "body") == {"é" * 999 + "…": 1}


@pytest.mark.engine("postgres")
def test_the_fix_of_a_function_is_no_role_of_ours(server: DatabaseServer, account: Account) -> None:
    spy = query("SELECT length(pg_read_file('postgresql.conf')) AS shop_number")
    with watched(server, account, {"spy": spy}) as watching:
        outcome = run(watching)["spy"]
    assert (outcome.reason, outcome.fix) == (Reason.PERMISSION, "let the exporter's account read what the query reads")


@pytest.mark.engine("postgres")
@pytest.mark.parametrize(
    ("sql", "column"),
    [
        ("TABLE orders", "id"),
        ("VALUES (1), (2), (3)", "column1"),
        ("(SELECT id FROM orders)", "id"),
        ("WITH o AS (SELECT id FROM orders) SELECT id FROM o ORDER BY id -- the first", "id"),
    ],
)
def test_every_kind_of_statement_is_bounded(server: DatabaseServer, account: Account, sql: str, column: str) -> None:
    measures = [{"name": "shop_number", "column": column, **HELP}]
    many = {"sql": sql, "labels": {"key": column}, "measures": measures, "limit": 2}
    with watched(server, account, {"many": many}, connect_to="shop") as watching:
        outcome = run(watching)["many"]
    assert "more than 2 rows" in outcome.message
    assert samples(outcome).by("shop_number", "key") == {"1": 1, "2": 2}


@pytest.mark.engine("postgres")
def test_settings_can_be_shown(server: DatabaseServer, account: Account) -> None:
    shown = {"sql": "SHOW max_connections", "measures": [{"name": "shop_number", "column": "max_connections", **HELP}]}
    with watched(server, account, {"shown": shown}) as watching:
        found = samples(run(watching)["shown"]).one("shop_number")
    assert [(str(int(found)),)] == server.execute("SHOW max_connections")


@pytest.mark.engine("postgres")
def test_in_every_database(server: DatabaseServer, account: Account) -> None:
    everywhere = query(
        "SELECT count(*) AS shop_number, current_database() AS there FROM orders", labels=["database", "there"],
        each_database=True,
    )  # fmt: skip
    with watched(server, account, {"everywhere": everywhere}, databases={"include": ["shop", "crm"]}) as watching:
        outcome = run(watching, "everywhere")["everywhere"]
        assert outcome.state is State.OK, outcome.message
        found = samples(outcome).by("shop_number", "database", "there")
        assert found == {("shop", "shop"): 3, ("crm", "crm"): 3}
    with watched(server, account, {"everywhere": everywhere}) as watching:
        # Other databases have no such table: that is said, and the rest is there.
        outcome = run(watching, "everywhere")["everywhere"]
        assert outcome.state is State.FAILED
        assert "in database" in outcome.message
        assert samples(outcome).by("shop_number", "database")["crm"] == 3


@pytest.mark.engine("postgres")
def test_a_database_that_the_primary_drops_is_no_failure_of_its_standby(
    server: DatabaseServer, account: Account, fleet: Fleet
) -> None:
    standby, doomed = fleet.replica(server.name), "dropped_there"
    server.execute(f"CREATE DATABASE {doomed}")
    standby.wait_until_caught_up()
    slow = query("SELECT 1 AS shop_number FROM pg_sleep(2.5)", each_database=True)
    where = {"include": [doomed, "postgres"]}
    asleep = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{doomed}' AND wait_event = 'PgSleep'"
    with watched(standby, account, {"slow": slow}, databases=where) as watching, ThreadPoolExecutor(1) as pool:
        going = pool.submit(run, watching, "slow")
        assert wait_for(lambda: standby.execute(asleep) == [(1,)], 20)
        server.execute(f"DROP DATABASE {doomed}")
        outcome = going.result(60)["slow"]
    assert (outcome.state, outcome.message) == (State.OK, "")
    assert samples(outcome).values("shop_number") == [1]


@pytest.mark.engine("postgres")
def test_labels_read_as_the_server_writes_them(server: DatabaseServer, account: Account) -> None:
    values = {
        "n": "1.50::numeric", "f": "2.0::float8", "b": "true", "i": "interval '90 seconds'", "a": "ARRAY[1, 2]",
        "t": "'x'::text", "l": "'0/16B3748'::pg_lsn", "j": "jsonb_build_object('k', 1)", "o": "NULL::int",
    }  # fmt: skip
    sql = "SELECT 1 AS shop_number, " + ", ".join(f"{value} AS {name}" for name, value in values.items())
    with watched(server, account, {"odd": query(sql, labels=list(values))}) as watching:
        found = samples(run(watching)["odd"])
    [labels] = [labels for name, labels, _ in found.all if name == "shop_number"]
    assert labels == {
        "n": "1.50", "f": "2", "b": "true", "i": "00:01:30", "a": "{1,2}", "t": "x", "l": "0/16B3748",
        "j": '{"k": 1}', "o": "",
    }  # fmt: skip


def test_they_are_on_the_page_and_in_check(server: DatabaseServer, account: Account, tmp_path: Any) -> None:
    config = {
        "servers": [{"name": server.name, "url": server.url(account)}],
        "queries": {
            "fine": query("SELECT 42 AS shop_fine", "shop_fine"),
            "bad": query("SELECT no_column AS shop_number"),
        },
    }
    with Exporter(tmp_path, config) as exporter:
        found = exporter.scrape()
        assert found.value("shop_fine", server=server.name) == 42
        assert found.value("database_exporter_collector_success", collector="fine") == 1
        assert found.value("database_exporter_collector_success", collector="bad") == 0
        assert found.value("db_up") == 1
        _, landing = exporter.get("/")
        assert "fine" in landing
        assert "shop_fine" in landing
