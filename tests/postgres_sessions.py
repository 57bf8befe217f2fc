"""What tests of PostgreSQL sessions share: configs of real servers, sessions that get closed, failures in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from exporter.config.model import ServerConfig
from exporter.config.secrets import Secret
from exporter.engines.deadline import Deadline
from exporter.engines.postgres.engine import PostgresEngine
from exporter.engines.postgres.session import PostgresSession
from exporter.failure import Failure
from tests.providers.base import Account, DatabaseServer

Connect = Callable[..., PostgresSession]
ENGINE = PostgresEngine()


def deadline(seconds: float = 10) -> Deadline:
    return Deadline.after(seconds)


def config(server: DatabaseServer, account: Account | None = None, **changes: Any) -> ServerConfig:
    """How to reach a server as `account`, or as its administrator."""
    login = account or server.admin
    told = {
        "name": server.name,
        "engine": "postgres",
        "host": server.host,
        "port": server.port,
        "user": login.user,
        "password": Secret.text(login.password),
    }
    return ServerConfig(**{**told, **changes})


@pytest.fixture(name="connect")
def connecting() -> Iterator[Connect]:
    """Open sessions that are closed after the test."""
    made: list[PostgresSession] = []

    def connect(server: ServerConfig, within: Deadline | None = None, **more: Any) -> PostgresSession:
        made.append(ENGINE.connect(server, within or deadline(), **more))
        return made[-1]

    yield connect
    for each in made:
        each.close()


@pytest.fixture(name="account", scope="module")
def session_account(server: DatabaseServer) -> Account:
    """Give an account that may have more sessions than the exporter's."""
    return server.account(name="session_tester", limit=10)


def value(session: PostgresSession, expression: str) -> Any:
    """The value of an expression, through the session."""
    return session.run(f"SELECT {expression}", deadline()).rows[0][0]


def failing(work: Callable[..., Any], *arguments: Any) -> Failure:
    """The Failure that `work` ends in, which it does in time; where nothing ends it, that is never."""
    started = time.monotonic()
    with pytest.raises(Failure) as caught:
        work(*arguments)
    assert time.monotonic() - started < 20
    return caught.value
