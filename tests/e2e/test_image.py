"""The image: built, run without rights on a read-only file system, scraped for a real PostgreSQL, and ended."""

from __future__ import annotations

import os
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from docker.models.containers import Container

from exporter import __version__
from tests.exporters import ROOT, Samples
from tests.providers.base import DatabaseServer
from tests.providers.engine import Engine
from tests.providers.processes import free_port, is_root

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

NAME = "localhost/database-exporter:test"
USER = 65534
Run = Callable[..., Container]


@pytest.fixture(scope="module")
def image(docker_engine: Engine, base_image: str) -> Iterator[str]:
    """Build it."""
    docker_engine.client.images.build(
        path=str(ROOT), tag=NAME, buildargs={"BASE": base_image}, network_mode="host", rm=True, forcerm=True
    )
    yield NAME
    docker_engine.client.images.remove(NAME, force=True)


@pytest.fixture
def run(image: str, docker_engine: Engine) -> Iterator[Run]:
    """Run it as careful people do."""
    containers: list[Container] = []

    def start(*arguments: str, network: str = "host", **options: Any) -> Container:
        containers.append(
            docker_engine.client.containers.run(
                image,
                list(arguments),
                detach=True,
                network_mode=network,
                read_only=True,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                **options,
            )
        )
        return containers[-1]

    yield start
    for container in containers:
        container.remove(force=True)


def _execute(container: Container, *argv: str) -> str:
    status, output = container.exec_run(list(argv))
    assert isinstance(output, bytes)
    assert status == 0, output
    return output.decode()


def _log(container: Container) -> str:
    return container.logs().decode(errors="replace")


def _wait(container: Container, condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        container.reload()
        assert container.status in ("created", "running"), _log(container)
        assert time.monotonic() < end, _log(container)
        time.sleep(0.2)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


def _config(directory: Path, server: DatabaseServer) -> Path:
    """Write a file that only the container's user can read, as one mounts secrets."""
    path = directory / "exporter.yml"
    path.write_text(yaml.safe_dump({"servers": [{"name": "main", "url": server.url(server.account())}]}))
    path.chmod(0o400 if is_root() else 0o444)
    if is_root():
        os.chown(path, USER, USER)
    return path


def test_it_watches_a_server_and_ends_when_it_is_told_to(run: Run, postgres: DatabaseServer, tmp_path: Path) -> None:
    port = free_port()
    inside = "/etc/database-exporter.yml"
    container = run(
        f"--config.file={inside}",
        f"--web.listen-address=127.0.0.1:{port}",
        volumes={str(_config(tmp_path, postgres)): {"bind": inside, "mode": "ro"}},
    )
    url = f"http://127.0.0.1:{port}"
    _wait(container, lambda: _get(f"{url}/-/ready") != "")
    page = Samples.of(_get(f"{url}/probe?target=main"))
    assert page.value("db_up", server="main") == 1
    (info,) = page.all("db_info", server="main")
    assert info[0]["version"].startswith(".".join(map(str, postgres.version)))
    assert page.failures("main") == {}
    # Every process in it is nobody's.
    owners = _execute(container, "sh", "-c", "grep -h ^Uid: /proc/[0-9]*/status")
    assert set(owners.split()) == {"Uid:", str(USER)}
    container.kill("SIGTERM")
    # A container whose first process takes no notice of signals never ends by this one.
    assert container.wait(timeout=60)["StatusCode"] == 0, _log(container)
    assert "Traceback" not in _log(container)


def test_docker_finds_it_healthy_also_when_the_database_is_not(run: Run) -> None:
    # A network of its own, so that its usual port is free; no database can be there.
    container = run(
        network="none",
        environment={"DATA_SOURCE_NAME": "postgresql://nobody@127.0.0.1:1/none"},
        healthcheck={"interval": 1_000_000_000},
    )

    def health() -> str:
        container.reload()
        return str(container.attrs["State"]["Health"]["Status"])

    _wait(container, lambda: health() == "healthy")
    code = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9187/metrics').read().decode())"
    page = Samples.of(_execute(container, "python3", "-c", code))
    assert page.value("db_up") == 0


def test_it_holds_the_program_and_nothing_of_the_checkout(run: Run) -> None:
    container = run("--version")
    assert container.wait(timeout=60)["StatusCode"] == 0
    assert __version__ in _log(container)
    assert container.image is not None
    config = container.image.attrs["Config"]
    assert config["User"] == f"{USER}:{USER}"
    assert list(config["ExposedPorts"]) == ["9187/tcp"]
    listing = run(
        "-c", "ls -d /src /root/.cache /opt/database-exporter/lib/python3*/site-packages/tests", entrypoint="sh"
    )
    assert listing.wait(timeout=60)["StatusCode"] != 0
    found = [line for line in _log(listing).splitlines() if "No such file" not in line and "cannot access" not in line]
    assert found == []
