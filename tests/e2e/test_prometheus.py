"""A real Prometheus discovers the servers through /sd, scrapes them through /probe and answers for all subjects."""

from __future__ import annotations

from exporter import catalogue
from tests.exporters import wait_for
from tests.live import Live, settled

# One question for each subject, which has to have an answer for every server; {server} is its name.
EVERYWHERE = {
    "up": 'db_up{{instance="{server}"}} == 1',
    "info": 'db_info{{instance="{server}"}}',
    "start": 'db_start_time_seconds{{instance="{server}"}} > 1.6e9',
    "connections by state": 'sum by (instance) (db_connections{{instance="{server}"}})',
    "connections against the limit": (
        'sum by (instance) (db_connections{{instance="{server}"}}) '
        '/ on (instance) (db_connections_max{{instance="{server}"}} '
        '- on (instance) db_connections_reserved{{instance="{server}"}}) < 1'
    ),
    "statements": 'sum(db_statements_total{{instance="{server}"}})',
    "size": 'sum(db_size_bytes{{instance="{server}"}}) > 0',
    "storage outside the databases": 'sum(db_storage_bytes{{instance="{server}"}}) > 0',
    "cache hits": 'sum(db_cache_hits_total{{instance="{server}"}}) > 0',
    "cache misses": 'sum(db_cache_misses_total{{instance="{server}"}}) >= 0',
}
ON_PRIMARIES = {
    "statements per second": 'sum(rate(db_statements_total{{instance="{server}"}}[30s])) > 0',
    "transactions per second": 'sum(rate(db_transactions_total{{instance="{server}"}}[30s])) > 0',
    "growth of the database under load": 'db_size_bytes{{instance="{server}",database="live"}} > 0',
    "the limit of its size": 'db_size_limit_bytes{{instance="{server}",database="live"}} == 10 * 1024 * 1024 * 1024',
    "whose it is": 'db_project_info{{instance="{server}",database="live",owner="dba"}}',
}
# A schema is a database on MySQL and MariaDB, so its size is told once there.
ON_POSTGRES = {"size by schema": 'sum(db_schema_size_bytes{{instance="{server}"}}) > 0'}
ON_REPLICAS = {
    "lag in seconds": 'db_replication_lag_seconds{{instance="{server}"}} < 30',
    "lag in bytes": 'db_replication_lag_bytes{{instance="{server}"}} >= 0',
    "running": 'db_replication_running{{instance="{server}"}} == 1',
    "delay": 'db_replication_delay_seconds{{instance="{server}"}} == 0',
}


def test_every_subject_has_an_answer_for_every_server(live: Live) -> None:
    def silent() -> list[str]:
        found = []
        for server, role in live.names().items():
            questions = EVERYWHERE | (ON_PRIMARIES if role == "primary" else ON_REPLICAS)
            if server.startswith("postgres"):
                questions |= ON_POSTGRES
            for subject, question in questions.items():
                if not live.prometheus.query(question.format(server=server)):
                    found.append(f"{server}: {subject}: {question.format(server=server)}")
        return found

    assert settled(silent) == []


def test_slow_statements_are_counted_where_the_server_can_tell(live: Live) -> None:
    def counting() -> set[str]:
        slow = "sum by (instance) (increase(db_slow_statements_total[30s])) > 0"
        return {item["metric"]["instance"] for item in live.prometheus.query(slow)}

    # MariaDB as it comes counts nothing faster than ten seconds; `check` says what would mend that.
    expected = {server.name for flavor, server in live.primaries.items() if flavor != "mariadb"}
    assert settled(lambda: expected - counting()) == set()
    assert counting() <= expected


def test_labels_of_the_config_go_onto_the_targets_and_not_twice(live: Live) -> None:
    for server in live.names():
        # Just after a scrape that came too late on a busy machine there is none.
        (found,) = wait_for(lambda server=server: live.prometheus.query(f'db_up{{instance="{server}"}}'))
        assert found["metric"]["team"] == "platform"
        assert found["metric"]["server"] == server
        assert not any(name.startswith("exported_") for name in found["metric"])


def test_roles_are_told(live: Live) -> None:
    def wrong() -> set[tuple[str, str]]:
        told = {(item["metric"]["instance"], item["metric"]["role"]) for item in live.prometheus.query("db_info")}
        return told ^ set(live.names().items())

    assert settled(wrong) == set()


def test_no_collector_has_failed(live: Live) -> None:
    def failed() -> list[str]:
        return [
            f"{item['metric']['server']}: {item['metric']['collector']}"
            for item in live.prometheus.query("database_exporter_collector_success == 0")
        ]

    assert settled(failed) == []


def test_prometheus_stores_every_sample_that_it_was_shown(live: Live) -> None:
    def lacking() -> set[str]:
        # Of one scrape, whichever was the last.
        both = (
            'scrape_samples_scraped{job="databases"} > 50 and '
            'scrape_samples_scraped{job="databases"} == scrape_samples_post_metric_relabeling{job="databases"}'
        )
        return set(live.names()) - {item["metric"]["instance"] for item in live.prometheus.query(both)}

    assert settled(lacking) == set()


def test_every_stored_metric_is_in_the_catalogue_with_its_labels(live: Live) -> None:
    known = catalogue.metric_names()
    stray = set()
    for server in live.names():
        for item in live.prometheus.query(f'{{__name__!="",instance="{server}",job="databases"}}'):
            labels = dict(item["metric"])
            name = labels.pop("__name__")
            if name in ("up", "ALERTS", "ALERTS_FOR_STATE") or name.startswith("scrape_") or ":" in name:
                continue
            may = catalogue.labels_of(name, known)
            extra = set(labels) - {"instance", "job", "team"} - (may or frozenset())
            if may is None or extra:
                stray.add((name, *sorted(extra)))
    assert stray == set()


def test_the_shipped_rules_load_and_evaluate(live: Live) -> None:
    groups = live.prometheus.api("rules")["groups"]
    assert groups
    broken = {
        rule["name"]: rule.get("lastError") for group in groups for rule in group["rules"] if rule.get("lastError")
    }
    assert broken == {}


def test_nothing_fires_while_all_is_well(live: Live) -> None:
    # The load runs slow statements on purpose.
    quiet = {"DatabaseSlowStatements"}

    def firing() -> set[tuple[str, str | None]]:
        return {
            (item["metric"]["alertname"], item["metric"].get("server"))
            for item in live.prometheus.query('ALERTS{alertstate="firing",severity!="info"}')
            if item["metric"]["alertname"] not in quiet
        }

    assert settled(firing) == set()
