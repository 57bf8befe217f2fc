"""What holds for every collector, without a server: names, labels, units, gates without gaps."""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from exporter import accounts, catalogue
from exporter.collectors.vocabulary import HELP
from exporter.declare import Collector
from exporter.engines.mysql.errors import privilege_name
from exporter.facts import Extension, Facts, Identity, Role
from exporter.registry import collectors_by_name
from exporter.statement import statement

COLLECTORS = list(collectors_by_name().values())

# The versions that the product says it supports, and the releases between which columns were renamed.
VERSIONS = {
    "postgres": [(13, 0), (14, 0), (15, 0), (16, 0), (17, 0), (18, 0)],
    "mysql": [(8, 0, 11), (8, 0, 22), (8, 0, 28), (8, 0, 36), (8, 2, 0), (8, 4, 0), (9, 0, 0), (9, 7, 0)],
    "percona": [(8, 0, 36), (8, 4, 0)],
    "mariadb": [(10, 6, 0), (10, 11, 0), (11, 4, 0), (11, 8, 0)],
}

# The shared vocabulary and its labels besides `server` and `engine`.
VOCABULARY: dict[str, set[str]] = {
    "db_up": set(),
    "db_start_time_seconds": set(),
    "db_info": {"version", "flavor", "role", "db_cluster"},
    "db_identity_changes_total": set(),
    "db_threshold": {"signal", "severity"},
    "db_connections": {"state"},
    "db_connections_max": set(),
    "db_connections_reserved": set(),
    "db_role_connections": {"role"},
    "db_role_connections_max": {"role"},
    "db_database_connections": {"database"},
    "db_database_connections_max": {"database"},
    "db_connections_opened_total": set(),
    "db_connections_refused_total": {"reason"},
    "db_statements_total": {"database"},
    "db_statement_seconds_total": {"database"},
    "db_statement_duration_seconds": set(),
    "db_slow_statements_total": {"database", "source"},
    "db_slow_statement_threshold_seconds": {"source"},
    "db_slow_statement_duration_seconds": {"database"},
    "db_slow_statement_executions_total": {"database", "fingerprint"},
    "db_slow_statement_seconds_total": {"database", "fingerprint"},
    "db_slow_statement_info": {"database", "fingerprint", "queryid", "query"},
    "db_transactions_total": {"database", "outcome"},
    "db_size_bytes": {"database"},
    "db_schema_size_bytes": {"database", "schema"},
    "db_size_limit_bytes": {"database"},
    "db_project_info": {"database", "schema", "project", "owner"},
    "db_storage_bytes": {"kind"},
    "db_cache_hits_total": {"database"},
    "db_cache_misses_total": {"database"},
    "db_replication_lag_seconds": {"channel"},
    "db_replication_lag_bytes": {"channel"},
    "db_replication_running": {"channel"},
    "db_replication_joining": set(),
    "db_replication_unreachable_members": set(),
    "db_replication_delay_seconds": {"channel"},
    "db_standby_lag_seconds": {"standby", "stage"},
    "db_standby_lag_bytes": {"standby", "stage"},
    "db_deadlocks_total": {"database"},
    "db_lock_waiting_sessions": {"database"},
    "db_lock_wait_longest_seconds": {"database"},
    "db_active_session_seconds_total": {"database", "wait_class"},
    "db_active_session_unobserved_seconds_total": set(),
    "db_transaction_longest_seconds": set(),
    "db_statement_longest_seconds": set(),
}


class _Everything(dict[str, Any]):
    """Answers every question with what opens the gate, so that only versions and roles decide."""

    def get(self, key: str, default: Any = None) -> Any:
        return self[key]

    def __getitem__(self, key: str) -> Any:
        return self.value

    def __contains__(self, key: object) -> bool:
        return True

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class _AnyText(str):
    """Equal to every text, or to none."""

    equal = True

    def lower(self) -> "_AnyText":
        return self

    def __eq__(self, other: object) -> bool:
        return self.equal

    def __ne__(self, other: object) -> bool:
        return not self.equal

    __hash__ = str.__hash__


class _NoText(_AnyText):
    equal = False


def _facts(flavor: str, version: tuple[int, ...], role: Role, setting: _AnyText) -> Facts:
    everything: Mapping[str, Any] = _Everything(Extension((99,), "public", "postgres"))
    return Facts(
        engine="postgres" if flavor == "postgres" else "mysql",
        flavor=flavor,
        version=version,
        version_text=".".join(map(str, version)),
        identity=Identity("x", 0.0, role),
        database="postgres",
        extensions=everything,
        grants=_Everything(True),  # type: ignore[arg-type]
        settings=_Everything(setting),
    )


def servers_of(collector: Collector) -> Iterator[Facts]:
    """Servers of each version that the collector is for, in each role, with all settings on and with none."""
    for flavor, versions in VERSIONS.items():
        if (flavor == "postgres") != (collector.engine == "postgres"):
            continue
        for version in versions:
            for role, setting in itertools.product(Role, (_AnyText(), _NoText())):
                facts = _facts(flavor, version, role, setting)
                if collector.when.passes(facts):
                    yield facts


def test_there_are_collectors_for_both_engines():
    assert {collector.engine for collector in COLLECTORS} == {"postgres", "mysql"}


@pytest.mark.parametrize("collector", COLLECTORS, ids=lambda collector: collector.name)
def test_every_version_it_is_for_has_a_query(collector: Collector):
    servers = list(servers_of(collector))
    assert servers, "it is for no server that is supported"
    gaps = {f"{facts.flavor} {facts.version_text} {facts.role}" for facts in servers if collector.query(facts) is None}
    assert not gaps


@pytest.mark.parametrize("collector", COLLECTORS, ids=lambda collector: collector.name)
def test_no_query_is_out_of_reach(collector: Collector):
    chosen = {id(collector.query(facts)) for facts in servers_of(collector)}
    # A query that opens where an earlier one is closed by a setting or a privilege is in reach too.
    dead = [
        query.sql
        for query in collector.queries
        if id(query) not in chosen and not any(query.when.passes(facts) for facts in servers_of(collector))
    ]
    assert not dead


@pytest.mark.parametrize("collector", COLLECTORS, ids=lambda collector: collector.name)
def test_its_statements_are_complete_on_every_version(collector: Collector):
    for facts in servers_of(collector):
        query = collector.query(facts)
        assert query is not None
        sql = statement(collector, query, facts, limit=7)
        assert not re.search(r"\{(columns|limit|schema)", sql)
        assert "  ," not in sql
        assert not sql.rstrip().endswith(";")


@pytest.mark.parametrize("collector", COLLECTORS, ids=lambda collector: collector.name)
def test_collectors_are_named_after_their_engine(collector: Collector):
    assert collector.name.startswith("pg_" if collector.engine == "postgres" else "mysql_")


def test_a_metric_is_one_thing_wherever_it_is_declared():
    by_name: dict[str, set[str]] = {}
    for entry in catalogue.entries():
        by_name.setdefault(entry.name, set()).add(entry.kind)
    # Of names that rows complete, each row has one kind.
    assert not [name for name, kinds in by_name.items() if len(kinds) > 1 and not name.endswith("*")]


# Metrics that more than one collector has a series of on one server, and why none is there twice.
SEVERAL = {
    "db_storage_bytes": "each has kinds of its own",
    "db_project_info": "of a database, and of a schema",
    "db_slow_statements_total": "each is a source of its own",
    "db_slow_statement_threshold_seconds": "each is a source of its own",
}
# The config says where the log is: in a file, or behind SQL.
LOGS = {"mysql_slow_log": "mysql_slow_log_table", "pg_slow_log": "pg_slow_log_over_sql"}


def test_no_two_collectors_have_the_same_series():
    """Of a series that is on a page twice Prometheus keeps one sample, and complains at each scrape."""
    by_name: dict[str, set[str]] = {}
    for flavor, versions in VERSIONS.items():
        for version, role, setting in itertools.product(versions, Role, (_AnyText(), _NoText())):
            facts, served = _facts(flavor, version, role, setting), dict[str, set[str]]()
            for collector in COLLECTORS:
                if collector.engine != facts.engine or not collector.when.passes(facts):
                    continue
                # What runs in other databases has series of these alone, and of the two logs one is read.
                name = LOGS.get(collector.name) or collector.elsewhere_of or collector.name
                for part in collector.blocks:
                    for measure in part.measures:
                        if part.when.passes(facts) and measure.when.passes(facts):
                            served.setdefault(measure.name, set()).add(name)
            for metric, names in served.items():
                if len(names) > 1:
                    by_name.setdefault(metric, set()).update(names)
    assert by_name.keys() == SEVERAL.keys(), by_name


def test_a_shared_metric_says_the_same_on_every_engine():
    """One page holds both engines, and one HELP for each metric; only how it is read may differ."""
    sentences: dict[str, set[str]] = {}
    for collector in COLLECTORS:
        for measure in collector.measures():
            if measure.name.startswith("db_"):
                sentences.setdefault(measure.name, set()).add(measure.help)
    assert {name: said for name, said in sentences.items() if len(said) > 1} == {}
    assert set(HELP) <= set(sentences), "the vocabulary has what no collector feeds"


def test_no_name_is_another_metrics_sample():
    names = set(catalogue.metric_names())
    entries = {entry.name: entry for entry in catalogue.entries()}
    clashes = {
        name
        for name, entry in entries.items()
        # OpenMetrics calls the counter x_total `x`, and a histogram owns three sample names.
        if (entry.kind == "counter" and name.endswith("_total") and name.removesuffix("_total") in names)
    }
    assert clashes == set()


def test_the_shared_vocabulary_is_used_as_it_is_written_down():
    for entry in catalogue.entries():
        if entry.name.startswith("db_"):
            assert entry.name in VOCABULARY, entry.name
            assert set(entry.labels) <= VOCABULARY[entry.name], entry.name


def test_both_engines_speak_the_shared_vocabulary():
    by_engine: dict[str, set[str]] = {"postgres": set(), "mysql": set()}
    for collector in COLLECTORS:
        by_engine[collector.engine] |= {measure.name for measure in collector.measures()}
    subjects = {
        "db_connections",
        "db_connections_max",
        "db_connections_reserved",
        "db_statements_total",
        "db_statement_seconds_total",
        "db_slow_statements_total",
        "db_slow_statement_threshold_seconds",
        # db_schema_size_bytes is missing: on MySQL a schema is a database, and one size is not told twice.
        "db_size_bytes",
        "db_storage_bytes",
        "db_cache_hits_total",
        "db_cache_misses_total",
        "db_replication_lag_seconds",
        "db_replication_lag_bytes",
        "db_replication_running",
        "db_replication_delay_seconds",
    }
    for engine, names in by_engine.items():
        assert subjects - names == set(), engine


UNITS = re.compile(
    r"_(milliseconds|millis|ms|micros|us|minutes|hours|days|kb|kib|mb|mib|gb|kilobytes|percent|pct)(_|\Z)"
)


def test_new_names_use_base_units():
    wrong = {entry.name for entry in catalogue.entries() if not entry.drop_in and UNITS.search(entry.name)}
    assert wrong == set()


def test_statements_are_counted_as_often_as_prometheus_asks():
    """Read more seldom, rate() over a minute sees steps instead of load."""
    of_statements = {"db_statements_total", "db_slow_statements_total", "db_statement_duration_seconds"}
    feeding = [item for item in COLLECTORS if of_statements & {measure.name for measure in item.measures()}]
    assert {item.engine for item in feeding} == {"postgres", "mysql"}
    assert {item.name: item.every for item in feeding if item.every is not None and item.every > 15} == {}


def test_durations_and_sizes_say_their_unit():
    for entry in catalogue.entries():
        if entry.drop_in:
            continue
        if re.search(r"_(lag|delay|duration|age|longest|time)(_total)?\Z", entry.name):
            pytest.fail(f"{entry.name} has no unit")
        if re.search(r"_size(_total)?\Z", entry.name):
            pytest.fail(f"{entry.name} has no unit")


@pytest.mark.parametrize("collector", COLLECTORS, ids=lambda collector: collector.name)
def test_the_printed_account_has_what_the_collector_needs(collector: Collector):
    for flavor, versions in VERSIONS.items():
        if (flavor == "postgres") != (collector.engine == "postgres"):
            continue
        for version in versions:
            facts = _facts(flavor, version, Role.PRIMARY, _AnyText())
            printed = " ".join(accounts.statements(facts, "exporter", "secret", []))
            for grant in collector.grants:
                # MariaDB's alone; elsewhere REPLICATION CLIENT shows replicas too.
                if grant == "SLAVE MONITOR" and flavor != "mariadb":
                    continue
                name = privilege_name(grant, flavor, version)
                assert name in printed, f"{flavor} {facts.version_text}: {name}"
