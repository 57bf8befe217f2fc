"""Runs collectors about statements on a real server, the way a poll does, and parses what comes out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from exporter.config.model import ServerConfig
from exporter.engines.base import Session
from exporter.engines.deadline import Deadline
from exporter.engines.mysql.engine import MYSQL
from exporter.engines.postgres.engine import POSTGRES
from exporter.facts import Facts
from exporter.polling.runs import Reading, read, rendered, taken_in
from exporter.polling.snapshot import Snapshot, State
from exporter.polling.tasks import Task
from exporter.registry import collectors_by_name
from exporter.subjects.logs.choice import counting_slow
from exporter.subjects.statements.following import following
from tests.providers.base import Account, DatabaseServer

ENGINES = {"postgres": POSTGRES, "mysql": MYSQL}
SECONDS = 20.0


class Watch:
    """A session of the exporter and the tasks that keep their totals over its runs."""

    facts: Facts

    def __init__(self, session: Session, config: ServerConfig) -> None:
        self.session = session
        self.config = config
        self._collectors = {item.name: item for item in counting_slow(following(collectors_by_name().values()), config)}
        self._tasks: dict[str, Task] = {}

    def learn(self) -> None:
        """Learn the facts anew, as is done now and then."""
        engine, deadline = ENGINES[self.config.engine], Deadline.after(SECONDS)
        self.facts = engine.learn(self.session, engine.identify(self.session, deadline), self.config, deadline)

    def renew(self) -> None:
        """Take a new session, as is done now and then: one that is there keeps the settings that it began with."""
        self.session.close()
        self.session = ENGINES[self.config.engine].connect(self.config, Deadline.after(SECONDS))

    def task(self, name: str) -> Task:
        if name not in self._tasks:
            self._tasks[name] = Task.of(self._collectors[name], self.config)
        return self._tasks[name]

    def snapshot(self, name: str) -> Snapshot:
        task = self.task(name)
        reading = read(task, self.session, self.facts, Deadline.after(SECONDS))
        if isinstance(reading, Reading):
            reading = taken_in(task, reading, self.config, self.facts, 100_000)
        return rendered(task, reading, self.config, self.facts, 100_000) if isinstance(reading, Reading) else reading

    def look(self, name: str) -> Sample:
        """One run, which has to work."""
        snapshot = self.snapshot(name)
        assert snapshot.state is State.OK, f"{name}: {snapshot.reason} {snapshot.message}"
        assert not snapshot.dropped
        return Sample("".join(f"# TYPE {part.name} {part.kind}\n{part.text}" for part in snapshot.families))


class Sample:
    """The series of one run."""

    def __init__(self, page: str) -> None:
        self.values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                labels = {key: value for key, value in sample.labels.items() if key not in {"server", "engine"}}
                self.values[sample.name, frozenset(labels.items())] = sample.value

    def __call__(self, name: str, **labels: str) -> float:
        return self.values[name, frozenset(labels.items())]

    def names(self) -> set[str]:
        return {name for name, _ in self.values}

    def all(self, name: str) -> list[tuple[Mapping[str, str], float]]:
        return [(dict(labels), value) for (found, labels), value in self.values.items() if found == name]


@contextlib.contextmanager
def watching(server: DatabaseServer, account: Account | None = None, **config: Any) -> Iterator[Watch]:
    login = account or server.account()
    engine = ENGINES[server.engine]
    settings = ServerConfig.model_validate(
        {
            "name": "tested",
            "engine": server.engine,
            "host": server.host,
            "port": server.port,
            "user": login.user,
            "password": login.password,
            "tls": {"mode": "disable"},
            **config,
        }
    )
    watch = Watch(engine.connect(settings, Deadline.after(SECONDS)), settings)
    try:
        watch.learn()
        yield watch
    finally:
        watch.session.close()
