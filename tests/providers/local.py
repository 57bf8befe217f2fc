"""Servers as plain processes of this machine, without Docker."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.providers import mysql, postgres
from tests.providers.base import (
    ADMIN_PASSWORD,
    Account,
    Address,
    DatabaseServer,
    Kind,
    NotStartedError,
    ProviderError,
)
from tests.providers.mysql import MySQLServer
from tests.providers.packages import postgres_home, wheel_home
from tests.providers.postgres import PostgresServer
from tests.providers.processes import UNPRIVILEGED, Process, Workspace, free_port, is_root, run
from tests.providers.roots import inside
from tests.providers.tls import Certificate, make_certificate

Server = TypeVar("Server", bound=DatabaseServer)
NAMES = [
    "postgres-13",
    "postgres-14",
    "postgres-15",
    "postgres-16",
    "postgres-17",
    "postgres-18",
    "mysql-9.7",
    "mariadb-10.11",
    "mariadb-11.8",
]


@dataclass
class LocalRunner:
    """A server's process and its files."""

    address: Address
    process: Process
    directory: Path
    config: Path

    def start(self) -> None:
        """Begin to start."""
        self.process.start()

    def stop(self) -> None:
        """End it in an orderly way."""
        self.process.stop()

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()

    def pause(self) -> None:
        """Freeze it."""
        self.process.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        self.process.resume()

    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.alive()

    def configure(self, settings: Mapping[str, str]) -> None:
        """Append settings to its file: the last one wins."""
        with self.config.open("a") as file:
            file.write("".join(f"{key} = {_quoted(value)}\n" for key, value in settings.items()))

    def log_text(self) -> str:
        """Read its log."""
        return self.process.log.read_text(errors="replace") if self.process.log.exists() else ""

    def remove(self) -> None:
        """Stop it and delete its files."""
        self.process.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class LocalProvider:
    """PostgreSQL from packages of PyPI and npm, MySQL and MariaDB from Debian."""

    name = "local"

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._servers: list[DatabaseServer] = []

    def names(self) -> list[str]:
        """The servers it can make."""
        return list(NAMES)

    def create(
        self,
        name: str,
        settings: Mapping[str, str] | None = None,
        *,
        tls: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> DatabaseServer:
        """Make and start a new server."""
        kind = Kind.parse(name)
        if name not in NAMES:
            raise ProviderError(
                f"{name} cannot be had without Docker; local servers are: {', '.join(NAMES)}. "
                "Start Docker and use --provider=containers for the others."
            )

        def make() -> DatabaseServer:
            if kind.engine == "mysql":
                return self._mysql(kind, kind.name, settings or {}, tls=tls, env=env)
            made = self._postgres(kind, settings or {}, tls=tls, env=env)
            made.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            return made

        try:
            return make()
        except NotStartedError:
            # Its port was free when it was chosen, and somebody may have taken it meanwhile: another one, elsewhere.
            return make()

    def close(self) -> None:
        """Stop every server and delete all data."""
        for server in self._servers:
            server.remove()
        self._servers.clear()

    def _postgres(
        self, kind: Kind, settings: Mapping[str, str], *, tls: bool, env: Mapping[str, str] | None
    ) -> PostgresServer:
        home = postgres_home(kind.release[0], tls=tls)
        directory = self.workspace.directory(kind.name, unprivileged=True)
        secret = directory / "password"
        secret.write_text(ADMIN_PASSWORD)
        secret.chmod(0o644)
        run(
            [
                home / "bin/initdb", "--pgdata", directory / "data", "--username", "postgres",
                "--pwfile", secret, "--auth-local", "trust", "--auth-host", "scram-sha-256",
                "--encoding", "UTF8", "--no-locale", "--no-sync",
            ],
            unprivileged=True,
        )  # fmt: skip
        runner = self._postgres_runner(home, directory, env)
        runner.configure({**postgres.SETTINGS, **settings})
        certificate = _certificate(directory) if tls else None
        if certificate:
            runner.configure(
                {
                    "ssl": "on",
                    "ssl_ca_file": str(certificate.authority),
                    "ssl_cert_file": str(certificate.certificate),
                    "ssl_key_file": str(certificate.key),
                }
            )
        admin = Account("postgres", ADMIN_PASSWORD)
        return self._started(PostgresServer(kind, runner, admin, maker=self._standby, certificate=certificate))

    def _postgres_runner(self, home: Path, directory: Path, env: Mapping[str, str] | None = None) -> LocalRunner:
        data = directory / "data"
        address = Address("127.0.0.1", free_port(), directory, data, directory / "log")
        process = Process(
            [home / "bin/postgres", "-D", data],
            workspace=self.workspace,
            log=directory / "log",
            stop_signal=signal.SIGINT,
            env=env,
            unprivileged=True,
        )
        runner = LocalRunner(address, process, directory, data / "postgresql.conf")
        runner.configure({"port": str(address.port), "unix_socket_directories": str(directory)})
        return runner

    def _standby(self, primary: DatabaseServer, settings: Mapping[str, str]) -> DatabaseServer:
        home = postgres_home(primary.kind.release[0], tls=primary.certificate is not None)
        directory = self.workspace.directory(f"{primary.name}-standby", unprivileged=True)
        source = (
            f"host={primary.host} port={primary.port} user=postgres password={ADMIN_PASSWORD} "
            f"application_name={directory.name}"
        )
        # pg_basebackup of the newest release copies from all older ones.
        run(
            [
                wheel_home() / "bin/pg_basebackup", "--pgdata", directory / "data", "--write-recovery-conf",
                "--checkpoint", "fast", "--no-sync", "--dbname",
                source,
            ],
            unprivileged=True,
        )  # fmt: skip
        # It writes options of its own age, which an older server's library refuses; the last line wins.
        with (directory / "data/postgresql.auto.conf").open("a") as file:
            file.write(f"primary_conninfo = {_quoted(source)}\n")
        runner = self._postgres_runner(home, directory)
        runner.configure(settings)
        return self._started(PostgresServer(primary.kind, runner, primary.admin, primary=primary, maker=self._standby))

    def _mysql(
        self,
        kind: Kind,
        name: str,
        settings: Mapping[str, str],
        *,
        tls: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> MySQLServer:
        directory = self.workspace.directory(name, unprivileged=True)
        data, config, first = directory / "data", directory / "my.cnf", directory / "first.sql"
        address = Address("127.0.0.1", free_port(), directory / "mysqld.sock", data, directory / "log")
        program = "mariadbd" if kind.flavor == "mariadb" else "mysqld"
        process = Process(
            inside(kind.name, [program, f"--defaults-file={config}"]),
            workspace=self.workspace,
            log=directory / "log",
            env=env,
        )
        runner = LocalRunner(address, process, directory, config)
        config.write_text("[mysqld]\n")
        runner.configure(
            {
                "datadir": str(data),
                "socket": str(address.socket),
                "pid_file": str(directory / "pid"),
                "port": str(address.port),
                "server_id": str(address.port),
                "init_file": str(first),
                "tmpdir": str(directory),
                **mysql.SETTINGS,
                **mysql.FLAVOR_SETTINGS[kind.flavor],
                **settings,
            }
        )
        first.write_text(mysql.FIRST_STATEMENTS)
        certificate = _certificate(directory) if tls else None
        if certificate:
            runner.configure(
                {
                    "ssl_ca": str(certificate.authority),
                    "ssl_cert": str(certificate.certificate),
                    "ssl_key": str(certificate.key),
                }
            )
        run(inside(kind.name, _initialize(kind.flavor, config, data)))
        admin = Account("admin", ADMIN_PASSWORD)
        server = self._started(MySQLServer(kind, runner, admin, maker=self._mysql_replica, certificate=certificate))
        first.write_text("")
        return server

    def _mysql_replica(self, primary: DatabaseServer, settings: Mapping[str, str]) -> DatabaseServer:
        replica = self._mysql(primary.kind, f"{primary.name}-replica", {"read_only": "ON", **settings})
        replica.follow(primary, primary.host, primary.port)
        return replica

    def _started(self, server: Server) -> Server:
        self._servers.append(server)
        server.start()
        return server


def _certificate(directory: Path) -> Certificate:
    made = make_certificate(directory)
    if is_root():
        os.chown(made.key, UNPRIVILEGED.pw_uid, UNPRIVILEGED.pw_gid)
    return made


def _initialize(flavor: str, config: Path, data: Path) -> list[str | Path]:
    if flavor == "mysql":
        return ["mysqld", f"--defaults-file={config}", "--initialize-insecure"]
    return [
        *("mariadb-install-db", f"--defaults-file={config}", f"--datadir={data}", "--skip-test-db"),
        *("--force", "--skip-name-resolve", "--auth-root-authentication-method=normal"),
    ]


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
