"""What a test sees of a database server, however it was started."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.providers.tls import Certificate

ADMIN_PASSWORD = "admin"
START_SECONDS = 90.0
STOP_SECONDS = 30.0
# What takes so many seconds at most may take that many times as long while others use the machine.
PATIENCE = 2.0


class ProviderError(RuntimeError):
    """A server cannot be had or did not start; the message says what is missing and how to get it."""


class NotStartedError(ProviderError):
    """A server was made, and does not answer."""


@dataclass(frozen=True)
class Kind:
    """One release line of one flavor, such as ``mariadb-11.8``."""

    name: str
    engine: str
    flavor: str
    release: tuple[int, ...]

    @classmethod
    def parse(cls, name: str) -> Kind:
        """Read ``postgres-18``, ``mysql-9.7`` or ``mariadb-10.11``."""
        flavor, _, release = name.partition("-")
        engine = {"postgres": "postgres", "mysql": "mysql", "mariadb": "mysql"}.get(flavor)
        if engine is None or not release.replace(".", "").isdigit():
            raise ProviderError(f"{name!r} names no server; write for example postgres-18 or mysql-9.7")
        return cls(name, engine, flavor, tuple(int(part) for part in release.split(".")))


@dataclass(frozen=True)
class Account:
    """A login on a server."""

    user: str
    password: str


@dataclass
class Address:
    """Where a server listens and where it keeps its files (None where they are inside a container)."""

    host: str
    port: int
    socket: Path | None = None
    data: Path | None = None
    log: Path | None = None


class Runner(Protocol):
    """The processes behind a server: local ones or those of a container."""

    address: Address

    def start(self) -> None:
        """Begin to start; does not wait until the server answers."""

    def stop(self) -> None:
        """End every process in an orderly way, by force after a bounded wait."""

    def kill(self) -> None:
        """End every process at once, as a crash would."""

    def pause(self) -> None:
        """Freeze every process."""

    def resume(self) -> None:
        """Undo `pause`."""

    def alive(self) -> bool:
        """Whether the main process runs."""

    def configure(self, settings: Mapping[str, str]) -> None:
        """Change settings of the server's configuration file; the next start reads them."""

    def log_text(self) -> str:
        """Everything the server wrote to its log."""

    def remove(self) -> None:
        """Stop and delete the data."""


@dataclass
class DatabaseServer(ABC):
    """A running database server.

    ``execute`` and ``connect`` are the second path of tests: plain drivers as the administrator (or whom
    you name), nothing of the exporter in between.
    """

    kind: Kind
    runner: Runner
    admin: Account
    primary: DatabaseServer | None = None
    maker: ReplicaMaker | None = None
    replicas: list[DatabaseServer] = field(default_factory=list)
    known_account: Account | None = None
    certificate: Certificate | None = None

    @property
    def name(self) -> str:
        """``postgres-18``, ``mysql-9.7``, ``mariadb-11.8``."""
        return self.kind.name

    @property
    def engine(self) -> str:
        """``postgres`` or ``mysql``."""
        return self.kind.engine

    @property
    def flavor(self) -> str:
        """``postgres``, ``mysql`` or ``mariadb``."""
        return self.kind.flavor

    @property
    def host(self) -> str:
        """The address it listens on: loopback."""
        return self.runner.address.host

    @property
    def port(self) -> int:
        """Its TCP port, which stays the same over restarts."""
        return self.runner.address.port

    @property
    def socket(self) -> Path | None:
        """The directory (PostgreSQL) or file (MySQL) of its Unix socket; None in a container."""
        return self.runner.address.socket

    @property
    def data(self) -> Path | None:
        """Its data directory; None in a container."""
        return self.runner.address.data

    @property
    def log(self) -> Path | None:
        """Its log file; None in a container (see `log_text`)."""
        return self.runner.address.log

    def log_text(self) -> str:
        """Everything the server wrote to its log."""
        return self.runner.log_text()

    @property
    @abstractmethod
    def version(self) -> tuple[int, ...]:
        """What the server says of itself, such as ``(18, 1)`` or ``(11, 8, 3)``."""

    @abstractmethod
    def connect(
        self, database: str | None = None, user: str | None = None, password: str | None = None, **options: Any
    ) -> Any:
        """Open a driver's connection (psycopg or PyMySQL, autocommit) as the administrator, or as `user`."""

    @abstractmethod
    def execute(
        self, sql: str, database: str | None = None, params: Sequence[Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """Run one statement as the administrator on a connection of its own; the rows, if there are any."""

    @abstractmethod
    def account(self, *grants: str, name: str = "exporter", limit: int = 3) -> Account:
        """Create the exporter's least-privilege account anew and run each of `grants` (whole statements)."""

    @abstractmethod
    def url(self, account: Account | None = None, database: str | None = None) -> str:
        """A connection URL as the exporter's config takes it."""

    @abstractmethod
    def caught_up(self) -> bool:
        """On a replica: whether everything the primary has written is visible here."""

    def start(self) -> None:
        """Start and wait until it answers."""
        self.runner.start()
        self.wait_until_up()

    def stop(self) -> None:
        """Shut down in an orderly way; connections are cut."""
        self.runner.stop()

    def kill(self) -> None:
        """End every process at once, as a crash would."""
        self.runner.kill()

    def restart(self, **settings: str) -> None:
        """Stop, change settings of the configuration file, start. Keys are written with ``_``."""
        self.stop()
        if settings:
            self.runner.configure(settings)
        self.start()

    def pause(self) -> None:
        """Freeze every process: the kernel still accepts connections, nobody answers."""
        self.runner.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        self.runner.resume()

    def remove(self) -> None:
        """Stop it and its replicas and delete the data."""
        for replica in self.replicas:
            replica.remove()
        self.replicas.clear()
        self.runner.remove()

    def replica(self, **settings: str) -> DatabaseServer:
        """Make and start a replica (a streaming standby on PostgreSQL) and wait until it has caught up."""
        if self.maker is None:
            raise ProviderError(f"{self.name}: this provider makes no replicas of it")
        made = self.maker(self, settings)
        self.replicas.append(made)
        made.wait_until_caught_up()
        return made

    standby = replica

    def wait_until_caught_up(self, seconds: float = 30.0) -> None:
        """Wait until a replica shows everything its primary has; ProviderError after `seconds`."""
        if not wait_for(self.caught_up, seconds):
            raise ProviderError(f"replica {self.name} has not caught up in {seconds:g} s\n{self._tail()}")

    def wait_until_up(self, seconds: float = START_SECONDS) -> None:
        """Wait until the server answers; NotStartedError with the end of its log otherwise."""

        def settled() -> bool:
            return not self.runner.alive() or self._answers()

        if not wait_for(settled, seconds) or not self.runner.alive():
            state = "did not answer" if self.runner.alive() else "ended"
            raise NotStartedError(f"{self.name} {state} while starting; its log ends:\n{self._tail()}")

    def _answers(self) -> bool:
        try:
            self.connect(connect_timeout=2).close()
        except Exception:  # noqa: BLE001 - any failure means: not yet
            return False
        return True

    def _tail(self) -> str:
        return "\n".join(self.log_text().splitlines()[-25:])


class ReplicaMaker(Protocol):
    """Makes a replica of a server; each provider has its own."""

    def __call__(self, primary: DatabaseServer, settings: Mapping[str, str]) -> DatabaseServer:
        """Make and start it."""


class Provider(Protocol):
    """A source of servers."""

    name: str

    def names(self) -> list[str]:
        """The servers it can make, oldest first within a flavor."""

    def create(
        self,
        name: str,
        settings: Mapping[str, str] | None = None,
        *,
        tls: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> DatabaseServer:
        """Make and start a new server, with these variables in its environment."""

    def close(self) -> None:
        """Stop every server and delete all data."""


def wait_for(condition: Callable[[], bool], seconds: float, pause: float = 0.1) -> bool:
    """Ask until `condition` holds or `seconds` have passed, on a busy machine more of them; whether it held."""
    deadline = time.monotonic() + PATIENCE * seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
