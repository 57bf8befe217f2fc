"""A Docker engine of our own, and images made of Debian systems, where no engine or no public image can be had."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import docker
import docker.errors

from tests.providers.base import ProviderError, wait_for
from tests.providers.containers import default_host, engine_answers
from tests.providers.processes import Process, Workspace, is_root, run
from tests.providers.roots import need, root

# What a stand-in does of the public image's start, as its documentation describes it.
POSTGRES_ENTRYPOINT = """#!/bin/sh
set -e
[ "$1" = postgres ] || exec "$@"
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
install -d -o postgres -g postgres /var/run/postgresql
install -d -o postgres -g postgres -m 700 "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    echo "$POSTGRES_PASSWORD" > /tmp/password
    as_postgres initdb --username=postgres --pwfile=/tmp/password $POSTGRES_INITDB_ARGS
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
fi
chown -R postgres:postgres "$PGDATA"
exec setpriv --reuid=postgres --regid=postgres --init-groups "$@"
"""
MYSQL_ENTRYPOINT = """#!/bin/sh
set -e
install -d -o nobody -m 755 /var/lib/mysql
set -- --defaults-extra-file=/etc/mysql/conf.d/zz-test.cnf --user=nobody --datadir=/var/lib/mysql \
    --socket=/var/lib/mysql/mysqld.sock --pid-file=/var/lib/mysql/pid
if [ ! -d /var/lib/mysql/mysql ]; then
    if command -v mariadb-install-db; then
        mariadb-install-db --no-defaults --user=nobody --datadir=/var/lib/mysql --skip-test-db --force
    else
        mysqld "$@" --initialize-insecure
    fi
    cat > /tmp/first.sql <<END
SET SESSION sql_log_bin = 0;
CREATE USER 'root'@'%' IDENTIFIED BY '${MYSQL_ROOT_PASSWORD:-$MARIADB_ROOT_PASSWORD}';
GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;
END
    exec mysqld "$@" --init-file=/tmp/first.sql
fi
exec mysqld "$@"
"""
ENTRYPOINTS = {"postgres": POSTGRES_ENTRYPOINT, "mysql": MYSQL_ENTRYPOINT, "mariadb": MYSQL_ENTRYPOINT}
POSTGRES_BIN = "/usr/lib/postgresql/18/bin"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Engine:
    """A Docker engine: `host` is what DOCKER_HOST must be to reach it, `client` talks to it."""

    def __init__(self, workspace: Workspace) -> None:
        self._process: Process | None = None
        self._directory = workspace.directory("docker")
        self.host = default_host()
        self._imported: list[str] = []
        if not engine_answers(self.host):
            self._start(workspace)
        self.client = docker.DockerClient(base_url=self.host, timeout=300)

    def close(self) -> None:
        """Delete what was imported and stop the engine if it is ours."""
        for name in self._imported:
            self.client.images.remove(name, force=True)
        self.client.close()
        if self._process is not None:
            self._process.stop()

    def stand_in(self, name: str) -> str:
        """Give the name of an image of the server `name` (``mysql-9.7``) that starts like the public one."""
        flavor, _, release = name.partition("-")
        tag = f"localhost/stand-in/{flavor}:{release}"
        if tag in self._imported:
            return tag
        script = self._directory / f"{name}/usr/local/bin/docker-entrypoint.sh"
        script.parent.mkdir(parents=True)
        script.write_text(ENTRYPOINTS[flavor])
        script.chmod(0o755)
        return self._import(
            name,
            tag,
            f"ENV PATH={SYSTEM_PATH}{':' + POSTGRES_BIN if flavor == 'postgres' else ''}",
            "ENV PGDATA=/var/lib/postgresql/18/docker",
            'ENTRYPOINT ["docker-entrypoint.sh"]',
            f'CMD ["{"postgres" if flavor == "postgres" else "mysqld"}"]',
        )

    def base_image(self, wanted: str) -> str:
        """Give an image with python3, venv and the machine's certificates: `wanted`, or one made of Debian."""
        try:
            self.client.images.get(wanted)
        except docker.errors.ImageNotFound:
            try:
                self.client.images.pull(wanted)
            except docker.errors.APIError:
                return self._python()
        return wanted

    def _python(self) -> str:
        tag = "localhost/stand-in/python:3"
        if tag in self._imported:
            return tag
        overlay = self._directory / "python"
        bundle = overlay / "etc/ssl/certs/ca-certificates.crt"
        bundle.parent.mkdir(parents=True)
        shutil.copyfile(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt", bundle)
        # An installation with its own package index says so here.
        if Path("/etc/pip.conf").exists():
            shutil.copyfile("/etc/pip.conf", overlay / "etc/pip.conf")
        inside = "/etc/ssl/certs/ca-certificates.crt"
        return self._import("python", tag, f"ENV PATH={SYSTEM_PATH} PIP_CERT={inside} SSL_CERT_FILE={inside}")

    def _import(self, name: str, tag: str, *changes: str) -> str:
        archive, overlay = self._directory / f"{name}.tar", self._directory / name
        ours = [f"./{file.relative_to(overlay)}" for file in overlay.rglob("*") if file.is_file()]
        left_out = [f"--exclude={path}" for path in (*ours, "./dev", "./usr/share/doc", "./usr/share/locale")]
        run(["tar", *left_out, "-cf", archive, "-C", root(name), "."])
        run(["tar", "--owner=0", "--group=0", "-rf", archive, "-C", overlay, *ours])
        repository, _, version = tag.rpartition(":")
        self.client.api.import_image_from_file(str(archive), repository, version, list(changes))
        archive.unlink()
        self._imported.append(tag)
        return tag

    def _start(self, workspace: Workspace) -> None:
        if not is_root():
            raise ProviderError("no Docker engine answers, and without root none can be started: start Docker")
        need("dockerd", "docker.io")
        self.host = f"unix://{self._directory}/docker.sock"
        self._process = Process(
            [
                # What it mounts vanishes with it, however it ends.
                *("unshare", "--mount", "--propagation", "private"),
                *("dockerd", f"--host={self.host}", f"--data-root={self._directory}/data"),
                *(f"--exec-root={self._directory}/exec", f"--pidfile={self._directory}/pid"),
                # Our networks are made per test run; a default one would stay on the machine.
                *("--bridge=none", "--log-level=warn"),
            ],
            workspace=workspace,
            log=self._directory / "log",
        )
        self._process.start()
        if not wait_for(lambda: engine_answers(self.host), 60):
            text = self._process.log.read_text(errors="replace")
            self._process.stop()
            raise ProviderError(f"dockerd did not start; its log ends:\n{text[-3000:]}")
