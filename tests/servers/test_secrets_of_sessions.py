"""No session, nor anything it holds, shows its password when it is printed, as tracebacks and logs do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from exporter.config.model import TLS, ServerConfig
from exporter.config.secrets import Secret
from exporter.demo.processes import Child
from exporter.demo.servers import DemoServer
from exporter.engines.deadline import Deadline
from exporter.engines.known import ENGINES
from exporter.engines.postgres.errors import Login
from tests.providers.base import DatabaseServer

CANARY = "canary-Kx7Qm2"


def held_by(thing: Any) -> Iterator[Any]:
    """The thing, and what our own objects in it hold."""
    yield thing
    if type(thing).__module__.startswith("exporter."):
        slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
        for name in {*slots, *getattr(thing, "__dict__", {})}:
            value = getattr(thing, name, None)
            # The password itself has to be somewhere.
            if not isinstance(value, str | bytes):
                yield from held_by(value)


def test_a_session_shows_no_password(server: DatabaseServer) -> None:
    if server.engine == "postgres":
        account = server.account(f"ALTER ROLE canary PASSWORD '{CANARY}'", name="canary")
    else:
        account = server.account(f"ALTER USER canary IDENTIFIED BY '{CANARY}'", name="canary")
    config = ServerConfig(
        name="canary",
        engine=server.engine,
        host=server.host,
        port=server.port,
        user=account.user,
        password=Secret.text(CANARY),
        # What the config makes of an address on this machine.
        tls=TLS(mode="disable"),
    )
    engine = ENGINES[server.engine]
    session = engine.connect(config, Deadline.after(10))
    try:
        things = [*held_by(session), *held_by(engine), config, {"locals": [session, config]}]
        assert len(things) > 10
        assert [thing for thing in things if CANARY in f"{thing!r} {thing!s}"] == []
    finally:
        session.close()


@pytest.mark.parametrize(
    "thing",
    [
        Login("exporter", "shop", CANARY),
        DemoServer("postgres", "postgres", 5432, "postgres", CANARY, CANARY, object.__new__(Child)),
    ],
)
def test_what_carries_a_password_shows_none(thing: object) -> None:
    assert CANARY not in f"{thing!r} {thing!s} {[thing]}"
