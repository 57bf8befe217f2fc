"""Runs single collectors on real servers, as the exporter does, and reads what comes out with Prometheus' parser."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit

from prometheus_client.parser import text_string_to_metric_families

from exporter.config.model import ServerConfig
from exporter.declare import Accumulator, Asking, Collector, Context, Rows
from exporter.engines.base import Session
from exporter.engines.deadline import Deadline
from exporter.engines.known import ENGINES
from exporter.exposition.page import Dialect, page
from exporter.exposition.render import render
from exporter.facts import Facts
from exporter.failure import Failure, Reason
from exporter.polling.runs import asked
from exporter.polling.shapes import arranged
from exporter.registry import collectors_by_name
from exporter.statement import statement
from tests.providers.base import Account, DatabaseServer

Labels = Mapping[str, str]


class Samples:
    """The samples of one run, without the labels that every series has."""

    def __init__(self, text: str) -> None:
        # The parser adds _total to the names of counters that have none.
        written = set(re.findall(r"^[a-z]\w*", text, re.MULTILINE))
        self.kinds: dict[str, str] = {}
        self.all: list[tuple[str, dict[str, str], float]] = [
            (
                sample.name if sample.name in written else sample.name.removesuffix("_total"),
                {k: v for k, v in sample.labels.items() if k not in {"server", "engine"}},
                sample.value,
            )
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
        for family in text_string_to_metric_families(text):
            self.kinds |= {sample.name: family.type for sample in family.samples}

    def names(self) -> set[str]:
        """The metrics that have a series."""
        return {name for name, _, _ in self.all}

    def by(self, name: str, *labels: str) -> dict[Any, float]:
        """The values of a metric by one label, or by several as a tuple."""
        found = {}
        for sample, given, value in self.all:
            if sample == name:
                key = tuple(given[label] for label in labels)
                found[key[0] if len(labels) == 1 else key] = value
        return found

    def values(self, name: str, **labels: str) -> list[float]:
        """The values of all series of a metric that have these labels."""
        return [value for sample, given, value in self.all if sample == name and labels.items() <= given.items()]

    def one(self, name: str, **labels: str) -> float:
        """The value of the only series of a metric that has these labels."""
        found = self.values(name, **labels)
        assert len(found) == 1, f"{len(found)} series of {name}{labels}"
        return found[0]


class Watch:
    """A server as the exporter sees it over several runs: one session, facts, and what collectors remember."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.engine = ENGINES[config.engine]
        self.session: Session = self.engine.connect(config, Deadline.after(10))
        self._states: dict[str, Accumulator] = {}

    def facts(self) -> Facts:
        """What is true of the server now."""
        identity = self.engine.identify(self.session, Deadline.after(10))
        return self.engine.learn(self.session, identity, self.config, Deadline.after(10))

    def forget(self) -> None:
        """Another server answers from here on, or this one anew."""
        for state in self._states.values():
            state.rebase()

    def lacks_only(self, name: str, *privileges: str) -> bool:
        """Whether a collector is closed for want of each of these privileges, and of nothing else."""
        gate, facts, given = collectors_by_name()[name].when, self.facts(), frozenset(privileges)

        def passes(more: frozenset[str]) -> bool:
            return gate.passes(replace(facts, grants=facts.grants | more))

        return passes(given) and not any(passes(given - {one}) for one in given)

    def run(self, name: str, facts: Facts | None = None, limit: int | None = None) -> Samples:
        """Run a collector, with another limit than its own if one is given; no samples if it is not for this server."""
        collector = collectors_by_name()[name]
        facts = facts or self.facts()
        if not collector.when.passes(facts):
            return Samples("")
        context = Context(self.config, facts, time.monotonic())
        state = self._states.setdefault(name, collector.state()) if collector.state is not None else None
        rows = self._rows(collector, facts, limit, state)
        if collector.rows is not None:
            rows = collector.rows(rows, context)
        if state is not None:
            rows = state.feed(rows, context)
        if collector.sampled is not None:
            samples = collector.sampled(collector.limit)
            samples.take(rows, context.now)
            rows = samples.rows(context.now)
        rendered = render(collector, rows, context)
        assert not rendered.dropped, f"{name} dropped {rendered.dropped}"
        return Samples(page(rendered.families, Dialect.TEXT_0_0_4).decode())

    def _enter(self, database: str) -> Session:
        # Of the account's few connections the one before may still be ending on a busy machine.
        end = time.monotonic() + 10
        while True:
            try:
                return self.engine.connect(self.config, Deadline.after(10), database=database)
            except Failure as failure:
                if failure.reason is not Reason.TOO_MANY_CONNECTIONS or time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def _rows(self, collector: Collector, facts: Facts, limit: int | None, state: Accumulator | None) -> Rows:
        query = collector.query(facts)
        assert query is not None, f"{collector.name} has no query for {facts.version_text}"
        sql = statement(collector, query, facts, limit)
        if isinstance(state, Asking):
            context = Context(self.config, facts, time.monotonic())
            return asked(
                state, sql, self.session, context, Deadline.after(collector.timeout or self.config.timeouts.statement)
            )
        if not collector.each_database:
            found = self.session.run(sql, Deadline.after(collector.timeout or self.config.timeouts.statement))
            return arranged(query, found)
        columns: tuple[str, ...] = ("database",)
        rows: list[tuple[Any, ...]] = []
        for database, closed in self.engine.databases(self.session, Deadline.after(10)).items():
            if closed is not None or (collector.elsewhere_of and database == facts.database):
                continue
            session = self._enter(database)
            try:
                found = session.run(sql, Deadline.after(collector.timeout or self.config.timeouts.statement))
            finally:
                session.close()
            columns = ("database", *found.columns)
            rows.extend((database, *row) for row in found.rows)
        return Rows(columns, rows)


def config_of(server: DatabaseServer, account: Account | None = None, **more: Any) -> ServerConfig:
    """The configuration of a server, for an account of the exporter."""
    login = account or server.account()
    return ServerConfig.model_validate(
        {
            "name": server.name,
            "engine": server.engine,
            "host": server.host,
            "port": server.port,
            "user": login.user,
            "password": login.password,
            "database": unquote(urlsplit(server.url()).path[1:]) or None,
        }
        # What a config file that says nothing of it means for a server on this machine.
        | ({"tls": {"mode": "disable"}} if server.engine == "mysql" else {})
        | more
    )


@contextmanager
def watching(server: DatabaseServer, account: Account | None = None, **more: Any) -> Iterator[Watch]:
    """Watch a server, by default with the account that `check --grants` prints."""
    if account is None and server.primary is not None:
        account = server.primary.account()
        server.wait_until_caught_up()
    watch = Watch(config_of(server, account, **more))
    try:
        yield watch
    finally:
        watch.session.close()
