"""Servers as containers of the public images, through testcontainers."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import docker
import docker.errors
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from tests.providers import mysql, postgres
from tests.providers.base import (
    ADMIN_PASSWORD,
    STOP_SECONDS,
    Account,
    Address,
    DatabaseServer,
    Kind,
    ProviderError,
)
from tests.providers.mysql import MySQLServer
from tests.providers.postgres import PostgresServer
from tests.providers.processes import Workspace, free_port
from tests.providers.tls import make_certificate

NAMES = [
    *(f"postgres-{major}" for major in range(13, 19)),
    *("mysql-8.0", "mysql-8.4", "mysql-9.7"),
    *("mariadb-10.6", "mariadb-10.11", "mariadb-11.4", "mariadb-11.8"),
]
PORTS = {"postgres": 5432, "mysql": 3306}
# The images read these files: PostgreSQL as its command says, MySQL and MariaDB by their documentation.
CONFIGS = {"postgres": "/etc/test.conf", "mysql": "/etc/mysql/conf.d/zz-test.cnf"}
CERTIFICATES = {"authority": "/etc/test-ca.pem", "certificate": "/etc/test.pem", "key": "/etc/test.key"}
COPY_PRIMARY = """
[ -s "$PGDATA/PG_VERSION" ] ||
    pg_basebackup --pgdata "$PGDATA" --write-recovery-conf --checkpoint fast --no-sync --dbname "$PRIMARY"
exec docker-entrypoint.sh postgres --config_file=/etc/test.conf
"""
Server = TypeVar("Server", bound=DatabaseServer)


@dataclass
class ContainerRunner:
    """A container, its settings, and the alias by which other containers reach it."""

    address: Address
    container: DockerContainer
    config: str
    alias: str
    settings: dict[str, str]

    def start(self) -> None:
        """Begin to start."""
        try:
            if self.container.status == "not_started":
                self.container.with_copy_into_container(self._text(), self.config)
                self.container.start()
            else:
                self.container.get_wrapped_container().start()
        except docker.errors.APIError as error:
            raise ProviderError(f"the container of {self.container.image} did not start: {error}") from None

    def stop(self) -> None:
        """End it in an orderly way."""
        if self.container.status != "not_started":
            self._unpause()
            self.container.get_wrapped_container().stop(timeout=int(STOP_SECONDS))

    def kill(self) -> None:
        """End it as a crash would."""
        self._unpause()
        if self.alive():
            self.container.get_wrapped_container().kill()
            self.container.get_wrapped_container().wait()

    def pause(self) -> None:
        """Freeze it."""
        self.container.get_wrapped_container().pause()

    def resume(self) -> None:
        """Undo `pause`."""
        self.container.get_wrapped_container().unpause()

    def alive(self) -> bool:
        """Whether its main process runs."""
        self.container.reload()
        return self.container.status in ("created", "running", "paused")

    def configure(self, settings: Mapping[str, str]) -> None:
        """Put a new file of settings into the container."""
        self.settings.update(settings)
        if self.container.status != "not_started":
            self.container.copy_into_container(self._text(), self.config)

    def log_text(self) -> str:
        """Read its log."""
        return b"".join(self.container.get_logs()).decode(errors="replace")

    def remove(self) -> None:
        """Delete it and its data."""
        # It may be gone already, with the server that it is a replica of.
        with contextlib.suppress(docker.errors.NotFound):
            self.container.stop()

    def _text(self) -> bytes:
        heading = "[mysqld]\n" if self.config == CONFIGS["mysql"] else ""
        lines = (f"{key} = '{value}'\n" for key, value in self.settings.items())
        return (heading + "".join(lines)).encode()

    def _unpause(self) -> None:
        self.container.reload()
        if self.container.status == "paused":
            self.resume()


class ContainerProvider:
    """All supported releases, where a Docker engine answers and has, or can fetch, their images.

    `engine` names the engine (default: what the environment says), `prefix` goes before the names of the images.
    """

    name = "containers"

    def __init__(self, workspace: Workspace, *, engine: str | None = None, prefix: str = "") -> None:
        self.workspace = workspace
        self._prefix = prefix
        self._client: dict[str, Any] = {"environment": os.environ | ({"DOCKER_HOST": engine} if engine else {})}
        self._servers: list[DatabaseServer] = []
        self._count = 0

    @functools.cached_property
    def _network(self) -> Network:
        return Network(docker_client_kw=self._client).create()

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
        if name not in NAMES:
            raise ProviderError(f"{name} is no supported server; those are {', '.join(NAMES)}")
        kind = Kind.parse(name)
        server = (self._postgres if kind.engine == "postgres" else self._mysql)(kind, settings or {}, env)
        if tls:
            self._secure(server)
        return server

    def close(self) -> None:
        """Stop every server and delete all data."""
        for server in self._servers:
            server.remove()
        self._servers.clear()
        if "_network" in self.__dict__:
            self._network.remove()
            del self._network

    def _postgres(self, kind: Kind, settings: Mapping[str, str], env: Mapping[str, str] | None) -> PostgresServer:
        runner = self._runner(kind, postgres.SETTINGS | {"listen_addresses": "*"} | dict(settings), env)
        runner.container.with_env("POSTGRES_PASSWORD", ADMIN_PASSWORD)
        runner.container.with_env(
            "POSTGRES_INITDB_ARGS", "--auth-host=scram-sha-256 --encoding=UTF8 --no-locale --no-sync"
        )
        runner.container.with_command(["postgres", f"--config_file={runner.config}"])
        server = self._started(PostgresServer(kind, runner, Account("postgres", ADMIN_PASSWORD), maker=self._standby))
        server.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        return server

    def _standby(self, primary: DatabaseServer, settings: Mapping[str, str]) -> DatabaseServer:
        source = _container_runner(primary)
        source.container.exec(["sh", "-c", 'echo host replication all all scram-sha-256 >> "$PGDATA/pg_hba.conf"'])
        primary.execute("SELECT pg_reload_conf()")
        runner = self._runner(primary.kind, source.settings | dict(settings))
        runner.container.with_env(
            "PRIMARY",
            f"host={source.alias} user=postgres password={ADMIN_PASSWORD} application_name={runner.alias}",
        )
        runner.container.with_kwargs(entrypoint=["sh", "-c", COPY_PRIMARY])
        return self._started(PostgresServer(primary.kind, runner, primary.admin, primary=primary, maker=self._standby))

    def _mysql(self, kind: Kind, settings: Mapping[str, str], env: Mapping[str, str] | None = None) -> MySQLServer:
        words = mysql.SETTINGS | mysql.FLAVOR_SETTINGS[kind.flavor] | {"bind_address": "*"}
        # No name service knows the addresses that containers see.
        runner = self._runner(kind, words | {"skip_name_resolve": "ON"} | dict(settings), env)
        runner.configure({"server_id": str(runner.address.port)})
        prefix = kind.flavor.upper()
        runner.container.with_env(f"{prefix}_ROOT_PASSWORD", ADMIN_PASSWORD)
        runner.container.with_env(f"{prefix}_INITDB_SKIP_TZINFO", "1")
        return self._started(MySQLServer(kind, runner, Account("root", ADMIN_PASSWORD), maker=self._mysql_replica))

    def _mysql_replica(self, primary: DatabaseServer, settings: Mapping[str, str]) -> DatabaseServer:
        replica = self._mysql(primary.kind, {"read_only": "ON", **settings})
        replica.follow(primary, _container_runner(primary).alias, PORTS["mysql"])
        return replica

    def _runner(self, kind: Kind, settings: Mapping[str, str], env: Mapping[str, str] | None = None) -> ContainerRunner:
        self._count += 1
        alias = f"{kind.name.replace('.', '-')}-{self._count}"
        port = free_port()
        try:
            network = self._network
            image = f"{self._prefix}{kind.flavor}:{'.'.join(map(str, kind.release))}"
            container = DockerContainer(image, docker_client_kw=self._client)
        except docker.errors.DockerException as error:
            raise ProviderError(f"no Docker engine answers, which --provider=containers needs: {error}") from None
        container.with_bind_ports(PORTS[kind.engine], port).with_network(network).with_network_aliases(alias)
        for key, value in (env or {}).items():
            container.with_env(key, value)
        host = container.get_docker_client().host()
        address = Address("127.0.0.1" if host == "localhost" else host, port)
        return ContainerRunner(address, container, CONFIGS[kind.engine], alias, dict(settings))

    def _secure(self, server: DatabaseServer) -> None:
        certificate = make_certificate(self.workspace.directory(f"{server.name}-tls"))
        runner = _container_runner(server)
        for part, path in CERTIFICATES.items():
            runner.container.copy_into_container(getattr(certificate, part).read_bytes(), path, 0o600)
        # What the image calls the user that its server runs as.
        owner = "postgres" if server.engine == "postgres" else "mysql"
        runner.container.exec(["chown", owner, *CERTIFICATES.values()])
        suffix = "_file" if server.engine == "postgres" else ""
        settings = {f"ssl_{short}{suffix}": CERTIFICATES[part] for short, part in
                    (("ca", "authority"), ("cert", "certificate"), ("key", "key"))}  # fmt: skip
        if server.engine == "postgres":
            settings["ssl"] = "on"
        server.restart(**settings)
        server.certificate = certificate

    def _started(self, server: Server) -> Server:
        self._servers.append(server)
        server.start()
        return server


def _container_runner(server: DatabaseServer) -> ContainerRunner:
    assert isinstance(server.runner, ContainerRunner)
    return server.runner


def default_host() -> str:
    """Where the Docker engine of this machine would be."""
    return os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")


def engine_answers(host: str) -> bool:
    """Whether a Docker engine answers at `host`."""
    if host.startswith("unix://"):
        # The library would leave its socket open where nobody listens.
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(host.removeprefix("unix://"))
            except OSError:
                return False
    try:
        with contextlib.closing(docker.DockerClient(base_url=host, timeout=10)) as client:
            return bool(client.ping())
    except docker.errors.DockerException:
        return False


def images_can_be_had(image: str = "postgres:18") -> bool:
    """Whether a Docker engine answers and has, or can fetch, a public image."""
    if not engine_answers(default_host()):
        return False
    with contextlib.closing(docker.from_env()) as client:
        try:
            client.images.get(image)
        except docker.errors.ImageNotFound:
            try:
                client.images.pull(image)
            except docker.errors.APIError:
                return False
    return True
