"""Programs around databases that tests use: Prometheus and its tools, the peers, PgBouncer, pgbench."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import yaml

from tests.providers.base import Account, DatabaseServer, ProviderError, wait_for
from tests.providers.packages import wheel_home
from tests.providers.processes import Process, Workspace, free_port
from tests.providers.roots import inside, root

DEBIAN_TOOLS = {
    "prometheus": "prometheus",
    "promtool": "promtool",
    "alertmanager": "prometheus-alertmanager",
    "amtool": "amtool",
    "postgres_exporter": "prometheus-postgres-exporter",
    "mysqld_exporter": "prometheus-mysqld-exporter",
}
POSTGRES_TOOLS = ("pgbench", "psql", "pg_dump", "pg_basebackup", "pg_controldata", "createdb", "vacuumdb")


def tool(name: str) -> Path:
    """Give the program `name`; it runs as it is."""
    if name in POSTGRES_TOOLS:
        return wheel_home() / "bin" / name
    if name not in DEBIAN_TOOLS:
        raise ProviderError(f"no tool {name!r}; known: {', '.join([*DEBIAN_TOOLS, *POSTGRES_TOOLS])}")
    return root("tools") / "usr/bin" / DEBIAN_TOOLS[name]


class Program:
    """A program in the background, with its log."""

    def __init__(
        self, workspace: Workspace, name: str, argv: Sequence[str | Path], env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.directory = workspace.directory(name)
        self.process = Process(argv, workspace=workspace, log=self.directory / "log", env=env)

    def start(self, url: str | None = None, seconds: float = 30.0) -> None:
        """Start it; with `url`, wait until that answers 200."""
        self.process.start()
        if url is None:
            return

        def settled() -> bool:
            return not self.process.alive() or _answers(url)

        if not wait_for(settled, seconds) or not self.process.alive():
            raise ProviderError(f"{self.name} did not start; its log ends:\n{self.log_text()[-3000:]}")

    def stop(self) -> None:
        """End it."""
        self.process.stop()

    def log_text(self) -> str:
        """Everything it wrote."""
        return self.process.log.read_text(errors="replace")


class Prometheus(Program):
    """A real Prometheus 3 with a configuration of the test."""

    def __init__(self, workspace: Workspace, config: Mapping[str, Any]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._config = config
        super().__init__(workspace, "prometheus", [])
        file = self.directory / "prometheus.yml"
        self.process.argv = [
            str(tool("prometheus")),
            f"--config.file={file}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-lifecycle",
            "--log.level=warn",
        ]
        file.write_text(yaml.safe_dump(dict(config)))

    def start(self, url: str | None = None, seconds: float = 30.0) -> None:
        """Start it and wait until it is ready."""
        super().start(url or f"{self.url}/-/ready", seconds)

    def query(self, promql: str) -> list[dict[str, Any]]:
        """Ask for an instant vector: ``[{"metric": {label: value}, "value": [time, "1"]}]``."""
        data = self.api("query", query=promql)
        return list(data["result"])

    def value(self, promql: str) -> float:
        """Give the value of a query that has exactly one result."""
        result = self.query(promql)
        assert len(result) == 1, f"{promql} has {len(result)} results"
        return float(result[0]["value"][1])

    def api(self, path: str, **parameters: str) -> Any:
        """Ask its HTTP API; the member ``data`` of the answer."""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urlencode(parameters)}", timeout=30) as answer:
            return json.load(answer)["data"]

    def targets(self) -> list[dict[str, Any]]:
        """List the active targets."""
        return list(self.api("targets", state="active")["activeTargets"])

    def wait_for_targets(self, count: int, seconds: float = 60.0) -> None:
        """Wait until so many targets have been up, each of them once: on a busy machine a scrape may time out."""
        met: set[str] = set()

        def up() -> bool:
            met.update(target["scrapeUrl"] for target in self.targets() if target["health"] == "up")
            return len(met) >= count

        if not wait_for(up, seconds, 0.5):
            seen = [(target["scrapeUrl"], target["health"], target["lastError"]) for target in self.targets()]
            raise ProviderError(f"Prometheus has not {count} targets up after {seconds:g} s: {seen}")


class PgBouncer(Program):
    """A PgBouncer in front of a PostgreSQL; it refuses startup options, as it does by default."""

    def __init__(
        self,
        workspace: Workspace,
        postgres: DatabaseServer,
        accounts: Sequence[Account] = (),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.host, self.port = "127.0.0.1", free_port()
        self.admin = postgres.admin
        super().__init__(workspace, "pgbouncer", [])
        self.directory.chmod(0o755)
        users = self.directory / "users.txt"
        users.write_text("".join(f'"{each.user}" "{each.password}"\n' for each in (self.admin, *accounts)))
        options = {
            "listen_addr": self.host,
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": str(users),
            "admin_users": self.admin.user,
            "stats_users": ",".join(account.user for account in accounts),
            "pool_mode": "transaction",
            "default_pool_size": "2",
            **(settings or {}),
        }
        lines = "".join(f"{key} = {value}\n" for key, value in options.items())
        config = self.directory / "pgbouncer.ini"
        config.write_text(f"[databases]\n* = host={postgres.host} port={postgres.port}\n[pgbouncer]\n{lines}")
        self.process.argv = [str(word) for word in inside("tools", ["/usr/sbin/pgbouncer", config])]

    def start(self, url: str | None = None, seconds: float = 30.0) -> None:
        """Start it and wait until its console answers."""
        super().start(url, seconds)
        if not wait_for(self._console_answers, seconds):
            raise ProviderError(f"PgBouncer did not start; its log ends:\n{self.log_text()[-3000:]}")

    def connect(
        self, database: str = "postgres", user: str | None = None, password: str | None = None, **options: Any
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """Open a connection through the pool; psycopg prepares no statements on it."""
        login = self.admin if user is None else Account(user, password or "")
        return psycopg.connect(
            host=self.host,
            port=self.port,
            dbname=database,
            user=login.user,
            password=login.password,
            autocommit=True,
            prepare_threshold=None,
            **options,
        )

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a console command such as ``SHOW POOLS``."""
        with self.connect("pgbouncer") as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def url(self, account: Account | None = None, database: str = "postgres") -> str:
        """``postgresql://user:password@127.0.0.1:port/database``, through the pool."""
        login = account or self.admin
        return f"postgresql://{login.user}:{login.password.replace(' ', '%20')}@{self.host}:{self.port}/{database}"

    def _console_answers(self) -> bool:
        try:
            self.execute("SHOW VERSION")
        except psycopg.OperationalError:
            return False
        return True


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, http.client.HTTPException, OSError):
        return False
